"""``python -m simulations.bench_rubbish``: Lagcast on a wrong history or with a broken forecaster, beside none."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from simulations.bench_rubbish import (
    Wrong,
    chosen_cells,
    jobs_of,
    jobs_of_unsure,
    judge,
    rubbish_table,
    run_all,
)
from simulations.commands.bars import Bars
from simulations.commands.shell import results_options, told
from simulations.commands.tables import show
from simulations.errors import BadSetting
from simulations.executor import make_executor
from simulations.results_page import command_of, page_ready, repeated, section, write_section
from simulations.scenarios import cells
from simulations.store import Store
from simulations.version import rubbish_version, version

SECTION = "rubbish"
ALONE = ("pods", "nodes")  # one service each
TRACES = tuple(dict.fromkeys(c.trace for c in cells((0,)) if c.scenario != "pool"))


@click.command()
@click.option(
    "--scenario",
    "scenarios",
    multiple=True,
    type=click.Choice(("pods", "nodes", "pool")),
    help="Only these.  [default: pods and nodes; days of the pool are long, and it takes many of them to tell]",
)
@click.option("--trace", "traces", multiple=True, type=click.Choice(TRACES), help="Only these.  [default: all]")
@click.option(
    "--wrong", "wrongs", multiple=True, type=click.Choice([str(w) for w in Wrong]), help="Only these.  [default: all]"
)
@click.option(
    "--days",
    type=click.IntRange(1, 100),
    help="So many scored days of each trace, spread over it.  [default: the one of the benchmark's cells]",
)
@click.option("--seeds", type=click.IntRange(1, 20), default=3, show_default=True, help="Each day with each.")
@click.option(
    "--most-seeds",
    type=click.IntRange(1, 100),
    default=48,
    show_default=True,
    help="The same at most, where it takes more to tell.",
)
@results_options
def bench_rubbish(
    scenarios: Sequence[str],
    traces: Sequence[str],
    wrongs: Sequence[str],
    days: int | None,
    seeds: int,
    most_seeds: int,
    out: Path,
    write: Path | None,
    executor: str,
    workers: int | None,
    ray_address: str | None,
    output: str,
) -> None:
    """Is Lagcast ever worse than without forecasts: on a wrong history, with a forecaster that breaks?

    Each result is kept in OUT/results as it ends: run the same command again to go on after an interrupt or a kill.

    \b
    Exit codes: 0 nowhere worse; 1 somewhere, or an error that the message explains; 2 wrong usage; 130 interrupted.
    """
    with told():
        of_days = repeated({"--days": [] if days is None else [str(days)]})
        name = " ".join([SECTION, *repeated({"--scenario": scenarios}), *of_days])
        if write is not None:
            page_ready(write, name)
        on = chosen_cells(scenarios or ALONE, traces, seeds, days)
        if not on:
            raise BadSetting(
                f"--trace: {', '.join(traces)}: no cell of pool has it alone; leave out --trace, or the pool"
            )
        jobs = jobs_of(on, [Wrong(w) for w in wrongs] or list(Wrong))
        store = Store(out / "results", lambda text: click.echo(text, err=True))
        with make_executor(executor, workers, ray_address) as pool, Bars() as bars:
            found = dict(run_all(jobs, rubbish_version(), store, pool, bars.show))
            while more := jobs_of_unsure(judge(found), most_seeds, days):
                found |= run_all(more, rubbish_version(), store, pool, bars.show)
        judged = judge(found)
        table = rubbish_table(judged)
        if write is not None:
            chosen = repeated({"--scenario": scenarios, "--trace": traces, "--wrong": wrongs})
            words = [*chosen, *of_days, "--seeds", str(seeds), "--most-seeds", str(most_seeds)]
            command = command_of("bench_rubbish", words, write)
            about = f"{len(judged)} cells, of which {sum(one.met for one in judged)} are met."
            title = ", ".join(["Never worse than reactive", *scenarios, *([] if days is None else [f"{days} days"])])
            write_section(write, name, section(title, command, version(), about, [table]))
        show([table], output)
    if not all(one.met for one in judged):
        sys.exit(1)
