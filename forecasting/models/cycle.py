"""What came in past cycles at this moment of theirs, as high as the newest ones: load that comes by the minute."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from forecasting.compiled import compiled
from forecasting.direct.kept import Kept, Remembers
from forecasting.errors import NotReady
from forecasting.forecaster import Paths
from forecasting.models.base import whole_period
from forecasting.ordered import median
from forecasting.trajectories import CEILING, draw, room, without_errors

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

_CYCLES = 48  # whose course is remembered, or
_SPAN = 43_200.0  # s: as many as these have
_MEDIAN = 3  # cycles
_KNOWN = 0.9  # share of a cycle
_PER_CYCLE = 0.97  # weight of a cycle that is one older
_DRIFT = 0.1  # log standard deviation per square root of a minute, where there is no past cycle to draw from


class Cycle(Remembers):
    """Paths are what followed the same moment of past cycles, times the level now over the level then.

    A level is the mean over a whole cycle, so within one it stands still, however steep the load is: the median of the
    means that ended in the last half cycle, so that a burst a few seconds early is not counted beside the one before
    it; and no less than the median of three such, so that one burst that did not come is no end of all. Nothing is
    divided by the load of a single step: a burst whose edge came a few seconds late is no error of a factor of a
    thousand. What is farther ahead than a past cycle knows repeats it. Newer cycles lend theirs more often; of n + 1
    paths one is the newest cycle around an uncertain level, where n cycles are known. ``step`` and ``period`` in
    seconds. Raises ``ValueError`` unless the period is two whole steps or more.
    """

    name = "cycle"

    def __init__(self, step: float, period: float, *, seed: int = 0) -> None:
        self.step = step
        self.period = whole_period(period, step)
        self.cycles = max(min(_CYCLES, round(_SPAN / period)), _MEDIAN)
        self.series = Kept(step, (self.cycles + _MEDIAN) * self.period, seed)

    def paths(self, steps: int, count: int, rng: np.random.Generator, out: Paths | None = None) -> Paths:
        """See :class:`~forecasting.forecaster.Forecaster`."""
        series, period = self.series, self.period
        if not self.ready:
            raise NotReady(f"{self.name}: nothing was learned or observed yet")
        rates = series.rates
        levels = levels_of(rates, period)
        back, level = past(rates, period, levels, self.cycles, steps)
        seen = self.step * period
        if math.isnan(level):
            level, seen = series.newest, self.step
        ceiling = CEILING * max(series.peak, level)
        assumed = round(count / (1 + len(back)))
        noise = without_errors(level, seen, _DRIFT * math.sqrt(self.step / 60), steps, assumed, rng)
        out = room(out, count, steps)
        if not len(back):
            follow(np.full(1, level, np.float32), np.ones(count, np.intp), np.ones(count), noise, ceiling, out)
            return out
        chosen = np.full(count, back[0])
        chosen[assumed:] = back[draw(_PER_CYCLE ** back.astype(np.float64), count - assumed, rng)]
        times = level / levels[chosen]
        times[assumed:] *= np.exp(between(levels) * rng.standard_normal(count - assumed))
        follow(rates, chosen * period, times, noise, ceiling, out)
        return out


@compiled
def follow(rates: Singles, ago: NDArray[np.intp], times: Floats, noise: Floats, ceiling: float, out: Singles) -> None:
    """Paths [n, steps], up to ``ceiling``: the ``rates`` that followed ``ago`` [n] steps ago, ``times`` [n] as high;
    repeated where they are not known yet. A hole is as high as the mean of the rest. The first have ``noise`` [m,
    steps], in logs."""
    steps = out.shape[1]
    for p in range(len(ago)):
        begin, total, known = len(rates) - ago[p], 0.0, 0
        for k in range(steps):
            rate = rates[begin + k % ago[p]]
            if not math.isnan(rate):
                total += rate
                known += 1
        mean = total / known
        for k in range(steps):
            rate = rates[begin + k % ago[p]]
            value = times[p] * (mean if math.isnan(rate) else rate)
            if p < len(noise):
                value *= math.exp(noise[p, k])
            out[p, k] = min(value, ceiling) if value > 0.0 else 0.0


@compiled
def past(rates: Singles, period: int, levels: Floats, cycles: int, steps: int) -> tuple[NDArray[np.intp], float]:
    """Which of the last ``cycles``, as how many ago, had a level above nothing, and nearly all of the ``steps`` after
    them is known, for a hole is not nothing; and the newest of ``levels`` that is known."""
    level = math.nan
    back = np.empty(len(levels), np.intp)
    found = 0
    for ago in range(len(levels)):
        if math.isnan(level):
            level = levels[ago]
        if not (0 < ago <= cycles and levels[ago] > 0.0):
            continue
        told = 0
        for k in range(steps):
            told += not math.isnan(rates[len(rates) - ago * period + k % (ago * period)])
        if told >= _KNOWN * steps:
            back[found] = ago
            found += 1
    return back[:found], level


@compiled
def levels_of(rates: Singles, period: int) -> Floats:
    """Requests/s now and whole cycles ago, the newest first: the mean of the cycle, or the median of three such where
    that is more; NaN where no cycle is known."""
    levels = cycle_means(rates, period)
    for k in range(len(levels) - _MEDIAN + 1):
        one, two, three = levels[k], levels[k + 1], levels[k + 2]
        usual = max(min(one, two), min(max(one, two), three))
        if not math.isnan(one + two + three) and usual > one:
            levels[k] = usual
    return levels


@compiled
def cycle_means(rates: Singles, period: int) -> Floats:
    """Median of the mean rates over those whole cycles that ended in the last half cycle, now and each cycle before;
    of cycles that are nearly known, for without its burst one says nothing. NaN where there is none."""
    total, seen = np.zeros(len(rates) + 1), np.zeros(len(rates) + 1)
    for k in range(len(rates)):
        told = not math.isnan(rates[k])
        total[k + 1] = total[k] + (rates[k] if told else 0.0)
        seen[k + 1] = seen[k] + told
    lately = period // 2
    out = np.full(max((len(rates) - lately) // period, 0), np.nan)
    means = np.empty(lately)
    for cycle in range(len(out)):
        found = 0
        for back in range(lately):
            end = len(rates) - cycle * period - back
            known = seen[end] - seen[end - period]
            if known >= _KNOWN * period:
                means[found] = (total[end] - total[end - period]) / known
                found += 1
        if found > 0:
            out[cycle] = median(means[:found])
    return out


@compiled
def between(levels: Floats) -> float:
    """Log standard deviation of what lies between few cycles and beyond them: the bandwidth of a normal kernel for
    their changes of level (Silverman, "Density Estimation for Statistics and Data Analysis", 1986, eq. 3.28)."""
    logs = np.log(levels[levels > 0.0])
    return 1.06 * np.diff(logs).std() * (len(logs) - 1) ** -0.2 if len(logs) > 1 else 0.0
