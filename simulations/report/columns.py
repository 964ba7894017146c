"""Columns made short enough to draw, such that no spike and no gap is lost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Envelope:
    """A column in buckets of ``size`` values: the index of each one's first value, its lowest, mean and highest.

    A gap is a row of NaN at its first index. A stretch of one row between gaps has its row twice: at its first index
    and at its end, so that it can be drawn as a line.
    """

    size: int
    at: Ints
    low: Floats
    mean: Floats
    high: Floats


def envelope(values: Floats, buckets: int) -> Envelope:
    """``values`` [n] in about ``buckets`` rows, and a row more for each gap; NaN is a gap.

    A bucket never reaches over a gap, unless there are more than ``buckets`` of them: then only the longest count.
    """
    size = max(1, math.ceil(len(values) / buckets))
    gaps = longest(runs(~np.isfinite(values)), buckets)
    edges = [np.zeros((1, 2), dtype=np.int64), gaps, np.full((1, 2), len(values))]
    bounds = np.concatenate(edges)
    starts = [gaps[:, 0]]
    alone = []  # first index and end of the stretches of one row
    for begin, end in zip(bounds[:-1, 1], bounds[1:, 0], strict=True):
        starts.append(np.arange(begin, end, size))
        if 0 < end - begin <= size:
            alone.append((begin, end))
    at = np.sort(np.concatenate(starts))
    known = np.isfinite(values)
    counts = np.add.reduceat(known.astype(np.float64), at)
    sums = np.add.reduceat(np.where(known, values, 0.0), at)
    mean = np.divide(sums, counts, out=np.full(len(at), np.nan), where=counts > 0)
    clean = np.where(known, values, np.nan)
    low, high = np.fmin.reduceat(clean, at), np.fmax.reduceat(clean, at)
    if alone:
        first, end = np.array(alone, dtype=np.int64).T
        row = np.searchsorted(at, first)
        at = np.insert(at, row + 1, end)
        low, mean, high = (np.insert(c, row + 1, c[row]) for c in (low, mean, high))
    return Envelope(size, at, low, mean, high)


def runs(mask: NDArray[np.bool_]) -> Ints:
    """Where ``mask`` is true: rows of first index and end, shape [runs, 2]."""
    edges = np.diff(np.concatenate(([0], mask.astype(np.int8), [0])))
    return np.stack((np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)), axis=1)


def longest(spans: Ints, count: int) -> Ints:
    """The ``count`` longest of ``spans``, in their order."""
    if len(spans) <= count:
        return spans
    kept = np.argsort(spans[:, 0] - spans[:, 1], kind="stable")[:count]
    return spans[np.sort(kept)]


def steps(values: Ints, limit: int) -> Ints:
    """Indices [n] that draw a column of counts as steps: the first, each change and the last.

    With more than ``limit`` of them, the first, a lowest and a highest of each of ``limit // 3`` buckets, and the last.
    """
    changes = np.flatnonzero(np.diff(values)) + 1
    last = len(values) - 1
    if len(changes) + 2 <= limit:
        return np.unique(np.concatenate(([0], changes, [last])))
    size = math.ceil(len(values) / (limit // 3))
    rows = math.ceil(len(values) / size)
    table = np.pad(values, (0, rows * size - len(values)), mode="edge").reshape(rows, size)
    begins = np.arange(rows) * size
    picked = np.concatenate((begins, begins + table.argmin(axis=1), begins + table.argmax(axis=1), [last]))
    return np.unique(np.minimum(picked, last))


def decisions(desired: Ints, reasons: Sequence[str], limit: int) -> Ints:
    """Indices [n] of the decisions to tell of: all up to ``limit``. Of more, those at which the count or a reason
    changed, or where these are too many the largest change of the count in each of ``limit // 2`` buckets; and evenly
    spaced ones up to ``limit``."""
    if len(desired) <= limit:
        return np.arange(len(desired))
    moved = np.abs(np.diff(desired, prepend=desired[:1]))
    codes = np.unique(np.array(reasons), return_inverse=True)[1]
    changes = np.flatnonzero((np.diff(codes, prepend=-1) != 0) | (moved > 0))
    if len(changes) > limit:
        size = math.ceil(len(desired) / (limit // 2))
        rows = math.ceil(len(desired) / size)
        table = np.pad(moved, (0, rows * size - len(desired))).reshape(rows, size)
        changes = np.arange(rows) * size + table.argmax(axis=1)
    even = np.linspace(0, len(desired) - 1, limit - len(changes)).astype(np.int64)
    return np.union1d(changes, even)


def plain(values: NDArray[Any] | Sequence[float | None], digits: int = 5) -> list[float | int | None]:
    """For JSON: ``digits`` significant digits, whole numbers whole, None for what is not finite."""
    return [_plain(v, digits) for v in (values.tolist() if isinstance(values, np.ndarray) else values)]


def _plain(value: float | None, digits: int) -> float | int | None:
    if value is None or not math.isfinite(value):
        return None
    if value == int(value):
        return int(value)
    return float(f"{value:.{digits}g}")
