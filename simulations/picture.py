"""Pictures as PNG: a run, a frontier of policies, a tuning's trials."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True, slots=True)
class FrontierPoint:
    """One run of a sweep: ``value`` of the policy's ``parameter``; None and "" where it has none."""

    policy: str
    attainment: float  # share of requests
    gpu_hours: float
    parameter: str = ""
    value: float | None = None


@dataclass(frozen=True, slots=True)
class BoundPoint:
    """The least GPU-hours of a clairvoyant schedule that reaches ``attainment`` (share of requests)."""

    attainment: float
    gpu_hours: float


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial of a tuning. ``best``: no other one is both cheaper and at least as attaining."""

    number: int
    attainment: float
    gpu_hours: float
    best: bool


def hindsight_best(points: Iterable[FrontierPoint], share: float) -> dict[str, FrontierPoint]:
    """Of each policy, the cheapest point that attained ``share``; a policy that never did is not in it."""
    best: dict[str, FrontierPoint] = {}
    for point in points:
        if point.attainment >= share and (point.policy not in best or point.gpu_hours < best[point.policy].gpu_hours):
            best[point.policy] = point
    return best


def in_sweep(point: FrontierPoint) -> tuple[float, float, float]:
    """By which to sort a policy's points, so that a line joins neighbours of the sweep: by parameter, else by cost."""
    return (0.0 if point.value is None else point.value, point.gpu_hours, point.attainment)


def draw_frontier(
    points: Sequence[FrontierPoint], bound: Sequence[BoundPoint], path: Path, shares: Sequence[float] = (0.99, 0.999)
) -> None:
    """Write attainment against GPU-hours as a PNG: a line for each policy, its cheapest point for each of ``shares``
    ringed, and the bound. A point without a finite attainment and GPU-hours is left out."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots()
    points = [p for p in points if _finite(p.attainment, p.gpu_hours)]
    for number, policy in enumerate(dict.fromkeys(p.policy for p in points)):
        sweep = sorted((p for p in points if p.policy == policy), key=in_sweep)
        x, y = [p.gpu_hours for p in sweep], [nines(p.attainment) for p in sweep]
        axes.plot(x, y, marker=MARKERS[number % len(MARKERS)], markersize=5, linewidth=1.2, label=policy)
    for share in shares:
        axes.axhline(nines(share), color="grey", linestyle=":", linewidth=1)
    ringed = [p for share in shares for p in hindsight_best(points, share).values()]
    if ringed:
        label = "cheapest for " + " and ".join(f"{s:.4g} %" for s in (100 * s for s in shares))
        x, y = [p.gpu_hours for p in ringed], [nines(p.attainment) for p in ringed]
        axes.scatter(x, y, s=130, facecolors="none", edgecolors="black", linewidths=1.3, zorder=5, label=label)
    curve = sorted((b for b in bound if _finite(b.attainment, b.gpu_hours)), key=lambda b: b.attainment)
    style: dict[str, Any] = {"color": "black", "linestyle": "--", "linewidth": 1.5, "label": "bound"}
    if len(curve) == 1:
        axes.axvline(curve[0].gpu_hours, **style)
    elif curve:
        axes.plot([b.gpu_hours for b in curve], [nines(b.attainment) for b in curve], marker="_", **style)
    _attainment_axes(axes, [p.attainment for p in points] + [b.attainment for b in curve] + list(shares))
    figure.savefig(path, dpi=110)


def draw_pareto(trials: Sequence[Trial], path: Path, chosen: int | None = None, share: float | None = None) -> None:
    """Write a tuning's trials as a PNG: all of them, the Pareto set as a line, the trial numbered ``chosen``, and the
    objective's ``share``. A trial without a finite attainment and GPU-hours is left out."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots()
    trials = [t for t in trials if _finite(t.attainment, t.gpu_hours)]
    front = sorted((t for t in trials if t.best), key=lambda t: t.gpu_hours)
    rest = [t for t in trials if not t.best]
    if rest:
        x, y = [t.gpu_hours for t in rest], [nines(t.attainment) for t in rest]
        axes.scatter(x, y, s=18, color="tab:grey", alpha=0.5, label="trials")
    x, y = [t.gpu_hours for t in front], [nines(t.attainment) for t in front]
    axes.plot(x, y, color="tab:blue", marker="o", markersize=5, drawstyle="steps-post", label="Pareto set")
    for t in trials:
        if t.number == chosen:
            label = f"chosen: trial {chosen}"
            axes.scatter(t.gpu_hours, nines(t.attainment), s=200, marker="*", color="tab:red", zorder=5, label=label)
    if share is not None:
        axes.axhline(nines(share), color="grey", linestyle=":", linewidth=1, label="objective")
    _attainment_axes(axes, [t.attainment for t in trials] + ([] if share is None else [share]))
    figure.savefig(path, dpi=110)


MARKERS = "osD^vP<>X*"
MOST_NINES = 5.0  # where all requests in time are drawn: log10(0) is nowhere


def nines(attainment: float) -> float:
    """-log10 of the late share: 99 % is 2, 99.9 % is 3; at most ``MOST_NINES``."""
    return MOST_NINES if attainment >= 1.0 else min(-math.log10(1.0 - attainment), MOST_NINES)


def _attainment_axes(axes: Any, attained: Sequence[float]) -> None:
    low = min((nines(a) for a in attained), default=0.0)
    high = max((nines(a) for a in attained), default=MOST_NINES)
    axes.set_ylim(low - 0.1, high + 0.1)
    shown = [t for t in _TICKS if low - 0.1 <= nines(t) <= high + 0.1]
    axes.set_yticks([nines(t) for t in shown], [_percent(t) for t in shown])
    axes.set_ylabel("attainment (requests within the objective)")
    axes.set_xlabel("GPU-hours")
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="lower right", frameon=True)


def _percent(share: float) -> str:
    return "all" if nines(share) >= MOST_NINES else f"{100 * share:.5g} %"


_TICKS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999, 0.99999)


def _finite(*values: float) -> bool:
    return all(math.isfinite(v) for v in values)
