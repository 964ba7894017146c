"""``python -m simulations.bench_calibration``: do the default forecaster's upper quantiles cover what they say?"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from simulations.bench_calibration import FIRST, HISTORY, SPARSE, calibration_table, counted, right_table, study
from simulations.commands.shell import progress, told
from simulations.commands.tables import as_json, show
from simulations.results_page import command_of, page_ready, section, write_section
from simulations.version import version

SECTION = "calibration"


@click.command()
@click.argument("traces", nargs=-1)
@click.option("--days", type=click.IntRange(min=1), default=7, show_default=True, help="Days that are scored.")
@click.option(
    "--mean", type=click.FloatRange(min=0, min_open=True), default=80.0, show_default=True, help="Requests/s."
)
@click.option("--unscaled", is_flag=True, help="The recorded rates; sparse traces are never scaled.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--write", type=click.Path(path_type=Path, dir_okay=False), help="Write the table as this page's section."
)
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def bench_calibration(
    traces: Sequence[str], days: int, mean: float, unscaled: bool, seed: int, write: Path | None, output: str
) -> None:
    """Share of outcomes below the forecast's .9, .95 and .99 quantile, on TRACES (all shared ones of a week or more).

    \b
    Exit codes: 0 every cell is met; 1 one is not; 2 wrong usage or a trace that cannot be read; 130 interrupted.
    """
    chosen = traces or tuple(FIRST)
    with told():
        if write is not None:
            page_ready(write, SECTION)
        done = []
        with progress("traces", len(chosen)) as told_of:
            for trace in chosen:
                own_mean = None if unscaled or trace in SPARSE else mean
                done.append(study(trace, FIRST.get(trace, HISTORY), days, own_mean, seed))
                told_of(len(done))
        cells = [cell for one in done for cell in one.cells]
        tables = [calibration_table(done), right_table(done)]
        if write is not None:
            words = [*traces, "--days", str(days), "--seed", str(seed)]
            words += ["--unscaled"] if unscaled else ["--mean", f"{mean:g}"]
            command = command_of("bench_calibration", words, write)
            write_section(write, SECTION, section("Calibration", command, version(), counted(done), tables))
        if output == "json":
            as_json([{**asdict(one), "cells": [asdict(c) | {"met": c.met} for c in one.cells]} for one in done])
        else:
            show(tables, output)
    if not all(cell.met for cell in cells):
        sys.exit(1)
