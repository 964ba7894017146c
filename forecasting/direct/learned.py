"""One fit: from the rates that are kept to regression, origins and forest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecasting.direct.draw import Origins, between, outlook
from forecasting.direct.features import Layout, Singles, describe
from forecasting.direct.feedback import SAMPLES, Factors, Feedback, Range, busy_range
from forecasting.direct.forest import Forest, grow_forest
from forecasting.direct.ridge import Ridge, fit_ridge
from forecasting.trajectories import CEILING

Floats = NDArray[np.floating]

_EVERY = 60.0  # s between origins
_HOUR = 3600.0
_LEAST = 8 * _HOUR  # of history; from less, paths were far too narrow a few hours later
_DAYS = 1.9  # of history from which on calendar terms are learned
_LEAST_ORIGINS = 60
_MOST_ORIGINS = 60_000  # members of a tree are numbered in 16 bits
_LIKE_AT = (60.0, 180.0, 420.0, 900.0)  # s ahead at which errors are to be alike in a leaf
_ORDER_AT = 300.0  # s ahead whose error orders a leaf
_PARTS = 3  # of history, each rehearsed with a forest of the others
_FINE = 2  # numbers more than components: what the rounding to 8 bits leaves of the largest
_SEEN = 0.5  # an origin of whose future less than this share is known is left out


@dataclass(frozen=True, slots=True)
class Growth:
    """The forest's size: ``share`` of the origins goes into each tree; ``least`` origins in a leaf, of which it lists
    ``listed``. Of predictions at the origins ``rank`` principal components are kept."""

    trees: int = 16
    share: float = 0.67
    least: int = 16
    listed: int = 8
    rank: int = 8


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """What a fit leaves behind. ``base``: number of the step that column 0 was."""

    base: int
    calm: float  # requests/s
    ridge: Ridge
    origins: Origins
    forest: Forest
    busy: Range
    factors: Factors | None  # as feedback on past days would have left them; None when that was not asked for

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return self.origins.nbytes + self.forest.nbytes + self.ridge.weights.nbytes


def calm_of(rates: Singles, step: float) -> float:
    """The rate (requests/s) that keeps ratios of small numbers near 1.

    2 % of the mean, so that it scales with the load, and half a request a step, below which counts say nothing.
    """
    missing = np.isnan(rates)  # as numpy's nanmean has it, in a fraction of the time
    known = len(rates) - np.count_nonzero(missing)
    mean = float(np.where(missing, np.float32(0), rates).sum() / np.float32(known)) if known else 0.0
    return 0.02 * mean + 0.5 / step


def learn(
    rates: Singles,
    base: int,
    step: float,
    has: Layout,
    ends: NDArray[np.int64],
    growth: Growth,
    seed: int,
    feedback: Feedback | None = None,
) -> Learned | None:
    """Fit everything; None when there is too little to learn from. ``ends`` (steps): of the horizons' bins.

    With ``feedback``, what it would have learned on past days is learned too, and it is left as it is.

    Raises ``numpy.linalg.LinAlgError`` when the regression cannot be solved.
    """
    if np.count_nonzero(~np.isnan(rates)) * step < _LEAST:
        return None
    calm = calm_of(rates, step)
    # Half a day of mornings would teach that load grows with its level and with the hour: see days first.
    days_seen = len(rates) >= _DAYS * has.day
    first = has.day if days_seen else min(round(_HOUR / step), len(rates) // 2)
    every = max(1, round(_EVERY / step), -(-len(rates) // _MOST_ORIGINS))
    rng = np.random.default_rng(seed)
    # At random within each minute: paths are drawn at any second of it, and load that comes by the minute or every few
    # must be seen from all of them.
    columns = np.arange(first, len(rates) - int(ends[-1]) + 2 - every, every)
    columns = columns + rng.integers(0, every, len(columns))
    targets, known = _targets(rates, columns, ends, calm)
    features = np.empty((len(columns), has.size), np.float32)
    levels = np.empty(len(columns), np.float32)
    describe(rates, base, columns, calm, has, features, levels)
    if not days_seen:
        features[:, has.calendar] = np.nan
    known &= ~np.isnan(levels)
    if int(known.sum()) < _LEAST_ORIGINS:
        return None
    columns, features, levels = columns[known], features[known], levels[known]
    targets = targets[known] - levels[:, None]
    block = max(1, min(has.day, (len(rates) - first) // 4))
    ridge, left_out = fit_ridge(features, targets, (columns - first) // block)
    main = _main_parts(left_out, growth.rank)
    predicted, parts = _compressed(main, growth.rank + _FINE)
    errors = targets - main
    inputs, outputs = ridge.standardised(features), _alike(errors, ends * step)
    order = np.argsort(errors[:, _nearest(ends * step, _ORDER_AT)], kind="stable")

    def grown(chosen: NDArray[np.int64]) -> Forest:
        samples = max(_LEAST_ORIGINS, round(growth.share * len(chosen)))
        return grow_forest(
            inputs,
            outputs,
            chosen,
            rng,
            trees=growth.trees,
            samples=samples,
            least=growth.least,
            listed=growth.listed,
        )

    forest = grown(order)
    # Of steps of 15 s, a week fits into 16 bits.
    short = columns.astype(np.uint16) if len(rates) < 2**16 else columns.astype(np.int32)
    origins = Origins(short, predicted, parts, has.width, int(has.windows[-1]))
    busy = busy_range(levels)
    factors = None
    if feedback is not None:
        fresh = feedback.fresh()
        ceiling = CEILING * float(np.nanmax(rates))
        parted = np.linspace(0, len(columns), _PARTS + 1).astype(np.int64)
        for begin, end in zip(parted[:-1].tolist(), parted[1:].tolist(), strict=True):
            other = grown(order[(order < begin) | (order >= end)])
            own = slice(begin, end)
            samples = np.empty((end - begin, len(fresh.factors.ends), SAMPLES), np.float32)
            present = inputs[own], origins, rates, 0, levels[own], predicted[own] @ parts
            outlook(other, *present, between(ends), calm, ceiling, fresh.factors.ends, fresh.width, samples)
            came = _means_before(rates, columns[own, None] + fresh.factors.ends, fresh.width)
            fresh.rehearse(samples, came, calm, busy)
        factors = fresh.factors
    return Learned(base, calm, ridge, origins, forest, busy, factors)


def _main_parts(values: Singles, rank: int) -> Singles:
    """``values`` [n, horizons] by their first principal components, each to 1/32,767 of its largest.

    Neighbouring horizons say nearly the same, so a few numbers hold all of them.
    """
    wide = values.astype(np.float64)
    vectors = np.linalg.eigh(wide.T @ wide)[1][:, ::-1][:, :rank]
    scores = wide @ vectors
    unit = np.maximum(np.abs(scores).max(axis=0), 1e-6) / 32767
    return np.asarray(np.round(scores / unit).astype(np.int16) @ (vectors * unit).T.astype(np.float32))


def _compressed(values: Singles, rank: int) -> tuple[NDArray[np.int8], Singles]:
    """``values`` [n, horizons], nearly, as whole numbers [n, rank] @ parts [rank, horizons]: each part is the first
    principal component of what those before leave, their rounding included."""
    left = values.astype(np.float64)
    numbers, parts = np.empty((len(left), rank), np.int8), np.empty((rank, left.shape[1]), np.float32)
    for r in range(rank):
        vector = np.linalg.eigh(left.T @ left)[1][:, -1]
        scores = left @ vector
        unit = max(float(np.abs(scores).max()), 1e-6) / 127
        numbers[:, r], parts[r] = np.round(scores / unit), vector * unit
        left -= np.outer(numbers[:, r], parts[r])
    return numbers, parts


def _targets(
    rates: Singles, columns: NDArray[np.int64], ends: NDArray[np.int64], calm: float
) -> tuple[Singles, NDArray[np.bool_]]:
    """Log of the mean rate in each bin [n, horizons] (where none is known, that of the bin before), and which origins
    know enough of what followed them."""
    seen = np.concatenate(([0], np.cumsum(~np.isnan(rates))))
    total = np.concatenate(([0.0], np.cumsum(np.nan_to_num(rates), dtype=np.float64)))
    edges = columns[:, None] + np.concatenate(([0], ends))[None, :]
    known = np.diff(seen[edges], axis=1)
    means = np.divide(np.diff(total[edges], axis=1), known, out=np.full(known.shape, np.nan), where=known > 0)
    for h in range(1, len(ends)):
        means[:, h] = np.where(known[:, h] > 0, means[:, h], means[:, h - 1])
    for h in range(len(ends) - 1, 0, -1):
        means[:, h - 1] = np.where(np.isnan(means[:, h - 1]), means[:, h], means[:, h - 1])
    enough = (known.sum(axis=1) >= _SEEN * ends[-1]) & ~np.isnan(means).any(axis=1)
    return np.log(np.maximum(means, 0.0) + calm).astype(np.float32), enough


def _means_before(rates: Singles, ends: NDArray[np.int64], width: int) -> NDArray[np.float64]:
    """Mean of the ``width`` rates before each of ``ends``; NaN where one is not known."""
    steps = ends[..., None] - 1 - np.arange(width)
    known = (steps >= 0) & (steps < len(rates))
    values = np.where(known, rates[np.clip(steps, 0, len(rates) - 1)], np.nan)
    return np.asarray(values.mean(axis=-1), dtype=np.float64)


def _alike(errors: Singles, seconds: Floats) -> Singles:
    """What a leaf should agree on: errors and their sizes at some horizons, on one scale."""
    at = sorted({_nearest(seconds, wanted) for wanted in _LIKE_AT})
    values = np.concatenate((errors[:, at], np.abs(errors[:, at])), axis=1)
    return np.asarray((values - values.mean(axis=0)) / (values.std(axis=0) + 1e-9), dtype=np.float32)


def _nearest(seconds: Floats, wanted: float) -> int:
    return int(np.argmin(np.abs(seconds - wanted)))
