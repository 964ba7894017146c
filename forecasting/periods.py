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
_BLOCKS = 168  # of cycles that are judged together, at most: short cycles one by one say little
_MULTIPLES = (2, 3, 4, 5, 6, 7, 8, 12, 24)
_OWN_SHARE = 0.6  # of what a multiple explains; half or less is what a divisor of the true period gets
_SPIKE = 6.0  # times the median size of a profile's values: what stands out of it (4 standard deviations)
_CHANCE = 1e-3  # of a false alarm in one test; some hundred tests are made
_LEAST_STRENGTH = 0.05  # less is not worth a feature
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

    Each candidate's cycles are laid side by side, each is predicted by the mean of the others, and the improvement over
    no prediction must stand out from its spread between cycles (of short periods, between blocks of them): a t-test,
    moderated as by Smyth, 2004, so that three clear cycles are needed at least. What varies more slowly is taken out
    first by a mean over one cycle, so that levels that wander make no period. What is found is taken out of the load
    before longer ones are tried. A divisor of a true period (every second cycle a spike) is not one.
    Raises ``BadSeries``.
    """
    check(series)
    known = ~np.isnan(series.rates)
    if not known.any() or not np.nanmax(series.rates) > 0:
        return ()
    load = whole = _Load(series.start, series.step, series.rates)
    longest = min(longest, load.span / LEAST_CYCLES)
    candidates = [p for p in usual if p >= shortest]
    candidates += [p for p in _suggested(load, shortest, longest, candidates) if p >= shortest]
    found: list[Period] = []
    for seconds in sorted(p for p in candidates if 2 * series.step <= p <= longest):
        before, strength, width, cycles = load, 0.0, seconds, 0
        for bins in _resolutions(seconds / series.step):
            fold = _Fold(load, seconds, bins)
            if fold.score >= 1 and fold.is_own():
                strength = max(strength, fold.strength(before, whole))
                load, width, cycles = load.without(fold), fold.width, len(fold.power)
        if strength < _LEAST_STRENGTH:
            load = before
            continue
        found.append(Period(seconds, strength, cycles, width))
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
        self.seconds, self.bins, self.width = seconds, bins, seconds / bins
        self.first = math.floor(load.start / seconds + 1e-9)
        self.cycles = math.ceil((load.start + load.span) / seconds - 1e-9) - self.first
        self.within = self.variation(load)
        known = ~np.isnan(self.within)
        self.full = known.sum(axis=1) >= max(1, bins / 2)  # cycles that are judged
        self.power = np.where(known, self.within**2, 0.0).sum(axis=1)[self.full]
        self.left = self.power.copy()  # squared error of each cycle by the others
        self.profile = np.zeros(bins)
        for others in _predictions(self.within):
            share, left = self._left_by(self.within, others)
            if _stand_out(_gains(self.power, left)) > _stand_out(_gains(self.power, self.left)):
                self.left = left
                self.profile = share * np.where(known, others, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)

    def variation(self, load: _Load) -> Floats:
        """Log rates against their mean over the cycle around them, [cycles, bins]."""
        logs = load.logs(self.first * self.bins, self.cycles * self.bins, self.width)
        within: Floats = (logs - _moving_mean(logs, self.bins)).reshape(self.cycles, self.bins)
        return within

    def _left_by(self, table: Floats, others: Floats) -> tuple[float, Floats]:
        """The share of ``others`` that predicts best, and the squared error of each judged cycle by it."""
        known = ~np.isnan(table)
        size = float((others[known] ** 2).sum())
        share = float((table * others)[known].sum()) / size if size > 0 else 0.0
        share = min(max(share, 0.0), 1.0)
        return share, np.where(known, (table - share * others) ** 2, 0.0).sum(axis=1)[self.full]

    @property
    def score(self) -> float:
        """How far the gains stand out, over what chance allows; a period needs 1."""
        return _stand_out(_gains(self.power, self.left))

    def strength(self, before: _Load, whole: _Load) -> float:
        """Share of the variation in ``whole`` that is explained here and was in ``before``; the mean over cycles."""
        first, all_of_it = self.power_of(before), self.power_of(whole)
        return float(_gains(all_of_it, all_of_it - first + self.left).mean())

    def power_of(self, load: _Load) -> Floats:
        """Sum of squares of each judged cycle."""
        table = self.variation(load)
        power: Floats = np.where(np.isnan(table), 0.0, table**2).sum(axis=1)[self.full]
        return power

    def is_own(self) -> bool:
        """Whether every cycle is like the others, not every second or third, as where a multiple is the period."""
        own = float(_gains(self.power, self.left).mean())
        for k in _MULTIPLES:
            if self.cycles < LEAST_CYCLES * k:
                break
            front = self.first % k
            rows = -(-(front + self.cycles) // k)
            wide = np.full((rows * k, self.bins), np.nan)
            wide[front : front + self.cycles] = self.within
            for others in _predictions(wide.reshape(rows, k * self.bins)):
                by_multiple = self._left_by(self.within, others.reshape(wide.shape)[front : front + self.cycles])[1]
                if own < _OWN_SHARE * float(_gains(self.power, by_multiple).mean()):
                    return False
        return True


def _gains(before: Floats, after: Floats) -> Floats:
    """How much of the squared error of cycles is gone after, from -1 to 1; for 168 blocks of neighbours at most.

    In parts of the block's own error, or of the median block's where that is larger: what calm nights lose is little.
    """
    if not len(before):
        return before
    edges = np.arange(0, len(before), -(-len(before) // _BLOCKS))
    before, after = np.add.reduceat(before, edges), np.add.reduceat(after, edges)
    scale = np.maximum(np.maximum(before, np.median(before)), 1e-12)
    return np.clip((before - after) / scale, -1.0, 1.0)


def _stand_out(gains: Floats) -> float:
    n = len(gains)
    if n < LEAST_CYCLES:
        return 0.0
    spread = math.sqrt((((gains - gains.mean()) ** 2).sum() + _USUAL_SPREAD**2) / n)
    return float(gains.mean()) * math.sqrt(n) / spread / _t_quantile(_CHANCE, n)


def _resolutions(steps: float) -> list[int]:
    """Bins of a cycle of ``steps`` steps at which it is looked at, coarse first: what a coarse look explains is taken
    out before the finer one."""
    return sorted({min(bins, max(2, math.floor(steps + 1e-9))) for bins in _BINS})


def _moving_mean(values: Floats, width: int) -> Floats:
    """Mean over the ``width`` values around each, of what is known; the first and last whole window reach the ends.

    Of anything with that period it is constant. An even width takes half of the value at either end.
    """
    known = ~np.isnan(values)
    inside = np.flatnonzero(known)
    means = np.full_like(values, np.nan)
    if not len(inside):
        return means
    begin, end = int(inside[0]), int(inside[-1]) + 1
    total = np.concatenate(([0.0], np.cumsum(np.where(known, values, 0.0))))
    count = np.concatenate(([0], np.cumsum(known)))
    both = np.zeros((2, len(values)))
    for shift in {width // 2, (width - 1) // 2}:
        left = np.clip(np.arange(len(values)) - shift, begin, max(end - width, begin))
        right = np.minimum(left + width, end)
        both += total[right] - total[left], count[right] - count[left]
    np.divide(both[0], both[1], out=means, where=both[1] > 0)
    return means


def _predictions(table: Floats) -> tuple[Floats, Floats]:
    """Each cycle by the others, for ``table`` [cycles, bins]: their mean; and of that only what stands out,
    as spikes do."""
    known = ~np.isnan(table)
    filled = np.where(known, table, 0.0)
    others = filled.sum(axis=0) - filled
    left = known.sum(axis=0) - known
    others = np.where(left >= 2, others / np.maximum(left, 1), 0.0)
    size = np.median(np.abs(others), axis=1)[:, None]
    return others, np.where(np.abs(others) > _SPIKE * size, others, 0.0)


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
                # Schedules are whole minutes, or at least whole seconds.
                for unit in (1.0, MINUTE):
                    rounded = round(seconds / unit) * unit
                    seconds = rounded if abs(rounded - seconds) <= near else seconds
                if not any(abs(seconds - other) <= near for other in (*besides, *lengths)):
                    lengths.append(seconds)
        low = high
    return lengths


def _peaks(correlation: Floats, low: int, high: int, most: int) -> list[tuple[float, float]]:
    """(lag, its error) of the highest local maxima between two lags, sharpened at multiples of them."""
    high = min(high, len(correlation) - 2)
    if high <= low:
        return []
    # Above what lies around, not above zero: noise that wanders makes a wave of its own out of the correlation.
    lags = np.arange(low, high + 1)
    near = np.maximum(lags // 4, 2)
    total = np.concatenate(([0.0], np.cumsum(correlation)))
    left, right = lags - near, np.minimum(lags + near + 1, len(correlation))
    above = correlation[lags] - (total[right] - total[left]) / (right - left)
    top = (correlation[lags] >= correlation[lags - 1]) & (correlation[lags] > correlation[lags + 1])
    top &= above > 4 / math.sqrt(2 * len(correlation))
    lags = lags[top][np.argsort(-above[top], kind="stable")][:most]
    sharp = []
    for lag in lags.tolist():
        estimate, times = float(lag), 1
        while 2 * times * (estimate + 1) < len(correlation) - 1:
            times *= 2
            around = round(times * estimate)
            near = correlation[around - 2 : around + 3]
            estimate = (around - 2 + int(np.argmax(near))) / times
        sharp.append((estimate, 1.0 / times))
    return sharp
