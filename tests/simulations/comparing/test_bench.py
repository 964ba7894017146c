"""The benchmark goes on after a kill, and its tables say what its figures come to."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from simulations.bench import SWEPT, Bench, CellResult
from simulations.bench_jobs import BenchJob, Kind
from simulations.bench_pool_table import pool_table
from simulations.bench_runner import Runner
from simulations.bench_tables import cost_of_foresight, cost_ratio, tables
from simulations.compare import Job, Outcome
from simulations.executors.here import Here
from simulations.scenarios import DEFAULTS, Cell
from simulations.store import Store, from_json, to_json
from tests.simulations.comparing.made import measures, outcome

CELLS = (Cell("pods", "azfunc_diurnal", 9, 0), Cell("pods", "azfunc_diurnal", 9, 1))


def made_up(job: BenchJob) -> dict[str, Any]:
    """A result that depends on the job alone."""
    hours = 100.0 + job.cell.seed
    if job.kind is Kind.BOUND:
        return {"gpu_hours": hours / 2}
    if job.kind is Kind.PAST:
        return {"tried": [{"value": 0.9, "attainment": 0.98, "gpu_hours": 80}, {"value": 0.8, "attainment": 0.995,
                                                                               "gpu_hours": 90}]}  # fmt: skip
    if job.kind is Kind.SWEEP:
        swept = [outcome(0.98, hours, job.policy, 0.9), outcome(1.0, hours + 20, job.policy, 0.8)]
        return {"outcomes": [to_json(one) for one in swept]}
    return {"outcomes": [to_json(outcome(0.99, hours, job.policy, job.value))]}


class Killed(Exception):
    """What ends the first bench."""


class MadeUp(Here):
    """Makes results up, and dies after ``limit`` of them."""

    def __init__(self, limit: int) -> None:
        self.limit, self.ran = limit, []

    def map(self, work: Any, jobs: Sequence[Any], *, name: Callable[[Any], str] = str, done: Any = None) -> list[Any]:
        for place, job in enumerate(jobs):
            if len(self.ran) == self.limit:
                raise Killed
            self.ran.append(job)
            done(place, made_up(job))
        return []


def bench(store: Store, executor: Here, version: str = "1") -> tuple[CellResult, ...]:
    return Bench(CELLS, Runner(DEFAULTS, lambda policy: version, store, executor)).run(lambda phase, done, total: None)


def test_a_bench_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    told: list[str] = []
    store = Store(tmp_path, told.append)
    whole = MadeUp(1000)
    bench(Store(tmp_path / "whole", told.append), whole)
    first, second = MadeUp(7), MadeUp(1000)
    with pytest.raises(Killed):
        bench(store, first)
    results = bench(store, second)
    assert len(first.ran) == 7
    assert sorted(map(repr, first.ran + second.ran)) == sorted(map(repr, whole.ran))
    nothing = MadeUp(0)
    again = bench(store, nothing)
    assert [tables(r, 0.99) for r in ([results[0]], again)] == [tables([r], 0.99) for r in (again[0],)] + [
        tables(results, 0.99)
    ]
    assert not told


def test_a_half_written_result_is_told_and_made_again(tmp_path: Path) -> None:
    told: list[str] = []
    store = Store(tmp_path, told.append)
    bench(store, MadeUp(1000))
    broken = sorted(tmp_path.glob("*.json"))[0]
    broken.write_text(broken.read_text()[:40])
    again = MadeUp(1000)
    bench(store, again)
    assert len(again.ran) == 1
    assert len(told) == 1
    assert told[0].startswith(f"{broken}: cannot be read, so its run is made again: ")


def test_another_version_starts_anew_beside_it(tmp_path: Path) -> None:
    store = Store(tmp_path, lambda text: None)
    one, other = MadeUp(1000), MadeUp(1000)
    bench(store, one)
    bench(store, other, "2")
    assert len(one.ran) == len(other.ran)


def test_the_past_is_tuned_on_once_for_all_seeds(tmp_path: Path) -> None:
    ran = MadeUp(1000)
    results = bench(Store(tmp_path, lambda text: None), ran)
    past = [job for job in ran.ran if job.kind is Kind.PAST]
    assert {job.cell.seed for job in past} == {0}
    assert len(past) == 3
    assert {o.job.value for r in results for o in r.past.values()} == {0.8}


def test_an_outcome_survives_being_kept() -> None:
    one = outcome(0.99, 12.5, "hpa_rate", 0.85)
    kept = from_json(to_json(one))
    assert kept.job == one.job
    assert kept.attainment == one.attainment
    assert math.isnan(kept.measures[0].p99)
    assert math.isnan(kept.measures[0].elasticity.under)


def test_a_latency_without_end_is_kept_as_such() -> None:
    one = replace(measures(0.9, 10), p999=math.inf)
    kept = from_json(json.loads(json.dumps(to_json(Outcome(Job("static"), (one,))), allow_nan=False)))
    assert kept.measures[0].p999 == math.inf
    assert math.isnan(kept.measures[0].p99)
    assert kept.measures[0].p50 == one.p50


def result(ours: tuple[float, float], without: tuple[float, float], peers: dict[str, list[tuple[float, float]]],
           past: tuple[float, float], trace: str = "azfunc_diurnal") -> CellResult:  # fmt: skip
    every = {"lagcast_reactive": [], **peers}
    sweeps = {name: tuple(outcome(a, h, name, k) for k, (a, h) in enumerate(points)) for name, points in every.items()}
    return CellResult(
        Cell("pods", trace, 9),
        outcome(*ours, "lagcast"),
        outcome(*without, "lagcast_reactive"),
        sweeps,
        {name: outcome(*past, name, 0.8) for name in ("hpa_rate", "keda_lag", "rate_and_lag")},
        50.0,
    )


PEERS = {
    "hpa_rate": [(0.98, 100.0), (1.0, 120.0)],
    "keda_lag": [(0.98, 90.0), (0.99, 115.0), (1.0, 130.0)],
    "rate_and_lag": [(0.98, 80.0), (1.0, 100.0)],
    "static": [(1.0, 200.0)],
}
UNREACHED = {**PEERS, "hpa_rate": [(0.9, 100.0)], "keda_lag": [(0.95, 90.0)]}


def lines(results: list[CellResult], name: str) -> list[tuple[str, ...]]:
    (table,) = [t for t in tables(results, 0.99) if t.name == name]
    return list(table.lines)


def test_cost_is_read_from_the_peers_frontier_at_what_lagcast_attained() -> None:
    one = result((0.99, 88.0), (0.99, 110.0), PEERS, (0.995, 96.0))
    assert cost_ratio(one, ("hpa_rate", "keda_lag")) == pytest.approx(88 / 110)  # HPA half way from 100 to 120
    assert cost_ratio(one, ("rate_and_lag",)) == pytest.approx(88 / 90)


def test_beyond_what_sweeps_try_nobody_is_asked_for_more() -> None:
    one = result((1.0, 88.0), (0.99, 110.0), {**PEERS, "hpa_rate": [(0.9996, 88.0)]}, (0.995, 96.0))
    assert cost_ratio(one, ("hpa_rate", "keda_lag")) == pytest.approx(1.0)


def test_the_tables() -> None:
    every = [
        result((0.99, 88.0), (0.995, 110.0), PEERS, (0.99, 96.0)),
        result((0.985, 105.0), (0.99, 105.0), PEERS, (0.98, 80.0), "azfunc_bursty"),
        result((0.97, 100.0), (0.99, 100.0), UNREACHED, (0.95, 80.0), "twitter_aapl"),
    ]
    # Bursty: at 98.5 % HPA is at 105, KEDA at 102.5, so 105 / 102.5; together with 0.8: sqrt(0.8 x 1.0244) = 0.905.
    # Against rate_and_lag 88 / 90 and 105 / 85: 1.099.
    assert lines(every, "a") == [("pods", "2", "98.75%", "98.50%", "0.91", "1.02", "1.10")]
    assert lines(every, "a, unreached") == [("pods twitter_aapl 9, seed 0", "97.00%", "100.00%", "0.50")]
    assert lines(every, "b")[0] == ("pods", "hpa_rate", "3", "2", "2", "1", "0.92", "1.15")  # 88/96, 105/80, 100/80
    # Without forecasts all reached what Lagcast did, and nothing cheaper is known: 88 / 110, 105 / 105, 100 / 100.
    assert lines(every, "c") == [("pods", "3", "0.93", "1.00", "0", "-", "-")]
    assert lines(every, "c, each at its own") == [("pods", "3", "98.16%", "99.16%", "0", "3", "0.93")]
    assert lines(every, "e") == [("azfunc_diurnal", "pods", "1", "1.76")]
    cells = lines(every, "cells")
    assert cells[0] == ("pods azfunc_diurnal 9", "50", "99.00%", "1.76", "99.50%", "2.20", "2.40", "2.30", "2.00",
                        "0.80", "0.98", "0.80")  # fmt: skip
    assert cells[2][6:8] == ("(90.00%)", "(95.00%)")
    assert cells[2][9] == "-"


def test_each_trace_with_a_daily_cycle_is_held_against_the_bound_for_itself() -> None:
    traces = ("worldcup98", "azfunc_diurnal", "worldcup98", "twitter_aapl")
    every = [result((0.99, 80.0 + 10 * k), (0.99, 110.0), PEERS, (0.99, 96.0), t) for k, t in enumerate(traces)]
    in_nodes = replace(every[1], cell=Cell("nodes", "azfunc_diurnal", 9))
    assert lines([*every, in_nodes], "e") == [
        ("azfunc_diurnal", "pods", "1", "1.80"),
        ("azfunc_diurnal", "nodes", "1", "1.80"),
        ("worldcup98", "pods", "2", "1.79"),  # sqrt(1.6 x 2.0)
    ]


def test_foresight_is_held_against_the_frontier_without_it_where_that_reaches_as_much() -> None:
    frontier = {**PEERS, "lagcast_reactive": [(0.97, 80.0), (0.99, 120.0)]}
    one = result((0.985, 88.0), (0.98, 100.0), frontier, (0.995, 96.0))
    assert cost_of_foresight(one) == pytest.approx(88 / 110)  # half way from the default's 100 to 120
    two = result((0.995, 88.0), (0.98, 100.0), frontier, (0.995, 96.0), "azfunc_bursty")
    assert cost_of_foresight(two) is None
    # Of the second only is told what both reached; the first is the mean.
    assert lines([one, two], "c") == [("pods", "2", "0.80", "0.80", "1", "99.50%", "99.00%")]
    assert lines([one, two], "c, each at its own") == [("pods", "2", "99.00%", "98.00%", "2", "0", "0.88")]


def test_all_that_is_swept_is_run(tmp_path: Path) -> None:
    results = bench(Store(tmp_path, lambda text: None), MadeUp(1000))
    assert {tuple(r.sweeps) for r in results} == {SWEPT}
    assert "lagcast_reactive" in SWEPT


def test_services_on_a_pool_are_told_each_for_itself() -> None:
    def run(policy: str, hours: float, **attained: float) -> Outcome:
        return Outcome(Job(policy), tuple(measures(a, hours / 2, uid) for uid, a in attained.items()))

    own = run("lagcast", 60.0, chat=0.995, images=0.98)
    peers = {
        "hpa_rate": (run("hpa_rate", 80.0, chat=1.0, images=0.97), run("hpa_rate", 100.0, chat=1.0, images=0.99)),
        "keda_lag": (run("keda_lag", 90.0, chat=0.99, images=0.985), run("keda_lag", 110.0, chat=0.99, images=0.989)),
        "rate_and_lag": (run("rate_and_lag", 75.0, chat=0.995, images=0.98),),
    }
    one = CellResult(Cell("pool", "a+b", 9), own, own, {**peers, "lagcast_reactive": (), "static": ()}, {}, 50.0)
    table = pool_table([one], 0.99)
    assert table is not None
    assert table.lines == (
        ("chat", "99.50%", "100.00%", "99.00%", "99.50%"),
        ("images", "98.00%", "99.00%", "98.90%", "98.00%"),
        ("GPU-hours", "60", "100", "110", "75"),
        # HPA reaches 99.5 % and 98 % at 100; KEDA never 99.5 % of chat; the rule does at 75.
        ("COST, each as here", "1.00", "0.60", "-", "0.80"),
    )
    assert pool_table([result((0.99, 88.0), (0.99, 110.0), PEERS, (0.995, 96.0))], 0.99) is None
