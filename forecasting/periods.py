"""Periods that a load has, found by themselves and verified: each cycle is predicted from the others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecasting.series import Series, check

Floats = NDArray[np.float64]

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
# What schedules are made of. Always tried; others when the load's autocorrelation suggests them.
USUAL = tuple(
    [m * MINUTE for m in (5, 6, 10, 12, 15, 20, 30)] + [h * HOUR for h in (1, 2, 3, 4, 6, 8, 12)] + [DAY, 7 * DAY]
)
LEAST_CYCLES = 3
_BINS = (24, 240, 1440)  # of a cycle: waves want few, spikes of a minute a day want many
_MULTIPLES = (2, 3, 4, 5, 6, 7, 8, 12, 24)
_OWN_SHARE = 0.6  # of what a multiple explains; half or less is what a divisor of the true period gets
_CHANCE = 1e-4  # of a false alarm in one test; some hundred tests are made
_LEAST_STRENGTH = 0.02
_USUAL_SPREAD = 0.2  # of strengths between cycles: a prior worth one cycle, so that three alike by chance do not do


@dataclass(frozen=True, slots=True)
class Period:
    """``seconds``: its length. ``strength``: the share (0 to 1) of the log rate's variation within a cycle that the
    other cycles explain, beyond what shorter periods do; the mean over ``cycles``. ``width`` (s): how finely the cycle
    was looked at when it was found; spikes want it fine."""

    seconds: float
    strength: float
    cycles: int
    width: float


def find_periods(
    series: Series,
    *,
    shortest: float = 5 * MINUTE,
    longest: float = 7 * DAY,
    usual: Sequence[float] = USUAL,
    most: int = 8,
) -> tuple[Period, ...]:
    """The periods between ``shortest`` and ``longest`` (s) that ``series`` has, shortest first, ``most`` at most.

    Each candidate's cycles are laid side by side. A cycle is predicted by the trimmed mean of the others, and the
    improvement over no prediction must stand out from its spread between cycles (a t-test, moderated as by Smyth,
    2004); so three whole cycles are needed at least. What varies more slowly than the candidate is taken out first by a
    mean over one cycle, so that levels that wander make no period. What is found is taken out of the load before longer
    ones are tried. A divisor of a true period (every second cycle a spike) is not one. Raises ``BadSeries``.
    """
    check(series)
    known = ~np.isnan(series.rates)
    if not known.any() or not np.nanmax(series.rates) > 0:
        return ()
    load = _Load(series.start, series.step, series.rates)
    longest = min(longest, load.span / LEAST_CYCLES)
    candidates = [p for p in usual if p >= shortest]
    candidates += [p for p in _suggested(load, shortest, longest, candidates) if p >= shortest]
    found: list[Period] = []
    for seconds in sorted(p for p in candidates if 2 * series.step <= p <= longest):
        fold = _best_fold(load, seconds)
        if fold is not None and fold.is_own():
            found.append(Period(seconds, fold.strength, len(fold.gains), fold.width))
            load = load.without(fold)
            if len(found) == most:
                break
    return tuple(found)


class _Load:
    """Rates as cumulative sums, so that means over bins of any width cost no more than the bins."""

    def __init__(self, start: float, step: float, rates: Floats) -> None:
        self.start, self.step, self.rates = start, step, rates
        known = ~np.isnan(rates)
        self.total = np.concatenate(([0.0], np.cumsum(np.where(known, rates, 0.0))))
        self.known = np.concatenate(([0.0], np.cumsum(known)))
        self.mean = float(self.total[-1] / self.known[-1])
        self.span = step * len(rates)

    def calm(self, width: float) -> float:
        """Rate (requests/s) that keeps ratios of small numbers near 1 over bins of ``width`` s."""
        return 0.02 * self.mean + 0.5 / width

    def logs(self, first: int, count: int, width: float) -> Floats:
        """Log of the mean rate over ``count`` bins of ``width`` s from bin ``first`` on (bin 0 begins at the epoch);
        NaN where less than half is known."""
        at = np.clip(((first + np.arange(count + 1)) * width - self.start) / self.step, 0, len(self.rates))
        cell = np.minimum(at.astype(np.intp), len(self.rates) - 1)
        part = at - cell
        total = self.total[cell] + part * (self.total[cell + 1] - self.total[cell])
        known = self.known[cell] + part * (self.known[cell + 1] - self.known[cell])
        total, known = np.diff(total), np.diff(known)
        logs = np.full(count, np.nan)
        enough = known * self.step >= 0.5 * width
        np.divide(total, known, out=logs, where=enough)
        logs[enough] = np.log(np.maximum(logs[enough], 0.0) + self.calm(width))
        return logs

    def without(self, fold: _Fold) -> _Load:
        """The load over the profile of ``fold``."""
        at = self.start + (np.arange(len(self.rates)) + 0.5) * self.step
        bins = len(fold.profile)
        phase = np.minimum((at % fold.seconds / fold.seconds * bins).astype(np.intp), bins - 1)
        calm = self.calm(fold.width)
        rates = (self.rates + calm) * np.exp(-fold.profile[phase]) - calm
        return _Load(self.start, self.step, np.where(rates < 0, 0.0, rates))


class _Fold:
    """The load's variation within cycles of ``seconds``, and how well each cycle follows from the others."""

    def __init__(self, load: _Load, seconds: float, bins: int) -> None:
        self.seconds, self.width = seconds, seconds / bins
        self.first = math.floor(load.start / seconds + 1e-9)
        cycles = math.ceil((load.start + load.span) / seconds - 1e-9) - self.first
        logs = load.logs(self.first * bins, cycles * bins, self.width)
        self.within = (logs - _moving_mean(logs, bins)).reshape(cycles, bins)
        self.gains, others, share = _explained(self.within)
        self.strength = float(self.gains.mean()) if len(self.gains) else 0.0
        known = ~np.isnan(self.within)
        self.profile = share * np.where(known, others, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)

    @property
    def score(self) -> float:
        """How far the strength stands out, over what chance allows; a period needs 1."""
        n = len(self.gains)
        if n < LEAST_CYCLES or self.strength < _LEAST_STRENGTH:
            return 0.0
        spread = math.sqrt((((self.gains - self.strength) ** 2).sum() + _USUAL_SPREAD**2) / n)
        return self.strength * math.sqrt(n) / spread / _t_quantile(_CHANCE, n)

    def is_own(self) -> bool:
        """Whether every cycle is like the others, not every second or third, as where a multiple is the period."""
        cycles, bins = self.within.shape
        for k in _MULTIPLES:
            if cycles < LEAST_CYCLES * k:
                break
            front = self.first % k
            rows = -(-(front + cycles) // k)
            wide = np.full((rows * k, bins), np.nan)
            wide[front : front + cycles] = self.within
            gains, others, share = _explained(wide.reshape(rows, k * bins))
            del gains
            by_multiple = _gains(wide, share * others.reshape(rows * k, bins))
            if len(by_multiple) and self.strength < _OWN_SHARE * by_multiple.mean():
                return False
        return True


def _best_fold(load: _Load, seconds: float) -> _Fold | None:
    """The resolution at which ``seconds`` stands out most; None when it does at none."""
    finest = max(2, math.floor(seconds / load.step + 1e-9))
    folds = [_Fold(load, seconds, bins) for bins in sorted({min(b, finest) for b in _BINS})]
    best = max(folds, key=lambda fold: fold.score)
    return best if best.score >= 1 else None


def _moving_mean(values: Floats, width: int) -> Floats:
    """Mean over the ``width`` values around each, of what is known; the first and last whole window reach the ends.

    Of anything with that period it is constant.
    """
    known = ~np.isnan(values)
    inside = np.flatnonzero(known)
    means = np.full_like(values, np.nan)
    if not len(inside):
        return means
    begin, end = int(inside[0]), int(inside[-1]) + 1
    total = np.concatenate(([0.0], np.cumsum(np.where(known, values, 0.0))))
    count = np.concatenate(([0], np.cumsum(known)))
    left = np.clip(np.arange(len(values)) - width // 2, begin, max(end - width, begin))
    right = np.minimum(left + width, end)
    np.divide(total[right] - total[left], count[right] - count[left], out=means, where=count[right] > count[left])
    return means


def _explained(table: Floats) -> tuple[Floats, Floats, float]:
    """For ``table`` [cycles, bins]: gains of the cycles of which at least half is known; the prediction of each cycle
    by the others (their mean without the highest and the lowest, once there are five) [cycles, bins]; and the share of
    it that predicts best."""
    known = ~np.isnan(table)
    many = known.sum(axis=0)
    filled = np.where(known, table, 0.0)
    others = filled.sum(axis=0) - filled
    left = many - known
    if (left >= 5).any():
        high, low = np.where(known, table, -np.inf), np.where(known, table, np.inf)
        extremes = _of_others(high, np.max, np.argmax, -np.inf) + _of_others(low, np.min, np.argmin, np.inf)
        trim = left >= 5
        others = np.where(trim, others - np.where(trim, extremes, 0.0), others)
        left = left - 2 * trim
    others = np.where(left >= 2, others / np.maximum(left, 1), 0.0)
    power = float((others[known] ** 2).sum())
    share = float((filled * others)[known].sum()) / power if power > 0 else 0.0
    share = min(max(share, 0.0), 1.0)
    return _gains(table, share * others), others, share


def _of_others(values: Floats, best, arg, none: float) -> Floats:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """In each cell the highest (or lowest) of its column without it."""
    first = best(values, axis=0)
    at = arg(values, axis=0)
    columns = np.arange(values.shape[1])
    held = values[at, columns].copy()
    values[at, columns] = none
    second = best(values, axis=0)
    values[at, columns] = held
    result = np.broadcast_to(first, values.shape).copy()
    result[at, columns] = second
    return np.where(np.isfinite(result), result, 0.0)


def _gains(table: Floats, predicted: Floats) -> Floats:
    """1 - squared error with over without the prediction, at least -1, of each cycle that is at least half known."""
    known = ~np.isnan(table)
    before = np.where(known, table**2, 0.0).sum(axis=1)
    after = np.where(known, (table - predicted) ** 2, 0.0).sum(axis=1)
    rows = known.sum(axis=1) >= max(1, table.shape[1] / 2)
    before, after = before[rows], after[rows]
    worst = np.where(after > 0, -1.0, 0.0)
    return np.where(before > 1e-12, np.maximum(1 - after / np.maximum(before, 1e-12), -1.0), worst)


def _t_quantile(chance: float, freedom: int) -> float:
    from scipy.special import stdtrit

    return float(-stdtrit(freedom, chance))


def _suggested(load: _Load, shortest: float, longest: float, besides: Sequence[float]) -> list[float]:
    """Lengths (s) at which the autocorrelation of the load has its highest peaks, band by band."""
    lengths: list[float] = []
    low = shortest
    while low < longest:
        high = min(4 * low, longest)
        width = max(load.step, low / 20)
        count = math.floor(load.span / width)
        logs = load.logs(math.ceil(load.start / width - 1e-9), count, width)
        window = max(2, round(high / width))
        x = np.nan_to_num(logs - _moving_mean(logs, window))
        size = 1 << (2 * count - 1).bit_length()
        spectrum = np.fft.rfft(x, size)
        correlation = np.fft.irfft(spectrum.real**2 + spectrum.imag**2, size)[: count // 2 + 1]
        if correlation[0] > 0:
            correlation *= count / (correlation[0] * (count - np.arange(len(correlation))))
            for lag, error in _peaks(correlation, max(2, math.floor(low / width)), math.ceil(high / width), 4):
                seconds = lag * width
                near = max(error * width, 1e-6 * seconds)
                rounded = round(seconds / MINUTE) * MINUTE
                if abs(rounded - seconds) <= near:
                    seconds = rounded
                if not any(abs(seconds - other) <= near for other in (*besides, *lengths)):
                    lengths.append(seconds)
        low = high
    return lengths


def _peaks(correlation: Floats, low: int, high: int, most: int) -> list[tuple[float, float]]:
    """(lag, its error) of the highest local maxima between two lags, sharpened at multiples of them."""
    high = min(high, len(correlation) - 2)
    if high <= low:
        return []
    inner = correlation[low : high + 1]
    top = (inner >= correlation[low - 1 : high]) & (inner > correlation[low + 1 : high + 2])
    top &= inner > 4 / math.sqrt(2 * len(correlation))
    lags = low + np.flatnonzero(top)
    lags = lags[np.argsort(-correlation[lags], kind="stable")][:most]
    sharp = []
    for lag in lags.tolist():
        estimate, times = float(lag), 1
        while times < 32 and 2 * times * (estimate + 1) < len(correlation) - 1:
            times *= 2
            around = round(times * estimate)
            near = correlation[around - 2 : around + 3]
            estimate = (around - 2 + int(np.argmax(near))) / times
        sharp.append((estimate, 1.0 / times))
    return sharp
