"""The benchmark's scenarios: what DESIGN says of a cell is in its setting and load; the same seed, the same cell."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from forecasting.errors import BadSeries
from simulations.errors import BadSetting
from simulations.scenarios import DAY, DEFAULTS, EPOCH, Cell, cells, make, nodes, pods, pool
from simulations.setting import Between, Protocol, Shared
from simulations.traces import traces_folder

SHARED = pytest.mark.skipif(
    not traces_folder().is_dir(), reason="the shared traces are not on this machine (LAGCAST_TRACES)"
)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Three days in steps of ten minutes: 60, 120 and 240 requests a step, and one step of 480 in each day."""
    days = [np.full(144, count) for count in (60.0, 120.0, 240.0)]
    for day in days:
        day[100] = 480.0
    rows = "\n".join(f"{600 * k},{v:g}" for k, v in enumerate(np.concatenate(days)))
    path = tmp_path / "made__600s.csv"
    path.write_text(f"t_s,value\n{rows}\n", encoding="utf-8")
    return path


def test_a_day_is_scaled_to_its_mean_with_its_history_alike(trace: Path) -> None:
    setting, (load,) = pods(str(trace), 1, seed=3)
    mean = (143 * 120 + 480) / 144
    assert load.start == EPOCH + DAY
    assert len(load.arrivals) == 86_400
    assert load.arrivals.mean() == pytest.approx(80.0, rel=0.01)
    assert load.history is not None
    assert (load.history.start, load.history.end, load.history.step) == (EPOCH, EPOCH + DAY, 600.0)
    assert load.history.rates[0] == pytest.approx(80 * 60 / mean)
    (one,) = setting.services
    assert one.service.max_replicas == int(np.ceil(1.5 * 80 * 480 / mean / 2))
    # In its last five minutes the rate rises half of the way to the next step's level: 60 to 90, 75 in the mean.
    assert one.replicas == int(np.ceil(80 * 75 / mean / 2))
    assert setting.pool is None


def test_what_a_cell_holds_fixed(trace: Path) -> None:
    setting, _ = nodes(str(trace), 2, seed=7)
    (one,) = setting.services
    assert (one.rate, one.time, one.service.within, one.service.share) == (2.0, 0.2, 10.0, 0.99)
    assert (setting.tick, setting.seed, one.commit_interval) == (15.0, 7, 1.0)
    assert (one.lead_time, one.rebalance.protocol, one.rebalance.pause) == (Between(60, 150), Protocol.EAGER, 0.5)
    assert isinstance(one.queue, Shared)
    assert one.queue.partitions >= one.service.max_replicas
    assert one.service.min_replicas == 1
    pool_ = setting.pool
    assert pool_ is not None
    assert (pool_.size, pool_.lead_time, pool_.idle) == (8, Between(240, 420), 600.0)


def test_days_before_run_at_the_scored_days_scale(trace: Path) -> None:
    cell = Cell("pods", str(trace), 2)
    before = cell.before(1)
    assert (before.day, before.scaled_by, before.before(1).scaled_by) == (1, 2, 2)
    (scored, _), (setting, (load,)) = make(cell), make(before)
    assert load.arrivals.mean() == pytest.approx(80 * (143 * 120 + 480) / (143 * 240 + 480), rel=0.01)
    assert setting.services[0].service.max_replicas == scored.services[0].service.max_replicas


def test_parameters_change_what_they_name(trace: Path) -> None:
    slow = DEFAULTS.slower(2.0)
    assert (slow.lead_time, slow.node_lead_time) == (Between(120, 300), Between(480, 840))
    setting, (load,) = make(Cell("nodes", str(trace), 1), replace(slow, share=0.999, min_replicas=0, mean=8.0))
    (one,) = setting.services
    assert (one.lead_time, one.service.share, one.service.min_replicas) == (Between(120, 300), 0.999, 0)
    assert load.arrivals.mean() == pytest.approx(8.0, rel=0.02)


def test_a_seed_is_a_cell(trace: Path) -> None:
    once, again, other = (make(Cell("pods", str(trace), 1, seed))[1][0].arrivals for seed in (1, 1, 2))
    assert once.tolist() == again.tolist()
    assert once.tolist() != other.tolist()


def test_a_gap_in_the_trace_stays_one(trace: Path) -> None:
    lines = trace.read_text(encoding="utf-8").splitlines()
    lines[1 + 144 + 10] = f"{600 * 154},"
    trace.write_text("\n".join(lines) + "\n", encoding="utf-8")
    _, (load,) = pods(str(trace), 1)
    assert np.flatnonzero(np.isnan(load.arrivals)).tolist() == list(range(6000, 6600))
    assert np.nanmean(load.arrivals) == pytest.approx(80.0, rel=0.01)


@pytest.mark.parametrize("day", [-1, 3])
def test_a_day_that_is_not_there_is_named(trace: Path, day: int) -> None:
    with pytest.raises(BadSeries, match=f"trace made: found day {day}; allowed: 0 to 2"):
        pods(str(trace), day)


def test_a_scenario_that_is_not_there_is_named(trace: Path) -> None:
    with pytest.raises(BadSetting, match="scenario: found cluster; allowed: pods, nodes, pool"):
        make(Cell("cluster", str(trace), 1))  # type: ignore[arg-type]


def test_services_on_one_pool_draw_apart(trace: Path, tmp_path: Path) -> None:
    other = tmp_path / "other__600s.csv"
    other.write_text(trace.read_text(encoding="utf-8"), encoding="utf-8")
    setting, loads = pool(1, 0, traces=(str(trace), str(other)))
    assert [one.service.uid for one in setting.services] == ["made", "other"]
    assert setting.pool is not None
    assert loads[0].arrivals.tolist() != loads[1].arrivals.tolist()


def test_the_benchmarks_cells() -> None:
    names = [cell.name for cell in cells()]
    assert len(names) == len(set(names)) == 3 * (6 + 6 + 1)
    assert {"pods/azfunc_diurnal/9/0", "nodes/worldcup98/60/2", "pods/twitter_aapl/30/1"} <= set(names)


@SHARED
def test_the_reference_cells_most_replicas() -> None:
    known = json.loads((traces_folder() / "reference_cells.json").read_text(encoding="utf-8"))["cells"]
    for cell in known:
        if cell["scenario"] == "pods":
            setting, _ = pods(cell["trace"], cell["day"])
            assert setting.services[0].service.max_replicas == cell["max_replicas"]


@SHARED
def test_sparse_load_may_scale_to_nothing() -> None:
    assert pods("azfunc_sparse", 9)[0].services[0].service.min_replicas == 0
