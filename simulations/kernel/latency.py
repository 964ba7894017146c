"""Latencies of fluid pieces: a histogram with 64 bins an octave, and what of a piece is late.

A piece is ``mass`` requests whose latency runs evenly from one value to another. It costs a constant time however many
bins it covers: the bins at its ends get their part at once, those between get a density that is summed up at the end.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulations.kernel.compiled import compiled

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
_TOLERANCE = 1e-9  # s


def edges() -> Floats:
    """Bounds of the bins (s), shape [BINS + 1]: 0, then 64 equal steps an octave, the last one infinite."""
    octave = np.arange(_OCTAVES * _A_OCTAVE) // _A_OCTAVE
    place = np.arange(_OCTAVES * _A_OCTAVE) % _A_OCTAVE
    return np.concatenate(([0.0], LOWEST * 2.0**octave * (1 + place / _A_OCTAVE), [np.inf]))


@compiled
def bin_of(latency: Any) -> int:
    """Number of the bin that holds ``latency`` (s): the number's exponent, and the first bits of its fraction."""
    if latency < LOWEST:
        return 0
    place: Any = (np.float64(latency).view(np.int64) >> _SHIFT) - _FIRST + 1
    return int(min(place, BINS - 1))


@compiled
def add(bins: Floats, bounds: Floats, first: float, last: float, mass: float) -> None:
    """Add ``mass`` requests with latencies spread evenly from ``first`` to ``last`` (s)."""
    low, high = min(first, last), max(first, last)
    begin, end = bin_of(low), bin_of(high)
    if begin == end:
        bins[MASS, begin] += mass
        return
    density = mass / (high - low)
    bins[MASS, begin] += density * (bounds[begin + 1] - low)
    bins[MASS, end] += density * (high - bounds[end])
    bins[DENSITY, begin + 1] += density
    bins[DENSITY, end] -= density


def requests(bins: Floats, bounds: Floats) -> Floats:
    """Requests in each bin, shape [BINS]."""
    width = np.diff(bounds)
    between = np.cumsum(bins[DENSITY, :BINS])
    between[-1] = 0.0
    width[-1] = 0.0
    # What is left of a density after as many was added as taken away is rounding.
    return np.asarray(np.maximum(bins[MASS, :BINS] + np.where(np.abs(between) > 1e-9, between, 0.0) * width, 0.0))


@compiled
def late_part(first: float, last: float, mass: float, slack: float) -> float:
    """Requests of a piece that wait longer than ``slack`` (s), waits spread evenly from ``first`` to ``last``."""
    low, high = min(first, last), max(first, last)
    if high <= slack + _TOLERANCE:
        return 0.0
    if low >= slack:
        return mass
    return mass * (high - slack) / (high - low)
