"""`lagcast crd` and `lagcast validate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from scaler.api import gpu_node_pool
from scaler.api.crd import KINDS, definition
from scaler.cli.crd import crd
from scaler.cli.validate import validate
from tests.configuration.objects import GOOD, POOL, spoil

EXAMPLES = Path(__file__).parents[2] / "manifests" / "examples"


def written(folder: Path, *items: Any, name: str = "x.yaml") -> str:
    path = folder / name
    path.write_text(yaml.safe_dump_all(items), encoding="utf-8")
    return str(path)


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(validate, arguments)
    return done.exit_code, done.stdout


def test_the_definitions_are_printed() -> None:
    done = CliRunner().invoke(crd, [])
    assert done.exit_code == 0
    assert list(yaml.safe_load_all(done.stdout)) == [definition(kind) for kind in KINDS]
    listed = json.loads(CliRunner().invoke(crd, ["-o", "json"]).stdout)
    assert listed["kind"] == "List"
    assert listed["items"] == [definition(kind) for kind in KINDS]


def test_right_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_node_pool, "PROVIDED", frozenset({"capacityBuffer"}))
    path = written(tmp_path, GOOD, spoil(POOL, "spec.mode", "Recommend"), {"apiVersion": "v1", "kind": "Namespace"})
    code, said = run(path)
    assert code == 0
    assert f"{path}: 2 objects are right, 1 of other kinds passed over\n" in said
    assert f"{path}: GpuNodePool h100: note: spec.provider.karpenter: this version does not act on it" in said


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_the_examples_are_right(path: Path) -> None:
    assert run(str(path))[0] == 0


def test_wrong_files_name_file_object_field_and_what_is_allowed(tmp_path: Path) -> None:
    bad = written(tmp_path, spoil(GOOD, "spec.replicas.min", 11), spoil(POOL, "spec.node.gpus", 0))
    good = written(tmp_path, GOOD, name="y.yaml")
    code, said = run(bad, good, str(tmp_path / "none.yaml"))
    assert code == 2
    assert said.splitlines() == [
        f"{bad}: PredictiveScaler default/chat: spec.replicas.max: found 10; allowed: at least min, which is 11",
        f"{bad}: GpuNodePool h100: spec.node.gpus: found the number 0; allowed: at least 1",
        f"{good}: 1 object is right",
        f"{tmp_path}/none.yaml: cannot be read: No such file or directory",
    ]


def test_a_file_without_an_object_of_ours_is_wrong(tmp_path: Path) -> None:
    code, said = run(written(tmp_path, {"apiVersion": "v1", "kind": "Namespace"}))
    assert code == 2
    assert "found no object; allowed: one or more of lagcast.io/v1alpha1 PredictiveScaler or GpuNodePool" in said


def test_a_name_that_stands_twice(tmp_path: Path) -> None:
    code, said = run(written(tmp_path, POOL, POOL, GOOD, {**GOOD, "metadata": {"name": "other"}}))
    assert code == 2
    assert "GpuNodePool h100: metadata.name: found a second time; allowed: once" in said
    assert "PredictiveScaler default/other: spec.target: found Deployment default/chat" in said


def test_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_node_pool, "PROVIDED", frozenset({"capacityBuffer"}))
    path = written(tmp_path, POOL, spoil(GOOD, "spec.mode", "On"))
    code, said = run("-o", "json", path)
    assert code == 2
    (one,) = json.loads(said)
    assert one["file"] == path
    assert one["right"] == ["GpuNodePool h100"]
    assert one["faults"] == [
        {
            "object": "PredictiveScaler default/chat",
            "message": "spec.mode: found \"On\"; allowed: 'Recommend', 'Floor' or 'Enforce'",
        }
    ]
    assert [note["object"] for note in one["notes"]] == ["GpuNodePool h100"]
    assert one["others"] == 0


def test_no_file_is_wrong_usage() -> None:
    assert CliRunner().invoke(validate, []).exit_code == 2
