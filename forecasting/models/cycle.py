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
from forecasting.trajectories import CEILING, draw, finish, without_errors

Floats = NDArray[np.float64]

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
        series = self.series
        if not self.ready:
            raise NotReady(f"{self.name}: nothing was learned or observed yet")
        levels = self._levels()
        known = levels[~np.isnan(levels)]
        level, seen = (float(known[0]), self.step * self.period) if len(known) else (series.newest, self.step)
        ceiling = CEILING * max(series.peak, level)
        back = self._told(np.flatnonzero(levels[1 : self.cycles + 1] > 0) + 1, steps)
        assumed = round(count / (1 + len(back)))
        newest = self._followed(back[:1], level / levels[back[:1]], steps) if len(back) else np.full(steps, level)
        drift = _DRIFT * math.sqrt(self.step / 60)
        around = np.exp(without_errors(level, seen, drift, steps, assumed, rng))
        paths = np.empty((count, steps), np.float32)
        paths[:assumed] = np.minimum(newest * around, ceiling)
        if len(back):
            weights: Floats = _PER_CYCLE ** back.astype(np.float64)
            chosen = back[draw(weights, count - assumed, rng)]
            times = level / levels[chosen] * np.exp(_between(levels) * rng.standard_normal(count - assumed))
            paths[assumed:] = np.minimum(self._followed(chosen, times, steps), ceiling)
        return finish(paths, ceiling, out)

    def _levels(self) -> Floats:
        """Requests/s now and whole cycles ago, the newest first; NaN where no cycle is known."""
        levels = cycle_means(self.series.rates, self.period)
        if len(levels) >= _MEDIAN:
            one, two, three = levels[:-2], levels[1:-1], levels[2:]
            # Of three, and NaN where one is; numpy's own takes ten times as long.
            usual = np.maximum(np.minimum(one, two), np.minimum(np.maximum(one, two), three))
            levels[: len(usual)] = np.fmax(one, usual)
        return levels

    def _ahead(self, back: NDArray[np.intp], steps: int) -> Floats:
        """What followed ``back`` cycles ago, [cycles, steps]; repeated where it is not known yet."""
        ago = back[:, None] * self.period
        followed: Floats = self.series.rates[len(self.series.rates) - ago + np.arange(steps) % ago].astype(np.float64)
        return followed

    def _told(self, back: NDArray[np.intp], steps: int) -> NDArray[np.intp]:
        """Those of the cycles after which nearly all is known: a hole is not nothing."""
        if not np.isnan(self.series.rates).any():
            return back
        told: NDArray[np.intp] = back[(~np.isnan(self._ahead(back, steps))).mean(axis=1) >= _KNOWN]
        return told

    def _followed(self, back: NDArray[np.intp], times: Floats, steps: int) -> Floats:
        """What followed ``back`` cycles ago, ``times`` as high; a hole is as high as the mean of the rest."""
        followed = self._ahead(back, steps) * times[:, None]
        hole = np.isnan(followed)
        if hole.any():
            seen = (~hole).sum(axis=1, keepdims=True)
            followed = np.where(hole, np.nan_to_num(followed).sum(axis=1, keepdims=True) / seen, followed)
        return followed


@compiled
def cycle_means(rates: NDArray[np.float32], period: int) -> Floats:
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
            out[cycle] = np.median(means[:found])
    return out


def _between(levels: Floats) -> float:
    """Log standard deviation of what lies between few cycles and beyond them: the bandwidth of a normal kernel for
    their changes of level (Silverman, "Density Estimation for Statistics and Data Analysis", 1986, eq. 3.28)."""
    logs = np.log(levels[levels > 0])
    return 1.06 * float(np.diff(logs).std()) * (len(logs) - 1) ** -0.2 if len(logs) > 1 else 0.0
