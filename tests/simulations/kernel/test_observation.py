"""What the policy is shown: offsets that grow, commits that lag, scrapes that are old, gaps and faults as they are."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from forecasting.series import Series
from scaler.plan.decision import GroupDecision
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
    Shared,
)
from tests.simulations.kernel.cases import START, Scripted, decided, drive, load, one, setting_of

NAN = float("nan")


def watch(setting: ServiceSetting, arrivals: list[float], counts: list[int], **more: object) -> Scripted:
    policy = Scripted(counts)
    drive(Cluster(setting_of((setting,), **more), (load(arrivals),)), policy)  # type: ignore[arg-type]
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
    drive(Cluster(setting_of((one(rate=100.0, time=0.5),), tick=30.0), (made,)), policy)
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
    setting = setting_of((one(rate=50.0, replicas=2),), tick=10.0)
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
    setting = setting_of((one(rate=20.0, within=5.0),), **fault(FaultKind.BROKER_DOWN, 20, 30))  # type: ignore[arg-type]
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


def test_a_pod_that_gets_ready_while_the_api_is_down_is_seen_once_it_is_up() -> None:
    # Asked for at 10 s, ready at 30 s; the API is down from 25 to 35 s.
    slow = one(lead_time=Between(20.0, 20.0))
    policy = watch(slow, [5.0] * 70, [1, 3], faults=(Fault(FaultKind.API_DOWN, 25, 10),), tick=10.0)
    states = [seen.services[0].replicas.value for seen in policy.seen]
    assert [None if s is None else (s.desired, s.ready) for s in states] == [(1, 1), (1, 1), (3, 1), None] + [
        (3, 3)
    ] * 3


def test_a_scrape_during_an_outage_is_missing_when_it_would_be_shown() -> None:
    # What is shown at s is of s - 15: of 20 to 50 s there is nothing, and of 50 s all that producers held back.
    setting = one(rate=100.0, time=0.3, scrape_delay=15.0)
    faults = (Fault(FaultKind.BROKER_DOWN, 20, 30), Fault(FaultKind.METRICS_ABSENT, 20, 30))
    policy = watch(setting, [10.0] * 101, [1], faults=faults, tick=5.0)
    offsets = {5 * k: seen.services[0].offsets for k, seen in enumerate(policy.seen)}
    assert [s for s, o in offsets.items() if o.freshness is Freshness.ERROR] == list(range(35, 65, 5))
    assert [int(offsets[s].value.end.sum()) for s in (20, 30, 65)] == [50, 150, 500]
    latency = {5 * k: seen.services[0].latency for k, seen in enumerate(policy.seen)}
    assert [s for s, o in latency.items() if o.freshness is Freshness.ABSENT] == list(range(35, 65, 5))


def test_a_restart_tells_no_lead_time_and_a_new_pod_does() -> None:
    slow = one(lead_time=Between(20.0, 20.0), replicas=1)
    policy = watch(slow, [0.0] * 700, [1] * 10 + [2], faults=(Fault(FaultKind.POD_CRASH, 500),), tick=10.0)
    leads = [lead for seen in policy.seen for lead in seen.services[0].lead_times]
    assert [(lead.total, lead.ready_at - START) for lead in leads] == [(20.0, 120.0)]
    assert [seen.services[0].replicas.value.ready for seen in policy.seen][50:53] == [2, 1, 2]


def test_a_crashed_pod_comes_back_after_its_lead_time_in_its_place() -> None:
    setting = one(lead_time=Between(25.0, 25.0), replicas=3)
    for detected_after, rebalances in ((0.0, 2), (10.0, 2), (None, 1)):  # by default it joins as the dead one goes
        faults = (Fault(FaultKind.POD_CRASH, 12, detected_after=detected_after),)
        cluster = Cluster(setting_of((setting,), faults=faults, tick=10.0), (load([0.0] * 60),))
        drive(cluster, Scripted([3]))
        columns = cluster.columns()[0]
        assert columns.ready.tolist() == [3] * 12 + [2] * 25 + [3] * 23
        assert columns.rebalances == rebalances


def test_a_dead_consumers_partitions_stand_still_until_the_group_takes_it_for_gone() -> None:
    # Two consumers of 10/s with a partition each, 4/s in all. One dies at 20 s and is ready again at 120 s.
    def backlog(queue: Partitioned | Shared, detected_after: float | None, lead: float = 100.0) -> list[float]:
        setting = one(queue, rate=10.0, lead_time=Between(lead, lead), replicas=2)
        faults = (Fault(FaultKind.POD_CRASH, 20, detected_after=detected_after),)
        cluster = Cluster(setting_of((setting,), faults=faults, tick=10.0), (load([4.0] * 200),))
        return drive(cluster, Scripted([2])).columns()[0].backlog.tolist()

    late = backlog(Partitioned(2), None)
    assert late[19] == 0.0
    assert late[64] == pytest.approx(45 * 2, abs=25)  # the split is drawn
    assert late[64] > late[40] > late[25] > 0.0
    # From 65 s on the other one has both: 10 - 4 a second.
    assert late[70] == pytest.approx(late[64] - 6 * 6, abs=1e-6)
    assert max(backlog(Partitioned(2), 0.0)) == 0.0
    assert max(backlog(Partitioned(2), 5.0)) == pytest.approx(5 * 2, abs=8)
    # Whoever is back after 10 s has its partition no earlier.
    soon = backlog(Partitioned(2), None, 10.0)
    assert soon[:65] == late[:65]
    assert soon[70] < late[70]  # both serve, not one alone
    # A shared queue lacks it: 10/s are enough for 4/s.
    assert max(backlog(Shared(), None)) == 0.0


def test_a_scale_in_of_a_dead_consumer_leaves_its_partitions_until_then() -> None:
    setting = one(Partitioned(2), rate=10.0, lead_time=Between(5.0, 5.0), replicas=2)
    faults = (Fault(FaultKind.POD_CRASH, 20),)
    cluster = Cluster(setting_of((setting,), faults=faults, tick=10.0), (load([4.0] * 120),))
    columns = drive(cluster, Scripted([2, 2, 2, 0, 1])).columns()[0]
    assert columns.ready[29:51].tolist() == [2] + [0] * 15 + [1] * 6
    # The third pod joins at 45 s; the dead one holds a partition until 65 s.
    assert columns.backlog[64] > columns.backlog[44] / 2 > 0.0
    assert columns.backlog[119] == 0.0


@pytest.mark.parametrize("queue", [Shared(), Partitioned(6)])
def test_nothing_is_lost_and_nobody_dead_serves_whatever_goes_wrong(queue: Partitioned | Shared) -> None:
    nodes = NodePool("gpus", 3, Between(5.0, 30.0), 20.0)
    setting = one(queue, rate=5.0, lead_time=Between(3.0, 60.0), replicas=4)
    kinds = [FaultKind.POD_CRASH, FaultKind.NODE_LOST]
    afters = [None, 0.0, 10.0]
    faults = tuple(Fault(kinds[k % 2], 15.0 * k, detected_after=afters[k % 3]) for k in range(1, 20))
    before = 0.0

    def look(cluster: Cluster) -> None:
        nonlocal before
        line = cluster.queues[0]
        served = line.offsets(float(cluster.second))[2]
        assert served + line.waiting.sum() == pytest.approx(10.0 * cluster.second)
        assert served - before <= 5.0 * cluster.fleet.ready[0, cluster.second - 10 : cluster.second].sum() + 1e-6
        before = served

    cluster = Cluster(setting_of((setting,), nodes, faults=faults, tick=10.0), (load([10.0] * 1500),))
    drive(cluster, Scripted([4, 5, 3, 6] * 10 + [6]), look)
    columns = cluster.columns()[0]
    assert (columns.ready + columns.pending)[-1] == columns.ready[-1] == 6
    assert columns.unserved == 0.0


def test_a_lost_node_takes_its_pods_which_wait_for_another() -> None:
    pool = NodePool("gpus", 2, Between(30.0, 30.0), 600.0)
    # Kubernetes makes them anew after 300 s; then a node takes 30 s, and they take 5 s.
    for given, after in ((0.0, 0), (20.0, 20), (None, 300)):
        faults = (Fault(FaultKind.NODE_LOST, 10, detected_after=given),)
        setting = setting_of((one(lead_time=Between(5.0, 5.0), replicas=4),), pool, faults=faults, tick=10.0)
        policy = Scripted([4])
        cluster = drive(Cluster(setting, (load([0.0] * 400),)), policy)
        columns, nodes = cluster.columns()[0], cluster.pool()
        assert columns.ready.tolist() == [4] * 10 + [2] * (after + 35) + [4] * (355 - after)
        assert (columns.ready + columns.pending).tolist() == [4] * 400
        assert nodes is not None
        assert nodes.ready.tolist() == [2] * 10 + [1] * (after + 30) + [2] * (360 - after)
        assert nodes.asked.tolist() == [2] * 10 + [1] * after + [2] * (390 - after)
        leads = [lead.total for seen in policy.seen for lead in seen.services[0].lead_times]
        assert leads == [35.0, 35.0]


def test_bad_input_is_named() -> None:
    setting = setting_of((one(),))
    with pytest.raises(BadSetting, match="one for each of 1 services"):
        Cluster(setting, ())
    two = setting_of((one(), one(uid="other")))
    with pytest.raises(BadSetting, match="same for all services"):
        Cluster(two, (load([1.0]), load([1.0, 2.0])))
    late = setting_of((one(),), faults=(Fault(FaultKind.POD_CRASH, 60),))
    with pytest.raises(BadSetting, match=r"pod-crash: found at 60 s; allowed: before the load's end, 60 s"):
        Cluster(late, (load([1.0] * 60),))


@pytest.mark.parametrize(
    ("services", "said"),
    [
        ([("chat", -1), ("other", 1)], "decision for chat: found -1 replicas; allowed: at least 0"),
        ([("chat", 2), ("other", -1)], "decision for other: found -1 replicas"),
        ([("chat", 2)], r"found services \['chat'\]; allowed: \['chat', 'other'\]"),
        ([("chat", 2), ("other", 2), ("third", 2)], "found services"),
        ([("other", 2), ("chat", 2)], "in this order"),
    ],
)
def test_a_decision_of_other_services_is_refused_as_a_whole(services: list[tuple[str, int]], said: str) -> None:
    cluster = Cluster(setting_of((one(), one(uid="other"))), (load([1.0]),) * 2)
    cluster.observe()
    with pytest.raises(BadSetting, match=said):
        cluster.apply(GroupDecision(tuple(decided(START, uid, count) for uid, count in services)))
    assert [cluster.fleet.count(k) for k in (0, 1)] == [1, 1]
