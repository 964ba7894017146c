"""`lagcast bench`: the scenarios under Lagcast, its peers and the bound."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click

from simulations.bench import Bench, CellResult
from simulations.bench_days import DayResult, Days, day_cells
from simulations.bench_not_ahead import days_not_ahead, not_ahead, slower_not_ahead
from simulations.bench_pool_table import pool_table
from simulations.bench_report import write_cell
from simulations.bench_runner import Runner, Show
from simulations.bench_slower import Slower, SlowerResult, slower_tables
from simulations.bench_tables import before, each_day, tables
from simulations.commands.bars import Bars
from simulations.commands.bench_document import document
from simulations.commands.shell import results_options, told
from simulations.commands.tables import as_json, as_tables
from simulations.errors import BadSetting
from simulations.executor import Executor, make_executor
from simulations.results_page import page_ready, section, write_section
from simulations.scenarios import DEFAULTS, Cell, Parameters, cells
from simulations.store import Store
from simulations.table import Table
from simulations.version import version, version_of
from simulations.whole_file import make_ready, write_whole

SCENARIOS = ("pods", "nodes", "pool")


@click.command()
@click.option(
    "--scenario", "scenarios", multiple=True, type=click.Choice(SCENARIOS), help="Only these.  [default: all]"
)
@click.option("--trace", "traces", multiple=True, metavar="NAME", help="Only these.  [default: all]")
@click.option("--seeds", type=click.IntRange(1, 100), default=3, show_default=True, help="Seeds a cell, from 0.")
@click.option(
    "--days",
    type=click.IntRange(1, 30),
    default=1,
    show_default=True,
    help="Scored days a trace. With several, spread over the trace: only against peers as tuned before each.",
)
@click.option("--share", type=float, default=DEFAULTS.share, show_default=True, help="Declared share of requests.")
@click.option(
    "--slower",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="Lead times of pods and nodes, times this; shown beside those as they are.",
)
@click.option("--report", is_flag=True, help="Write each cell as an HTML file, too: its first seed, every policy.")
@results_options
def bench(
    scenarios: Sequence[str],
    traces: Sequence[str],
    seeds: int,
    days: int,
    share: float,
    slower: float,
    out: Path,
    report: bool,
    write: Path | None,
    executor: str,
    workers: int | None,
    ray_address: str | None,
    output: str,
) -> None:
    """Run the benchmark; the tables on stdout, the main figures of every run in a file of OUT.

    Lagcast at its defaults and without forecasts; HPA, KEDA and the strong reactive rule at their best in hindsight
    and as tuned on the three days before; the bound. With --days or --slower, only what their question needs. Each
    result is kept in OUT/results as it ends: run the same command again to go on after an interrupt or a kill.

    \b
    Exit codes: 0 done; 1 an error that the message explains; 2 wrong usage; 130 interrupted.
    """
    with told():
        asked = _Asked(seeds, days, share, slower, tuple(traces))
        asked.check(report)
        chosen = _cells(scenarios, traces, seeds)
        file = out / f"{asked.name.replace(' ', '')}.json"
        make_ready(file)
        if write is not None:
            page_ready(write, asked.name)
        store = Store(out / "results", lambda text: click.echo(text, err=True))
        with make_executor(executor, workers, ray_address) as pool, Bars() as bars:
            results, made = asked.run(chosen, store, pool, bars.show)
        found = document(results, made)
        write_whole(file, json.dumps(found, indent=1, allow_nan=False))
        if report:
            _reports([r for r in results if isinstance(r, CellResult)], out, asked.parameters)
        if write is not None:
            command = shlex.join(["lagcast", "bench", *_arguments(write)])
            text = section(asked.title, command, version(), _about(results, share), made)
            write_section(write, asked.name, text)
        if output == "json":
            as_json(found)
        else:
            as_tables(made)
        click.echo(f"figures of every run: {file}", err=True)


Results = tuple[CellResult, ...] | tuple[DayResult, ...] | tuple[SlowerResult, ...]


@dataclass(frozen=True, slots=True)
class _Asked:
    """Which question is asked: it names the part of the page that the answer is written to."""

    seeds: int
    days: int
    share: float
    slower: float
    traces: tuple[str, ...]  # none: all

    def check(self, report: bool) -> None:
        """Raises BadSetting for what cannot be asked together."""
        if not 0 < self.share < 1:
            raise BadSetting(f"--share: found {self.share}; allowed: more than 0, less than 1")
        if self.days > 1 and self.slower != 1.0:
            raise BadSetting(f"--days {self.days} --slower {self.slower:g}: ask one of them at a time")
        if report and (self.days > 1 or self.slower != 1.0):
            raise BadSetting("--report: not with --days or --slower, which do not run every policy; leave it out")

    @property
    def options(self) -> list[str]:
        """Those that are not at their defaults, as on the command line."""
        given = (("--days", self.days, 1), ("--share", self.share, DEFAULTS.share), ("--slower", self.slower, 1.0))
        return [word for name, value, usual in given if value != usual for word in (name, f"{value:g}")]

    @property
    def name(self) -> str:
        """Of the page's section, and of the file of figures."""
        return " ".join(["bench", *self.options])

    @property
    def title(self) -> str:
        """Of the page's section."""
        what = f"Declared {100 * self.share:g} %"
        if self.days > 1:
            return f"{what}, {self.days} scored days a trace"
        return f"{what}, lead times times {self.slower:g}" if self.slower != 1.0 else what

    @property
    def parameters(self) -> Parameters:
        """Of the scenarios, at lead times as they are."""
        return replace(DEFAULTS, share=self.share)

    def run(
        self, chosen: Sequence[Cell], store: Store, pool: Executor, show: Show
    ) -> tuple[Results, tuple[Table, ...]]:
        """All results, and the tables of them."""
        options = [*self.options, "--seeds", str(self.seeds)]
        runner = Runner(self.parameters, version_of, store, pool)
        if self.days > 1:
            days = Days(day_cells(chosen, self.days), runner)
            _estimate(days.seconds(), pool)
            by_day = days.run(show)
            behind = days_not_ahead(by_day, self.share, options, self.traces)
            return by_day, (before(by_day, self.share), _days_of(by_day), each_day(by_day), behind)
        if self.slower != 1.0:
            longer = replace(runner, parameters=self.parameters.slower(self.slower))
            slower = Slower(chosen, (runner, longer))
            _estimate(slower.seconds(), pool)
            side = slower.run(show)
            behind = slower_not_ahead(side, self.share, options, self.traces)
            return side, (*slower_tables(side, self.slower, self.share), behind)
        whole = Bench(chosen, runner)
        _estimate(whole.seconds(), pool)
        results = whole.run(show)
        shared = pool_table(results, self.share)
        more = () if shared is None else (shared,)
        behind = not_ahead(results, self.share, options, self.traces)
        return results, (*tables(results, self.share), *more, behind)


def _estimate(seconds: float, pool: Executor) -> None:
    if seconds >= 60:
        minutes = f"{seconds / 60:.0f} minute{'' if seconds < 90 else 's'}"
        workers = f"{pool.width} worker{'' if pool.width == 1 else 's'}"
        click.echo(f"about {minutes} on {workers}, on cores that nobody else uses", err=True)


def _days_of(results: Sequence[DayResult]) -> Table:
    days: dict[str, list[int]] = {}
    for r in results:
        days.setdefault(r.cell.trace, []).append(r.cell.day)
    lines = tuple(
        (trace, ", ".join(map(str, sorted(set(found)))), str(len(set(found)))) for trace, found in days.items()
    )
    about = (
        "Scored days of each trace, from 0: spread evenly over those with seven days of history, which are whole, and "
        "not silent, with the three days before."
    )
    return Table("b, days", about, ("TRACE", "DAYS", "COUNT"), lines)


def _cells(scenarios: Sequence[str], traces: Sequence[str], seeds: int) -> tuple[Cell, ...]:
    every = cells(range(seeds))
    known = list(dict.fromkeys(c.trace for c in every))
    wrong = [name for name in traces if name not in known]
    if wrong:
        raise BadSetting(f"--trace: found {wrong[0]}; allowed: {', '.join(known)}")
    fit = [c for c in every if (not scenarios or c.scenario in scenarios) and (not traces or c.trace in traces)]
    if not fit:
        raise BadSetting(
            f"--scenario, --trace: found no cell of both; allowed: {', '.join(c.name for c in cells((0,)))}"
        )
    return tuple(fit)


def _arguments(write: Path) -> list[str]:
    """What the command was called with, without where this machine keeps things."""
    kept: list[str] = []
    words = iter(sys.argv[2:] if sys.argv[1:2] == ["bench"] else sys.argv[1:])  # from the shell, or by itself
    for word in words:
        if word in ("--out", "--write", "--workers"):
            next(words, None)
        elif not word.startswith(("--out=", "--write=", "--workers=")):
            kept.append(word)
    return [*kept, "--write", f"docs/{write.name}"]


def _about(results: Results, share: float) -> str:
    chosen = [r.cell for r in results]
    seeds = len({c.seed for c in chosen})
    count = len({(c.scenario, c.trace, c.day) for c in chosen})
    return f"{count} cells of {seeds} seed{'' if seeds == 1 else 's'} each, declared share {100 * share:g} %."


def _reports(results: Sequence[CellResult], out: Path, parameters: Parameters) -> None:
    for result in results:
        if result.cell.seed == 0:
            path = out / f"{result.cell.name.replace('/', '-')}.html"
            write_cell(result, parameters, path)
            click.echo(f"report: {path}", err=True)
