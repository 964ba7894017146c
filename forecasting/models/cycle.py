"""What came in past cycles at this moment of theirs, as high as the newest ones: load that comes by the minute."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from forecasting.errors import NotReady
from forecasting.forecaster import Paths
from forecasting.memory import level_now
from forecasting.models.base import Stepwise, whole_period
from forecasting.trajectories import CEILING, add_count_noise, draw, finish, without_errors

Floats = NDArray[np.float64]

_CYCLES = 48  # whose course is remembered
_PER_CYCLE = 0.97  # weight of a cycle that is one older
_MEDIAN = 3  # cycles
_DRIFT = 0.1  # log standard deviation per square root of a minute, where there is no past cycle to draw from


class Cycle(Stepwise):
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

    def __init__(self, step: float, period: float) -> None:
        self.period = whole_period(period, step)
        super().__init__(step, period, (_CYCLES + _MEDIAN + 1) * self.period, 1)
        self.peak = 0.0

    def paths(self, steps: int, count: int, rng: np.random.Generator, out: Paths | None = None) -> Paths:
        """See :class:`~forecasting.forecaster.Forecaster`."""
        memory = self.memory
        rate, seen = level_now(memory, self.level)
        if math.isnan(rate):
            raise NotReady(f"{self.name}: nothing was learned or observed yet")
        at = round((memory.origin or 0.0) / self.step) - memory.base  # the first step that is not known
        levels = self._levels(at)
        level = rate if not len(levels) or math.isnan(levels[0]) else float(levels[0])
        back = np.flatnonzero(levels[1:] > 0) + 1  # cycles ago; not those whose level is not known
        assumed = round(count / (1 + len(back)))
        newest = self._followed(at, back[:1], level / levels[back[:1]], steps) if len(back) else np.full(steps, level)
        drift = _DRIFT * math.sqrt(self.step / 60)
        paths = np.empty((count, steps), np.float32)
        paths[:assumed] = newest * np.exp(without_errors(level, seen, drift, steps, assumed, rng))
        lacking = np.ones(count)
        if len(back):
            weights: Floats = _PER_CYCLE ** back.astype(np.float64)
            chosen = back[draw(weights, count - assumed, rng)]
            times = level / levels[chosen]
            paths[assumed:] = self._followed(at, chosen, times, steps)
            whole = at - chosen * self.period + memory.base > memory.history_until
            held = np.where(whole, 1.0, self.step / memory.history_step) * times
            lacking[assumed:] = np.clip(1.0 - held, 0.0, 1.0)
        add_count_noise(paths, self.step, lacking, rng)
        return finish(paths, CEILING * max(self.peak, rate), out)

    def _levels(self, at: int) -> Floats:
        """Requests/s at column ``at`` and whole cycles before it, the newest first; NaN where half is not known."""
        period, lately = self.period, self.period // 2
        cycles = min((at - lately) // period, _CYCLES + _MEDIAN)
        if cycles < 1:
            return np.empty(0)
        rates = self._known(at)
        seen = np.concatenate(([0], np.cumsum(~np.isnan(rates))))
        total = np.concatenate(([0.0], np.cumsum(np.nan_to_num(rates), dtype=np.float64)))
        ends = at - period * np.arange(cycles)[:, None] - np.arange(lately)[None, :]
        known = seen[ends] - seen[ends - period]
        means = np.divide(total[ends] - total[ends - period], known, out=np.full(ends.shape, np.nan), where=known > 0)
        levels: Floats = np.where(known.min(axis=1) >= period / 2, np.median(means, axis=1), np.nan)
        if cycles < _MEDIAN:
            return levels
        usual = np.median(np.lib.stride_tricks.sliding_window_view(levels, _MEDIAN), axis=1)
        at_least: Floats = np.fmax(levels[: len(usual)], usual)
        return at_least

    def _followed(self, at: int, back: NDArray[np.intp], times: Floats, steps: int) -> Floats:
        """What followed ``back`` cycles before column ``at``, ``times`` as high, [cycles, steps]; repeated where it is
        not known yet. A hole is as high as the mean of the rest."""
        ahead = np.arange(steps)[None, :] % (back[:, None] * self.period)
        followed = self._known(at)[at - back[:, None] * self.period + ahead] * times[:, None]
        hole = np.isnan(followed)
        if hole.any():
            seen = np.maximum((~hole).sum(axis=1, keepdims=True), 1)
            followed = np.where(hole, np.nan_to_num(followed).sum(axis=1, keepdims=True) / seen, followed)
        return followed

    def _known(self, at: int) -> NDArray[np.float32]:
        """Rates as far as column ``at``, NaN behind the newest that is complete."""
        rates = self.memory.rates
        missing = at - len(rates)
        return np.concatenate((rates, np.full(missing, np.nan, np.float32))) if missing > 0 else rates[: max(at, 0)]

    def _learn_all(self) -> None:
        self.peak = float(np.nanmax(self.memory.rates, initial=0.0))

    def _learn_newest(self, column: int) -> None:
        self.peak = max(self.peak, float(self.memory.rows[0, column]))  # NaN changes nothing: it is not greater
