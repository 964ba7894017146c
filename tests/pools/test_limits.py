"""How many nodes a pool may have, and by which of them it is lowered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.plan.observation import PoolState
from scaler.plan.reasons import Reason
from scaler.pools.limits import Bounded, Most, bounded, cost_per_hour, most_nodes, pool_spec
from tests.pools.made import pool


@pytest.mark.parametrize(
    ("budget", "most"),
    [
        (None, Most(12, Reason.MAX_NODES)),
        ({"gpus": 95}, Most(11, Reason.GPU_BUDGET)),  # 11 nodes have 88 GPUs, 12 have 96
        ({"gpus": 96}, Most(12, Reason.MAX_NODES)),
        ({"costPerHour": "124.8"}, Most(4, Reason.COST_BUDGET)),  # 4 x 31.2, to the last digit
        ({"costPerHour": "124.799"}, Most(3, Reason.COST_BUDGET)),
        ({"gpus": 80, "costPerHour": "200"}, Most(6, Reason.COST_BUDGET)),
        ({"gpus": 24, "costPerHour": "200"}, Most(3, Reason.GPU_BUDGET)),
    ],
)
def test_the_budget_in_gpus_and_in_cost_bounds_the_nodes(budget: object, most: Most) -> None:
    assert most_nodes(pool(budget=budget)) == most
    assert pool_spec(pool(budget=budget)).max_nodes == most.nodes


def test_the_cost_is_that_of_the_nodes() -> None:
    assert cost_per_hour(pool(), 3) == pytest.approx(93.6)
    assert cost_per_hour(pool(node={"gpus": 8, "replicas": 8, "selector": {"a": "b"}}), 3) is None


@pytest.mark.parametrize(
    ("decided", "state", "expected"),
    [
        (5, PoolState(3, (), 0, 3), Bounded(5)),
        (0, PoolState(1, (), 1, 1), Bounded(1, (Reason.MIN_NODES,))),
        (20, PoolState(3, (), 0, 3), Bounded(12, (Reason.MAX_NODES,))),
        (3, PoolState(5, (), 1, 5), Bounded(4, (Reason.NODES_IN_USE,))),
        (3, PoolState(5, (1.0,), 3, 6), Bounded(3)),  # two are used, one comes
        (3, PoolState(5, (1.0,), 2, 6), Bounded(4, (Reason.NODES_IN_USE,))),
        (9, PoolState(14, (), 0, 14), Bounded(14, (Reason.NODES_IN_USE,))),
        (4, PoolState(9, (), 0, 3), Bounded(4)),  # a minimum beside an autoscaler that has more nodes
        (2, PoolState(9, (), 0, 3), Bounded(3, (Reason.NODES_IN_USE,))),
    ],
)
def test_the_limit_that_moved_the_number_is_named(decided: int, state: PoolState, expected: Bounded) -> None:
    assert bounded(pool(), decided, state) == expected


@given(
    decided=st.integers(0, 30),
    ready=st.integers(0, 20),
    pending=st.integers(0, 5),
    empty=st.integers(0, 20),
    floor=st.integers(0, 25),
    gpus=st.integers(8, 120),
)
def test_never_lower_by_a_node_that_is_not_empty_and_never_raised_above_the_budget(
    decided: int, ready: int, pending: int, empty: int, floor: int, gpus: int
) -> None:
    state = PoolState(ready, (0.0,) * pending, min(empty, ready), floor)
    nodes = bounded(pool(budget={"gpus": gpus}), decided, state).nodes
    assert nodes * 8 <= gpus or nodes <= floor
    assert nodes <= 12 or nodes <= floor
    if nodes < floor:
        assert floor - nodes <= max(floor - (state.ready - state.empty + pending), 0)
