"""The default: direct regression, the load's own cycle where it has one, level times season."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from forecasting.competition import Competition
from forecasting.direct.learned import Growth
from forecasting.forecaster import Forecaster
from forecasting.models.direct import Direct
from forecasting.own_cycle import OwnCycle
from forecasting.periods import DAY
from forecasting.seasons import by_season

_WEEK = 7 * DAY
_MOST_KEPT = 50_000  # steps: 200 kB


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


def remembered(history: float, step: float) -> float:
    """s of load that a model keeps where so much ``history`` (s) is read back: of what comes live a week at least, or
    ``_MOST_KEPT`` steps, or nothing of a day and a week would ever be learned where little is read."""
    return max(history, min(_WEEK, _MOST_KEPT * step), 20 * step)


def refereed(make: Callable[[], Forecaster], lead_time: float, seed: int = 0) -> Competition:
    """The one forecaster that ``make`` (picklable) makes: believed until it is shown to be worse than the newest level
    ``lead_time`` s ahead, and trusted again when it has proven itself."""
    return Incumbent([make], lead_time=lead_time, seed=seed)


def default_competition(
    step: float,
    lead_time: float,
    *,
    season: float | None = DAY,
    keep: float = _WEEK,
    seed: int = 0,
    growth: Growth | None = None,
) -> Competition:
    """For paths in steps of ``step`` s, scored at ``lead_time`` (s). ``keep``: s of history, or :func:`remembered`;
    ``growth``: of the direct model's forest, by default its own."""
    direct = partial(Direct, step, keep=remembered(keep, step), seed=seed, growth=growth)
    members: list[Callable[[], Forecaster]] = [direct, partial(OwnCycle, step, seed)]
    if season is None or season != DAY:  # the direct one knows the day by itself
        members.append(partial(by_season, step, season))
    return Incumbent(members, lead_time=lead_time, seed=seed)
