"""Which nodes stay filled, and how a pool's floor falls."""

from __future__ import annotations

import pickle

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.plan.nodes import NodePlanner
from scaler.plan.nodes_share import Claim, Shares, nodes_to_keep
from scaler.plan.observation import Freshness, PoolObservation, PoolState, Reading
from scaler.plan.reasons import Reason
from tests.plan.nodes_cases import NOW, POD, POOL, SIZE, TICK, decide, jump, need, seen, steady


def test_nodes_that_no_path_needs_are_emptied_and_the_floor_follows_them() -> None:
    """40 GPUs, 14 needed: two nodes do. The floor stands until the others are empty."""
    planner = NodePlanner(POOL, TICK)
    plan = planner.step(NOW, seen(5), [need(steady(14.0), 40)])
    assert (plan.kept, plan.replicas, plan.vacate) == (2, (16,), True)
    assert plan.floor == 5
    assert plan.reasons == (Reason.FORECAST,)
    plan = planner.step(NOW + TICK, seen(5, empty=2, now=NOW + TICK), [need(steady(14.0), 16)])
    assert plan.floor == 3
    plan = planner.step(NOW + 2 * TICK, seen(5, empty=3, now=NOW + 2 * TICK), [need(steady(14.0), 16)])
    assert (plan.floor, plan.replicas, plan.reasons) == (2, (16,), (Reason.STEADY,))


def test_a_node_that_is_needed_before_an_empty_one_goes_stays() -> None:
    """Giving it up would save nothing: it would still be there, paid for, when it is needed."""
    assert decide(5, need(jump(14.0, 38.0, POOL.idle - 60.0), 40)).kept == 5
    assert decide(5, need(jump(14.0, 38.0, POOL.idle + 300.0), 40)).kept == 2


def test_empty_nodes_that_are_paid_for_are_filled_again_when_they_are_needed() -> None:
    """16 pods on two of five nodes; the jump is at the pods' lead time: no order, pods on what is there."""
    plan = decide(5, need(jump(14.0, 38.0, 105.0), 16), empty=3)
    assert (plan.kept, plan.ordered, plan.replicas, plan.floor) == (5, 0, (40,), 5)


def test_empty_nodes_are_filled_again_only_for_what_that_saves() -> None:
    """A third node would save 100 and cost 800. That more is late than may be keeps nodes that hold pods, and fills
    none that is empty."""
    lates = {24: 900.0, 16: 1000.0, 8: 9000.0, 0: 99999.0}
    claim = Claim(gpus=1, least=0, floor=0, most=24, weight=1.0, lead=POD, peak=np.zeros(1), now=16)

    def kept(empty: int) -> int:
        shares = Shares([claim], lambda _, counts: [lates[n] for n in counts])
        state = PoolState(3, (), empty, 0)
        return nodes_to_keep(shares, [16], state, 0, SIZE, 100.0, np.zeros(20), [100.0])

    assert kept(empty=1) == 2
    assert kept(empty=0) == 3


def test_nodes_that_boot_are_filled_and_kept() -> None:
    plan = decide(2, need(steady(14.0), 16), pending=[100.0])
    assert (plan.floor, plan.replicas) == (3, (24,))


def test_the_present_need_of_the_last_minutes_stands() -> None:
    """A jump that passed a minute ago may come again; after the hold its nodes go."""
    planner = NodePlanner(POOL, TICK)
    planner.step(NOW, seen(5), [need(steady(38.0), 40)])
    later = NOW + 300.0
    assert planner.step(later, seen(5, now=later), [need(steady(6.0), 40)]).kept == 5
    later = NOW + 1300.0  # two and a half lead times of node and pod are 1,288 s
    assert planner.step(later, seen(5, now=later), [need(steady(6.0), 40)]).kept == 1


def test_a_pool_without_services_keeps_what_is_occupied() -> None:
    plan = decide(3, empty=1, pending=[10.0])
    assert (plan.floor, plan.replicas) == (3, ())


def test_a_large_pool_is_emptied_over_some_ticks() -> None:
    """8 nodes at once, or a tenth; no more while those have yet to go."""
    assert decide(20, need(steady(14.0), 160)).kept == 12
    assert decide(20, need(steady(14.0), 96), empty=8).kept == 12
    assert decide(120, need(steady(14.0), 960, most=2000)).kept == 108


def test_unknown_nodes_are_no_missing_nodes() -> None:
    """Rule 1: no floor is written and nothing is taken away; what the present needs is still asked for."""
    for freshness in (Freshness.ABSENT, Freshness.ERROR, Freshness.STALE):
        value = PoolState(0, (), 0, 0) if freshness is Freshness.STALE else None
        observed = PoolObservation(POOL.uid, Reading(value, NOW, freshness, Reason.KUBERNETES_UNREACHABLE))
        plan = NodePlanner(POOL, TICK).step(
            NOW, observed, [need(steady(1.0), 16), need(steady(1.0), 4, uid="b", floor=9)]
        )
        assert plan.floor is None
        assert plan.replicas == (16, 9)
        assert Reason.KUBERNETES_UNREACHABLE in plan.reasons


def test_what_may_not_be_taken_away_stays() -> None:
    plan = decide(5, need(steady(1.0), 37, least=37))
    assert (plan.kept, plan.replicas) == (5, (40,))


@given(
    st.integers(0, 6),
    st.integers(0, 6),
    st.integers(0, 3),
    st.integers(0, 60),
    st.floats(0.0, 80.0),
    st.floats(0.0, 80.0),
    st.integers(0, 10_000),
)
@settings(max_examples=60, deadline=None)
def test_bounds_hold_whatever_is_seen(
    ready: int, empty: int, booting: int, current: int, now_rate: float, then: float, backlog: int
) -> None:
    """The floor is never below what is occupied or on its way, never above all that may be; replicas are within their
    limits, and never more than the nodes that there will be hold."""
    empty = min(empty, ready)
    serving = min(current, (ready - empty) * SIZE)
    since = tuple(NOW - 10.0 * k for k in range(current - serving))
    one = need(
        jump(now_rate, then, 300.0), current, ready=serving, pending_since=since, backlog=float(backlog), most=60
    )
    plan = decide(ready, one, pending=[50.0] * booting, empty=empty)
    assert plan.floor is not None
    assert plan.floor >= ready - empty + booting
    assert plan.floor <= max(60 // SIZE + 1, ready + booting)
    (count,) = plan.replicas
    assert 1 <= count <= 60
    assert plan.kept is not None
    assert 0 <= plan.kept <= ready


def test_a_planner_that_was_put_away_decides_as_the_one_that_went_on() -> None:
    rng = np.random.default_rng(2)
    planner = NodePlanner(POOL, TICK)
    for k in range(6):
        now = NOW + k * TICK
        one = need(14.0 * np.exp(0.3 * rng.standard_normal((50, 100))), 30, ready=20, pending_since=(NOW,) * 10)
        restored = pickle.loads(pickle.dumps(planner))
        observed = seen(3, pending=[100.0], now=now)
        assert restored.step(now, observed, [one]) == planner.step(now, observed, [one])


def test_the_same_input_gives_the_same_plan() -> None:
    rng = np.random.default_rng(1)
    paths = 14.0 * np.exp(0.3 * rng.standard_normal((100, 84)).cumsum(axis=1) / 5)
    assert decide(3, need(paths, 24)) == decide(3, need(paths, 24))
