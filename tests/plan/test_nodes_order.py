"""When nodes are ordered, how many, and never twice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.plan.nodes import NodePlanner
from scaler.plan.nodes_need import PoolSpec
from scaler.plan.observation import Freshness, PoolObservation, PoolState, Reading
from scaler.plan.reasons import Reason
from tests.plan.nodes_cases import NODE, NOW, POD, POOL, SIZE, TICK, Obeying, decide, jump, need, seen, steady


def test_nothing_is_ordered_where_every_path_is_served() -> None:
    plan = decide(2, need(steady(14.0), 16))
    assert (plan.ordered, plan.kept, plan.floor, plan.replicas) == (0, 2, 2, (16,))
    assert plan.reasons == (Reason.STEADY,)


def test_a_jump_is_ordered_for_when_a_new_node_would_be_in_time_and_not_before() -> None:
    """16 GPUs are there, 30 are needed from the jump on: two nodes more, a lead time ahead of it."""
    lead = NODE + POD
    assert decide(2, need(jump(14.0, 30.0, lead + 60.0), 16)).ordered == 0
    plan = decide(2, need(jump(14.0, 30.0, lead - 15.0), 16))
    assert (plan.ordered, plan.floor, plan.replicas) == (2, 4, (32,))
    assert plan.reasons == (Reason.FORECAST,)


def test_what_is_needed_when_a_node_ordered_now_serves_is_told_of_all_services_together() -> None:
    """Of two services one in ten paths jumps, never of both on the same path: beyond 95 % of the paths each alone has
    its jump, and all together, too."""
    calm, rising = steady(14.0), jump(14.0, 30.0, NODE)
    assert decide(2, need(rising, 16)).needed == (pytest.approx(30.0), pytest.approx(30.0))
    first, second = calm.copy(), calm.copy()
    first[:2], second[2:4] = rising[:2], rising[:2]
    both = decide(4, need(first, 16), need(second, 16, uid="two"))
    assert both.needed is not None
    middle, high = both.needed
    assert middle == pytest.approx(28.0)
    alone = decide(2, need(first, 16)).needed
    assert alone is not None
    assert high - middle == pytest.approx(alone[1] - alone[0])
    assert high - middle >= 16.0


def test_where_the_count_is_written_pods_do_not_wait_for_the_nodes_that_come() -> None:
    """The same two nodes are ordered; their pods are asked for when they are Ready."""
    written = replace(POOL, enforced=True)
    service = need(jump(14.0, 30.0, NODE + POD - 15.0), 16)
    ordered = decide(2, service, pool=written)
    assert (ordered.ordered, ordered.floor, ordered.replicas) == (2, 4, (16,))
    booting = decide(2, service, pool=written, pending=(300.0, 300.0))
    assert (booting.ordered, booting.floor, booting.replicas) == (0, 4, (16,))
    there = decide(4, need(jump(14.0, 30.0, POD), 16), pool=written, empty=2)
    assert (there.kept, there.replicas) == (4, (32,))


def test_a_node_that_came_early_is_kept_for_what_it_was_ordered_for() -> None:
    """However soon an empty node would go: one that would be ordered for the jump now is not given up now."""
    service = need(jump(14.0, 30.0, NODE), 16)
    assert decide(2, service, pool=replace(POOL, enforced=True, idle=30.0)).ordered == 2
    early = decide(4, service, pool=replace(POOL, enforced=True, idle=30.0), empty=2)
    assert (early.kept, early.floor, early.replicas) == (4, 4, (32,))
    calm = decide(4, need(steady(14.0), 16), pool=replace(POOL, enforced=True, idle=30.0), empty=2)
    assert calm.kept == 2


def test_a_jump_that_few_paths_hold_is_ordered_for_by_its_price() -> None:
    paths = steady(14.0, paths=100)
    paths[:20] = jump(14.0, 30.0, NODE + POD - 15.0, paths=20)
    assert decide(2, need(paths, 16, price=1.0)).ordered == 0
    assert decide(2, need(paths, 16, price=200.0)).ordered == 2


def test_a_forecast_jump_that_no_single_node_helps_is_ordered_for() -> None:
    """Six times the load: with a node more or five, every request would be late; with ten none."""
    plan = decide(2, need(jump(14.0, 90.0, NODE + POD - 60.0), 16))
    assert plan.ordered == 10
    assert decide(2, need(jump(14.0, 90.0, 60.0), 16)).ordered == 10


def test_caution_widens_the_paths() -> None:
    """A tenth of the paths come to 15.9 of 16 GPUs: without caution nothing is late, with it they need more."""
    paths = steady(14.0, paths=100)
    paths[:10, 32:] = 15.9
    ordered = [decide(2, need(paths, 16, price=500.0, caution=caution)).ordered for caution in (0.0, 20.0)]
    assert ordered[0] == 0
    assert ordered[1] >= 1


def test_what_attains_more_than_declared_orders_for_narrower_paths() -> None:
    """A tenth of the paths come to 19 of 16 GPUs, the others to 14."""
    paths = steady(14.0, paths=100)
    paths[:10, 32:] = 19.0
    ordered = [decide(2, need(paths, 16, price=5000.0, caution=caution)).ordered for caution in (0.7, 1.0)]
    assert ordered == [0, 1]


def test_no_node_is_ordered_for_a_spike_that_is_over_when_it_comes() -> None:
    paths = steady(14.0)
    paths[:, 4:12] = 40.0  # one minute to three minutes ahead
    assert decide(2, need(paths, 16)).ordered == 0


@pytest.mark.parametrize("slow", [False, True])
def test_what_is_on_its_way_is_never_ordered_again(slow: bool) -> None:
    """A jump that stays ahead for as long as the nodes take: one order, whether the nodes are shown or not."""
    world, planner, ordered = Obeying(), NodePlanner(POOL, TICK), 0
    world.nodes = [(0.0, 0.0)] * 2
    world.pods = [(0.0, 0.0)] * 16
    for k in range(40):
        ahead = max(NODE + POD - k * TICK, 0.0)
        plan = planner.step(world.now, world.observation(slow), [world.need(jump(14.0, 30.0, ahead))])
        ordered += plan.ordered
        world.obey(plan)
    assert ordered == 2
    assert len(world.nodes) == 4


@given(st.integers(0, 6), st.floats(0.0, 3000.0), st.floats(0.0, 60.0), st.integers(0, 5000))
@settings(max_examples=30, deadline=None)
def test_nodes_on_their_way_count_whatever_their_age(booting: int, age: float, rate: float, backlog: int) -> None:
    """With as many nodes as the most replicas fill, on their way or Ready, none is ordered."""
    one = need(steady(rate), 16, most=16 + SIZE * booting, backlog=float(backlog))
    assert decide(2, one, pending=[age] * booting).ordered == 0


def test_pods_that_wait_longer_than_a_node_takes_do_not_count_as_a_node() -> None:
    waiting = need(steady(30.0), 32, ready=16, level=14.0, pending_since=(1_000_000.0 - 60.0,) * 16)
    assert decide(2, waiting).ordered == 0, "an autoscaler is about to ask for two"
    waiting = need(steady(30.0), 32, ready=16, level=14.0, pending_since=(1_000_000.0 - 3600.0,) * 16)
    plan = decide(2, waiting)
    assert plan.ordered == 2, "nobody asked for a node in an hour: the floor does"
    assert (plan.floor, plan.replicas) == (4, (32,))


def test_a_huge_backlog_does_not_give_up() -> None:
    """Everything is late whatever is ordered, so that no count saves anything: the present's need stands."""
    for rate in (14.0, 0.0):
        plan = decide(2, need(steady(rate), 16, backlog=1e6, level=rate))
        assert plan.kept == 2
        assert plan.replicas == (200,)
        assert plan.ordered == 200 // SIZE - 2
        assert plan.reasons[0] is Reason.REACTIVE_FLOOR


def test_a_backlog_that_is_gone_when_a_node_would_come_orders_none() -> None:
    """Spare for 18 requests/s drains 4,000 messages in 222 s; a node serves after 500."""
    assert decide(4, need(steady(14.0), 32, backlog=4000.0)).ordered == 0
    assert decide(4, need(steady(14.0), 32, backlog=14000.0)).ordered > 0


def test_the_peak_of_a_burst_is_not_taken_to_go_on_until_a_node_serves() -> None:
    """Nodes for 32 requests/s; 36 for one tick of a minute are no backlog of 2,000 when a new node would serve, for a
    minute they are."""
    planner, ordered = NodePlanner(POOL, TICK), []
    for tick, level in enumerate((14.0, 14.0, 14.0, 36.0, 36.0, 36.0, 36.0)):
        now = NOW + tick * TICK
        ordered.append(planner.step(now, seen(4, now=now), [need(steady(14.0), 32, level=level)]).ordered)
    assert ordered[:4] == [0, 0, 0, 1], "the level itself, less a tenth, has its nodes"
    assert ordered[-1] >= 4


def test_a_clock_that_was_set_back_does_not_delay_what_goes_on() -> None:
    """What was seen at times that are yet to come is not of the last minute."""

    def first_order(back: float) -> int:
        planner = NodePlanner(POOL, TICK)
        for tick in range(60):
            now = NOW + tick * TICK
            planner.step(now, seen(4, now=now), [need(steady(14.0), 32, level=14.0)])
        for tick in range(30):
            now = NOW + (60 + tick) * TICK - back
            if planner.step(now, seen(4, now=now), [need(steady(14.0), 32, level=36.0)]).ordered >= 4:
                return tick
        return 30

    assert first_order(240.0) <= first_order(0.0) < 5


def test_the_replicas_that_the_present_needs_have_their_nodes() -> None:
    plan = decide(2, need(steady(1.0), 16, floor=25))
    assert plan.ordered == 2
    assert plan.reasons[0] is Reason.REACTIVE_FLOOR


def test_a_full_pool_orders_none_and_says_so() -> None:
    pool = PoolSpec("gpus", SIZE, NODE, max_nodes=3)
    plan = decide(2, need(jump(14.0, 90.0, NODE), 16), pool=pool)
    assert (plan.ordered, plan.floor, plan.replicas) == (1, 3, (24,))
    assert plan.reasons == (Reason.FORECAST, Reason.POOL_FULL)


def test_no_node_for_more_replicas_than_may_be_or_than_partitions_give_work() -> None:
    paths = jump(14.0, 90.0, NODE)
    plan = decide(2, need(paths, 16, most=20))
    assert (plan.ordered, plan.replicas) == (1, (20,))
    table = np.minimum(np.arange(201.0), 16.0)  # 16 partitions
    assert decide(2, need(paths, 16, table=table)).ordered == 0


def test_several_gpus_a_replica() -> None:
    """8 replicas of 2 GPUs fill two nodes; 15 need two more."""
    plan = decide(2, need(jump(7.0, 15.0, NODE), 8, gpus=2))
    assert (plan.ordered, plan.replicas) == (2, (16,))


def test_what_no_pod_fills_of_a_node_is_not_counted() -> None:
    """Two pods of 3 GPUs fill a node of 8: seven need four nodes, not three, and four take eight pods."""
    plan = decide(2, need(jump(3.5, 7.0, NODE), 4, gpus=3))
    assert (plan.ordered, plan.replicas) == (2, (8,))


@pytest.mark.parametrize("most", [10, 20, None])
@pytest.mark.parametrize(("gpus", "ready"), [(5, 7), (8, 7), (1, 1), (5, 6)])
def test_no_pod_that_serves_is_given_up_for_nodes_that_are_not_told_as_ready(
    most: int | None, gpus: int, ready: int
) -> None:
    pool = PoolSpec("gpus", SIZE, NODE, idle=600.0, max_nodes=most, enforced=True)
    one = need(steady(9.5), 10, gpus=gpus, most=10, floor=0, asked=10)
    plan = decide(ready, one, pool=pool, pending=[0.0] * (10 - ready))
    assert plan.replicas == (10,)


@pytest.mark.parametrize(("one", "pods", "nodes"), [(5, 4, 10), (3, 4, 8), (6, 4, 10), (1, 8, 7), (4, 4, 8)])
def test_pods_of_two_sizes_stand_on_nodes_of_their_own_and_each_fills_its_part(one: int, pods: int, nodes: int) -> None:
    """Beside six of 8 GPUs, on just the nodes that the pool may have: nobody has to give up one that stands."""
    small = need(steady(float(pods)), pods, uid="a", gpus=one, most=pods, floor=pods, asked=pods)
    large = need(steady(6.0), 6, uid="b", gpus=SIZE, most=6, floor=6, asked=6)
    pool = PoolSpec("gpus", SIZE, NODE, idle=600.0, max_nodes=nodes, enforced=True)
    plan = decide(nodes, small, large, pool=pool)
    assert plan.replicas == (pods, 6)
    assert Reason.POOL_FULL not in plan.reasons
    assert plan.kept == nodes


def test_the_horizon_holds_both_lead_times_and_an_empty_nodes_time() -> None:
    planner = NodePlanner(POOL, TICK)
    planner.step(1_000_000.0, seen(2), [need(steady(14.0), 16)])
    assert planner.horizon == pytest.approx(NODE + POD + TICK + POOL.idle, abs=TICK)
    # Learned while the nodes' state is not known, it is followed at once, and by the plan that takes over.
    unknown: Reading[PoolState] = Reading(None, NOW, Freshness.ABSENT)
    planner.step(NOW, PoolObservation(POOL.uid, unknown, lead_times=(700.0,) * 5), [])
    assert (planner.lead_time, planner.horizon) == (700.0, pytest.approx(700 + POD + TICK + POOL.idle, abs=TICK))
    new = NodePlanner(POOL, TICK)
    new.take_over(planner)
    assert (new.lead_time, new.horizon > NODE + POOL.idle + 200) == (700.0, True)


def test_nodes_of_a_cloud_that_was_out_of_gpus_tell_little_of_the_next_and_those_that_take_longer_by_now_do() -> None:
    planner = NodePlanner(POOL, TICK)

    def after(now: float, *seconds: float) -> float:
        one = seen(2, now=now)
        planner.step(now, PoolObservation(one.uid, one.state, seconds), [need(steady(14.0), 16)])
        return planner.lead_time

    for k in range(5):
        assert after(NOW + k * TICK, 10_800.0, 10_785.0) == 2 * NODE, "what came with the first is of the same kind"
    usual = NOW + 10_000.0
    assert after(usual, *[390.0] * 60) == 2 * NODE, "a twentieth of the nodes is surely not beyond what is planned for"
    assert after(usual + 60.0, *[390.0] * 150) == 390.0
    heir = NodePlanner(POOL, TICK)
    after(usual + 5_000.0, 10_800.0)
    heir.take_over(planner)
    planner = heir
    after(usual + 5_015.0, *[10_800.0] * 200)
    assert planner.lead_time == 2 * NODE, "the plan that takes over goes on in the midst of them"
    after(usual + 7_000.0, *[390.0] * 200)
    for k, found in enumerate((2 * NODE, 1500.0, 1500.0)):
        assert after(usual + 10_000.0 * (k + 1), *[1500.0] * 200) == found


def test_lead_times_are_learned_from_nodes() -> None:
    """Nodes that take a minute instead of 400 s are ordered for a minute ahead."""
    paths = jump(14.0, 30.0, NODE + POD)
    planner = NodePlanner(POOL, TICK)
    observed = seen(2)
    fast = type(observed)(observed.uid, observed.state, (60.0,) * 20)
    assert planner.step(1_000_000.0, fast, [need(paths, 16)]).ordered == 0
    assert planner.step(1_000_015.0, seen(2), [need(jump(14.0, 30.0, 60.0 + POD), 16)]).ordered == 2
