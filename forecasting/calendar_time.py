"""A forecaster that lives by the clock on the wall: what came at 09:00 comes at 09:00 when the clock has changed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from forecasting.calendar import Calendar, Change, to_local_series
from forecasting.errors import BadSeries
from forecasting.forecaster import Keeping, Paths
from forecasting.passed import pass_on_study
from forecasting.series import Arrivals, Series

_AHEAD = 40 * 86400.0  # s for which changes of the clock are looked up at once


class LocalTime:
    """Gives a forecaster local seconds for unix seconds, so that its days and weeks are those of ``calendar``'s zone.

    ``make`` makes a fresh one, and can be pickled (a class, ``functools.partial``). In UTC nothing changes. Elsewhere,
    twice a year:

    - In spring local time jumps ahead. To the forecaster the hour is a gap, like any other. Paths that reach over the
      change go on behind the gap.
    - In autumn an hour comes twice. When it begins again, a fresh forecaster learns from what was kept until the clock
      first showed it (that one update takes as long as a fit), and then learns the hour as it comes the second time.
      Paths that reach over the change stay, from there on, as they are at the change, until the clock shows what is
      after their origin.

    Whatever else the forecaster offers (``kept``, ``study``, ``adopt`` ...) is passed on; its series are in local time.
    """

    def __init__(self, make: Callable[[], Keeping], calendar: Calendar) -> None:
        self.make = make
        self.calendar = calendar
        self.forecaster = make()
        self.name = self.forecaster.name
        self.step = self.forecaster.step
        self.end: float | None = None  # unix s up to which arrivals are known
        pass_on_study(self)
        self._since, self._until = math.inf, -math.inf  # unix s between which the clock does not change
        self._offset = 0.0  # s, there

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "forecaster":
            raise AttributeError(name)
        return getattr(self.forecaster, name)

    def fit(self, history: Series) -> None:
        """See :class:`~forecasting.forecaster.Forecaster`."""
        self.forecaster.fit(to_local_series(history, self.calendar))
        self.end = history.end if self.end is None else max(self.end, history.end)

    def update(self, arrivals: Arrivals) -> None:
        """See :class:`~forecasting.forecaster.Forecaster`. Raises ``BadSeries`` for a time that no clock shows."""
        end, seconds = arrivals.end, arrivals.seconds
        if self.end is not None and end <= self.end:
            return
        try:
            begin = end - seconds if self.end is None else max(end - seconds, self.end)
            changes = self._changes(begin, end)
        except (ValueError, OverflowError, OSError) as unknown:
            raise BadSeries(f"{arrivals}: the end must be unix seconds, and seconds > 0 ({unknown})") from unknown
        for change in changes:
            if change.at > begin:
                part = (change.at - begin) / seconds
                self.forecaster.update(Arrivals(change.at + change.before, change.at - begin, arrivals.count * part))
            if change.after < change.before:
                self._set_back(change.at + change.after)
            begin = change.at
        if not changes:
            self.forecaster.update(Arrivals(end + self._offset, seconds, arrivals.count))
        elif end > begin:
            part = (end - begin) / seconds
            self.forecaster.update(Arrivals(end + self._offset, end - begin, arrivals.count * part))
        self.end = end

    @property
    def ready(self) -> bool:
        """Whether ``paths`` can be called."""
        return self.forecaster.ready

    @property
    def trusted(self) -> bool:
        """See :class:`~forecasting.forecaster.Judged`."""
        return bool(getattr(self.forecaster, "trusted", True))

    @property
    def demoted(self) -> bool:
        """See :class:`~forecasting.forecaster.Judged`."""
        return bool(getattr(self.forecaster, "demoted", False))

    @property
    def why(self) -> str | None:
        """See :class:`~forecasting.forecaster.Judged`."""
        return None if self.trusted else getattr(self.forecaster, "why", None)

    def paths(self, steps: int, count: int, rng: np.random.Generator, out: Paths | None = None) -> Paths:
        """See :class:`~forecasting.forecaster.Forecaster`."""
        begin = self.end
        if begin is None or not self._changes(begin, begin + steps * self.step):
            return self.forecaster.paths(steps, count, rng, out)
        times = begin + (np.arange(steps, dtype=np.float64) + 0.5) * self.step
        local = self.calendar.to_local(times)
        ahead = np.round((local - self.calendar.offset(begin) - begin) / self.step - 0.5).astype(np.intp)
        # Set back, the clock shows again what was before the origin; nothing is forecast for that.
        change = int(np.argmax(ahead < np.maximum.accumulate(ahead))) or 1
        ahead[ahead < 0] = max(int(ahead[change - 1]), 0)
        drawn = self.forecaster.paths(int(ahead.max()) + 1, count, rng)
        if out is None:
            return drawn[:, ahead]
        out[...] = drawn[:, ahead]
        return out

    def _changes(self, begin: float, end: float) -> tuple[Change, ...]:
        """Changes of the clock with ``begin`` < at <= ``end``; keeps the time around ``end`` in which there is none."""
        if self._since <= begin and end < self._until:
            return ()
        calendar = self.calendar
        changes = calendar.changes(begin, end)
        self._since = changes[-1].at if changes else begin
        later = calendar.changes(max(end, self._since), end + _AHEAD)
        self._until = later[0].at if later else end + _AHEAD
        self._offset = calendar.offset(end)
        return changes

    def _set_back(self, local: float) -> None:
        """Begin anew from what was known at ``local`` seconds."""
        kept = self.forecaster.kept()
        self.forecaster = self.make()
        if kept is None:
            return
        known = kept.rates[: max(math.floor((local - kept.start) / kept.step + 1e-6), 0)]
        if not np.isnan(known).all():
            self.forecaster.fit(Series(kept.start, kept.step, known))
