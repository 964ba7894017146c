"""What came against what was said, and how much wider or narrower the paths above their median must be for it.

Adaptive conformal quantile tracking (Gibbs, Candes, 2021; Angelopoulos, Candes, Tibshirani, 2023), for each horizon and
upper quantile on its own, learned when the horizon has passed: after each outcome the logarithm of a factor moves up
by ``rate * level`` where the quantile was exceeded, and down by ``rate * (1 - level)`` where not, so that in the long
run the share covered is the level. The factor multiplies the distance from the median to the quantile. A second term,
weighed by how high the forecast median is among past levels, does the same for busy hours (as in Gibbs, Cherian,
Candes, 2023). Counts are compared after noise of a whole count was added to both sides (Machado, Santos Silva, 2005),
so that load with many zeros has quantiles to track.

A factor cannot change how often nothing at all comes. The mean of several forecasts of one event is too unsure of it
(Ranjan, Gneiting, 2010), and the paths are of many trees. So where most paths say that nothing comes, and not all of
them, its log odds are multiplied by a number that moves along the gradient of the log score, at each horizon on its
own; never by less than 1, for what is too sure of nothing is left as drawn. As many windows more are emptied, those
first that hold the least.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forecasting.compiled import compiled
from forecasting.direct.features import Singles, Steps

Floats = NDArray[np.float64]

LEVELS = (0.9, 0.95, 0.99)
_HORIZONS = (60.0, 300.0, 600.0, 1800.0)  # s
_WINDOW = 60.0  # s, over which outcomes are averaged; a step, where that is longer
SAMPLES = 128  # of the law that paths are drawn from
_RATE = 0.03  # of the factors' logarithm, a minute at a horizon of a minute
_RATE_BUSY = 0.05
_MOST = 0.9  # of the logarithm, either way
# Of what the log odds of nothing are multiplied by, in the same unit: of .003, .01 and .03, on nine loads with zeros,
# the slowest left the most uncorrected after a week, and the quickest lost the most.
_RATE_NOTHING = 0.01
_MOST_NOTHING = 3.0
_LEAST_SLOPE = 0.1  # of corrected over raw distances between quantiles: order is kept
_BUSY_FROM, _BUSY_TO = 0.7, 0.9  # shares of past levels between which an hour becomes a busy one


class Range(NamedTuple):
    """Logs of the rate (requests/s, plus the calm one) at which load begins to be busy, and is entirely."""

    low: float
    high: float


def busy_range(levels: Singles) -> Range:
    """Of the log levels at past origins."""
    low, high = np.quantile(levels, (_BUSY_FROM, _BUSY_TO)).tolist()
    return Range(low, max(high, low + 1e-3))


class Factors(NamedTuple):
    """What was learned, and what was said but has not been judged yet."""

    ends: Steps  # [horizons]; steps from the origin
    always: Floats  # [horizons, levels]; logarithms
    busy: Floats  # [horizons, levels]; added in full where load is entirely busy
    nothing: Floats  # [horizons]; what the log odds of nothing coming are multiplied by
    origins: Steps  # [slots]; number of the first step that was not known when something was said, or -1
    limits: Singles  # [slots, horizons, levels]; requests/s, corrected quantiles
    shares: Singles  # [slots, horizons]; how busy, 0 to 1
    odds: Singles  # [slots, horizons]; log odds of nothing, as drawn


class Feedback:
    """Kept across refits. ``step`` (s) of the forecaster, ``longest`` (steps) horizon that it learns."""

    def __init__(self, step: float, longest: int) -> None:
        self.step, self.longest = step, longest
        self.width = min(max(1, round(_WINDOW / step)), longest)
        self.seconds = self.width * step
        # Between origins that are judged: no whole window, so that each phase of a minute has its turn.
        self.stride = self.width + 1 if self.width > 1 else 1
        ends = np.array(sorted({min(max(1, round(s / step)), longest) for s in _HORIZONS if s >= step / 2}), np.int64)
        ends = ends if len(ends) else np.array([longest])
        shape, slots = (len(ends), len(LEVELS)), int(ends[-1]) // self.stride + 2
        self.factors = Factors(
            ends,
            np.zeros(shape),
            np.zeros(shape),
            np.ones(len(ends)),
            np.full(slots, -1, np.int64),
            np.zeros((slots, *shape), np.float32),
            np.zeros((slots, len(ends)), np.float32),
            np.zeros((slots, len(ends)), np.float32),
        )
        # An hour's misses at a long horizon are nearly one: it learns more slowly.
        self.speed = self.stride * step / 60 * np.minimum(np.sqrt(60.0 / (ends * step)), 1.0)
        self.unknown = np.full((1, len(ends)), np.nan)
        self.told = -1  # number of the first unknown step when feedback was last taken

    def fresh(self) -> Feedback:
        """One of the same horizons that has learned nothing yet."""
        return Feedback(self.step, self.longest)

    def begin(self, factors: Factors) -> None:
        """Start from what a rehearsal left; nothing once own outcomes are being learned from."""
        if self.told < 0:
            self.factors.always[:] = factors.always
            self.factors.busy[:] = factors.busy
            self.factors.nothing[:] = factors.nothing

    def rehearse(self, samples: Singles, came: Floats, calm: float, busy: Range) -> None:
        """Learn at once from past forecasts, in order of time.

        ``samples`` [n, horizons, samples] are changed; ``came`` [n, horizons] is NaN where not known; both requests/s.
        """
        count, horizons = came.shape
        limits = np.zeros((count, horizons, len(LEVELS)), np.float32)
        shares, odds = np.zeros((count, horizons), np.float32), np.zeros((count, horizons), np.float32)
        said = limits, shares, odds
        settle(self.factors, self._ordered(samples), came, calm, busy, self.seconds, self.speed, *said)

    def due(self, newest: int) -> bool:
        """Whether to say something at step number ``newest`` again: once a window."""
        return newest // self.stride > self.told // self.stride

    def take(self, rates: Singles, base: int, samples: Singles | None, calm: float, busy: Range) -> None:
        """Judge what was said for now, and remember what is said now.

        ``samples`` [1, horizons, n]: means over the window before each horizon, changed here; None: nothing is said.
        ``rates`` begin at step number ``base``.
        """
        self.told = base + len(rates)
        judge(self.factors, rates, base, self.width, self.stride, self.seconds, self.speed)
        if samples is None:
            return
        slot = (self.told // self.stride) % len(self.factors.origins)
        self.factors.origins[slot] = self.told
        own = slice(slot, slot + 1)
        said = self.factors.limits[own], self.factors.shares[own], self.factors.odds[own]
        settle(self.factors, self._ordered(samples), self.unknown, calm, busy, self.seconds, self.speed, *said)

    def _ordered(self, samples: Singles) -> Singles:
        """``samples``, as blurred counts, ascending. numpy sorts many at once, and guesses no branch wrong."""
        blur(samples, self.seconds)
        samples.sort(axis=2)
        return samples

    def widen(self, paths: Singles, calm: float, busy: Range, ceiling: float) -> None:
        """Correct ``paths`` [count, steps] (requests/s) in place."""
        means = windows(paths, self.width)
        ordered = np.sort(means, axis=1)
        empty(paths, means, ordered, self.factors, self.width, self.seconds)
        widen(paths, means, ordered, self.factors, calm, busy, self.width, ceiling)


@compiled
def _blurred(rate: float, seconds: float, number: int) -> float:
    """``rate`` as a whole count over ``seconds``, and noise of -0.5 to 0.5 that is even over consecutive numbers."""
    return (math.floor(rate * seconds + 0.5) + (number * 0.6180339887498949) % 1.0 - 0.5) / seconds


@compiled
def _quantile(ordered: Singles, level: float) -> float:
    """Between the middles of the samples' shares (Hazen, 1914)."""
    at = min(max(level * len(ordered) - 0.5, 0.0), len(ordered) - 1.0)
    left = int(at)
    right = min(left + 1, len(ordered) - 1)
    return float(ordered[left] + (at - left) * (ordered[right] - ordered[left]))


@compiled
def _busy_share(median: float, calm: float, busy: Range) -> float:
    return min(max((math.log(max(median, 0.0) + calm) - busy.low) / (busy.high - busy.low), 0.0), 1.0)


@compiled
def _log_odds(nothing: int, count: int) -> float:
    """Of nothing, which ``nothing`` of ``count`` samples are. 0 where that is not most of them, and where it is all of
    them: it is left as drawn."""
    return math.log((nothing + 0.5) / (count - nothing + 0.5)) if 2 * nothing > count > nothing else 0.0


@compiled
def _level(level: float, said: float, nothing: float) -> float:
    """Where the quantile at ``level`` lies among samples of which a share of ``said`` is nothing, and ``nothing`` of
    them should be."""
    return level * said / nothing if level < nothing and said < nothing else level


@compiled
def _probability(log_odds: float) -> float:
    return 1.0 / (1.0 + math.exp(-log_odds))


@compiled
def _knots(
    ordered: Singles, median: float, at: Floats, always: Floats, extra: Floats, busy: float, raw: Floats, to: Floats
) -> None:
    """Distances from ``median`` to the quantiles, which lie ``at`` these levels of what was drawn: as drawn into
    ``raw``, and corrected into ``to``; both ascend."""
    before = corrected = 0.0
    for k in range(len(LEVELS)):
        distance = max(_quantile(ordered, at[k]) - median, before)
        factor = math.exp(min(max(always[k] + busy * extra[k], -_MOST), _MOST))
        corrected = max(distance * factor, corrected + _LEAST_SLOPE * (distance - before))
        raw[k], to[k], before = distance, corrected, distance


@compiled
def _move(
    factors: Factors, h: int, share: float, odds: float, limits: Singles, came: float, seconds: float, speed: Floats
) -> None:
    """``came``: blurred, over ``seconds``."""
    if odds > 0.0:
        missed = (1.0 if came < 0.5 / seconds else 0.0) - _probability(factors.nothing[h] * odds)
        factors.nothing[h] = min(max(factors.nothing[h] + _RATE_NOTHING * speed[h] * missed * odds, 1.0), _MOST_NOTHING)
    for k in range(len(LEVELS)):
        move = speed[h] * ((1.0 if came > limits[k] else 0.0) - (1.0 - LEVELS[k]))
        factors.always[h, k] = min(max(factors.always[h, k] + _RATE * move, -_MOST), _MOST)
        factors.busy[h, k] = min(max(factors.busy[h, k] + _RATE_BUSY * share * move, -_MOST), _MOST)


@compiled
def judge(factors: Factors, rates: Singles, base: int, width: int, stride: int, seconds: float, speed: Floats) -> None:
    """Move the factors by the outcomes that are known now; nothing moves where steps of an outcome are missing."""
    newest, slots = base + len(rates), len(factors.origins)
    for h in range(len(factors.ends)):
        end = factors.ends[h]
        wanted = newest - end
        slot = (wanted // stride) % slots
        origin = factors.origins[slot]
        if wanted < 0 or origin < 0 or origin > wanted or origin // stride != wanted // stride:
            continue
        begin, total = origin + end - width - base, 0.0
        for j in range(begin, begin + width):
            total += rates[j] if j >= 0 else math.nan
        if math.isnan(total):
            continue
        _move(
            factors,
            h,
            factors.shares[slot, h],
            factors.odds[slot, h],
            factors.limits[slot, h],
            _blurred(total / width, seconds, origin),
            seconds,
            speed,
        )


@compiled
def blur(samples: Singles, seconds: float) -> None:
    """Each of ``samples`` [n, horizons, samples] (requests/s) becomes a blurred count, as a rate."""
    for own in samples.reshape(-1, samples.shape[2]):
        for i in range(len(own)):
            own[i] = _blurred(own[i], seconds, i)


@compiled
def settle(
    factors: Factors,
    ordered: Singles,
    came: Floats,
    calm: float,
    busy: Range,
    seconds: float,
    speed: Floats,
    limits: Singles,
    shares: Singles,
    odds: Singles,
) -> None:
    """Corrected quantiles of samples, ``ordered`` [n, horizons, samples], into ``limits`` [n, horizons, levels], how
    busy their medians are into ``shares`` [n, horizons], and the log odds of nothing into ``odds`` [n, horizons]; where
    ``came`` is known, the factors move at once."""
    at, raw, to = np.zeros(len(LEVELS)), np.zeros(len(LEVELS)), np.zeros(len(LEVELS))
    for n in range(len(ordered)):
        for h in range(len(factors.ends)):
            own = ordered[n, h]
            quiet = int(np.searchsorted(own, np.float32(0.5 / seconds)))
            odds[n, h] = _log_odds(quiet, len(own))
            said = quiet / len(own)
            nothing = _probability(factors.nothing[h] * odds[n, h]) if odds[n, h] > 0.0 else said
            median = _quantile(own, _level(0.5, said, nothing))
            share = _busy_share(median, calm, busy)
            for k in range(len(LEVELS)):
                at[k] = _level(LEVELS[k], said, nothing)
            _knots(own, median, at, factors.always[h], factors.busy[h], share, raw, to)
            shares[n, h] = share
            for k in range(len(LEVELS)):
                limits[n, h, k] = median + to[k]
            if not math.isnan(came[n, h]):
                blurred = _blurred(came[n, h], seconds, n)
                _move(factors, h, share, odds[n, h], limits[n, h], blurred, seconds, speed)


@compiled
def windows(paths: Singles, width: int) -> Singles:
    """The mean of each of ``paths`` [count, steps] over each window of ``width`` steps, the last as long as there are:
    [windows, count]."""
    count, steps = paths.shape
    means, totals = np.empty((-(-steps // width), count), np.float32), np.empty(count)
    for w in range(len(means)):
        begin, end = w * width, min(w * width + width, steps)
        totals[:] = 0.0
        for j in range(begin, end):
            for p in range(count):
                totals[p] += paths[p, j]
        for p in range(count):
            means[w, p] = totals[p] / (end - begin)
    return means


@compiled
def _beside(ends: Steps, end: int) -> tuple[int, int, float]:
    """The horizons on both sides of ``end`` (steps), and how far towards the right one it lies, on a log scale."""
    right = 0
    while right < len(ends) - 1 and ends[right] < end:
        right += 1
    left = max(right - 1, 0)
    if right == left:
        return left, right, 1.0
    low, high = math.log(ends[left]), math.log(ends[right])
    return left, right, min(max((math.log(end) - low) / (high - low), 0.0), 1.0)


@compiled
def empty(paths: Singles, means: Singles, ordered: Singles, factors: Factors, width: int, seconds: float) -> None:
    """Window by window: where nothing is the likelier, so many more of ``paths`` come to nothing as the odds say, those
    of the least first. So do their ``means`` [windows, count], and the same in ``ordered`` windows."""
    count, steps = paths.shape
    for w in range(len(means)):
        nothing = int(np.searchsorted(ordered[w], np.float32(0.5 / seconds)))
        odds = _log_odds(nothing, count)
        if not odds > 0.0:
            continue
        begin, end = w * width, min(w * width + width, steps)
        left, right, share = _beside(factors.ends, end)
        times = factors.nothing[left] + share * (factors.nothing[right] - factors.nothing[left])
        wanted = int(_probability(times * odds) * count + 0.5)
        if wanted <= nothing:
            continue
        most = ordered[w, wanted - 1]
        ties = wanted - int(np.searchsorted(ordered[w], most))
        for p in range(count):
            if means[w, p] < most or (means[w, p] == most and ties > 0):
                ties -= 1 if means[w, p] == most else 0
                means[w, p] = 0.0
                paths[p, begin:end] = 0.0
        ordered[w, :wanted] = 0.0


@compiled
def widen(
    paths: Singles,
    means: Singles,
    ordered: Singles,
    factors: Factors,
    calm: float,
    busy: Range,
    width: int,
    ceiling: float,
) -> None:
    """Window by window: the mean of each path above the median is moved as its quantile is, and its steps with it.
    ``means`` [windows, count], and the same in ``ordered`` windows."""
    count, steps = paths.shape
    levels, at = len(LEVELS), np.array(LEVELS)
    raw, to = np.zeros(levels), np.zeros(levels)
    always, extra = np.zeros(levels), np.zeros(levels)
    ratios = np.empty(means.shape)
    for w in range(len(means)):
        left, right, share = _beside(factors.ends, min(w * width + width, steps))
        for k in range(levels):
            always[k] = factors.always[left, k] + share * (factors.always[right, k] - factors.always[left, k])
            extra[k] = factors.busy[left, k] + share * (factors.busy[right, k] - factors.busy[left, k])
        median = _quantile(ordered[w], 0.5)
        _knots(ordered[w], median, at, always, extra, _busy_share(median, calm, busy), raw, to)
        _moved(means[w], median, raw, to, ratios[w])
    for p in range(count):
        for w in range(len(means)):
            ratio = ratios[w, p]
            for j in range(w * width, min(w * width + width, steps)):
                paths[p, j] = min(paths[p, j] * ratio, ceiling)


@compiled
def _moved(means: Singles, median: float, raw: Floats, to: Floats, out: Floats) -> None:
    """What each of ``means`` [count] above the ``median`` is multiplied by, into ``out`` [count], so that distances
    ``raw`` [levels] become ``to`` [levels], and those between them in proportion.

    Which are above is up to chance, and no processor guesses it: there are three levels, and no branch.
    """
    low, middle, high = raw
    to_low, to_middle, to_high = to
    # Beyond the last quantile is what was hardly ever seen: it is not drawn in.
    beyond = max(1.0, to_high / high if high > 0.0 else 1.0)
    for p in range(len(means)):
        distance = means[p] - median
        begin, gap, base, rise = 0.0, low, 0.0, to_low
        if distance > low:
            begin, gap, base, rise = low, middle - low, to_low, to_middle - to_low
        if distance > middle:
            begin, gap, base, rise = middle, high - middle, to_middle, to_high - to_middle
        if distance > high:
            begin, gap, base, rise = high, 1.0, to_high, beyond
        ratio = (median + (base + (distance - begin) / gap * rise)) / means[p]
        out[p] = ratio if distance > 0.0 else 1.0
