"""Latencies of fluid pieces: a histogram with 64 bins an octave, and what of a piece is late.

A piece is ``mass`` requests whose latency runs evenly from one value to another. It costs a bounded time however many
bins it covers: a narrow one is put into each of its bins; of a wide one the bins at its ends get their part at once,
those between a density that is summed up at the end. A narrow piece is dense: the sum would keep its rounding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecasting.compiled import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LOWEST = 2.0**-10  # s; what is faster is in the first bin
_OCTAVES = 31
_A_OCTAVE = 64  # bins: each is at most 1.6 % wide
BINS = 1 + _OCTAVES * _A_OCTAVE  # the last edge is infinite
_SHIFT = 52 - 6
_FIRST = (1023 - 10) * _A_OCTAVE

# Rows of a histogram under construction, float64 [2, BINS + 1].
MASS, DENSITY = 0, 1
_NARROW = 8  # bins: a piece this thin has a density so high that it would leave rounding in the sum
_TOLERANCE = 1e-9  # s


def edges() -> Floats:
    """Bounds of the bins (s), shape [BINS + 1]: 0, then 64 equal steps an octave, the last one infinite."""
    octave = np.arange(_OCTAVES * _A_OCTAVE) // _A_OCTAVE
    place = np.arange(_OCTAVES * _A_OCTAVE) % _A_OCTAVE
    return np.concatenate(([0.0], LOWEST * 2.0**octave * (1 + place / _A_OCTAVE), [np.inf]))


@compiled
def bin_of(latency: Any) -> int:
    """Number of the bin that holds ``latency`` (s): the number's exponent, and the first bits of its fraction."""
    if not latency >= LOWEST:
        return 0
    place: Any = (np.float64(latency).view(np.int64) >> _SHIFT) - _FIRST + 1
    return int(min(place, BINS - 1))


@compiled
def add(bins: Floats, bounds: Floats, first: float, last: float, mass: float) -> None:
    """Add ``mass`` requests with latencies spread evenly from ``first`` to ``last`` (s)."""
    low, high = min(first, last), max(first, last)
    begin, end = bin_of(low), bin_of(high)
    if begin == end or high - low <= _TOLERANCE:
        bins[MASS, begin] += mass
        return
    density = mass / (high - low)
    if end - begin <= _NARROW:
        for k in range(begin, end + 1):
            bins[MASS, k] += density * (min(high, bounds[k + 1]) - max(low, bounds[k]))
        return
    bins[MASS, begin] += density * (bounds[begin + 1] - low)
    bins[MASS, end] += density * (high - bounds[end])
    bins[DENSITY, begin + 1] += density
    bins[DENSITY, end] -= density


def requests(bins: Floats, bounds: Floats) -> Floats:
    """Requests in each bin, shape [BINS]."""
    width = np.diff(bounds)
    between = np.cumsum(bins[DENSITY, :BINS])
    # Where the last piece ends nothing goes on: what the sum has left there is rounding.
    touched = np.flatnonzero(bins[DENSITY, :BINS])
    between[touched[-1] if len(touched) else 0 :] = 0.0
    width[-1] = 0.0
    return np.asarray(bins[MASS, :BINS] + np.maximum(between, 0.0) * width)


@compiled
def late_part(first: float, last: float, mass: float, slack: float) -> float:
    """Requests of a piece that wait longer than ``slack`` (s), waits spread evenly from ``first`` to ``last``."""
    low, high = min(first, last), max(first, last)
    if high <= slack + _TOLERANCE:
        return 0.0
    if low >= slack:
        return mass
    return mass * (high - slack) / (high - low)
