"""A load for the simulator from any series: what the policy is told of the past, and the arrivals of each second."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from forecasting.errors import BadSeries
from forecasting.series import Series, resample
from simulations.setting import Load
from simulations.traces import MOST_STEPS, arrivals_per_second, scaled


def split_load(
    series: Series,
    at: float,
    rng: np.random.Generator,
    *,
    seconds: float | None = None,
    past: float = math.inf,
    mean: float | None = None,
    history_step: float | None = None,
) -> Load:
    """The series cut at ``at`` (unix s, whole): history before it, arrivals of each second after it.

    ``seconds``: how long the run is; None is to the series' end. ``past``: at most this much history (s), in steps of
    ``history_step`` (s; None: the series' own), of which those that end after ``at`` are left out. ``mean``: the rate
    (requests/s) that the known part of the run is scaled to; the history is scaled alike. What is NaN stays NaN.

    Steps of a second or less hold what truly arrived: they are summed to seconds and taken as they are, unless scaled.
    Longer steps, and scaled ones, are Poisson draws from the rate, linear between the steps' centres.
    Raises BadSeries when the series does not reach over the run.
    """
    end = series.end if seconds is None else at + seconds
    if at != int(at) or not series.start <= at < end:
        raise BadSeries(
            f"split: found {at:.13g} s; allowed: whole seconds from {series.start:.13g} to before {end:.13g}"
        )
    if end > series.end + 1e-6:
        raise BadSeries(
            f"the series ends at {series.end:.13g} s; a run from {at:.13g} s of {seconds:g} s needs it to {end:.13g}"
        )
    length = int(end - at)
    if not 1 <= length <= MOST_STEPS:
        raise BadSeries(f"run: found {end - at:g} s; allowed: 1 to {MOST_STEPS} s")
    exact = series.step <= 1 and mean is None
    if mean is not None:
        series = scaled(series, scale=mean / _mean_of_steps(series, at, end))
    arrivals = _counted(series, at, length) if exact else arrivals_per_second(series, rng, at, length)
    return Load(float(at), arrivals, _history(series, at, past, history_step))


def _mean_of_steps(series: Series, at: float, end: float) -> float:
    """Mean rate of the known steps that begin in [at, end)."""
    first = math.ceil((at - series.start) / series.step - 1e-9)
    rates = series.rates[first : math.ceil((end - series.start) / series.step - 1e-9)]
    known = rates[np.isfinite(rates)]
    if not known.sum() > 0:
        raise BadSeries(f"from {at:.13g} s to {end:.13g} s there is no request: nothing to scale to a mean")
    return float(known.mean())


def _counted(series: Series, at: float, length: int) -> NDArray[np.float64]:
    whole = resample(series, 1.0)
    first = round(at - whole.start)
    counts = np.full(length, np.nan)
    there = whole.rates[first : first + length]
    counts[: len(there)] = there
    return counts


def _history(series: Series, at: float, past: float, step: float | None) -> Series | None:
    if step is not None and step != series.step:
        series = resample(series, step)
    last = math.floor((at - series.start) / series.step + 1e-9)
    first = max(last - math.floor(min(past, at - series.start) / series.step + 1e-9), 0)
    if last <= first:
        return None
    return Series(series.start + first * series.step, series.step, series.rates[first:last])
