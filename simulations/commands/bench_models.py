"""``python -m simulations.bench_models``: the default forecaster beside the best library model of each trace."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from forecasting.backtest_models import MODELS
from simulations.bench_models import (
    DEFAULT,
    TRACES,
    jobs_of,
    losses_table,
    met,
    ratios_table,
    run_all,
)
from simulations.commands.bars import Bars
from simulations.commands.shell import results_options, told
from simulations.commands.tables import show
from simulations.executor import make_executor
from simulations.results_page import command_of, page_ready, repeated, section, write_section
from simulations.store import Store
from simulations.version import models_version

SECTION = "models"


@click.command()
@click.option("--trace", "traces", multiple=True, type=click.Choice(TRACES), help="Only these.  [default: all]")
@click.option(
    "--model",
    "models",
    multiple=True,
    type=click.Choice([name for name in MODELS if name != DEFAULT]),
    help="Beside the default only these.  [default: all]",
)
@click.option("--days", type=click.IntRange(min=1), default=7, show_default=True, help="Days that are scored.")
@click.option(
    "--fit-limit",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds, after which a library's fit is stopped.",
)
@results_options
def bench_models(
    traces: Sequence[str],
    models: Sequence[str],
    days: int,
    fit_limit: float,
    out: Path,
    write: Path | None,
    executor: str,
    workers: int | None,
    ray_address: str | None,
    output: str,
) -> None:
    """Is the default forecaster's pinball loss on recorded load below that of the best library model of each trace?

    Each result is kept in OUT/results as it ends: run the same command again to go on after an interrupt or a kill.

    \b
    Exit codes: 0 it is, in the mean, and nowhere much above; 1 it is not, or an error that the message explains;
    2 wrong usage or a trace that cannot be read; 130 interrupted.
    """
    with told():
        if write is not None:
            page_ready(write, SECTION)
        jobs = jobs_of(traces or TRACES, models or tuple(MODELS), days, fit_limit)
        store = Store(out / "results", lambda text: click.echo(text, err=True))
        with make_executor(executor, workers, ray_address) as pool, Bars() as bars:
            compared = run_all(jobs, models_version, store, pool, bars.show)
        tables = [ratios_table(compared), losses_table(compared)]
        if write is not None:
            chosen = repeated({"--trace": traces, "--model": models})
            words = [*chosen, "--days", str(days), "--fit-limit", f"{fit_limit:g}"]
            command = command_of("bench_models", words, write)
            about = f"{len(compared)} traces, {days} days of each."
            title = "The default forecaster and the libraries' models"
            write_section(write, SECTION, section(title, command, models_version(DEFAULT), about, tables))
        show(tables, output)
    if not met(compared):
        sys.exit(1)
