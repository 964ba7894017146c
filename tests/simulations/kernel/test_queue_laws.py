"""What holds for every queue: nothing is lost, Little's law, first in first out, more hands never hurt."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulations.cluster import Cluster, ServiceColumns
from simulations.run import simulate
from simulations.setting import (
    Assignor,
    Between,
    Partitioned,
    Protocol,
    Rebalance,
    ServiceSetting,
    Shared,
)
from tests.simulations.kernel.cases import Scripted, drive, load, one, setting_of

FEW = settings(max_examples=20, deadline=None)
arrivals = st.lists(st.one_of(st.integers(0, 40), st.floats(0, 30), st.just(0.0)), min_size=30, max_size=120)
counts = st.lists(st.integers(0, 7), min_size=1, max_size=8)
queues = st.one_of(
    st.builds(Shared),
    st.builds(Partitioned, st.integers(1, 6), st.sampled_from(Assignor)),
    st.builds(Partitioned, st.just(3), st.sampled_from(Assignor), st.just((0.7, 0.0, 0.3))),
)
rebalances = st.builds(Rebalance, st.sampled_from(Protocol), st.sampled_from([0.0, 0.5, 3.0]))


def run(setting: ServiceSetting, come: list[float], counts: list[int]) -> ServiceColumns:
    cluster = drive(Cluster(setting_of((setting,)), (load(come),)), Scripted(counts))
    return cluster.columns()[0]


@FEW
@given(come=arrivals, counts=counts, queue=queues, rebalance=rebalances)
def test_what_arrived_was_served_or_waits_at_every_tick(
    come: list[float], counts: list[int], queue: Partitioned | Shared, rebalance: Rebalance
) -> None:
    setting = one(queue, rate=5.0, rebalance=rebalance, lead_time=Between(0.0, 20.0))
    before = 0.0

    def look(cluster: Cluster) -> None:
        nonlocal before
        line = cluster.queues[0]
        served = line.offsets(float(cluster.second))[2]
        assert served + line.waiting.sum() == pytest.approx(sum(come[: cluster.second]))
        assert (line.waiting >= 0).all()
        # Nobody serves who is not ready, and nobody is ready who is not paid for.
        ready = cluster.fleet.ready[0, : cluster.second]
        assert served - before <= 5.0 * ready[-15:].sum() + 1e-6
        before = served

    drive(Cluster(setting_of((setting,)), (load(come),)), Scripted(counts), look)


@FEW
@given(come=arrivals, counts=counts, queue=queues, rebalance=rebalances)
def test_late_and_backlog_add_up(
    come: list[float], counts: list[int], queue: Partitioned | Shared, rebalance: Rebalance
) -> None:
    columns = run(one(queue, rate=5.0, within=4.0, time=0.5, rebalance=rebalance), come, counts)
    assert (columns.late >= 0).all()
    assert (columns.late <= np.array(come) + 1e-6).all()
    assert columns.backlog[-1] == pytest.approx(columns.unserved)
    assert ((columns.time_lag > 0) == (columns.backlog > 0)).all()
    # All are in the histogram but those that still may be in time.
    assert columns.latency.requests.sum() <= sum(come) + 1e-6
    assert columns.latency.requests.sum() >= sum(come) - columns.unserved - 1e-6
    # A bin begins at 4 s: what took just as long is in it, and in time.
    above, least = (columns.latency.requests[columns.latency.edges[:-1] > at].sum() for at in (4.0, 4.0 - 1e-9))
    assert above - 1e-6 <= columns.late.sum() <= least + 1e-6


@FEW
@given(come=arrivals, counts=counts, queue=queues, rebalance=rebalances)
def test_littles_law(come: list[float], counts: list[int], queue: Partitioned | Shared, rebalance: Rebalance) -> None:
    # The time integral of the number that waits is the sum of all waits, once nobody waits any more.
    come = [*come, *([0.0] * 1200)]
    columns = run(one(queue, rate=5.0, rebalance=rebalance), come, [*counts, 3])
    assert columns.unserved == 0.0
    number = np.concatenate(([0.0], columns.backlog))
    area = float(((number[1:] + number[:-1]) / 2).sum())
    middles = (columns.latency.edges[1:-1] + columns.latency.edges[:-2]) / 2
    waits = float((middles * columns.latency.requests[:-1]).sum())
    assert waits == pytest.approx(area, rel=0.01, abs=0.001 * sum(come) + 1e-6)


@FEW
@given(come=arrivals, counts=counts, rebalance=rebalances)
def test_latencies_are_those_between_the_two_cumulative_curves(
    come: list[float], counts: list[int], rebalance: Rebalance
) -> None:
    within, time = 6.0, 0.5
    come = [*come, *([0.0] * 1200)]
    columns = run(one(Partitioned(1), rate=5.0, within=within, time=time, rebalance=rebalance), come, [*counts, 1])
    if not sum(come):
        assert np.isnan(columns.latency.requests.sum()) or columns.latency.requests.sum() == 0
        return
    clock = np.arange(len(come) + 1.0)
    arrived = np.concatenate(([0.0], np.cumsum(come)))
    served = arrived - np.concatenate(([0.0], columns.backlog))
    # Many requests, evenly over all; when each came, and when the service curve reached it. A curve that stands still
    # is left out: it reaches nobody.
    number = (np.arange(20_000) + 0.5) / 20_000 * arrived[-1]
    wait = inverse(served, clock, number) - inverse(arrived, clock, number)
    assert wait.min() > -1e-6
    assert columns.late.sum() / arrived[-1] == pytest.approx((wait > within - time).mean(), abs=2e-4)
    total = np.cumsum(columns.latency.requests) / arrived[-1]
    for edge in (0.55, 1.0, 3.0, 10.0, 50.0):
        k = int(np.searchsorted(columns.latency.edges, edge))
        limit = columns.latency.edges[k] - time
        # Nobody but rounding is between the two.
        low, high = (wait < limit - 1e-6).mean(), (wait < limit + 1e-6).mean()
        assert low - 2e-4 <= total[k - 1] <= high + 2e-4


def inverse(curve: np.ndarray, clock: np.ndarray, number: np.ndarray) -> np.ndarray:
    """When a cumulative curve reaches each number."""
    upper = np.searchsorted(curve, number)
    low, high = curve[upper - 1], curve[upper]
    return clock[upper - 1] + (number - low) / (high - low)


@FEW
@given(come=arrivals, count=st.integers(0, 6), more=st.integers(1, 4))
def test_more_replicas_never_make_more_requests_late(come: list[float], count: int, more: int) -> None:
    few = run(one(rate=4.0, within=5.0, replicas=count), come, [count])
    many = run(one(rate=4.0, within=5.0, replicas=count + more), come, [count + more])
    assert many.late.sum() <= few.late.sum() + 1e-6
    assert (many.backlog <= few.backlog + 1e-6).all()


def test_the_same_seed_gives_the_same_run_and_another_one_does_not() -> None:
    setting = one(Partitioned(5), rate=3.0, lead_time=Between(5.0, 40.0), replicas=2)
    come = np.random.default_rng(1).poisson(9.0, 600)
    records = [simulate(setting_of((setting,), seed=s), [load(come)], Scripted([2, 4, 3]), name="x") for s in (1, 1, 2)]
    first, again, other = (r.services[0] for r in records)
    for name in ("late", "backlog", "time_lag", "ready", "pending"):
        assert (getattr(first, name) == getattr(again, name)).all()
    assert (first.latency.requests == again.latency.requests).all()
    assert (first.backlog != other.backlog).any()


def test_another_policy_meets_the_same_load_and_the_kth_pod_has_the_same_lead_time() -> None:
    setting = setting_of((one(Partitioned(4), rate=3.0, lead_time=Between(5.0, 40.0)),))
    come = np.random.default_rng(1).poisson(9.0, 300)
    quick, slow = Scripted([6]), Scripted([1, 1, 1, 2, 3, 6])
    ends, leads = [], []
    for policy in (quick, slow):
        drive(Cluster(setting, (load(come),)), policy)
        ends.append([seen.services[0].offsets.value.end.tolist() for seen in policy.seen])
        leads.append(
            {lead.pod: lead.scheduled_to_ready for seen in policy.seen for lead in seen.services[0].lead_times}
        )
    assert ends[0] == ends[1]
    assert leads[0] == leads[1]
    assert len(leads[0]) == 5
    assert len(set(leads[0].values())) > 1
