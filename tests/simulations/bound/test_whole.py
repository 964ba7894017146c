"""The mixed-integer bound equals the best of all schedules, tried one by one, on small cases."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulations.bound import Excuse, Terms, bound
from simulations.errors import BadSetting, SimulationError
from simulations.whole_bound import Nodes, whole_bound

STEP = 10


@dataclass(frozen=True)
class Small:
    """Per-second arrivals, even in steps of 10 s, and the terms."""

    load: np.ndarray[tuple[int], np.dtype[np.float64]]
    terms: Terms
    excuse: Excuse


def meets(case: Small, replicas: Sequence[int]) -> bool:
    """Serve first in, first out with these replicas, second by second of the curves, and count who is late."""
    terms, total = case.terms, float(case.load.sum())
    slack = int(terms.within - terms.service_time)
    excused = (1 - terms.share) * total
    left = gone = 0.0  # waiting, and set aside because they were late
    for t, count in enumerate(replicas):
        begin, end = t * STEP, min((t + 1) * STEP, len(case.load))
        left = max(left + float(case.load[begin:end].sum()) - count * terms.service_rate * (end - begin), 0.0)
        young = float(case.load[max(end - slack, 0) : end].sum())
        late = max(left - young, 0.0)
        if case.excuse is Excuse.OVERDUE:
            if late > excused + 1e-9:
                return False
        else:
            gone += late
            left -= late
    return gone <= excused + 1e-9


def started(counts: Sequence[int], first: float | None) -> list[float]:
    before = [counts[0] if first is None else first, *counts[:-1]]
    return [max(now - was, 0.0) for was, now in zip(before, counts, strict=True)]


def schedules(case: Small) -> list[tuple[int, ...]]:
    steps = math.ceil(len(case.load) / STEP)
    some = range(int(case.terms.min_replicas), int(case.terms.max_replicas) + 1)
    return [plan for plan in itertools.product(some, repeat=steps) if meets(case, plan)]


def by_second(case: Small, plan: Sequence[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.repeat(np.array(plan), STEP)[: len(case.load)]


def cheapest_without_nodes(case: Small) -> float:
    costs = (
        by_second(case, plan).sum() + case.terms.start * sum(started(plan, case.terms.replicas))
        for plan in schedules(case)
    )
    return min(costs, default=math.inf)


def cheapest_with_nodes(case: Small, nodes: Nodes) -> float:
    """Second by second: who stands on nodes, and for each number of nodes the least that was paid until then."""
    best = math.inf
    for plan in schedules(case):
        places = by_second(case, plan).astype(float)
        for t, coming in enumerate(started(plan, case.terms.replicas)):
            places[max(t * STEP - int(case.terms.start), 0) : t * STEP] += coming
        need = np.ceil(nodes.weight * places / nodes.size)
        some = np.arange(max(need.max(), nodes.nodes or 0) + 1)
        more = nodes.lead_time * np.maximum(some[None, :] - some[:, None], 0)
        paid = np.zeros(len(some)) if nodes.nodes is None else more[nodes.nodes]
        for least in need:
            paid = (paid[:, None] + more).min(axis=0) + np.where(some >= least, some, np.inf)
        best = min(best, nodes.size * float(paid.min()))
    return best


@st.composite
def smalls(draw: st.DrawFn, most: int = 3) -> Small:
    rates = draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
    terms = Terms(
        service_rate=draw(st.sampled_from([1.0, 1.5])),
        service_time=1.0,
        within=1.0 + draw(st.sampled_from([0, 4, 10, 15])),
        share=draw(st.sampled_from([0.7, 0.9, 1.0])),
        start=draw(st.sampled_from([0.0, 4.0, 10.0, 25.0])),
        min_replicas=float(draw(st.integers(0, 1))),
        max_replicas=float(most),
        replicas=draw(st.sampled_from([None, 0.0, 2.0])),
        step=float(STEP),
    )
    load = np.repeat(np.array(rates, float), STEP)
    return Small(load[: len(load) - draw(st.sampled_from([0, 3]))], terms, draw(st.sampled_from(list(Excuse))))


@settings(max_examples=30, deadline=None)
@given(case=smalls())
def test_whole_replicas_equal_brute_force(case: Small) -> None:
    best = cheapest_without_nodes(case)
    if math.isinf(best):
        with pytest.raises(BadSetting, match="max_replicas"):
            whole_bound(case.load, case.terms, excuse=case.excuse)
        return
    found = whole_bound(case.load, case.terms, excuse=case.excuse)
    assert found.replica_hours * 3600 == pytest.approx(best, abs=1e-4)
    assert found.gap == pytest.approx(0.0, abs=1e-6)
    assert meets(case, [int(n) for n in found.replicas])
    assert bound(case.load, case.terms, case.excuse).replica_hours <= found.replica_hours + 1e-9


@settings(max_examples=25, deadline=None)
@given(
    case=smalls(),
    size=st.integers(1, 3),
    lead=st.sampled_from([0.0, 7.0, 20.0]),
    ready=st.sampled_from([None, 0, 1]),
    data=st.data(),
)
def test_whole_nodes_equal_brute_force(
    case: Small, size: int, lead: float, ready: int | None, data: st.DataObject
) -> None:
    nodes = Nodes(size, lead, data.draw(st.integers(1, size)), nodes=ready)
    best = cheapest_with_nodes(case, nodes)
    if math.isinf(best):
        with pytest.raises(BadSetting):
            whole_bound(case.load, case.terms, nodes, case.excuse)
        return
    found = whole_bound(case.load, case.terms, nodes, case.excuse)
    assert found.replica_hours * 3600 == pytest.approx(best, abs=1e-4)
    assert found.nodes is not None
    assert (found.nodes * nodes.size >= found.replicas * nodes.weight - 1e-6).all()


TERMS = Terms(1.0, 0.0, 0.0, 1.0, start=10.0, step=float(STEP))


def test_a_part_of_a_replica_is_a_whole_one_and_a_node_is_paid_whole() -> None:
    load = np.full(60, 2.5)
    assert bound(load, TERMS).replica_hours * 3600 == pytest.approx(150)
    assert whole_bound(load, TERMS).replica_hours * 3600 == pytest.approx(180)
    assert whole_bound(load, TERMS, Nodes(8, 60.0)).replica_hours * 3600 == pytest.approx(8 * 60)
    # Asked for anew, the one node is paid for its lead time, too.
    assert whole_bound(load, TERMS, Nodes(8, 60.0, nodes=0)).replica_hours * 3600 == pytest.approx(8 * 120)


def test_a_replica_takes_its_place_before_it_serves() -> None:
    load = np.repeat([1.0, 1.0, 2.0], STEP)
    nodes = Nodes(1, 0.0)
    # The second replica serves the last step, and stands on its node for the 10 s before.
    assert whole_bound(load, TERMS, nodes).replica_hours * 3600 == pytest.approx(10 + 20 + 20)
    assert whole_bound(load, replace(TERMS, start=0.0), nodes).replica_hours * 3600 == pytest.approx(10 + 10 + 20)


def test_a_lead_time_that_is_no_whole_number_of_steps_is_paid_to_the_second() -> None:
    load = np.repeat([1.0, 2.0], 30)
    # Two steps of 30 s, one replica and two; the second stands on its own node for the 20 s before it serves.
    found = whole_bound(load, replace(TERMS, start=20.0, step=30.0), Nodes(1, 0.0))
    assert found.replica_hours * 3600 == pytest.approx(60 + 30 + 20)
    assert found.nodes is not None
    assert found.nodes.tolist() == [2, 2]


def test_nodes_are_not_paid_in_a_gap() -> None:
    load = np.repeat([1.0, np.nan, 2.0], 10)
    # The node of the second replica is asked for 20 s before it serves, 10 of which nobody knows.
    found = whole_bound(load, replace(TERMS, start=0.0, min_replicas=1.0), Nodes(2, 20.0, weight=2))
    assert found.replica_hours * 3600 == pytest.approx(2 * (10 + 20 + 10))


def test_too_few_nodes_are_told() -> None:
    load = np.repeat(np.random.default_rng(0).poisson(20, 200).astype(float), STEP)
    with pytest.raises(BadSetting):
        whole_bound(load, TERMS, Nodes(2, 0.0, max_nodes=3))


@pytest.mark.parametrize("nodes", [None, Nodes(3, 50.0, 2), Nodes(3, 50.0, 2, nodes=0)])
def test_stopped_at_once_it_still_has_a_schedule_and_says_what_is_proven(nodes: Nodes | None) -> None:
    load = np.repeat(np.random.default_rng(0).poisson(3, 40).astype(float), STEP)
    terms = replace(TERMS, within=10.0, share=0.9, start=20.0)
    stopped = whole_bound(load, terms, nodes, time_limit=0.0)
    full = whole_bound(load, terms, nodes, gap=0.01)
    assert meets(Small(load, terms, Excuse.OVERDUE), [int(n) for n in stopped.replicas])
    assert 0 < stopped.least_hours <= full.replica_hours + 1e-9
    assert stopped.replica_hours >= full.least_hours - 1e-9
    assert stopped.gap > 0
    if nodes is not None and stopped.nodes is not None:
        assert (stopped.nodes * 3 >= stopped.replicas * 2).all()


def test_where_only_a_part_of_a_replica_would_do_there_is_no_schedule() -> None:
    load = np.full(60, 2.5)
    terms = replace(TERMS, max_replicas=2.6)
    assert bound(load, terms).replica_hours * 3600 == pytest.approx(150)
    for limit in (0.0, 10.0):
        with pytest.raises(SimulationError, match="allow more"):
            whole_bound(load, terms, time_limit=limit)


@pytest.mark.parametrize("wrong", [{"size": 0}, {"weight": 9}, {"weight": 0}, {"lead_time": -1.0}])
def test_nodes_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(BadSetting, match=r"found .*; allowed"):
        replace(Nodes(8, 60.0), **wrong)  # type: ignore[arg-type]
