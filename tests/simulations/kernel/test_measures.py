"""Figures of a run, from records small enough to work out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from simulations.kernel.latency import BINS, add, edges, requests
from simulations.measures import demand, measure, node_hours, quantile
from simulations.record import LatencyHistogram, PoolRecord, Record, ServiceRecord
from simulations.setting import Between, NodePool, ServiceSetting, Setting
from tests.simulations.kernel.cases import one

NONE = LatencyHistogram(np.array([0.0, 1.0, np.inf]), np.zeros(2))


def row(arrived: list[float], ready: list[int], pending: list[int], **more: object) -> ServiceRecord:
    zero = np.zeros(len(arrived))
    made = ServiceRecord(
        uid="chat",
        arrived=np.array(arrived),
        late=zero,
        backlog=zero,
        time_lag=zero,
        ready=np.array(ready, np.int64),
        pending=np.array(pending, np.int64),
        desired=np.zeros(1, np.int64),
        rate=np.zeros(1),
        forecast_at=np.zeros(1),
        forecast=np.zeros((1, 4)),
        reasons=("",),
        latency=NONE,
        changes=3,
        rebalances=2,
        unserved=0.0,
    )
    return replace(made, **more)  # type: ignore[arg-type]


def record(
    rows: list[ServiceRecord], settings: list[ServiceSetting], pool: PoolRecord | None = None, **more: object
) -> Record:
    nodes = NodePool("gpus", 8, Between(0, 0), **more) if pool is not None else None  # type: ignore[arg-type]
    return Record(Setting(tuple(settings), nodes), "x", 0.0, np.zeros(1), tuple(rows), pool)


def test_hours_without_nodes_are_those_of_replicas_from_the_request() -> None:
    run = row([1.0] * 7200, [2] * 7200, [1] * 3600 + [0] * 3600)
    (found,) = measure(record([run], [one(weight=2)]))
    assert (found.replica_hours, found.pending_replica_hours) == (5.0, 1.0)
    assert found.gpu_hours == found.cost == 10.0
    assert (found.changes, found.rebalances) == (3, 2)


def test_services_share_the_nodes_by_the_gpus_they_ask_for() -> None:
    # An hour of 2 nodes of 8; one service asks for 2 replicas of 3 GPUs, the other for 2 of 1: 3/4 and 1/4. Then an
    # hour without any pod, in which both pay alike.
    big = row([1.0] * 7200, [2] * 3600 + [0] * 3600, [0] * 7200)
    small = row([1.0] * 7200, [1] * 3600 + [0] * 3600, [1] * 3600 + [0] * 3600)
    nodes = np.array([2] * 3600 + [1] * 3600, np.int64)
    pool = PoolRecord("gpus", nodes, nodes, nodes)
    settings = [one(uid="big", weight=3), one(uid="small")]
    first, second = measure(record([big, small], settings, pool, price=2.5))
    assert first.gpu_hours == pytest.approx(12.0 + 4.0)
    assert second.gpu_hours == pytest.approx(4.0 + 4.0)
    assert first.cost == pytest.approx(40.0)


def test_a_gap_is_left_out_of_every_figure() -> None:
    gap = [math.nan] * 3600
    lag = np.concatenate((np.full(3600, 7.0), np.full(3600, 99.0)))
    run = row([1.0] * 3600 + gap, [2] * 7200, [1] * 7200, time_lag=lag)
    (found,) = measure(record([run], [one(rate=0.5)]))
    assert found.requests == 3600.0
    assert found.replica_hours == 3.0
    assert found.longest_time_lag == 7.0
    assert (found.elasticity.time_under, found.elasticity.time_over) == (0.0, 0.0)


def test_a_gap_of_one_services_load_is_left_out_of_the_nodes_hours_as_of_its_gpu_hours() -> None:
    # Two hours of 2 nodes, of which each service asks for half; in the second hour nothing is known of the first one.
    gap = row([1.0] * 3600 + [math.nan] * 3600, [1] * 7200, [0] * 7200)
    known = row([1.0] * 7200, [1] * 7200, [0] * 7200)
    nodes = np.full(7200, 2, np.int64)
    run = record([gap, known], [one(uid="gap"), one(uid="known")], PoolRecord("gpus", nodes, nodes, nodes))
    assert [m.gpu_hours for m in measure(run)] == [8.0, 16.0]
    assert node_hours(run) == 3.0
    assert node_hours(record([known], [one()])) == 0.0


def test_minutes_on_both_sides_of_a_gap_are_no_neighbours() -> None:
    # Demand of 1, 1, gap, 3, 3 replicas; the supply moves with it but inside the gap.
    arrived = [10.0] * 120 + [math.nan] * 60 + [30.0] * 120
    run = row(arrived, [1] * 120 + [2] * 180, [0] * 300)
    assert measure(record([run], [one(rate=10.0)]))[0].elasticity.instability == 0.0
    apart = row(arrived, [1] * 300, [0] * 300)
    assert measure(record([apart], [one(rate=10.0)]))[0].elasticity.instability == 0.0
    shaky = row(arrived, [1] * 120 + [2] * 120 + [3] * 60, [0] * 300)
    assert measure(record([shaky], [one(rate=10.0)]))[0].elasticity.instability == 0.5


def test_without_requests_shares_are_not_numbers() -> None:
    (found,) = measure(record([row([0.0] * 60, [1] * 60, [0] * 60)], [one()]))
    assert math.isnan(found.attainment)
    assert math.isnan(found.p99)


def test_demand_is_what_serves_a_minutes_mean() -> None:
    arrived = np.array([10.0] * 60 + [30.0] * 30 + [math.nan] * 30 + [math.nan] * 60 + [20.5] * 60)
    found = demand(arrived, 10.0)
    assert found[:60].tolist() == [1.0] * 60
    assert found[60:120].tolist() == [3.0] * 60
    assert np.isnan(found[120:180]).all()
    assert found[180:].tolist() == [3.0] * 60


def test_elasticity_as_the_spec_defines_it() -> None:
    # Four minutes that need 2, 4, 4, 2 replicas of 10/s; 3, 3, 4, 4 are there.
    arrived = [20.0] * 60 + [40.0] * 120 + [20.0] * 60
    run = row(arrived, [3] * 120 + [4] * 120, [0] * 240)
    found = measure(record([run], [one(rate=10.0)]))[0].elasticity
    assert found.under == pytest.approx(0.25 * (1 / 4))  # one of four lacks in one minute of four
    assert found.over == pytest.approx(0.25 * (1 / 2) + 0.25 * (2 / 2))
    assert (found.time_under, found.time_over) == (0.25, 0.5)
    # Demand moves up, not, down; supply not, up, not: never alike.
    assert found.instability == 1.0
    steady = measure(record([row(arrived, [2] * 60 + [4] * 120 + [2] * 60, [0] * 240)], [one(rate=10.0)]))[0]
    assert steady.elasticity == type(found)(0.0, 0.0, 0.0, 0.0, 0.0)


def test_quantiles_are_read_between_the_edges() -> None:
    latency = LatencyHistogram(np.array([0.0, 1.0, 2.0, 4.0, np.inf]), np.array([50.0, 0.0, 40.0, 10.0]))
    assert quantile(latency, 0.25) == 0.5
    assert quantile(latency, 0.7) == 3.0
    assert quantile(latency, 0.95) == math.inf
    assert math.isnan(quantile(NONE, 0.5))


def test_a_piece_is_spread_evenly_over_the_bins_it_covers() -> None:
    bounds, bins = edges(), np.zeros((2, BINS + 1))
    add(bins, bounds, 0.5, 8.5, 800.0)
    add(bins, bounds, 3.0, 3.0, 5.0)
    add(bins, bounds, 0.0, 0.0, 7.0)
    add(bins, bounds, 1e9, 1e9, 1.0)
    found = requests(bins, bounds)
    assert found.sum() == pytest.approx(813.0)
    assert (found[0], found[-1]) == (7.0, 1.0)
    for low, high in ((0.5, 1.0), (1.0, 2.0), (4.0, 8.0)):
        inside = found[(bounds[:-1] >= low) & (bounds[1:] <= high)].sum()
        assert inside == pytest.approx(100.0 * (high - low))
    assert (np.diff(bounds[1:-1]) / bounds[1:-2]).max() <= 1 / 64
