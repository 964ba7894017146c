"""Which nodes are on their way and since when, and how long they took."""

from __future__ import annotations

from scaler.observe.node_ways import NodeWays
from scaler.observe.nodes import Node


def node(name: str, created: float, ready: float | None = None) -> Node:
    return Node(name, name, created, ready, 8, closed=False, leaving=False)


def up(*nodes: Node) -> frozenset[str]:
    return frozenset(n.uid for n in nodes if n.ready is not None)


def test_from_our_own_write_to_ready() -> None:
    ways, old = NodeWays(), node("a", 0.0, 10.0)
    assert ways.step(100.0, [old], up(old), 1) == ()
    ways.asked(101.0)
    assert ways.step(115.0, [old], up(old), 3) == ()
    assert ways.pending([old], up(old)) == (101.0, 101.0)
    booting = node("b", 200.0)
    assert ways.step(205.0, [old, booting], up(old), 3) == ()
    assert ways.pending([old, booting], up(old)) == (101.0, 101.0), "it came for the first of the two"
    there = node("b", 200.0, 220.0)
    assert ways.step(230.0, [old, there], up(old, there), 3) == (119.5,)  # the second that is stamped has a middle
    assert ways.pending([old, there], up(old, there)) == (101.0,)
    assert ways.step(245.0, [old, there], up(old, there), 3) == (), "each is told once"


def test_a_rise_by_somebody_else_counts_from_when_it_was_seen() -> None:
    ways = NodeWays()
    ways.step(0.0, [], frozenset(), 0)
    ways.step(15.0, [], frozenset(), 1)
    assert ways.pending([], frozenset()) == (15.0,)
    there = node("a", 40.0, 44.0)
    assert ways.step(45.0, [there], up(there), 1) == (29.5,)


def test_a_node_that_was_asked_for_and_came_between_two_ticks() -> None:
    ways = NodeWays()
    ways.step(0.0, [], frozenset(), 0)
    ways.asked(1.0)
    there = node("a", 5.0, 9.0)
    assert ways.step(15.0, [there], up(there), 1) == (8.5,)
    assert ways.pending([there], up(there)) == ()


def test_what_was_found_teaches_nothing_and_counts_from_now() -> None:
    ways, booting = NodeWays(), node("a", 50.0)
    ways.step(100.0, [booting], frozenset(), 3)
    assert ways.pending([booting], frozenset()) == (50.0, 100.0, 100.0)
    there = node("a", 50.0, 110.0)
    assert ways.step(115.0, [there], up(there), 3) == (), "it may have been asked for long before"
    second = node("b", 112.0, 120.0)
    assert ways.step(130.0, [there, second], up(there, second), 3) == ()


def test_a_node_for_pending_pods_of_somebody_elses_count_teaches_nothing() -> None:
    ways = NodeWays()
    ways.step(0.0, [], frozenset(), 0)
    booting = node("a", 5.0)
    assert ways.step(15.0, [booting], frozenset(), 0) == ()
    assert ways.pending([booting], frozenset()) == (5.0,)
    there = node("a", 5.0, 20.0)
    assert ways.step(30.0, [there], up(there), 0) == ()


def test_a_lowered_count_takes_back_what_did_not_come_and_a_lost_node_is_asked_for_anew() -> None:
    ways = NodeWays()
    ways.step(0.0, [], frozenset(), 0)
    ways.step(15.0, [], frozenset(), 3)
    ways.step(30.0, [], frozenset(), 1)
    assert ways.pending([], frozenset()) == (15.0,)
    there = node("a", 35.0, 40.0)
    ways.step(45.0, [there], up(there), 1)
    ways.step(60.0, [], frozenset(), 1)
    assert ways.pending([], frozenset()) == (60.0,)


def test_a_node_that_was_ready_is_on_its_way_from_when_it_was_lost_and_teaches_nothing() -> None:
    ways = NodeWays()
    ways.step(0.0, [], frozenset(), 0)
    ways.asked(0.0)
    there = node("a", 10.0, 20.0)
    assert ways.step(30.0, [there], up(there), 1) == (20.5,)
    ways.step(86_400.0, [there], up(there), 1)
    lost = node("a", 10.0)
    assert ways.step(86_415.0, [lost], frozenset(), 1) == ()
    assert ways.pending([lost], frozenset()) == (86_400.0,)
    assert ways.step(86_430.0, [there], up(there), 1) == ()


def test_gpus_that_came_after_the_kubelet_are_waited_for() -> None:
    ways = NodeWays()
    ways.step(0.0, [], frozenset(), 0)
    ways.asked(0.0)
    there = node("a", 10.0, 20.0)
    assert ways.step(30.0, [there], frozenset(), 1) == ()
    assert ways.step(60.0, [there], up(there), 1) == (30.0,), "not before it was last seen without"


def test_a_field_that_is_no_count_of_nodes_is_not_counted_up_to() -> None:
    ways, old = NodeWays(), node("a", 0.0, 10.0)
    ways.step(100.0, [old], up(old), 1)
    ways.step(115.0, [old], up(old), 2_147_483_647)
    assert len(ways.pending([old], up(old))) < 15_000
