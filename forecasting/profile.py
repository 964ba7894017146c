"""The usual rate at each time of day: a median over seasons, lightly smoothed over neighbouring steps."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from forecasting.compiled import compiled
from forecasting.ordered import median

Values = NDArray[np.float32]


def middle(values: Values, least: int) -> Values:
    """Median along axis 0 of what is known (the mean of the two middle ones); NaN with fewer than ``least`` known."""
    known = np.sum(~np.isnan(values), axis=0)
    ordered = np.sort(values, axis=0)  # NaN goes last
    top = len(values) - 1
    low = np.minimum(np.maximum(known - 1, 0) // 2, top)
    high = np.minimum(known // 2, top)
    low_value = np.take_along_axis(ordered, low[None, :], axis=0)[0]
    high_value = np.take_along_axis(ordered, high[None, :], axis=0)[0]
    return np.where(known >= least, (low_value + high_value) / 2, np.float32(np.nan)).astype(np.float32)


def smooth(values: Values, neighbour: float) -> Values:
    """Weighted mean of each value and its two neighbours (weight ``neighbour`` each) over what is known of them.

    A value that is not known itself stays so.
    """
    if neighbour <= 0:
        return values
    known = ~np.isnan(values)
    filled = np.where(known, values, np.float32(0))
    total, weight = filled * (1 - 2 * neighbour), known * (1 - 2 * neighbour)
    total[1:] += neighbour * filled[:-1]
    weight[1:] += neighbour * known[:-1]
    total[:-1] += neighbour * filled[1:]
    weight[:-1] += neighbour * known[1:]
    smoothed = np.full_like(values, np.nan)
    np.divide(total, weight, out=smoothed, where=known)
    return smoothed


def profile_at(rates: Values, first: int, length: int, period: int, seasons: int, least: int) -> Values:
    """The profile of columns ``first`` .. ``first + length - 1``, from the ``seasons`` seasons before each.

    Columns outside of ``rates`` are not known: before the first, and after the newest.
    """
    at = first + np.arange(length)[None, :] - period * np.arange(1, seasons + 1)[:, None]
    inside = (at >= 0) & (at < len(rates))
    if not inside.any():
        return np.full(length, np.nan, np.float32)
    values = np.where(inside, rates[np.clip(at, 0, len(rates) - 1)], np.float32(np.nan))
    return middle(values, least)


@compiled
def profile_of(rates: Values, column: int, period: int, seasons: int, neighbour: float) -> float:
    """The smoothed profile of one column from the seasons before it; the same as ``profile_at`` and ``smooth``. NaN
    when no season knows it."""
    total, weight = 0.0, 0.0
    known = np.empty(seasons)
    for shift, share in ((0, 1 - 2 * neighbour), (-1, neighbour), (1, neighbour)):
        n = 0
        for season in range(1, seasons + 1):
            at = column + shift - period * season
            if 0 <= at < len(rates) and not math.isnan(rates[at]):
                known[n] = rates[at]
                n += 1
        if n > 0:
            total += share * median(known[:n])
            weight += share
        elif shift == 0:
            return math.nan
    return total / weight


def profile_without_own(rates: Values, first_phase: int, period: int) -> Values:
    """For every column, the profile of all *other* seasons at its time of day: what an honest error is measured by."""
    seasons = -(-(first_phase + len(rates)) // period)
    table = np.full((seasons, period), np.nan, np.float32)
    flat = table.reshape(-1)
    flat[first_phase : first_phase + len(rates)] = rates
    if seasons < 2:
        return np.full(len(rates), np.nan, np.float32)
    others = np.empty_like(table)
    for season in range(seasons):
        others[season] = middle(np.delete(table, season, axis=0), 1)
    return others.reshape(-1)[first_phase : first_phase + len(rates)]


def rolling_mean(values: Values, width: int) -> Values:
    """Mean of the ``width`` values that end at each column, over what is known of them; NaN where nothing is."""
    known = ~np.isnan(values)
    totals = np.concatenate(([0.0], np.cumsum(np.where(known, values, 0.0), dtype=np.float64)))
    counts = np.concatenate(([0], np.cumsum(known)))
    begin = np.maximum(np.arange(1, len(values) + 1) - width, 0)
    totals, counts = totals[1:] - totals[begin], counts[1:] - counts[begin]
    means = np.full(len(values), np.nan, np.float32)
    np.divide(totals, counts, out=means, where=counts > 0, casting="unsafe")
    return means
