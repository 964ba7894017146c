"""``python -m simulations.bench_defaults``: each trace is left out once; the others choose the constants."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from simulations.bench_defaults import days_before, defaults_tables, jobs_on, run_all
from simulations.commands.bars import Bars
from simulations.commands.shell import results_options, told
from simulations.commands.tables import show
from simulations.executor import make_executor
from simulations.results_page import command_of, page_ready, repeated, section, write_section
from simulations.store import Store
from simulations.version import version

SECTION = "defaults"


@click.command()
@click.option(
    "--scenario", "scenarios", multiple=True, type=click.Choice(("pods", "nodes")), help="Only these.  [default: both]"
)
@results_options
def bench_defaults(
    scenarios: Sequence[str],
    out: Path,
    write: Path | None,
    executor: str,
    workers: int | None,
    ray_address: str | None,
    output: str,
) -> None:
    """Choose the plan's constants on all traces but one, and show them on that one beside the defaults.

    Each result is kept in OUT/results as it ends: run the same command again to go on after an interrupt or a kill.

    \b
    Exit codes: 0 done; 1 an error that the message explains; 2 wrong usage; 130 interrupted.
    """
    with told():
        if write is not None:
            page_ready(write, SECTION)
        on = tuple(cell for cell in days_before() if not scenarios or cell.scenario in scenarios)
        jobs = jobs_on(on)
        store = Store(out / "results", lambda text: click.echo(text, err=True))
        with make_executor(executor, workers, ray_address) as pool, Bars() as bars:
            found = run_all(jobs, version(), store, pool, bars.show)
        made = defaults_tables(found, on)
        if write is not None:
            command = command_of("bench_defaults", repeated({"--scenario": scenarios}), write)
            about = f"{len(on)} cells, {len(jobs)} days simulated, one seed."
            text = section("Defaults, each trace left out once", command, version(), about, made)
            write_section(write, SECTION, text)
        show(made, output)
