"""A file's scalers are refused whole when this version cannot carry one of them out."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from scaler.errors import ConfigError
from scaler.resources.file import digest, load_to_run
from tests.configuration.objects import GOOD, spoil


def test_floor_is_refused_and_says_what_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "scalers.yaml"
    other = spoil(spoil(GOOD, "metadata.name", "other"), "spec.target.name", "other")
    path.write_text(yaml.safe_dump_all([other, spoil(GOOD, "spec.mode", "Floor")]))
    with pytest.raises(ConfigError) as refused:
        load_to_run(path)
    assert str(refused.value) == (
        f'{path}: PredictiveScaler default/chat: spec.mode: found "Floor", which this version does not carry out; '
        "allowed: Recommend or Enforce (delete the other autoscaler before Enforce)"
    )
    path.write_text(yaml.safe_dump_all([other, GOOD]))
    assert [one.metadata.name for one in load_to_run(path)] == ["other", "chat"]


def test_a_digest_follows_the_content(tmp_path: Path) -> None:
    path = tmp_path / "x"
    assert digest(path) is None
    path.write_text("a")
    first = digest(path)
    path.write_text("b")
    assert None not in (first, digest(path))
    assert first != digest(path)
