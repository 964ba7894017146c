"""A backtest as a PNG: each model's loss by horizon, and the best one's forecasts beside what came."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from forecasting.backtest import Forecasts, Plan, pinball_losses
from forecasting.competition_scores import TAUS
from forecasting.series import Series

_CALENDAR = 1e8  # s: a load that begins before it counts from its own start, not from 1970
_MARKERS = "osD^vP<>X*"


def draw_backtest(made: Sequence[Forecasts], plan: Plan, series: Series, path: Path) -> None:
    """Write the picture to ``path``. The forecasts shown are those at the longest horizon of two and more, else the
    only one; a model without a finite loss is left out."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8), layout="constrained")
    load, losses = figure.subplots(2, 1, height_ratios=[3, 2])
    means = {}
    for one in made:
        lost = pinball_losses(one)
        known = ~np.isnan(lost)
        if known.any():
            means[one.model] = np.where(known, lost, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    shown = min(1, len(plan.horizons) - 1)
    times = (series.start + (np.arange(plan.first, plan.last) + 0.5) * series.step).astype(np.float64)
    start = times[0] - series.step / 2
    hours = (times - start) / 3600
    load.plot(hours, series.rates[plan.first : plan.last], color="tab:blue", linewidth=0.8, label="arrivals")
    if means:
        best = min(means, key=lambda name: float(means[name].sum()))
        said = next(one for one in made if one.model == best)
        ahead = said.horizons[shown]
        at = (said.origins + ahead - start) / 3600
        bands = said.quantiles[:, shown]
        label = f"{best}, {ahead:g} s ahead, {100 * TAUS[0]:g} to {100 * TAUS[-1]:g} %"
        load.fill_between(at, bands[:, 0], bands[:, -1], color="tab:orange", alpha=0.35, label=label)
        median = bands[:, int(np.flatnonzero(TAUS == 0.5)[0])]
        load.plot(at, median, color="tab:red", linewidth=0.8, label="its median")
    load.set_ylabel("requests/s")
    since = f"since {datetime.fromtimestamp(start, UTC):%Y-%m-%d %H:%M} UTC" if start >= _CALENDAR else "scored"
    load.set_xlabel(f"hours {since}")
    load.set_ylim(bottom=0)
    for place, (name, mean) in enumerate(means.items()):
        minutes = np.array(plan.horizons) * series.step / 60
        losses.plot(minutes, mean, marker=_MARKERS[place % len(_MARKERS)], linewidth=1.2, label=name)
    losses.set_xlabel("minutes ahead")
    losses.set_ylabel("pinball loss (requests/s)")
    if all((mean > 0).all() for mean in means.values()) and means:
        losses.set_yscale("log")  # a model that is ten times worse leaves no room for the others
    for axes in (load, losses):
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[1]:
            axes.legend(loc="upper left", frameon=True, fontsize="small")
    figure.savefig(path, dpi=110)
