"""Arrivals from cumulative counters: offsets of partitions, a metric of pods."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from forecasting.errors import BadSeries
from forecasting.series import LEAST_SEEN, Series, step_index

Floats = NDArray[np.float64]

_ON_BOUNDARY = 1e-6  # of a step


def from_counter(
    times: Floats,
    values: Floats,
    step: float,
    *,
    restart: Literal["unknown", "zero"] = "unknown",
    longest: float = math.inf,
) -> Series:
    """Arrivals from samples of a cumulative counter, or of several that add up.

    ``times`` [n] (unix s, ascending, irregular as they may be); ``values`` [n] or [n, counters], NaN where a counter
    was not read. Between two readings of all counters their increase is spread evenly, for ``longest`` seconds at most;
    what lies between readings further apart is missing. A step of which less than half was seen is NaN.

    A counter that goes backwards was reset. With ``unknown`` (a topic made anew: nobody knows what came before it was
    gone) the time between the two readings is missing. With ``zero`` (a process that began again) the new value is
    what came, as Prometheus counts. Raises ``BadSeries``, naming the row.
    """
    values = values.reshape(len(values), -1) if len(values) else values.reshape(0, 1)
    _check(times, values, step)
    read = ~np.isnan(values).any(axis=1)
    times, values = times[read], values[read]
    if len(times) < 2:
        return Series(0.0, step, np.empty(0))
    grown = np.diff(values, axis=0)
    if restart == "zero":
        grown = np.where(grown < 0, values[1:], grown)
    seconds = np.diff(times)
    known = (grown >= 0).all(axis=1) & (seconds <= longest)
    first, last = step_index(float(times[0]), step), math.ceil(times[-1] / step - _ON_BOUNDARY)
    edges = np.arange(first, last + 1) * step
    came = _between(edges, times, np.where(known, grown.sum(axis=1), 0.0))
    seen = _between(edges, times, np.where(known, seconds, 0.0))
    rates = np.full(last - first, np.nan)
    np.divide(came, seen, out=rates, where=seen >= LEAST_SEEN * step - _ON_BOUNDARY * step)
    return Series(first * step, step, rates)


def _between(edges: Floats, times: Floats, amounts: Floats) -> Floats:
    """How much of ``amounts`` [n - 1], each spread evenly between two of ``times`` [n], lies between ``edges``."""
    return np.diff(np.interp(edges, times, np.concatenate(([0.0], np.cumsum(amounts)))))


def _check(times: Floats, values: Floats, step: float) -> None:
    if times.ndim != 1 or len(times) != len(values):
        raise BadSeries(f"times: shape {times.shape}, values: {len(values)} rows; one time for each row is wanted")
    if not (math.isfinite(step) and step > 0):
        raise BadSeries(f"step: {step} s; a step is a positive number of seconds")
    for name, wrong, wanted in (
        ("times", ~np.isfinite(times), "unix seconds"),
        ("times", np.diff(times, prepend=-np.inf) <= 0, "later than the row before"),
        ("values", (np.isinf(values) | (values < 0)).any(axis=1), "a count >= 0, or NaN where it was not read"),
    ):
        if wrong.any():
            row = int(np.argmax(wrong))
            found = times[row] if name == "times" else values[row].tolist()
            raise BadSeries(f"{name}[{row}]: {found}; wanted is {wanted}")
