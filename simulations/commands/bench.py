"""`lagcast bench`: the scenarios under Lagcast, its peers and the bound."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from simulations.bench import OTHERS, PEERS, Bench, CellResult
from simulations.bench_report import write_cell
from simulations.bench_tables import Table, cost_ratio, markdown, tables
from simulations.commands.shell import executor_options, told
from simulations.commands.tables import as_json, as_table, known
from simulations.compare import Outcome
from simulations.errors import BadSetting
from simulations.executor import make_executor
from simulations.scenarios import DEFAULTS, Cell, Parameters, cells
from simulations.store import Store
from simulations.version import version
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
    help="Scored days a trace: from the day before the benchmark's on; 1 is the benchmark's alone.",
)
@click.option("--share", type=float, default=DEFAULTS.share, show_default=True, help="Declared share of requests.")
@click.option(
    "--slower",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="Lead times of pods and nodes, times this.",
)
@click.option(
    "--out", default="out/bench", show_default=True, type=click.Path(path_type=Path), help="Folder of results."
)
@click.option("--report", is_flag=True, help="Write each cell as an HTML file, too: its first seed, every policy.")
@click.option("--write", type=click.Path(path_type=Path, dir_okay=False), help="Write the tables as Markdown.")
@executor_options
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
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
    """Run the benchmark; the tables on stdout, the main figures of every run in OUT/bench.json.

    Lagcast at its defaults and without forecasts; HPA, KEDA and the strong reactive rule at their best in hindsight
    and as tuned on the three days before; the bound. Each result is kept in OUT/results as it ends: run the same
    command again to go on after an interrupt or a kill.

    \b
    Exit codes: 0 done; 1 an error that the message explains; 2 wrong usage; 130 interrupted.
    """
    with told():
        if not 0 < share < 1:
            raise BadSetting(f"--share: found {share}; allowed: more than 0, less than 1")
        chosen = _cells(scenarios, traces, seeds, days)
        make_ready(out / "bench.json", *([] if write is None else [write]))
        parameters = replace(DEFAULTS, share=share)
        if slower != 1.0:
            parameters = parameters.slower(slower)
        store = Store(out / "results", lambda text: click.echo(text, err=True))
        with make_executor(executor, workers, ray_address) as pool, _Bars() as bars:
            results = Bench(chosen, parameters, version(), store, pool).run(bars.show)
        made = tables(results, share)
        document = _document(results, made)
        write_whole(out / "bench.json", _text(document))
        if report:
            _reports(results, out, parameters)
        if write is not None:
            command = shlex.join(["lagcast", "bench", *_arguments(write)])
            write_whole(write, markdown(made, command, version(), _about(chosen, share)))
        if output == "json":
            as_json(document)
        else:
            for table in made:
                click.echo(f"\n{table.name}: {table.about}")
                as_table(table.titles, table.lines)
        click.echo(f"figures of every run: {out / 'bench.json'}", err=True)


def _cells(scenarios: Sequence[str], traces: Sequence[str], seeds: int, days: int) -> tuple[Cell, ...]:
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
    offsets = range(days) if days == 1 else range(-1, days - 1)
    return tuple(replace(c, day=c.day + offset) for c in fit for offset in offsets)


class _Bars:
    """A progress bar for each phase, on stderr; where that is no terminal, a line a twentieth."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        console = Console(stderr=True)
        text = TextColumn("{task.description}")
        self._terminal = console.is_terminal
        self._bar = Progress(
            text,
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not self._terminal,
        )
        self._tasks: dict[str, Any] = {}
        self._told: dict[str, int] = {}

    def show(self, phase: str, done: int, total: int) -> None:
        """How far a phase is."""
        if self._terminal:
            if phase not in self._tasks:
                self._tasks[phase] = self._bar.add_task(phase, total=total)
            self._bar.update(self._tasks[phase], completed=done)
            return
        twentieth = 20 * done // total if total else 20
        if twentieth > self._told.get(phase, -1):
            self._told[phase] = twentieth
            click.echo(f"{phase}: {done} of {total}", err=True)

    def __enter__(self) -> _Bars:
        self._bar.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._bar.stop()


def _document(results: Sequence[CellResult], made: Sequence[Table]) -> dict[str, Any]:
    return {
        "version": version(),
        "cells": [_cell(r) for r in results],
        "tables": {t.name: [dict(zip(t.titles, line, strict=True)) for line in t.lines] for t in made},
    }


def _cell(result: CellResult) -> dict[str, Any]:
    return {
        **asdict(result.cell),
        "bound_gpu_hours": result.bound,
        "lagcast": _figures(result.lagcast),
        "lagcast_reactive": _figures(result.reactive),
        "sweeps": {policy: [_figures(o) for o in sweep] for policy, sweep in result.sweeps.items()},
        "tuned_before": {policy: _figures(o) for policy, o in result.past.items()},
        "cost_over_cheapest_peer": cost_ratio(result, PEERS),
        "cost_over_rate_and_lag": cost_ratio(result, OTHERS),
    }


def _figures(outcome: Outcome) -> dict[str, Any]:
    services = [
        {"uid": m.uid, "attainment": known(m.attainment), "gpu_hours": known(m.gpu_hours), "p99": known(m.p99),
         "changes": m.changes}
        for m in outcome.measures
    ]  # fmt: skip
    return {
        "options": dict(outcome.job.options),
        "attainment": known(outcome.attainment),
        "gpu_hours": known(outcome.gpu_hours),
        "services": services,
    }


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1, allow_nan=False)


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


def _about(chosen: Sequence[Cell], share: float) -> str:
    seeds = len({c.seed for c in chosen})
    cell_count = len({(c.scenario, c.trace, c.day) for c in chosen})
    return f"{cell_count} cells of {seeds} seed{'' if seeds == 1 else 's'} each, declared share {100 * share:g} %."


def _reports(results: Sequence[CellResult], out: Path, parameters: Parameters) -> None:
    for result in results:
        if result.cell.seed == 0:
            path = out / f"{result.cell.name.replace('/', '-')}.html"
            write_cell(result, parameters, path)
            click.echo(f"report: {path}", err=True)
