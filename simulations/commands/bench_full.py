"""``python -m simulations.bench_full``: a pool with fewer nodes than its services need, under Lagcast and peers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from simulations.bench_full import behind, full_cells, full_table, run_full
from simulations.bench_runner import Runner
from simulations.commands.bars import Bars
from simulations.commands.shell import results_options, told
from simulations.commands.tables import show
from simulations.executor import make_executor
from simulations.results_page import command_of, page_ready, repeated, section, write_section
from simulations.scenarios import DEFAULTS
from simulations.store import Store
from simulations.version import version, version_of

SECTION = "full"
NODES = (20, 26, 32)


@click.command()
@click.option(
    "--nodes",
    multiple=True,
    type=click.IntRange(min=1),
    default=NODES,
    show_default=True,
    help="At most so many nodes. May be given several times.",
)
@click.option("--days", type=click.IntRange(1, 100), default=3, show_default=True, help="Scored days.")
@click.option("--seeds", type=click.IntRange(1, 20), default=1, show_default=True, help="Each day with each.")
@results_options
def bench_full(
    nodes: Sequence[int],
    days: int,
    seeds: int,
    out: Path,
    write: Path | None,
    executor: str,
    workers: int | None,
    ray_address: str | None,
    output: str,
) -> None:
    """Where a pool cannot grow any more: are more requests in time than under peers?

    Each result is kept in OUT/results as it ends: run the same command again to go on after an interrupt or a kill.

    \b
    Exit codes: 0 more are; 1 a peer has more somewhere, or an error that the message explains; 2 wrong usage; 130
    interrupted.
    """
    with told():
        if write is not None:
            page_ready(write, SECTION)
        on = full_cells(days, seeds)
        store = Store(out / "results", lambda text: click.echo(text, err=True))
        with make_executor(executor, workers, ray_address) as pool, Bars() as bars:
            results = run_full(Runner(DEFAULTS, version_of, store, pool), nodes, on, bars.show)
        table, ahead_of_us = full_table(results), behind(results)
        if write is not None:
            words = [*repeated({"--nodes": [str(n) for n in nodes]}), "--days", str(days), "--seeds", str(seeds)]
            scored = ", ".join(str(day) for day in dict.fromkeys(c.day for c in on))
            about = f"Days {scored} of the traces. A peer has more in time: {', '.join(ahead_of_us) or 'nowhere'}."
            text = section("A pool that cannot grow", command_of("bench_full", words, write), version(), about, [table])
            write_section(write, SECTION, text)
        show([table], output)
    if ahead_of_us:
        sys.exit(1)
