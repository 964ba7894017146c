"""A pool that cannot grow: what is run, which setting of a peer counts, and when a peer is ahead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from simulations.bench_full import FullResult, behind, full_cells, full_table, in_time, run_full
from simulations.bench_jobs import BenchJob, Kind
from simulations.bench_runner import Runner
from simulations.commands import bench_full as command
from simulations.compare import Job, Outcome
from simulations.executors.here import Here
from simulations.scenarios import DEFAULTS, Cell
from simulations.store import Store, to_json
from tests.simulations.comparing.made import outcome

CELL = Cell("pool", "a+b", 9, 0)


def both(one: float, two: float, hours: float = 100.0, requests: tuple[float, float] = (1000.0, 1000.0)) -> Outcome:
    """Two services on one pool."""
    (made,) = outcome(0.99, hours).measures
    of = [
        replace(made, uid=uid, attainment=attained, requests=count, gpu_hours=hours / 2, changes=24)
        for uid, attained, count in zip("ab", (one, two), requests, strict=True)
    ]
    return Outcome(Job("made"), tuple(of))


def result(nodes: int, lagcast: float, peer: float, day: int = 9) -> FullResult:
    outcomes = {p: both(peer, peer - 0.2) for p in ("hpa_rate", "keda_lag", "rate_and_lag")}
    ours = {"lagcast": both(lagcast, lagcast), "lagcast_reactive": both(0.5, 0.5)}
    return FullResult(nodes, replace(CELL, day=day), ours | outcomes)


def test_requests_count_and_not_services() -> None:
    assert in_time(both(0.9, 0.5)) == pytest.approx(0.7)
    assert in_time(both(0.9, 0.5, requests=(3000.0, 1000.0))) == pytest.approx(0.8)
    assert in_time(both(0.9, float("nan"), requests=(1000.0, 0.0))) == pytest.approx(0.9)
    assert in_time(both(float("nan"), float("nan"), requests=(0.0, 0.0))) == 0.0


def test_a_line_is_the_mean_over_days() -> None:
    table = full_table([result(20, 0.8, 0.7), result(20, 0.9, 0.7, day=10), result(26, 0.95, 0.7)])
    assert table.lines[0] == ("20", "lagcast", "85.00%", "85.00%", "85.00%", "100", "2.0")
    assert table.lines[2] == ("20", "hpa_rate", "60.00%", "70.00%", "50.00%", "100", "2.0")
    assert [line[:2] for line in table.lines[5:7]] == [("26", "lagcast"), ("26", "lagcast_reactive")]


def test_a_peer_is_ahead_where_more_is_in_time_over_all_days() -> None:
    assert behind([result(20, 0.5, 0.7), result(20, 0.9, 0.7, day=10)]) == ()
    assert behind([result(20, 0.5, 0.7), result(20, 0.6, 0.7, day=10), result(26, 0.9, 0.7)]) == (
        "20 nodes: hpa_rate",
        "20 nodes: keda_lag",
        "20 nodes: rate_and_lag",
    )


class MadeUp(Here):
    """A sweep's second value has more in time, and its third most of the service that does worst."""

    def __init__(self) -> None:
        self.ran: list[Any] = []

    def map(self, work: Any, jobs: Sequence[Any], *, name: Callable[[Any], str] = str, done: Any = None) -> list[Any]:
        for place, job in enumerate(jobs):
            self.ran.append((work.parameters.max_nodes, job))
            of = [both(0.5, 0.5), both(0.9, 0.4), both(0.6, 0.6)] if job.kind is Kind.SWEEP else [both(0.8, 0.8)]
            done(place, {"outcomes": [to_json(one) for one in of]})
        return []


def test_each_most_of_nodes_is_run_under_every_policy_and_a_peer_is_shown_at_its_best(tmp_path: Path) -> None:
    executor = MadeUp()
    runner = Runner(DEFAULTS, lambda policy: "1", Store(tmp_path, print), executor)
    results = run_full(runner, (20, 26), [CELL], lambda *_: None)
    assert [(r.nodes, r.cell) for r in results] == [(20, CELL), (26, CELL)]
    policies = {(most, job.policy, job.kind) for most, job in executor.ran}
    assert policies == {
        (most, policy, kind)
        for most in (20, 26)
        for policy, kind in {
            "lagcast": Kind.RUN,
            "lagcast_reactive": Kind.RUN,
            "hpa_rate": Kind.SWEEP,
            "keda_lag": Kind.SWEEP,
            "rate_and_lag": Kind.SWEEP,
        }.items()
    }
    assert [m.attainment for m in results[0].outcomes["keda_lag"].measures] == [0.9, 0.4]
    again = MadeUp()
    run_full(replace(runner, executor=again), (20, 26), [CELL], lambda *_: None)
    assert not again.ran, "they are kept"
    assert {type(job) for _, job in executor.ran} == {BenchJob}


def test_cells_are_the_pools_on_days_that_can_be_scored(pool_traces: Path) -> None:
    assert [(c.scenario, c.day, c.seed) for c in full_cells(2, 2)] == [
        ("pool", day, seed) for seed in (0, 1) for day in (10, 13)
    ]


@pytest.mark.parametrize(("lagcast", "code"), [(0.8, 0), (0.5, 1)])
def test_the_command_fails_where_a_peer_is_ahead(
    lagcast: float, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pool_traces: Path
) -> None:
    monkeypatch.setattr(command, "run_full", lambda *_: (result(20, lagcast, 0.7),))
    page = tmp_path / "results.md"
    given = ["--nodes", "20", "--days", "2", "--out", f"{tmp_path}", "--write", f"{page}", "--workers", "1"]
    done = CliRunner().invoke(command.bench_full, given)
    assert done.exit_code == code, done.output
    assert "lagcast_reactive" in done.stdout
    text = page.read_text(encoding="utf-8")
    assert "bench_full --nodes 20 --days 2 --seeds 1" in text
    assert ("Days 10, 13" in text, "in time: nowhere" in text) == (True, code == 0)
