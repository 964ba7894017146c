"""A forecaster that lives by the clock on the wall: what came at 09:00 comes at 09:00 when the clock has changed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from forecasting.calendar import Calendar, Change, to_local_series, without_repeats
from forecasting.errors import BadSeries
from forecasting.forecaster import Keeping, Paths, Studying
from forecasting.series import Arrivals, Series, counts_of

_AHEAD = 40 * 86400.0  # s for which changes of the clock are looked up at once; after a longer hole nothing is repeated


@dataclass(frozen=True, slots=True, eq=False)
class _Anew:
    """What was learned by the clock on the wall, from the time before ``until`` (local s), after it was set back."""

    forecaster: Keeping
    until: float
    repeats: tuple[tuple[float, float], ...]


class LocalTime:
    """Gives a forecaster local seconds for unix seconds, so that its days and weeks are those of ``calendar``'s zone.

    ``make`` makes a fresh one, and can be pickled (a class, ``functools.partial``). In UTC nothing changes. Elsewhere,
    twice a year:

    - In spring local time jumps ahead. To the forecaster the hour is a gap, like any other. Paths that reach over the
      change go on behind the gap.
    - In autumn an hour comes twice. When it begins again, the forecaster goes on as if the clock had not been set
      back, and is ``outdated``: its day is an hour ahead. At the next ``study``, which can be in the background, or
      ``fit``, a fresh one learns the same by the clock on the wall (of the hour that came twice, the second as far as
      it is known), and takes its place. No ``update`` takes longer than another. Paths that reach over the change stay,
      from there on, as they are at the change, until the clock shows what is after their origin.

    Whatever else the forecaster offers is passed on; its series are in local time. ``study`` and ``adopt`` are there if
    it has them.
    """

    def __init__(self, make: Callable[[], Keeping], calendar: Calendar) -> None:
        self.make = make
        self.calendar = calendar
        self.forecaster = make()
        self.name = self.forecaster.name
        self.step = self.forecaster.step
        self.end: float | None = None  # unix s up to which arrivals are known
        if isinstance(self.forecaster, Studying):  # attributes of its own: as in ``pass_on_study``
            self.study, self.adopt = self._study, self._adopt
        self._since, self._until = math.inf, -math.inf  # unix s between which the clock does not change
        self._offset = 0.0  # s, there
        self._repeats: tuple[tuple[float, float], ...] = ()  # s by the forecaster's clock, which the one on the wall
        self._ahead = 0.0  # s has shown twice since it learned; their length, by which its clock is ahead

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "forecaster":
            raise AttributeError(name)
        return getattr(self.forecaster, name)

    def fit(self, history: Series) -> None:
        """See :class:`~forecasting.forecaster.Forecaster`."""
        local = to_local_series(history, self.calendar)
        if self.outdated:
            self._adopt(self._anew(local))
        else:
            self.forecaster.fit(local)
        self.end = history.end if self.end is None else max(self.end, history.end)

    def update(self, arrivals: Arrivals) -> None:
        """See :class:`~forecasting.forecaster.Forecaster`. Raises ``BadSeries`` for a time that no clock shows."""
        end, seconds = arrivals.end, arrivals.seconds
        if self.end is not None and end <= self.end:
            return
        try:
            begin = end - seconds if self.end is None else max(end - seconds, self.end)
            known = begin if self.end is None else max(self.end, end - _AHEAD)
            changes = self._changes(known, end)
        except (ValueError, OverflowError, OSError) as unknown:
            raise BadSeries(f"{arrivals}: the end must be unix seconds, and seconds > 0 ({unknown})") from unknown
        for change in changes:
            until = change.at + change.before + self._ahead
            if change.at > begin:
                part = (change.at - begin) / seconds
                self.forecaster.update(Arrivals(until, change.at - begin, arrivals.count * part))
            if change.after < change.before:
                length = change.before - change.after
                self._repeats += ((until - length, until),)
                self._ahead += length
            begin = max(begin, change.at)
        local = end + self._offset + self._ahead
        if not changes:
            self.forecaster.update(Arrivals(local, seconds, arrivals.count))
        elif end > begin:
            part = (end - begin) / seconds
            self.forecaster.update(Arrivals(local, end - begin, arrivals.count * part))
        self.end = end

    @property
    def outdated(self) -> bool:
        """Whether the clock was set back since it learned: it is to be studied, or fitted, at once."""
        return self._ahead > 0

    def kept(self) -> Series | None:
        """See :class:`~forecasting.forecaster.Keeping`; by the clock on the wall."""
        kept = self.forecaster.kept()
        return kept if kept is None or not self.outdated else without_repeats(kept, self._repeats)

    def _study(self, kept: Series) -> Any:
        """See :class:`~forecasting.forecaster.Studying`."""
        return self._anew(kept) if self.outdated else self.forecaster.study(kept)  # type: ignore[attr-defined]

    def _adopt(self, studied: Any) -> None:
        """See :class:`~forecasting.forecaster.Studying`."""
        if not isinstance(studied, _Anew):
            self.forecaster.adopt(studied)  # type: ignore[attr-defined]
            return
        if studied.repeats != self._repeats:  # set back once more meanwhile: by yet another clock
            return
        for arrivals in _newer(self.kept(), studied.until):
            studied.forecaster.update(arrivals)
        self.forecaster, self._repeats, self._ahead = studied.forecaster, (), 0.0

    def _anew(self, local: Series) -> _Anew:
        """A fresh one, by the clock on the wall. Raises ``NotEnoughHistory``."""
        fresh = self.make()
        fresh.fit(local)
        return _Anew(fresh, local.end, self._repeats)

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


def _newer(kept: Series | None, until: float) -> list[Arrivals]:
    """What is kept of the time after ``until`` (local s)."""
    if kept is None:
        return []
    first = min(max(math.ceil((until - kept.start) / kept.step - 1e-6), 0), len(kept.rates))
    return counts_of(Series(kept.start + first * kept.step, kept.step, kept.rates[first:]))
