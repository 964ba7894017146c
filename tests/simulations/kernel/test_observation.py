"""What the policy is shown: offsets that grow, commits that lag, scrapes that are old, gaps and faults as they are."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from forecasting.series import Series
from scaler.plan.observation import Freshness
from scaler.plan.reasons import Reason
from simulations.cluster import Cluster
from simulations.errors import BadSetting
from simulations.measures import measure
from simulations.run import simulate
from simulations.setting import (
    Between,
    Fault,
    FaultKind,
    Load,
    NodePool,
    Partitioned,
    ServiceSetting,
    Setting,
    Shared,
)
from tests.simulations.kernel.cases import START, Scripted, decided, drive, load, one

NAN = float("nan")


def watch(setting: ServiceSetting, arrivals: list[float], counts: list[int], **more: object) -> Scripted:
    policy = Scripted(counts)
    drive(Cluster(Setting((setting,), **more), (load(arrivals),)), policy)  # type: ignore[arg-type]
    return policy


def lags(policy: Scripted) -> list[int]:
    values = [seen.services[0].offsets.value for seen in policy.seen]
    return [int((v.end - v.committed).sum()) for v in values if v is not None]


def test_offsets_are_whole_grow_and_add_up() -> None:
    come = np.random.default_rng(3).uniform(0, 9, 300)
    for queue in (Shared(5), Partitioned(5)):
        setting = one(queue, rate=4.0, time=0.3, commit_interval=2.0, replicas=1)
        policy = watch(setting, come.tolist(), [1, 2, 0, 3], tick=10.0)
        shown = [seen.services[0].offsets.value for seen in policy.seen]
        for before, after in itertools.pairwise(shown):
            assert (after.end >= before.end).all()
            assert (after.committed >= before.committed).all()
            assert (after.committed <= after.end).all()
        first, last = shown[0], shown[-1]
        assert int((last.end - first.end).sum()) == pytest.approx(come[:290].sum(), abs=5)
        assert first.end.dtype == np.int64


def test_a_shared_queue_shows_the_backlog_and_a_minutes_mean_of_what_is_in_service_or_not_committed() -> None:
    # 10/s, served at once; 0.2 s of service and half of 1 s: 7 messages are seen as lag, and 50 that wait.
    setting = one(Shared(3), rate=100.0, time=0.2, commit_interval=1.0)
    assert lags(watch(setting, [10.0] * 121, [1], tick=60.0))[1:] == [7, 7]
    assert lags(watch(one(Shared(3), rate=5.0), [10.0] * 31, [1], tick=10.0)) == [0, 50, 100, 150]


def test_a_partition_shows_what_had_left_at_the_last_commit() -> None:
    # 10/s, served at once, 0.5 s in service; commits every 5 s at a phase of their own: the lag walks between
    # 0.5 and 5.5 s of arrivals.
    setting = one(Partitioned(1), rate=100.0, time=0.5, commit_interval=5.0)
    seen = lags(watch(setting, [10.0] * 101, [1], tick=1.0))[10:]
    assert min(seen) >= 5
    assert max(seen) <= 55
    assert max(seen) - min(seen) == 40
    assert seen[0] == seen[5] == seen[10]


def test_what_is_shown_is_as_old_as_the_scrape() -> None:
    policy = watch(one(rate=100.0, scrape_delay=12.5), [10.0] * 61, [1], tick=20.0)
    readings = [seen.services[0].offsets for seen in policy.seen]
    ends = [int(r.value.end.sum()) for r in readings]
    assert ends == [0, 75, 275, 475]
    assert [r.time - START for r in readings] == [-12.5, 7.5, 27.5, 47.5]


def test_history_is_handed_over_once_and_the_offsets_go_on_from_it() -> None:
    history = Series(START - 600.0, 60.0, np.full(10, 3.0))
    made = Load(START, np.full(120, 3.0), history)
    policy = Scripted([1])
    drive(Cluster(Setting((one(rate=100.0, time=0.5),), tick=30.0), (made,)), policy)
    first, second, *_ = (seen.services[0] for seen in policy.seen)
    assert first.history is not None
    assert first.history.value is history
    assert second.history is None
    assert first.offsets.value.end.sum() >= 1800
    # What is in service is seen at the first tick as at any later one.
    assert lags(policy) == [2, 2, 2, 2] or lags(policy) == [1, 1, 1, 1]


def test_a_gap_is_absent_never_a_low_rate_and_is_left_out_of_the_measures() -> None:
    come = [10.0] * 100 + [NAN] * 100 + [20.0] * 101
    policy = Scripted([2])
    setting = Setting((one(rate=50.0, replicas=2),), tick=10.0)
    record = simulate(setting, [load(come)], policy, name="x")
    readings = [seen.services[0].offsets for seen in policy.seen]
    absent = [k for k, r in enumerate(readings) if r.freshness is Freshness.ABSENT]
    # At second s what is known is what came before it.
    assert absent == list(range(11, 21))
    assert all(readings[k].value is None for k in absent)
    ends = [int(r.value.end.sum()) for r in readings if r.value is not None]
    rates = np.diff(ends) / np.diff([r.time for r in readings if r.value is not None])
    # Across the gap the offsets went on at 10 to 20 a second.
    assert rates.min() >= 10.0
    assert rates.max() <= 20.0
    (row,) = measure(record)
    assert row.requests == 1000 + 2020
    assert row.replica_hours == pytest.approx(2 * 201 / 3600)
    assert row.elasticity.time_over == 1.0


def fault(kind: FaultKind, at: float, seconds: float = 0.0) -> dict[str, object]:
    return {"faults": (Fault(kind, at, seconds),), "tick": 10.0}


def test_a_broker_that_is_down_cannot_be_read_and_its_outage_is_in_the_latency() -> None:
    setting = Setting((one(rate=20.0, within=5.0),), **fault(FaultKind.BROKER_DOWN, 20, 30))  # type: ignore[arg-type]
    policy = Scripted([1])
    record = simulate(setting, [load([10.0] * 100)], policy, name="x")
    freshness = [seen.services[0].offsets.freshness for seen in policy.seen]
    assert [k for k, f in enumerate(freshness) if f is Freshness.ERROR] == [2, 3, 4]
    assert policy.seen[2].services[0].offsets.reason is Reason.BROKER_UNREACHABLE
    (service,) = record.services
    assert service.backlog[49] == 300.0
    assert service.time_lag[49] == 30.0
    # The message of time a is begun at 50 + (a - 20) / 2: it waits over 5 s when a < 70.
    assert service.late.sum() == pytest.approx(10 * (70 - 20))


def test_consumers_that_are_stuck_are_ready_and_commit_nothing() -> None:
    policy = watch(one(rate=20.0), [10.0] * 100, [1], **fault(FaultKind.CONSUMERS_STUCK, 20, 30))
    assert lags(policy) == [0, 0, 0, 100, 200, 300, 200, 100, 0, 0]
    assert {seen.services[0].replicas.value.ready for seen in policy.seen} == {1}


def test_latency_without_a_source_is_absent() -> None:
    policy = watch(one(time=0.3), [5.0] * 50, [1], **fault(FaultKind.METRICS_ABSENT, 20, 15))
    readings = [seen.services[0].latency for seen in policy.seen]
    assert [r.freshness is Freshness.ABSENT for r in readings] == [False, False, True, True, False]
    assert readings[1].value.p99 == 0.3
    assert readings[1].value.count == pytest.approx(50.0)
    assert readings[0].value.p99 is None


def test_while_the_api_is_down_nothing_is_read_and_nothing_is_done() -> None:
    policy = watch(one(), [5.0] * 70, [1, 1, 4, 4, 4, 4], **fault(FaultKind.API_DOWN, 15, 25))
    replicas = [seen.services[0].replicas for seen in policy.seen]
    assert [r.freshness is Freshness.ERROR for r in replicas] == [False, False, True, True, False, False, False]
    assert [r.value.desired for r in replicas if r.value is not None] == [1, 1, 1, 4, 4]


def test_a_crashed_pod_comes_back_after_its_lead_time_in_its_place() -> None:
    setting = one(lead_time=Between(25.0, 25.0), replicas=3)
    cluster = Cluster(Setting((setting,), **fault(FaultKind.POD_CRASH, 12)), (load([0.0] * 60),))  # type: ignore[arg-type]
    drive(cluster, Scripted([3]))
    columns = cluster.columns()[0]
    assert columns.ready.tolist() == [3] * 12 + [2] * 25 + [3] * 23
    assert columns.rebalances == 2


def test_a_lost_node_takes_its_pods_which_wait_for_another() -> None:
    pool = NodePool("gpus", 2, Between(30.0, 30.0), 600.0)
    setting = Setting((one(lead_time=Between(5.0, 5.0), replicas=4),), pool, **fault(FaultKind.NODE_LOST, 10))  # type: ignore[arg-type]
    cluster = drive(Cluster(setting, (load([0.0] * 80),)), Scripted([4]))
    columns, nodes = cluster.columns()[0], cluster.pool()
    assert columns.ready.tolist() == [4] * 10 + [2] * 35 + [4] * 35
    assert nodes is not None
    assert nodes.ready.tolist() == [2] * 10 + [1] * 30 + [2] * 40
    assert nodes.asked.tolist() == [2] * 80


def test_bad_input_is_named() -> None:
    setting = Setting((one(),))
    with pytest.raises(BadSetting, match="one for each of 1 services"):
        Cluster(setting, ())
    two = Setting((one(), one(uid="other")))
    with pytest.raises(BadSetting, match="same for all services"):
        Cluster(two, (load([1.0]), load([1.0, 2.0])))
    cluster = Cluster(setting, (load([1.0]),))
    observed = Scripted([1]).step(START, cluster.observe())
    with pytest.raises(BadSetting, match="at least 0"):
        cluster.apply(type(observed)((decided(START, "chat", -1),)))
