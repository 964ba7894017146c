"""Queues whose figures follow from pencil and paper."""

from __future__ import annotations

import math

import numpy as np
import pytest

from simulations.cluster import Cluster
from simulations.measures import Measures, measure
from simulations.run import simulate
from simulations.setting import Assignor, Partitioned, Protocol, Rebalance, Shared
from tests.simulations.kernel.cases import Scripted, drive, load, one, setting_of


@pytest.mark.parametrize("queue", [Shared(), Partitioned(1)])
def test_a_jump_that_one_replica_works_off(queue: Shared | Partitioned) -> None:
    # 20/s for 10 s, served at 10/s: the n-th comes at n/20 and is begun at n/10, so it waits n/20 s. With 0.5 s of
    # service and an objective of 5.5 s, those after the 100th are late.
    setting = setting_of((one(queue, rate=10.0, time=0.5, within=5.5),))
    record = simulate(setting, [load([20.0] * 10 + [0.0] * 20)], Scripted([1]), name="x")
    (service,), (row,) = record.services, measure(record)
    assert row.late == pytest.approx(100.0)
    assert row.attainment == pytest.approx(0.5)
    assert service.late.tolist() == pytest.approx([0.0] * 5 + [20.0] * 5 + [0.0] * 20)
    assert service.backlog[:12].tolist() == pytest.approx([10 * k for k in range(1, 11)] + [90.0, 80.0])
    # At 19 s the oldest that waits is the 190th, which came at 9.5 s.
    assert row.longest_time_lag == pytest.approx(9.5)
    assert row.p50 == pytest.approx(5.5, rel=0.01)
    assert row.p95 == pytest.approx(10.0, rel=0.01)
    assert row.p999 == pytest.approx(10.49, rel=0.01)
    assert service.unserved == 0.0


def test_what_is_never_served_is_late_once_it_is_older_than_the_objective() -> None:
    setting = setting_of((one(replicas=0, time=1.0, within=6.0),))
    record = simulate(setting, [load([4.0] * 10)], Scripted([0]), name="x")
    (service,), (row,) = record.services, measure(record)
    # At 10 s those that came before second 5 cannot leave within 6 s any more.
    assert service.late.tolist() == pytest.approx([4.0] * 5 + [0.0] * 5)
    assert service.unserved == 40.0
    assert row.p50 == np.inf


def test_what_waits_and_may_yet_be_in_time_is_no_success() -> None:
    def row(within: float, replicas: int) -> Measures:
        setting = setting_of((one(rate=10.0, replicas=replicas, within=within),))
        return measure(simulate(setting, [load([20.0] * 30)], Scripted([replicas]), name="x"))[0]

    nobody = row(60.0, 0)
    assert (nobody.requests, nobody.late) == (0.0, 0.0)
    assert math.isnan(nobody.attainment)
    # 10/s of 20/s are served: the n-th comes at n/20 and is begun at n/10. By 30 s 300 are, all within 15 s; 300 wait.
    some = row(20.0, 1)
    assert some.requests == pytest.approx(300.0)
    assert some.attainment == 1.0
    # Within 6 s are the first 120; the 480th came at 24 s and is too old at the end.
    few = row(6.0, 1)
    assert (few.requests, few.late) == (pytest.approx(480.0), pytest.approx(360.0))
    assert few.attainment == pytest.approx(0.25)


def test_a_hot_partition_waits_while_its_neighbours_consumer_idles() -> None:
    # Two consumers of 10/s, one partition each: 16/s in the first, 4/s in the second. In one queue nobody waits.
    hot = one(Partitioned(2, weights=(0.8, 0.2)), rate=10.0, replicas=2)
    backlogs = []
    for setting in (hot, one(Shared(), rate=10.0, replicas=2)):
        cluster = drive(Cluster(setting_of((setting,)), (load([20.0] * 50),)), Scripted([2]))
        backlogs.append(cluster.columns()[0].backlog[-1])
    # The split is drawn: 16 +- 1.8 come in a second, so 300 wait after 50 s, give or take.
    assert backlogs[0] == pytest.approx(300.0, abs=50.0)
    assert backlogs[1] == 0.0


def test_sixteen_partitions_on_nine_consumers_drain_no_faster_than_on_eight() -> None:
    def drained_after(consumers: int) -> int:
        queue = Partitioned(16, Assignor.RANGE)
        # 160.5: a fraction of a request is spread by the shares, and so are whole ones, one by one; 16,000 are even
        # enough to see who drains last.
        setting = setting_of((one(queue, rate=200.0, replicas=consumers),))
        cluster = drive(Cluster(setting, (load([16_000.0] + [0.0] * 60),)), Scripted([consumers]))
        return int(np.flatnonzero(cluster.columns()[0].backlog)[-1]) + 2

    assert drained_after(8) == pytest.approx(10, abs=1)
    assert drained_after(9) == pytest.approx(10, abs=1)
    assert drained_after(16) == pytest.approx(5, abs=1)


def test_a_consumer_gives_each_partition_with_work_an_equal_share() -> None:
    # One consumer, 10/s; the backlog of the heavy partition does not starve the light one (max-min fair).
    setting = setting_of((one(Partitioned(2, weights=(0.9, 0.1)), rate=10.0),))
    cluster = drive(Cluster(setting, (load([30.0] * 60),)), Scripted([1]))
    heavy, light = cluster.queues[0].waiting
    # 3/s come to the light one, 5/s may be served of it.
    assert light < 5.0
    assert heavy == pytest.approx(60 * 20.0, rel=0.02)


def paused(protocol: Protocol, counts: list[int], queue: Partitioned | Shared) -> list[float]:
    setting = one(queue, rate=1000.0, rebalance=Rebalance(protocol, 3.0), replicas=counts[0])
    cluster = drive(Cluster(setting_of((setting,), tick=5.0), (load([400.0] * 10),)), Scripted(counts))
    return [round(b) for b in cluster.columns()[0].backlog]


def test_eager_stops_all_cooperative_who_gains_or_loses_and_kip_848_what_moves() -> None:
    queue = Partitioned(4, Assignor.COOPERATIVE_STICKY)
    # From 3 consumers (2, 1, 1 partitions) to 4: one partition moves, two consumers are touched, which held two and
    # hold one each from then on. 3 s of 400/s wait: in all, in 2 of 4, in 1 of 4; the split is drawn.
    eager = paused(Protocol.EAGER, [3, 4], queue)
    cooperative = paused(Protocol.COOPERATIVE, [3, 4], queue)
    moved = paused(Protocol.KIP848, [3, 4], queue)
    assert eager[4] == cooperative[4] == moved[4] == 0
    assert eager[7] == 1200
    assert cooperative[7] == pytest.approx(600, abs=70)
    assert moved[7] == pytest.approx(300, abs=60)
    # A shared queue has nothing to move.
    assert paused(Protocol.EAGER, [3, 4], Shared())[7] == 1200
    assert max(paused(Protocol.KIP848, [3, 4], Shared())) == 0


def test_a_pause_of_half_a_second_takes_half_of_that_seconds_work() -> None:
    setting = setting_of((one(rate=10.0, rebalance=Rebalance(Protocol.EAGER, 0.5), replicas=1),), tick=5.0)
    cluster = drive(Cluster(setting, (load([20.0] * 10),)), Scripted([1, 2]))
    backlog = cluster.columns()[0].backlog
    assert backlog[4] == 50.0
    assert backlog[5] == 60.0
    assert backlog[6] == 60.0
    assert cluster.queues[0].rebalances == 1


def test_a_backlog_older_than_the_first_ring_is_remembered() -> None:
    # Nothing is served for 1,000 s, then all of it, 200 a second beside 1/s that come.
    setting = setting_of((one(rate=201.0, replicas=0, within=100.0),), tick=1000.0)
    cluster = drive(Cluster(setting, (load([1.0] * 1100),)), Scripted([0, 1]))
    columns = cluster.columns()[0]
    assert columns.unserved == 0.0
    assert columns.time_lag[999] == 1000.0
    # The n-th came at n and is begun at 1000 + n/201: late is who waits over 100 s, n < 900 / (1 - 1/201) = 904.5.
    assert columns.late.sum() == pytest.approx(904.5)


def test_a_request_so_small_that_its_inverse_is_infinite_harms_nobody() -> None:
    # Waits are shares of a second's arrivals: 0 times infinity would be no number, and no bin.
    least = 5e-324
    come = [least, 30.0, least, least, 0.0, least] * 10
    setting = setting_of((one(Partitioned(2), rate=10.0),))
    (columns,) = drive(Cluster(setting, (load(come),)), Scripted([1, 0, 1])).columns()
    assert np.isfinite(columns.late).all()
    assert columns.latency.requests.sum() <= 300.0 + 1e-6
    assert columns.late.sum() <= 300.0
