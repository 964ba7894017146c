"""Nodes as the API server tells them; an outage is an error and never an empty pool."""

from __future__ import annotations

import time
from typing import Any

import pytest

from scaler.clock import ManualClock
from scaler.kube import KubeClient
from scaler.observe.nodes import KubernetesNodes, NodeLimits, PoolNodes, read_node
from scaler.observe.watch import Timings
from scaler.plan.observation import Freshness
from scaler.plan.reasons import Reason
from tests.cluster.api_server import ApiServer, Watched, event, listed, status

FAST = Timings(first_pause=0.01, longest_pause=0.02, refused=0.02)
WANTED = [PoolNodes("u", "pool=h100")]


def item(name: str, *, ready: bool = True, gpus: str = "8", **more: Any) -> dict[str, Any]:
    condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": "2026-01-01T00:05:00Z"}
    return {
        "metadata": {
            "uid": f"uid-{name}",
            "name": name,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "resourceVersion": "101",
            **more.pop("metadata", {}),
        },
        "spec": more,
        "status": {"conditions": [condition], "allocatable": {"cpu": "64", "nvidia.com/gpu": gpus}},
    }


@pytest.mark.parametrize(
    ("found", "ready", "gpus", "closed", "leaving"),
    [
        (item("a"), True, 8, False, False),
        (item("a", ready=False), False, 8, False, False),
        (item("a", gpus="0"), True, 0, False, False),
        (item("a", unschedulable=True), True, 8, True, False),
        (item("a", taints=[{"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}]), True, 8, False, True),
        (item("a", taints=[{"key": "nvidia.com/gpu", "effect": "NoSchedule"}]), True, 8, False, False),
        (item("a", metadata={"deletionTimestamp": "2026-01-01T00:09:00Z"}), True, 8, False, True),
    ],
)
def test_what_of_a_node_counts(found: dict[str, Any], ready: bool, gpus: int, closed: bool, leaving: bool) -> None:
    node = read_node(found)
    assert (node.ready is not None, node.gpus, node.closed, node.leaving) == (ready, gpus, closed, leaving)


def test_nodes_are_followed_by_their_labels(api: ApiServer, client: KubeClient) -> None:
    api.target_lists.append(listed([item("a")]))
    api.target_lists.popleft()
    api.target_watches.appendleft(Watched([event("ADDED", item("b")), event("DELETED", item("a"))], then="hang"))
    nodes = KubernetesNodes(client, ManualClock(1000.0), timings=FAST)
    until = time.monotonic() + 3.0
    while [n.name for n in nodes.sample(1000.0, WANTED)["u"].value or ()] != ["b"]:
        assert time.monotonic() < until
        time.sleep(0.005)
    assert {a.query["labelSelector"] for a in api.asked} == {"pool=h100"}
    assert {a.path for a in api.asked} == {"/api/v1/nodes"}
    nodes.close()


def test_a_refusal_is_an_error_with_its_reason(api: ApiServer, client: KubeClient) -> None:
    api.target_lists.extendleft([(403, status(403, "nodes is forbidden"))] * 100)  # it is asked again meanwhile
    nodes = KubernetesNodes(client, ManualClock(1000.0), timings=FAST)
    reading = nodes.sample(1000.0, WANTED)["u"]
    assert (reading.value, reading.freshness, reading.reason) == (None, Freshness.ERROR, Reason.FORBIDDEN)
    assert "grant it" in reading.detail
    nodes.close()


def test_a_silent_watch_is_stale_and_then_an_error(api: ApiServer, client: KubeClient) -> None:
    api.target_lists.append(listed([item("a")]))
    api.target_lists.popleft()
    clock = ManualClock(1000.0)
    nodes = KubernetesNodes(client, clock, limits=NodeLimits(silence=25.0, keep=60.0), timings=FAST)
    assert nodes.sample(1000.0, WANTED)["u"].fresh
    clock.advance(30.0)
    stale = nodes.sample(1030.0, WANTED)["u"]
    assert (stale.freshness, stale.reason) == (Freshness.STALE, Reason.KUBERNETES_UNREACHABLE)
    assert stale.value is not None
    assert stale.value[0].name == "a"
    clock.advance(60.0)
    gone = nodes.sample(1090.0, WANTED)["u"]
    assert (gone.value, gone.freshness) == (None, Freshness.ERROR)
    nodes.close()
