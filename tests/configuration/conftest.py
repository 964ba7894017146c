"""A resource that is right, to be spoiled one field at a time."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.configuration.objects import GOOD


@pytest.fixture
def resource() -> Callable[..., dict[str, Any]]:
    """A good resource, with fields set by path: ``resource({"spec.replicas.min": 3})``."""

    def make(changes: dict[str, object] | None = None) -> dict[str, Any]:
        made = copy.deepcopy(GOOD)
        for path, value in (changes or {}).items():
            *above, last = path.split(".")
            inside = made
            for part in above:
                inside = inside.setdefault(part, {})
            inside[last] = value
        return made

    return make


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes text, bytes or documents to ``scalers.yaml``."""

    def write_file(*content: object) -> Path:
        path = tmp_path / "scalers.yaml"
        match content:
            case (bytes() as raw,):
                path.write_bytes(raw)
            case (str() as text,):
                path.write_text(text, encoding="utf-8")
            case documents:
                path.write_text(yaml.safe_dump_all(documents), encoding="utf-8")
        return path

    return write_file
