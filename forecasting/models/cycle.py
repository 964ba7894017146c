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

_CYCLES = 48  # kept
_PER_CYCLE = 0.97  # weight of a cycle that is one older
_DRIFT = 0.1  # log standard deviation per square root of a minute, where there is no past cycle to draw from


class Cycle(Stepwise):
    """Paths are what followed the same moment of past cycles, times the level now over the level then.

    A level is the mean over a whole cycle, so within one it stands still, however steep the load is; the median of those
    that ended lately, so that a burst a few seconds early is not counted beside the one before it. Nothing is divided by the load of a single
    step: the edge of a burst that came a few seconds later than usual is no error of a factor of a thousand. What is
    farther ahead than a past cycle knows repeats it. Newer cycles lend theirs more often; one path more than there are
    cycles is the newest one around an uncertain level. ``step``, ``period`` in seconds.
    """

    name = "cycle"

    def __init__(self, step: float, period: float) -> None:
        self.period = whole_period(period, step)
        super().__init__(step, period, (_CYCLES + 2) * self.period, 1)
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
        then = levels[1:]  # when the path's cycle began
        back = np.arange(1, len(levels))
        known = ~np.isnan(then) & (then > 0)
        weights = np.where(known, _PER_CYCLE**back, 0.0)
        assumed = count if not known.any() else round(count / (1 + int(np.count_nonzero(known))))
        paths = np.empty((count, steps), np.float32)
        lacking = np.ones(count)
        # Around the level when no cycle is known, else around the newest one.
        newest = np.full((1, steps), level)
        if known.any():
            newest = self._followed(at, back[known][:1], then[known][:1], level, steps)
        drift = _DRIFT * math.sqrt(self.step / 60)
        paths[:assumed] = newest * np.exp(without_errors(level, seen, drift, steps, assumed, rng))
        if assumed < count:
            chosen = draw(weights, count - assumed, rng)
            paths[assumed:] = self._followed(at, back[chosen], then[chosen], level, steps)
            whole = at - back[chosen] * self.period + memory.base > memory.history_until
            held = np.where(whole, 1.0, self.step / memory.history_step) * level / then[chosen]
            lacking[assumed:] = np.clip(1.0 - held, 0.0, 1.0)
        add_count_noise(paths, self.step, lacking, rng)
        return finish(paths, CEILING * max(self.peak, rate), out)

    def _levels(self, at: int) -> Floats:
        """The level at column ``at`` and whole cycles before it, the newest first; NaN where half is not known."""
        period, lately = self.period, max(self.period // 2, 1)
        cycles = min((at - lately) // period, _CYCLES + 1)
        if cycles < 1:
            return np.empty(0)
        rates = self._known(at)
        seen = np.concatenate(([0], np.cumsum(~np.isnan(rates))))
        total = np.concatenate(([0.0], np.cumsum(np.nan_to_num(rates), dtype=np.float64)))
        ends = at - period * np.arange(cycles)[:, None] - np.arange(lately)[None, :]
        count = seen[ends] - seen[ends - period]
        means = np.divide(total[ends] - total[ends - period], count, out=np.full(ends.shape, np.nan), where=count > 0)
        levels: Floats = np.where(count.min(axis=1) >= period / 2, np.median(means, axis=1), np.nan)
        return levels

    def _known(self, at: int) -> NDArray[np.float32]:
        """Rates as far as column ``at``, NaN behind the newest that is complete."""
        rates = self.memory.rates
        missing = at - len(rates)
        return np.concatenate((rates, np.full(missing, np.nan, np.float32))) if missing > 0 else rates[: max(at, 0)]

    def _followed(self, at: int, back: NDArray[np.int_], then: Floats, level: float, steps: int) -> Floats:
        """What followed ``back`` cycles before column ``at``, [cycles, steps], times ``level`` over the level ``then``.
        Beyond what is known the cycle is repeated; a hole in it is at its level."""
        ahead = np.arange(steps)[None, :] % (back[:, None] * self.period)
        followed = self._known(at)[at - back[:, None] * self.period + ahead].astype(np.float64)
        return np.where(np.isnan(followed), level, followed * (level / then)[:, None])

    def _learn_all(self) -> None:
        self.peak = float(np.nanmax(self.memory.rates, initial=0.0))

    def _learn_newest(self, column: int) -> None:
        self.peak = max(self.peak, float(self.memory.rows[0, column]))  # NaN changes nothing: it is not greater
