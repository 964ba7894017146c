"""Do the default forecaster's upper quantiles cover what they say on recorded load?

``python -m simulations.bench_calibration``.
Each trace: a fit on seven days, then some days of Poisson counts each 15 s from the trace's rates (linear between its
steps), a refit each day; paths are drawn at origins 105 s apart. A cell is met within 1.5, 1 and 0.5 points of
.9, .95 and .99, or within two block-bootstrap standard errors. A horizon below a trace's step is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import click
import numpy as np

from forecasting.calibration import HORIZONS, Coverage, coverage
from forecasting.calibration_study import follow
from forecasting.competition import Competition
from forecasting.competition_default import default_competition
from forecasting.errors import BadSeries
from forecasting.series import Series
from simulations.traces import find_trace, rates_at, read_trace, scaled

DAY = 86_400.0
STEP = 15.0
LEAD_TIME = 150.0  # s, at which the default's models are scored
EVERY = 7 * STEP  # between origins, which so are at every phase of load that comes each few minutes
HISTORY = 7  # days
# First day that is scored: where a trace is long, past its beginning.
FIRST = {
    "azfunc_diurnal": 7,
    "azfunc_bursty": 7,
    "azfunc_sparse": 7,
    "servegen_llm_large": 7,
    "worldcup98": 50,
    "twitter_aapl": 20,
    "nyc_taxi": 100,
}
SPARSE = frozenset({"azfunc_sparse"})  # to be judged with its zeros: never scaled up


@dataclass(frozen=True, slots=True)
class Studied:
    """One trace at one mean rate; ``pinball`` (requests/s) by horizon."""

    trace: str
    mean: float  # requests/s
    cells: list[Coverage]
    pinball: dict[float, float]


def study(trace: str, first: int, days: int, mean: float | None, seed: int) -> Studied:
    """Score ``days`` from day ``first`` on; ``mean`` None: as recorded. Raises BadSeries for what cannot be read."""
    load = read_trace(find_trace(trace))
    if mean is not None:
        load = scaled(load, mean=mean)
    a_day = round(DAY / load.step)
    if first < HISTORY or len(load.rates) < (first + 1) * a_day:
        raise BadSeries(
            f"{trace}: {len(load.rates) / a_day:.1f} days; {HISTORY} of history and one to score are needed"
        )
    begin = load.start + first * DAY
    history = Series(begin - HISTORY * DAY, load.step, load.rates[(first - HISTORY) * a_day : first * a_day])
    rates = rates_at(load, np.arange(begin, min(begin + days * DAY, load.end), STEP) + STEP / 2)
    counts = np.random.default_rng(seed).poisson(np.nan_to_num(rates) * STEP)
    live = Series(begin, STEP, np.where(np.isnan(rates), np.nan, counts / STEP))
    model = default_competition(STEP, LEAD_TIME, seed=seed)
    model.fit(history)
    horizons = [horizon for horizon in HORIZONS if horizon >= max(load.step, STEP)]
    found = follow(
        model,
        live,
        horizons=horizons,
        every=EVERY,
        count=200,
        seed=seed,
        refit=_refit,
    )
    return Studied(
        trace,
        float(np.nanmean(live.rates)),
        [cell for outcomes in found for cell in coverage(outcomes, seed=seed)],
        {outcomes.horizon: float(outcomes.losses.mean()) for outcomes in found},
    )


def _refit(model: Competition) -> None:
    kept = model.kept()
    if kept is not None:
        model.adopt(model.study(kept))


def rows(done: Studied) -> Iterator[list[str]]:
    """One row a horizon: share covered in percent, two standard errors, and a star where the cell is not met."""
    for horizon, loss in done.pinball.items():
        cells = [cell for cell in done.cells if cell.horizon == horizon]
        shown = [f"{100 * c.share:.1f} ± {200 * c.error:.1f}{'' if c.met else ' *'}" for c in cells]
        yield [done.trace, f"{done.mean:.3g}", f"{horizon / 60:g}", *shown, f"{loss:.4g}"]


@click.command()
@click.argument("traces", nargs=-1)
@click.option("--days", type=click.IntRange(min=1), default=7, show_default=True, help="Days that are scored.")
@click.option(
    "--mean", type=click.FloatRange(min=0, min_open=True), default=80.0, show_default=True, help="Requests/s."
)
@click.option("--unscaled", is_flag=True, help="The recorded rates; sparse traces are never scaled.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def main(traces: Sequence[str], days: int, mean: float, unscaled: bool, seed: int, output: str) -> None:
    """Share of outcomes below the forecast's .9, .95 and .99 quantile, on TRACES (all shared ones of a week or more).

    \b
    Exit codes: 0 every cell is met; 1 one is not; 2 wrong usage or a trace that cannot be read.
    """
    from rich.console import Console
    from rich.table import Table

    done = []
    for trace in traces or FIRST:
        try:
            own_mean = None if unscaled or trace in SPARSE else mean
            done.append(study(trace, FIRST.get(trace, HISTORY), days, own_mean, seed))
        except (BadSeries, OSError) as bad:
            raise click.UsageError(str(bad)) from bad
        click.echo(f"{trace}: {sum(not cell.met for cell in done[-1].cells)} cells not met", err=True)
    if output == "json":
        click.echo(
            json.dumps([{**asdict(one), "cells": [asdict(c) | {"met": c.met} for c in one.cells]} for one in done])
        )
    else:
        named = [f"{level} {hours}" for hours in ("all", "busy") for level in (".9", ".95", ".99")]
        table = Table("trace", "mean /s", "minutes", *named, "pinball /s")
        for one in done:
            for row in rows(one):
                table.add_row(*row)
        Console(width=170).print(table)
    if not all(cell.met for one in done for cell in one.cells):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
