"""Karpenter and Cluster API's kinds as parts of the lab: named to be started, and what they are started with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from simulations.lab import cluster_api
from simulations.lab.errors import StartFailed
from simulations.lab.karpenter import GPUS, INSTANCE_TYPE, INSTANCE_TYPES, KarpenterPart, node_pool, whole_node
from simulations.lab.kwok import GPU
from simulations.lab.lab import DEFAULT, with_needs
from simulations.lab.part import Server, Site
from simulations.lab.process import Finished
from simulations.lab.programs import CLUSTER_API, KARPENTER, Program
from simulations.lab.state import LabState
from simulations.lab.supervisor import Supervisor

SITE = Site(Path("/lab"), {"karpenter-metrics": 15001, "karpenter-health": 15002})


def test_they_start_when_they_are_named_and_bring_what_they_need() -> None:
    assert with_needs(["karpenter"]) == ["kubernetes", "kwok", "karpenter"]
    assert with_needs(["cluster-api"]) == ["kubernetes", "cluster-api"]
    assert not {"karpenter", "cluster-api"} & set(DEFAULT)


def test_the_gates_are_open_and_its_nodes_have_eight_gpus() -> None:
    (server,) = KarpenterPart().servers(SITE)
    assert "--feature-gates=StaticCapacity=true,CapacityBuffer=true" in server.command
    assert f"--instance-types-file-path={INSTANCE_TYPES}" in server.command
    assert "--metrics-port=15001" in server.command
    (kind,) = json.loads(INSTANCE_TYPES.read_text(encoding="utf-8"))
    assert (kind["name"], kind["resources"][GPU]) == (INSTANCE_TYPE, str(GPUS))


def test_only_a_static_pool_states_its_count() -> None:
    assert node_pool("a", "gpu", 0)["spec"]["replicas"] == 0  # type: ignore[index]
    assert "replicas" not in node_pool("a", "gpu")["spec"]  # type: ignore[operator]
    assert whole_node({"priorityClassName": "low"})["priorityClassName"] == "low"


def test_its_kinds_come_before_it_and_a_refusal_ends_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []

    def kubectl(directory: Path, *arguments: str) -> Finished:
        asked.append(arguments)
        return Finished(len(asked) > 1, "timed out")

    monkeypatch.setattr(cluster_api, "kubectl", kubectl)
    (server,) = KarpenterPart().servers(SITE)
    made = Server("karpenter", "karpenter", ("/does/not/run",), ready=lambda: None, first=server.first)
    with pytest.raises(StartFailed, match="kubectl wait for karpenter failed: timed out"):
        Supervisor(tmp_path, LabState()).start([made], lambda doing: None, [])
    assert [arguments[0] for arguments in asked] == ["apply", "wait"]
    assert asked[0][-1] == str(KARPENTER.folder() / "bin")


@pytest.mark.parametrize(
    ("program", "kinds"),
    [(KARPENTER, ["pkg/apis/crds/*.yaml", "kwok/apis/crds/*.yaml"]), (CLUSTER_API, ["cluster.x-k8s.io_*.yaml"])],
)
def test_kinds_are_kept_with_the_programs(program: Program, kinds: list[str]) -> None:
    _, command = program.steps[-1]
    words = command(Path("/go"), Path("/source"), Path("/target"))
    assert words[-2:] == ["/go", "/target"]
    assert all(kind in words[2] for kind in kinds)
