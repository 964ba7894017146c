"""The whole way around: load, plan, nodes, pods. No serving pod is evicted, no outage lowers, no budget is passed."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scaler.api.predictive_scaler import PredictiveScaler
from scaler.plan.reasons import Reason
from tests.pools.made import START, TICK, Bench, pool, scaler


def hill(low: float, high: float, begin: float, end: float) -> Callable[[float], float]:
    return lambda t: high if begin <= t < end else low


def test_nodes_come_for_more_load_and_go_empty_for_less(bench: Callable[..., Bench]) -> None:
    b = bench({"chat": hill(10.0, 40.0, 300.0, 2400.0), "embed": lambda t: 6.0}, pool())
    b.run(300)
    most = max(count for _, count in b.cluster.counts)
    assert 4 <= most <= 12
    assert b.cluster.count <= 3, "20 and 3 GPUs are needed in calm; a node is shared in part"
    assert b.cluster.evicted == []
    assert b.cluster.marked > 0
    rises = sum(max(after - before, 0) for before, after in pairwise([2, *(count for _, count in b.cluster.counts)]))
    assert b.value("lagcast_node_lead_time_seconds_count") == rises, "each node that was asked for is learned from once"
    assert b.value("lagcast_pool_lead_time_seconds") == pytest.approx(300.0, abs=TICK)
    assert b.value("lagcast_pool_writes_total", outcome="Applied") == len(b.cluster.counts)
    assert b.value("lagcast_pool_cost_per_hour") == pytest.approx(31.2 * b.cluster.count)
    assert b.value("lagcast_pool_ready_nodes") == b.cluster.count
    marks = [pod for name in b.loads for pod in b.cluster.pods_of(b.target(name)) if pod.marked is not None]
    assert marks == [], "who stays is as he was"


def returning(t: float) -> float:
    """Six times the load for 25 s of every 120."""
    return 120.0 if 90.0 <= t % 120.0 < 115.0 else 20.0


@pytest.mark.parametrize("mode", ["Enforce", "Recommend"])
def test_a_spike_that_returns_finds_its_nodes_ready_and_no_pod_waits(bench: Callable[..., Bench], mode: str) -> None:
    """Three nodes more than in calm, which take 25 s to come. In Recommend its pods wait, for nobody makes nodes."""
    spec = scaler("chat").model_dump(by_alias=True, mode="json", exclude_none=True)
    spec["spec"]["replicas"] |= {"max": 24, "serviceRate": "10", "serviceTime": "100ms", "leadTime": "38s"}
    spec["spec"]["objective"] = {"within": "3s", "share": "99%"}
    spec["spec"]["forecast"] = {"model": "levelSeason", "step": "2s", "season": "2m", "history": "12m"}
    node = {"gpus": 4, "replicas": 4, "selector": {"pool": "h100"}, "leadTime": "25s", "idle": "20s"}
    b = bench(
        {"chat": returning},
        pool(node=node, mode=mode),
        nodes=1,
        replicas=3,
        node_lead_time=lambda: 25.0,
        resources=[PredictiveScaler.model_validate(spec)],
        tick=2.0,
        rate=10.0,
        size=4,
        lead_time=9.0,
    )
    b.remember("chat", 720)
    b.run(46)  # to two seconds into the spike
    waited = max(b.waited["chat"])
    if mode == "Enforce":
        assert (len(b.cluster.nodes()), waited) == (4, 0)
        assert b.cluster.ready(b.target("chat")) >= 12
    else:
        assert b.cluster.counts == []
        assert waited >= 8


def test_recommend_changes_no_count_and_marks_no_pod(bench: Callable[..., Bench]) -> None:
    b = bench({"chat": hill(10.0, 40.0, 300.0, 900.0)}, pool(mode="Recommend"))
    b.run(160)  # the need of the hill stands for two lead times after it
    assert b.cluster.counts == []
    assert b.cluster.marked == 0
    assert b.value("lagcast_pool_desired_nodes") == 1, "four replicas stand on one of the two nodes"
    assert b.value("lagcast_pool_current_nodes") == 2


def test_an_outage_of_nodes_is_told_and_nothing_is_written(bench: Callable[..., Bench]) -> None:
    b = bench({"chat": lambda t: 6.0}, pool(), nodes=4)
    b.run(2)
    b.cluster.down = True
    row = b.tick()
    assert row is not None
    assert row.nodes is None
    assert row.outcome.reason is Reason.KUBERNETES_UNREACHABLE
    assert b.value("lagcast_pool_input_status", status="error") == 1
    assert b.value("lagcast_pool_ready_nodes") != 0
    b.controller.configure([scaler("chat")], [])
    assert b.value("lagcast_pool_input_status", status="error") is None, "a pool's series go with it"


steps = st.lists(
    st.tuples(
        st.sampled_from([2.0, 10.0, 40.0, 90.0]),
        st.sampled_from([2.0, 30.0]),
        st.sampled_from(["", "", "cluster", "node", "budget"]),
    ),
    min_size=4,
    max_size=8,
)


@given(steps=steps, gpus=st.sampled_from([24, 64, 200]))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_comes(steps: list[tuple[float, float, str]], gpus: int) -> None:
    """Load, outages and broken nodes as they come, ten ticks each."""
    now = [2.0, 2.0]
    b = Bench(
        {"chat": lambda t: now[0], "embed": lambda t: now[1]},
        pool(budget={"gpus": gpus}),
        nodes=3,
        node_lead_time=lambda: 100.0,
    )
    try:
        for chat, embed, what in steps:
            now[:] = [chat, embed]
            b.cluster.down = what == "cluster"
            if what == "node" and len(b.cluster.nodes()) > 1:
                b.cluster.lose(b.cluster.nodes()[0].name)
                b.cluster.evicted.clear()  # by that
            before = b.cluster.count
            b.run(10)
            if what == "cluster":
                assert b.cluster.count == before
            b.cluster.down = False
            assert b.cluster.evicted == []
        counts = [count for _, count in b.cluster.counts]
        assert all(count <= max(gpus // 8, 3) for count in counts)
        rises = [after for before, after in pairwise([3, *counts]) if after > before]
        assert all(count * 8 <= gpus for count in rises)
        assert b.clock.now() == START + 10 * len(steps) * TICK
    finally:
        b.close()
