"""A run as one picture: arrivals with the forecast band, replicas asked and ready, time lag."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Day:
    """Columns of shape [ticks]; NaN where not known. Times in ``unit`` since the start, rates in requests/s."""

    unit: str  # of the axis of time
    times: Column
    arrivals: Column
    forecast_at: Column  # the time for which each tick's forecast was made
    forecast_low: Column
    forecast_high: Column
    asked: Column
    ready: Column
    time_lag: Column  # s
    within: float  # s


def draw_day(day: Day, path: Path) -> None:
    """Write ``day`` to ``path`` as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7.5), layout="constrained")
    load, replicas, lag = figure.subplots(3, 1, sharex=True, height_ratios=[3, 3, 2])
    known = np.isfinite(day.forecast_at)
    load.fill_between(
        day.forecast_at[known],
        day.forecast_low[known],
        day.forecast_high[known],
        color="tab:orange",
        alpha=0.35,
        label="forecast one lead time before, 5 to 95 %",
    )
    load.plot(day.times, day.arrivals, color="tab:blue", linewidth=1, label="arrivals")
    load.set_ylabel("requests/s")
    replicas.step(day.times, day.asked, where="post", color="tab:red", linewidth=1.2, label="asked")
    replicas.step(day.times, day.ready, where="post", color="tab:green", linewidth=1.2, label="ready")
    replicas.set_ylabel("replicas")
    lag.plot(day.times, day.time_lag, color="tab:purple", linewidth=1, label="time lag")
    lag.axhline(day.within, color="grey", linestyle="--", linewidth=1, label="objective")
    lag.set_ylabel("s")
    lag.set_xlabel(day.unit)
    for axes in (load, replicas, lag):
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(loc="upper left", frameon=False)
    lag.set_xlim(day.times[0], day.times[-1])
    figure.savefig(path, dpi=110)
