"""Nodes that are ill, lost, or not told of any more: what serves on them is not given up (rule 1)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from scaler.observe.nodes import Node
from scaler.plan.reasons import Reason
from tests.pools.made import START, TICK, Bench, pool

FROM = 1500.0  # s, when each node is older than two lead times
Told = Callable[[tuple[Node, ...]], tuple[Node, ...]]


def without_gpus(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    return tuple(replace(node, gpus=0) for node in nodes)


def one_ill(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    return (replace(nodes[0], gpus=7), *nodes[1:])


def no_more(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    return ()


@pytest.fixture
def two(bench: Callable[..., Bench]) -> Bench:
    """32 replicas on four nodes, of which 25 are busy, and eight on the fifth, which all are."""
    return bench({"chat": lambda t: 50.0, "embed": lambda t: 15.0}, pool(), nodes=9, replicas=32)


def runs_with(b: Bench, patch: pytest.MonkeyPatch, told: Told, lasts: float, after: float = 300.0) -> list[set[Reason]]:
    """The pool's reasons at each tick in which its nodes are told so."""
    usual = b.cluster.nodes

    def nodes() -> tuple[Node, ...]:
        on = FROM <= b.clock.now() - START < FROM + lasts
        return told(usual()) if on else usual()

    patch.setattr(b.cluster, "nodes", nodes)
    b.run(round(FROM / TICK))
    stood = {name: len(b.cluster.pods(b.target(name))) for name in b.loads}
    count, reasons = b.cluster.count, []
    for k in range(round((lasts + after) / TICK)):
        row = b.tick()
        assert row is not None
        assert row.decision is not None
        if k < round(lasts / TICK):
            reasons.append(set(row.decision.reasons))
            asked = {name: len(b.cluster.pods(b.target(name))) for name in b.loads}
            assert asked == stood, f"{k * TICK:g} s after they were told otherwise"
            assert b.cluster.count == count, "nor is a node bought for it"
        assert sum(float(left.sum()) for left in b._left.values()) == 0
    return reasons


@pytest.mark.parametrize(("told", "lasts"), [(without_gpus, 30.0), (without_gpus, 900.0), (one_ill, 1800.0)])
def test_a_device_plugin_that_starts_again_costs_nobody_a_pod(
    two: Bench, monkeypatch: pytest.MonkeyPatch, told: Told, lasts: float
) -> None:
    reasons = runs_with(two, monkeypatch, told, lasts)
    assert not any({Reason.POOL_FULL, Reason.NODES_UNSEEN} & some for some in reasons)


def test_nodes_whose_labels_are_gone_cost_nobody_a_pod_and_the_pool_says_so(
    two: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons = runs_with(two, monkeypatch, no_more, 1500.0)
    assert all(Reason.NODES_UNSEEN in some for some in reasons)


def test_a_lost_node_is_on_its_way_from_when_it_was_lost(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It and its pods are not Ready for a minute and a half: the replicas are not given up, and serve again with it."""
    b = bench({"chat": lambda t: 50.0, "embed": lambda t: 40.0}, pool(), nodes=9, replicas=32)
    usual, end = b.cluster.nodes, FROM + 90.0
    monkeypatch.setattr(
        b.cluster,
        "nodes",
        lambda: tuple(
            replace(node, ready=None) if k == 0 and FROM <= b.clock.now() - START < end else node
            for k, node in enumerate(usual())
        ),
    )
    b.run(round(FROM / TICK))
    lost = usual()[0].name
    on_it = [
        pod
        for name in b.loads
        for pod in b.cluster.pods(b.target(name))
        if next(view.node for view in b.cluster.pods_of(b.target(name)) if view.name == pod.name) == lost
    ]
    assert on_it
    stood = {name: len(b.cluster.pods(b.target(name))) for name in b.loads}
    while b.clock.now() - START < end:
        for pod in on_it:
            pod.ready_at = math.inf
        b.tick()
        assert {name: len(b.cluster.pods(b.target(name))) for name in b.loads} == stood
    for pod in on_it:
        pod.ready_at = b.clock.now()
    b.run(8)
    assert {name: len(b.cluster.pods(b.target(name))) for name in b.loads} == stood


@pytest.mark.parametrize("load", [15.0, 17.0])
def test_a_drain_that_waits_for_its_pods_has_a_node_ordered_for_them(bench: Callable[..., Bench], load: float) -> None:
    """A budget for disruptions lets two of eight stay until others serve: the GPUs of a cordoned node are no room."""
    b = bench({"chat": lambda t: load}, pool(), nodes=2, replicas=16)
    b.run(round(FROM / TICK))
    b.cluster.drain("gpu-001", 6)
    b.run(3)
    assert b.cluster.count == 2, "a scheduler has its time"
    b.run(2)
    assert b.cluster.count == 3
    b.run(30)
    assert b.cluster.waiting(b.target("chat")) == 0
    assert max(b.waited["chat"][-3:]) == 0
