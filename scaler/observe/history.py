"""From offsets at points in time to past arrival rates. Pure arithmetic: the sources do the look-ups.

A log answers "first message at or after t" with an offset. Offsets at the boundaries of regular steps, differenced,
are the arrivals of each step, because a partition's offset counts what was ever written to it.

What an answer cannot say stays NaN:

- Steps before the earliest retained message, and the step in which it lies. A partition that never lost a message
  (its log starts at 0) had none before its first, so it does not shorten the past of the others.
- Where a producer's clock ran ahead: a message dated after the present answers for every time up to its own date and
  hides those behind it. Steps whose end is answered by such a message are not known.

Transaction markers take offsets too: under transactional producers rates are too high by one message a transaction
and partition.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecasting.series import Series


@dataclass(frozen=True, slots=True, eq=False)
class LogBounds:
    """What a topic retains. Arrays of shape [partitions], in order of partition number."""

    begin: NDArray[np.int64]  # offset of the earliest retained message (log start)
    end: NDArray[np.int64]  # next offset to be written
    first: NDArray[np.float64]  # unix s, date of the earliest retained message; NaN: none is retained
    ahead: NDArray[np.int64]  # offset of the first message dated after the present; ``end`` where there is none


def boundaries(start: float, end: float, step: float) -> NDArray[np.float64]:
    """Edges (unix s, multiples of ``step``) of the whole steps inside [start, end); one more than there are steps.

    Raises ValueError when ``step`` is not a positive number or a bound is not finite.
    """
    if not (math.isfinite(step) and step > 0):
        raise ValueError(f"a step has a positive length: {step} s")
    if not (math.isfinite(start) and math.isfinite(end)):
        raise ValueError(f"a history has finite bounds: [{start}, {end})")
    # A bound that is a multiple up to rounding is taken as one.
    first, last = math.ceil(start / step - 1e-9), math.floor(end / step + 1e-9)
    return np.arange(first, max(last, first) + 1, dtype=np.float64) * step


def known_from(bounds: LogBounds) -> float:
    """Unix seconds from which on every arrival is in the log; infinite when no time is.

    Where retention has cut partitions, the youngest cut decides; a partition that was cut and is now empty says
    nothing about any time. Where it has cut none, the past starts with the topic's first message.
    """
    cut = bounds.begin > 0
    first = np.where(np.isnan(bounds.first), np.inf, bounds.first)
    if cut.any():
        return float(first[cut].max())
    return float(first.min(initial=np.inf))


def rates(edges: NDArray[np.float64], step: float, offsets: NDArray[np.int64], bounds: LogBounds, now: float) -> Series:
    """Arrivals/s of each step between ``edges`` (unix s, shape [n + 1], ``step`` apart), all partitions together.

    ``offsets[k, p]`` is the offset of the first message of partition p dated at or after ``edges[k]``; negative where
    there is none. Edges before :func:`known_from` may hold anything. Steps that end after ``now`` are NaN.
    """
    since = known_from(bounds)
    # A step is known when it begins after the earliest message, or at it.
    known = (edges[:-1] >= since) & (edges[1:] <= now)
    at = np.where(offsets < 0, bounds.end, offsets)
    at = np.where((edges >= since)[:, np.newaxis], at, bounds.begin)
    # Dates that run backwards, and retention at work between two look-ups, must not make negative arrivals.
    at = np.maximum.accumulate(at, axis=0)
    hidden = (at[1:] >= bounds.ahead) & (bounds.ahead < bounds.end)
    arrivals = np.diff(at, axis=0).sum(axis=1) / step
    return Series(float(edges[0]), step, np.where(known & ~hidden.any(axis=1), arrivals, np.nan))
