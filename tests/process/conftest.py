"""Controllers as processes; each is ended with its test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.process.controller_process import ControllerProcess, scaler


@pytest.fixture(scope="module")
def missing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControllerProcess]:
    """A controller whose broker, Prometheus and API server are all unreachable; shared by a module's tests."""
    process = ControllerProcess(tmp_path_factory.mktemp("missing"), scaler())
    try:
        yield process.ready()
    finally:
        process.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., ControllerProcess]]:
    """Start a controller with these resources."""
    started: list[ControllerProcess] = []

    def begin(*resources: dict[str, Any], **options: Any) -> ControllerProcess:
        started.append(ControllerProcess(tmp_path, *resources, **options))
        return started[-1]

    yield begin
    for process in started:
        process.close()
