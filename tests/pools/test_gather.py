"""One observation of a pool: nodes, pods and count together, and what is not known of them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event
from typing import Any

import pytest

from scaler.act.nodepools.ports import Held, Singled
from scaler.api.gpu_node_pool import GpuNodePool
from scaler.observe.nodes import Node
from scaler.observe.pods import Pod
from scaler.observe.ports import TargetRef
from scaler.plan.observation import Freshness, PoolState, Reading
from scaler.plan.reasons import Reason
from scaler.pools.gather import PoolGatherer
from scaler.pools.row import PoolSeen
from tests.pools.made import pool
from tests.pools.test_vacate import pod

CHAT = TargetRef("apps/v1", "Deployment", "ml", "chat")
BOOTING = Node("c", "c", 90.0, None, 0, closed=False, leaving=False)


def node(name: str, **changes: Any) -> Node:
    return replace(Node(name, name, 0.0, 10.0, 8, closed=False, leaving=False), **changes)


class Sources:
    """Nodes, pods and the count, as told."""

    def __init__(self, count: int | None, nodes: tuple[Node, ...] | None, *pods: Pod) -> None:
        self.count, self.nodes, self.pods = count, nodes, pods
        self.hangs: Event | None = None
        self.asked = 0

    def sample(self, now: float, wanted: Any) -> dict[str, Reading[tuple[Node, ...]]]:
        assert [one.selector for one in wanted] == ["pool=h100"]
        if self.nodes is None:
            return {one.uid: Reading(None, now, Freshness.ERROR, Reason.FORBIDDEN, "nodes") for one in wanted}
        return {one.uid: Reading(self.nodes, now - 1.0, Freshness.FRESH) for one in wanted}

    def pods_of(self, target: TargetRef) -> tuple[Pod, ...]:
        return self.pods

    def floor(self, pool: GpuNodePool) -> Reading[int]:
        self.asked += 1
        if self.hangs is not None:
            self.hangs.wait(5.0)
        if self.count is None:
            return Reading(None, 0.0, Freshness.ABSENT, Reason.TARGET_NOT_FOUND, "no NodePool")
        return Reading(self.count, 100.0, Freshness.FRESH)

    def write(self, pool: GpuNodePool, current: int, desired: int) -> None:
        raise AssertionError

    def least(self, pool: GpuNodePool) -> int:
        raise AssertionError

    def single_out(self, pool: GpuNodePool, nodes: Sequence[str]) -> Singled:
        raise AssertionError

    def take_back(self, pool: GpuNodePool) -> None:
        raise AssertionError

    def release(self, held: Held) -> None:
        raise AssertionError

    def unmark(self, held: Held) -> None:
        raise AssertionError

    def close(self) -> None:
        """Nothing to end."""


@pytest.fixture
def threads() -> Any:
    with ThreadPoolExecutor(2) as made:
        yield made


def look(
    sources: Sources,
    threads: ThreadPoolExecutor,
    made: GpuNodePool | None = None,
    *,
    unseen: bool = False,
    targets: bool = True,
) -> PoolSeen:
    """``targets``: CHAT is planned on the pool."""
    given = made or pool()
    gatherer = PoolGatherer(sources, sources, sources, threads, 0.05)
    gatherer.begin([given])
    on_it = {given.uid: [CHAT]} if targets else {}
    return gatherer.gather(100.0, [given], on_it, [CHAT], frozenset([CHAT] if unseen else []))[given.uid]


def test_what_counts_as_ready_empty_and_on_its_way(threads: ThreadPoolExecutor) -> None:
    nodes = (
        node("a"),
        node("b"),
        BOOTING,
        node("slow", gpus=0),  # its device plugin does not run yet
        node("shut", closed=True),
        node("full", closed=True),
        node("going", leaving=True),
    )
    finished = replace(pod("done", "b"), finished=True)
    draining = replace(pod("drains", "full"), ends=99.0)
    seen = look(Sources(7, nodes, pod("p", "a"), finished, draining), threads)
    state = seen.observation.state
    assert (state.freshness, state.time) == (Freshness.FRESH, 99.0)
    assert state.value == PoolState(ready=3, pending_since=(0.0, 90.0, 100.0), empty=1, floor=6), "of seven one is shut"
    assert [one.name for one in seen.empty] == ["b"]
    assert (seen.number, seen.busy, seen.there, seen.shut) == (7, 2, 6, 1)


def test_a_node_whose_gpus_are_away_is_in_use_while_pods_of_ours_are_on_it(threads: ThreadPoolExecutor) -> None:
    seen = look(
        Sources(3, (node("a", gpus=0), node("b", gpus=7), node("c", gpus=0)), pod("p", "a"), pod("q", "b")), threads
    )
    assert seen.observation.state.value == PoolState(ready=2, pending_since=(0.0,), empty=0, floor=3)


def test_the_pod_of_a_service_that_is_not_on_the_pool_says_nothing_of_a_nodes_gpus(threads: ThreadPoolExecutor) -> None:
    seen = look(Sources(1, (node("a", gpus=0),), pod("p", "a")), threads, targets=False)
    assert seen.observation.state.value == PoolState(ready=0, pending_since=(0.0,), empty=0, floor=1)


def test_a_cordoned_node_beside_the_number_is_not_replaced(threads: ThreadPoolExecutor) -> None:
    """As in an upgrade, where the new node came first."""
    nodes = (node("a"), node("b"), node("old", closed=True))
    seen = look(Sources(2, nodes, pod("p", "a"), pod("q", "b")), threads)
    assert seen.observation.state.value == PoolState(ready=2, pending_since=(), empty=0, floor=2)
    assert seen.shut == 0


def test_a_cordoned_node_that_is_not_ready_and_holds_a_pod_is_not_replaced_yet(threads: ThreadPoolExecutor) -> None:
    drains = node("b", closed=True, ready=None)
    seen = look(Sources(2, (node("a"), drains), pod("p", "a"), pod("q", "b")), threads)
    assert seen.observation.state.value == PoolState(ready=1, pending_since=(), empty=0, floor=2)
    assert seen.shut == 0


def test_a_node_that_was_not_there_while_the_last_reading_was_fresh_lacks_nothing(threads: ThreadPoolExecutor) -> None:
    class Stale(Sources):
        def sample(self, now: float, wanted: Any) -> dict[str, Reading[tuple[Node, ...]]]:
            return {one.uid: Reading(self.nodes, now - 30.0, Freshness.STALE) for one in wanted}

    seen = look(Stale(1, (node("a", gpus=0),)), threads)
    assert seen.observation.state.value == PoolState(ready=0, pending_since=(), empty=0, floor=1)
    assert seen.lacking == ()


def test_nodes_lack_their_gpus_when_they_have_for_a_lead_time(threads: ThreadPoolExecutor) -> None:
    """Whose device plugin starts again is on its way, however long its kubelet has been Ready."""
    there = Sources(1, (node("a"),))
    gatherer = PoolGatherer(there, there, there, threads, 0.05)
    given = pool()

    def lacking(now: float, gpus: int) -> list[str]:
        there.nodes = (node("a", gpus=gpus),)
        gatherer.begin([given])
        return [one.name for one in gatherer.gather(now, [given], {}, [], frozenset())[given.uid].lacking]

    assert lacking(86_400.0, 8) == []
    assert lacking(86_415.0, 0) == []
    assert lacking(86_400.0 + 419.0, 0) == []
    assert lacking(86_400.0 + 435.0, 0) == ["a"]
    assert lacking(86_400.0 + 450.0, 8) == []


@pytest.mark.parametrize("ready", [True, False])
def test_a_cordoned_node_without_a_pod_is_no_node_and_not_on_its_way(threads: ThreadPoolExecutor, ready: bool) -> None:
    shut = node("b", closed=True) if ready else node("b", closed=True, ready=None)
    seen = look(Sources(2, (node("a"), shut), pod("p", "a")), threads)
    assert seen.observation.state.value == PoolState(ready=1, pending_since=(), empty=0, floor=1)
    assert (seen.number, seen.shut) == (2, 1)
    made = pool(provider={"capacityBuffer": {"namespace": "gpu", "name": "warm"}})
    seen = look(Sources(0, (node("a"), shut), pod("p", "a")), threads, made)
    assert (seen.observation.state.value, seen.shut) == (PoolState(1, (), 0, 1), 0), "a buffer counts spare nodes"


def test_where_pods_are_not_known_no_node_is_empty(threads: ThreadPoolExecutor) -> None:
    seen = look(Sources(2, (node("a"), node("b"))), threads, unseen=True)
    assert seen.observation.state.value == PoolState(2, (), 0, 2)
    assert seen.empty == ()


def test_spare_nodes_are_beside_the_busy_ones(threads: ThreadPoolExecutor) -> None:
    made = pool(provider={"capacityBuffer": {"namespace": "gpu", "name": "warm"}})
    seen = look(Sources(2, (node("a"), node("b")), pod("p", "a")), threads, made)
    assert seen.observation.state.value == PoolState(2, (100.0,), 1, 3)
    assert (seen.number, seen.busy) == (2, 1)


@pytest.mark.parametrize(
    ("sources", "freshness", "reason"),
    [
        (Sources(None, (node("a"),)), Freshness.ABSENT, Reason.TARGET_NOT_FOUND),
        (Sources(2, None), Freshness.ERROR, Reason.FORBIDDEN),
        (Sources(None, None), Freshness.ERROR, Reason.FORBIDDEN),
    ],
)
def test_the_worse_of_the_two_is_told(
    sources: Sources, freshness: Freshness, reason: Reason, threads: ThreadPoolExecutor
) -> None:
    state = look(sources, threads).observation.state
    assert (state.value, state.freshness, state.reason) == (None, freshness, reason)
    assert state.detail


def test_a_count_that_hangs_is_an_error_and_is_not_asked_for_twice(threads: ThreadPoolExecutor) -> None:
    sources, given = Sources(2, (node("a"),)), pool()
    sources.hangs = Event()
    gatherer = PoolGatherer(sources, sources, sources, threads, 0.05)
    for _ in range(2):
        gatherer.begin([given])
        seen = gatherer.gather(100.0, [given], {}, [], frozenset())[given.uid]
        assert seen.observation.state.reason is Reason.KUBERNETES_UNREACHABLE
    assert sources.asked == 1
    sources.hangs.set()
    gatherer.begin([given])
    assert gatherer.gather(100.0, [given], {}, [], frozenset())[given.uid].observation.state.fresh
