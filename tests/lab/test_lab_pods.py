"""The lab's pods: Ready after their lead time, where a node has room for them, and gone after their drain."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from simulations.lab.kwok import pod_annotations
from simulations.lab.lab import Lab
from tests.lab.deployments import deployment, eventually, ready_replicas

pytestmark = pytest.mark.lab


def pods(lab: Lab, app: str) -> list[dict[str, Any]]:
    done = lab.kubernetes.run("get", "pods", "-l", f"app={app}", "-o", "json")
    assert done.code == 0, done.output
    items: list[dict[str, Any]] = json.loads(done.output)["items"]
    return items


def lead_times(items: list[dict[str, Any]]) -> list[float]:
    """Of Ready pods: s from scheduled to Ready, by the servers' own stamps, which are whole seconds."""
    found = []
    for item in items:
        since = {c["type"]: datetime.fromisoformat(c["lastTransitionTime"]) for c in item["status"]["conditions"]}
        found.append((since["Ready"] - since["PodScheduled"]).total_seconds())
    return found


def test_pods_are_ready_after_their_lead_time_and_not_before(lab: Lab, deployed: Callable[[str], None]) -> None:
    lab.kwok.add_nodes(2, 8)
    begin = time.monotonic()  # before there can be any pod
    deployed(deployment("slow", 3, pod_annotations(4)))
    while True:
        ready = ready_replicas(lab, "slow")
        if time.monotonic() - begin > 3.5:
            break
        assert ready == 0
    eventually(lambda: ready_replicas(lab, "slow"), 3, 5)
    nodes = lab.kubernetes.run("get", "nodes", "-l", "type=kwok", "-o", "jsonpath={.items[*].metadata.name}")
    assert {str(pod["spec"]["nodeName"]) for pod in pods(lab, "slow")} <= set(nodes.output.split())


def test_lead_times_spread_between_their_ends(lab: Lab, deployed: Callable[[str], None]) -> None:
    lab.kwok.add_nodes(2, 8)
    begin = time.monotonic()  # before there can be any pod
    deployed(deployment("jittery", 8, pod_annotations(1, 6)))
    while ready_replicas(lab, "jittery") == 0:
        assert time.monotonic() - begin < 6
    first = time.monotonic() - begin
    eventually(lambda: ready_replicas(lab, "jittery"), 8, 10)
    assert first > 0.9
    assert 2 < max(lead_times(pods(lab, "jittery"))) < 8


def test_a_pod_waits_for_a_gpu(lab: Lab, deployed: Callable[[str], None]) -> None:
    lab.kwok.add_nodes(1, 2, prefix="small")
    deployed(deployment("hungry", 1, pod_annotations(0), gpus=16))
    eventually(lambda: len(pods(lab, "hungry")), 1, 10)
    time.sleep(2)
    (pod,) = pods(lab, "hungry")
    assert "nodeName" not in pod["spec"]
    lab.kwok.add_nodes(1, 16, prefix="large")
    eventually(lambda: ready_replicas(lab, "hungry"), 1, 15)


def test_a_deleted_pod_stays_to_drain(lab: Lab, deployed: Callable[[str], None]) -> None:
    lab.kwok.add_nodes(2, 8)
    deployed(deployment("drained", 1, pod_annotations(0, gone_after=3)))
    eventually(lambda: ready_replicas(lab, "drained"), 1, 10)
    begin = time.monotonic()  # before it can be deleted
    lab.kubernetes.run("scale", "deployment", "drained", "--replicas=0")
    eventually(lambda: ["deletionTimestamp" in pod["metadata"] for pod in pods(lab, "drained")], [True], 3)
    eventually(lambda: len(pods(lab, "drained")), 0, 8)
    assert time.monotonic() - begin > 2.5
