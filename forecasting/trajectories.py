"""Past errors, drawn as whole trajectories: which origins to take them from, and paths made of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecasting.compiled import compiled
from forecasting.forecaster import Paths

Columns = NDArray[np.intp]
Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

# Paths end at this multiple of the highest rate ever known (or of the present level, when that is higher).
CEILING = 3.0
# No error is larger than a factor of e^4 = 55.
WIDEST_ERROR = 4.0


@dataclass(frozen=True, slots=True)
class Likeness:
    """How alike an origin must be to lend its errors.

    ``near`` (steps) is the distance in time of day, ``per_season`` the weight of an error one season older,
    ``level`` the distance in log level, at which the weight has fallen to 1/e (``near``), or to e^-1/2 (``level``).
    """

    near: float
    per_season: float
    level: float


def candidates(newest: int, period: int | None, reach: int, seasons: int, limit: int) -> tuple[Columns, Floats, Floats]:
    """Columns of past origins that may lend their errors to an origin at column ``newest``.

    Returns (columns, distance in time of day in steps, age in seasons). With a period: ``reach`` steps around the same
    time of day in each of ``seasons`` seasons, wrapping round midnight. Without: the newest ``limit`` ones.
    """
    if period is None:
        columns = np.arange(max(newest - limit, 0), newest, dtype=np.intp)
        return columns, np.zeros(len(columns)), (newest - columns) / limit
    return _at_like_times(newest, period, min(reach, period // 2), seasons)


@compiled
def _at_like_times(newest: int, period: int, reach: int, seasons: int) -> tuple[Columns, Floats, Floats]:
    """See :func:`candidates`."""
    most = (seasons + 1) * (2 * reach + 1)
    columns, distance, age = np.empty(most, np.intp), np.empty(most), np.empty(most)
    found = 0
    for back in range(seasons + 1):
        for offset in range(-reach, reach + 1):
            column = newest - back * period + offset
            if 0 <= column < newest:
                columns[found], distance[found], age[found] = column, abs(offset), back
                found += 1
    return columns[:found], distance[:found], age[:found]


def draw(weights: Floats, count: int, rng: np.random.Generator) -> Columns:
    """``count`` positions, each in proportion to its weight, by systematic sampling: less scatter than independent
    draws, the same expectation; in random order."""
    return rng.permutation(systematic(weights, count, rng.random()))


@compiled
def systematic(weights: Floats, count: int, uniform: float) -> Columns:
    """``count`` positions, ascending, each in proportion to its weight; ``uniform`` (0 to 1) says where they begin."""
    total = 0.0
    for weight in weights:
        total += weight
    chosen = np.empty(count, np.intp)
    at, edge = 0, weights[0]
    for k in range(count):
        wanted = (k + uniform) * (total / count)
        while edge <= wanted and at < len(weights) - 1:
            at += 1
            edge += weights[at]
        chosen[k] = at
    return chosen


def fill_forward(errors: Singles) -> Singles:
    """Replace NaN along the last axis by the error before it, and by 0 at the beginning."""
    missing = np.isnan(errors)
    if not missing.any():
        return errors
    at = np.where(missing, 0, np.arange(errors.shape[1]))
    np.maximum.accumulate(at, axis=1, out=at)
    return np.nan_to_num(np.take_along_axis(errors, at, axis=1))


def add_count_noise(paths: Paths, step: float, lacking: Floats, rng: np.random.Generator) -> None:
    """Add the share ``lacking`` [paths] of the noise that counts have by nature (variance = mean), in place.

    An error measured where counts were large, or averaged over longer steps, holds less of it than a small count has.
    """
    if lacking.max(initial=0.0) < 0.02:
        return
    noise = rng.standard_normal(paths.shape, np.float32)
    spread = np.sqrt(np.maximum(paths, 0) * (lacking / step).astype(np.float32)[:, None])
    paths += noise * spread


def without_errors(rate: float, seen: float, drift: float, steps: int, count: int, rng: np.random.Generator) -> Floats:
    """Log ratios [count, steps] around a level when there are no past errors to draw from.

    The level itself is uncertain (a Gamma posterior of a rate from ``rate * seen`` counts, Jeffreys prior), and wanders
    by ``drift`` a step (log standard deviation).
    """
    counts = max(rate * seen, 0.0) + 0.5
    level = np.log(rng.gamma(counts, size=(count, 1))) - math.log(counts)
    return level + np.cumsum(rng.standard_normal((count, steps)), axis=1) * drift


@compiled
def means_over(paths: Paths, first: int, last: int) -> Floats:
    """Mean of each of ``paths`` [count, steps] over the steps from ``first`` to ``last``, [count]."""
    means = np.zeros(len(paths))
    for row in range(len(paths)):
        for k in range(first, last + 1):
            means[row] += paths[row, k]
        means[row] /= last + 1 - first
    return means


@compiled
def known_mean(rates: Singles, begin: int, end: int) -> float:
    """Mean over what is known of [begin, end); NaN when nothing is."""
    total, known = 0.0, 0
    for j in range(max(begin, 0), end):
        if not math.isnan(rates[j]):
            total += rates[j]
            known += 1
    return total / known if known > 0 else math.nan


@compiled
def came_over(rates: Singles, first: int, last: int) -> tuple[float, float]:
    """Mean of what is known of ``rates`` from column ``first`` to ``last``, and the share that is; none of it where
    they begin later."""
    if first < 0:
        return math.nan, 0.0
    total, known = 0.0, 0
    for rate in rates[first : last + 1]:
        if not math.isnan(rate):
            total += rate
            known += 1
    return total / known, known / (last + 1 - first)


@compiled
def possible(paths: Singles | Floats) -> bool:
    """Whether all of ``paths`` [count, steps] are rates, finite and not below 0; and there are any."""
    wrong = 0
    for row in range(paths.shape[0]):
        for k in range(paths.shape[1]):  # to the end: with no way out the processor looks at several at a time
            wrong += 0 if 0.0 <= paths[row, k] < math.inf else 1
    return wrong == 0 and paths.size > 0


@compiled
def extremes(paths: Singles | Floats) -> tuple[float, float]:
    """The lowest and the highest of ``paths`` [count, steps] in one pass; NaN where any is, or there are none."""
    least, most = math.inf, -math.inf
    for row in range(paths.shape[0]):
        for k in range(paths.shape[1]):
            value = paths[row, k]
            if math.isnan(value):
                return math.nan, math.nan
            least, most = min(least, value), max(most, value)
    return (least, most) if most >= least else (math.nan, math.nan)


def room(out: Paths | None, count: int, steps: int) -> Paths:
    """``out``, or new room for paths. Raises ``ValueError`` for another shape, which machine code does not look at."""
    if out is None:
        return np.empty((count, steps), np.float32)
    if out.shape != (count, steps):
        raise ValueError(f"paths of shape {out.shape} instead of {(count, steps)}")
    return out


def finish(paths: Paths, ceiling: float, out: Paths | None) -> Paths:
    """Clip to [0, ``ceiling``] and hand over, in ``out`` when given."""
    out = paths if out is None else room(out, *paths.shape)
    clip(paths, ceiling, out)
    return out


@compiled
def clip(paths: Singles, ceiling: float, out: Singles) -> None:
    """``paths`` [count, steps] within [0, ``ceiling``], into ``out``; NaN gives 0."""
    for row in range(paths.shape[0]):
        for k in range(paths.shape[1]):
            out[row, k] = min(paths[row, k], ceiling) if paths[row, k] > 0.0 else 0.0
