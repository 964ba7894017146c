"""The cycle that a load has of its own, found in its history: a model for it, or none."""

from __future__ import annotations

import math

import numpy as np

from forecasting.errors import NoCycle, NotEnoughHistory, NotReady
from forecasting.forecaster import Paths
from forecasting.models.cycle import Cycle
from forecasting.models.level_season import LevelSeason
from forecasting.periods import DAY, LEAST_CYCLES, MINUTE, Period, find_periods
from forecasting.seasons import Coarse, by_season, season_step
from forecasting.series import Arrivals, Recorder, Series, counts_of, resample

WEEK = 7 * DAY
_SHORTEST, _LONGEST = 2 * MINUTE, 60 * MINUTE  # s: of a short cycle
_LOOK = 5 * MINUTE  # s: how finely longer ones are looked for
_CLEAR = 0.3  # share of the load's variation that a cycle explains, for a model of its own
_SPAN = 3 * DAY  # s of errors to draw from: a few cycles of some hours say little; or
_FEWEST, _MOST = 4, 12  # cycles
_SEEN = 64  # steps that are remembered until a history comes


class OwnCycle:
    """A model of the period that the load is found to have, and that explains much of it.

    :class:`~forecasting.models.cycle.Cycle` of one from two minutes to an hour, as the last day has it: such as a cron
    job's. Of several, the longest that the strongest one fits into; of one that is no whole number of steps, the least
    multiple that is. Where there is none, level times season (:func:`~forecasting.seasons.by_season`) of a longer one
    that the whole history has (:func:`own_season`). ``fit`` raises ``NoCycle`` where there is none either,
    ``NotEnoughHistory`` where too little is known.
    """

    name = "cycle"

    def __init__(self, step: float, seed: int = 0) -> None:
        self.step, self.seed = step, seed
        self.inner: Cycle | LevelSeason | Coarse | None = None
        self._seen: Recorder | None = Recorder(step, _SEEN)  # until it is fitted

    def fit(self, history: Series) -> None:
        """See :class:`~forecasting.forecaster.Forecaster`. Raises ``NoCycle``, too."""
        inner = self._model(history)
        for arrivals in self._since(history.end):
            inner.update(arrivals)
        inner.fit(history)
        self.inner, self._seen = inner, None

    def _model(self, history: Series) -> Cycle | LevelSeason | Coarse:
        short = _short(history, self.step)
        if short:
            return Cycle(self.step, _one_of(short, self.step), seed=self.seed)
        season = own_season(history, self.step)
        if season is not None:
            return by_season(self.step, season, min(max(_FEWEST, round(_SPAN / season)), _MOST))
        if short is None:
            raise NotEnoughHistory(f"{LEAST_CYCLES * _LONGEST / 3600:g} h of known load are needed to find a cycle")
        raise NoCycle(
            f"the load repeats itself at no period of {_SHORTEST / 60:g} to {_LONGEST / 60:g} minutes, nor at a longer "
            f"one that the time of day does not tell"
        )

    def _since(self, end: float) -> list[Arrivals]:
        """What updates told, as far as it is remembered: before the first fit all, then what is newer than ``end``."""
        if self._seen is not None:
            return counts_of(self._seen.series())
        if self.inner is None:
            return []
        known = self.inner.series.series() if isinstance(self.inner, Cycle) else self.inner.kept()
        return [a for a in counts_of(known) if a.end > end]

    def update(self, arrivals: Arrivals) -> None:
        """See :class:`~forecasting.forecaster.Forecaster`."""
        if self.inner is not None:
            self.inner.update(arrivals)
        elif self._seen is not None:
            self._seen.update(arrivals)

    @property
    def ready(self) -> bool:
        """Whether ``paths`` can be called."""
        return self.inner is not None and self.inner.ready

    def paths(self, steps: int, count: int, rng: np.random.Generator, out: Paths | None = None) -> Paths:
        """See :class:`~forecasting.forecaster.Forecaster`."""
        if self.inner is None:
            raise NotReady(f"{self.name}: it was fitted on nothing yet")
        return self.inner.paths(steps, count, rng, out)


def _short(history: Series, step: float) -> tuple[Period, ...] | None:
    """The short periods of the last day, where one of them is clear; None where too little of it is known."""
    rates = history.rates[-math.ceil(DAY / history.step) :]
    if np.count_nonzero(~np.isnan(rates)) * history.step < LEAST_CYCLES * _LONGEST:
        return None
    day = Series(history.end - len(rates) * history.step, history.step, rates)
    day = resample(day, MINUTE) if day.step < MINUTE else day
    found = find_periods(day, shortest=max(_SHORTEST, 2 * step), longest=_LONGEST)
    return found if any(period.strength >= _CLEAR for period in found) else ()


def _one_of(short: tuple[Period, ...], step: float) -> float:
    """Seconds of the longest that the strongest one fits into, in whole steps. Raises ``NoCycle``."""
    strongest = max(short, key=lambda period: period.strength)
    seconds = _in_steps(strongest.seconds, step, _LONGEST)
    if seconds is None:
        raise NoCycle(
            f"the load repeats itself each {strongest.seconds:g} s, of which no multiple up to {_LONGEST / 60:g} "
            f"minutes is a whole number of steps of {step:g} s"
        )
    return max((p.seconds for p in short if _whole(p.seconds, seconds)), default=seconds)


def own_season(history: Series, step: float) -> float | None:
    """Seconds of the period that explains most of what the time of day does not tell: between an hour and a day, but no
    part of a day; or a week. Of three whole ones in the history at least, each is predicted from the others. A whole
    number of steps, of a minute where ``step`` (s) is shorter; None where there is none. Raises ``BadSeries``."""
    seen = resample(history, _LOOK) if history.step < _LOOK else history
    # As if it ended with a week: a part of one, at the end that matters, says less than a whole one.
    ends = round(seen.end % WEEK / seen.step) * seen.step
    found = find_periods(Series(seen.start - ends, seen.step, seen.rates), shortest=_LONGEST)
    own = [p for p in found if p.strength >= _CLEAR and (p.seconds == WEEK or _turns(p.seconds))]
    strongest = max(own, key=lambda period: period.strength, default=None)
    return None if strongest is None else _in_steps(strongest.seconds, season_step(step), WEEK)


def _turns(period: float) -> bool:
    """Whether a cycle of ``period`` s begins at other times each day."""
    return period < DAY and abs(round(DAY / period) * period - DAY) > _LOOK


def _in_steps(period: float, step: float, longest: float) -> float | None:
    """The least multiple of ``period`` (s), up to ``longest`` (s), that is a whole number of steps."""
    multiples = (k * period for k in range(1, int(longest / period) + 1))
    return next((seconds for seconds in multiples if _whole(seconds, step)), None)


def _whole(seconds: float, part: float) -> bool:
    """Whether ``seconds`` are ``part`` several times."""
    return seconds >= part and abs(round(seconds / part) * part - seconds) <= 1e-6 * part
