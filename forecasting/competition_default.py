"""The default: direct regression, the load's own cycle where it has a short one, level times season."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from forecasting.competition import Competition
from forecasting.direct.learned import Growth
from forecasting.errors import NoCycle, NotEnoughHistory, NotReady
from forecasting.forecaster import Forecaster, Paths
from forecasting.models.cycle import Cycle
from forecasting.models.direct import Direct
from forecasting.models.level_season import LevelSeason
from forecasting.periods import LEAST_CYCLES, find_periods
from forecasting.series import Arrivals, Recorder, Series, counts_of, resample
from forecasting.trajectories import add_count_noise

DAY = 86400.0
_MINUTE = 60.0
_SHORTEST, _LONGEST = 2 * _MINUTE, 60 * _MINUTE  # s: of a cycle
_CLEAR = 0.3  # share of the load's variation that a cycle explains, for a model of its own
_SEEN = 64  # steps that are remembered until a history comes
_SEASONS = 3  # kept by level times season: each costs some 45 kB


class Coarse:
    """A forecaster of long steps, asked in short ones: each of its steps is repeated, with the noise that counts in
    ``factor`` times shorter steps have."""

    def __init__(self, make: Callable[[], Forecaster], factor: int) -> None:
        self.inner, self.factor = make(), factor
        self.name = self.inner.name
        self.step = self.inner.step / factor

    def fit(self, history: Series) -> None:
        """See :class:`~forecasting.forecaster.Forecaster`."""
        self.inner.fit(history)

    def update(self, arrivals: Arrivals) -> None:
        """See :class:`~forecasting.forecaster.Forecaster`."""
        self.inner.update(arrivals)

    @property
    def ready(self) -> bool:
        """Whether ``paths`` can be called."""
        return self.inner.ready

    def paths(self, steps: int, count: int, rng: np.random.Generator, out: Paths | None = None) -> Paths:
        """See :class:`~forecasting.forecaster.Forecaster`."""
        paths = self.inner.paths(-(-steps // self.factor), count, rng)
        fine: Paths = np.repeat(paths, self.factor, axis=1)[:, :steps]
        add_count_noise(fine, self.step, np.full(count, 1 - 1 / self.factor), rng)
        if out is None:
            return np.maximum(fine, 0.0, out=fine)
        return np.maximum(fine, 0.0, out=out)


class OwnCycle:
    """:class:`~forecasting.models.cycle.Cycle` of a period, from two minutes to an hour, that the load of the last day
    is found to have, and that explains much of it: such as a cron job's. Of several, the longest that the strongest one
    fits into; of one that is no whole number of steps, the least multiple that is. ``fit`` raises ``NoCycle`` where
    there is none, ``NotEnoughHistory`` where too little is known."""

    name = "cycle"

    def __init__(self, step: float, seed: int = 0) -> None:
        self.step, self.seed = step, seed
        self.inner: Cycle | None = None
        self._seen: Recorder | None = Recorder(step, _SEEN)  # until it is fitted

    def fit(self, history: Series) -> None:
        """See :class:`~forecasting.forecaster.Forecaster`. Raises ``NoCycle``, too."""
        inner = Cycle(self.step, self._period(history), seed=self.seed)
        for arrivals in self._since(history.end):
            inner.update(arrivals)
        inner.fit(history)
        self.inner, self._seen = inner, None

    def _since(self, end: float) -> list[Arrivals]:
        """What updates told, as far as it is remembered: before the first fit all, then what is newer than ``end``."""
        if self._seen is not None:
            return counts_of(self._seen.series())
        return [] if self.inner is None else [a for a in counts_of(self.inner.series.series()) if a.end > end]

    def _period(self, history: Series) -> float:
        rates = history.rates[-math.ceil(DAY / history.step) :]
        if np.count_nonzero(~np.isnan(rates)) * history.step < LEAST_CYCLES * _LONGEST:
            raise NotEnoughHistory(f"{LEAST_CYCLES * _LONGEST / 3600:g} h of known load are needed to find a cycle")
        day = Series(history.end - len(rates) * history.step, history.step, rates)
        shortest = max(_SHORTEST, 2 * self.step)
        found = find_periods(resample(day, _MINUTE) if day.step < _MINUTE else day, shortest=shortest, longest=_LONGEST)
        strongest = max(found, key=lambda period: period.strength, default=None)
        if strongest is None or strongest.strength < _CLEAR:
            raise NoCycle(f"the load repeats itself at no period of {_SHORTEST / 60:g} to {_LONGEST / 60:g} minutes")
        seconds = _in_steps(strongest.seconds, self.step)
        if seconds is None:
            raise NoCycle(
                f"the load repeats itself each {strongest.seconds:g} s, of which no multiple up to {_LONGEST / 60:g} "
                f"minutes is a whole number of steps of {self.step:g} s"
            )
        return max((p.seconds for p in found if _whole(p.seconds, seconds)), default=seconds)

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


def _in_steps(period: float, step: float) -> float | None:
    """The least multiple of ``period`` (s), up to the longest of a cycle, that is a whole number of steps."""
    multiples = (k * period for k in range(1, int(_LONGEST / period) + 1))
    return next((seconds for seconds in multiples if _whole(seconds, step)), None)


def _whole(seconds: float, part: float) -> bool:
    """Whether ``seconds`` are ``part`` several times."""
    return seconds >= part and abs(round(seconds / part) * part - seconds) <= 1e-6 * part


def by_season(step: float, season: float | None = DAY) -> Forecaster:
    """Level times season, in steps of a minute where ``step`` (s) is a part of it and the season holds many."""
    factor = round(_MINUTE / step)
    if factor < 2 or factor * step != _MINUTE or (season is not None and season < 24 * _MINUTE):
        return LevelSeason(step, season, seasons_kept=_SEASONS)
    return Coarse(partial(LevelSeason, _MINUTE, season, seasons_kept=_SEASONS), factor)


class Incumbent(Competition):
    """A competition whose models are believed until they are shown to be worse than the newest level.

    For models that carry their own calibrated doubt: on load that nobody can foresee they cost no more than the newest
    level, and in the hours until better is proven they have the conditional errors that it lacks.
    """

    @property
    def trusted(self) -> bool:
        """See :class:`~forecasting.forecaster.Judged`."""
        return any(self._believed())

    def _believed(self) -> list[bool]:
        """Not those that have nothing to say of what others have."""
        return [not m.standing.out and (m.forecaster.ready or not self.naive.ready) for m in self.members]

    def _weigh(self) -> None:
        """By the same measure, but the newest level has paths only when nobody else has."""
        super()._weigh()
        believed = np.array(self._believed())
        if not believed.any():
            return
        shares = np.where(believed, self._weights[:-1], 0.0)
        if not shares.any():  # not scored yet: the first that is believed
            shares[int(np.argmax(believed))] = 1.0
        self._weights = np.append(shares / shares.sum(), 0.0)


def refereed(make: Callable[[], Forecaster], lead_time: float, seed: int = 0) -> Competition:
    """The one forecaster that ``make`` (picklable) makes: believed until it is shown to be worse than the newest level
    ``lead_time`` s ahead, and trusted again when it has proven itself."""
    return Incumbent([make], lead_time=lead_time, seed=seed)


def default_competition(
    step: float,
    lead_time: float,
    *,
    season: float | None = DAY,
    keep: float = 7 * DAY,
    seed: int = 0,
    growth: Growth | None = None,
) -> Competition:
    """For paths in steps of ``step`` s, scored at ``lead_time`` (s). ``keep``: s of history; ``growth``: of the direct
    model's forest, by default its own."""
    direct = partial(Direct, step, keep=max(keep, 20 * step), seed=seed, growth=growth)
    members: list[Callable[[], Forecaster]] = [direct, partial(OwnCycle, step, seed)]
    if season is None or season != DAY:  # the direct one knows the day by itself
        members.append(partial(by_season, step, season))
    return Incumbent(members, lead_time=lead_time, seed=seed)
