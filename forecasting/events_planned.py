"""A forecaster that knows what is planned: its paths have it, and what is usual is learned without it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecasting.calendar import Calendar, Holiday
from forecasting.errors import BadSeries
from forecasting.events import PlannedEvent
from forecasting.events_days import STEP, Days
from forecasting.events_plan import make_plan
from forecasting.forecaster import Forecaster, Paths
from forecasting.passed import pass_on_study
from forecasting.series import Arrivals, Recorder, Series, check

Floats = NDArray[np.float64]

_LEVEL = 1800.0  # s over which load is compared to its usual
_BELIEF = 120.0  # s after which a planned decrease that does not come is no longer believed
_EARLY = 1800.0  # s before an event from which on its load may come ...
_PART = 0.3  # ... which it does where this part of its size (in logarithms) is there, ...
_DRIFT = 0.15  # ... more than levels change by at any time, ...
_CHANCE = 3.0  # ... by more than so many standard deviations of a count
# What a decrease leaves says the less of the level, the further it is below this share of what is expected ...
_LITTLE = 0.2
_FEW = 4.0  # ... or below this many requests, which come or not by chance
_PARTS = 4  # of a step, at which events are looked at


class Planned:
    """``forecaster`` is shown the load without ``events`` and without the holidays of ``calendar``; its paths get them.

    History within past events and holidays is left out (NaN). While one is on, the part of the planned size that came
    (between nothing and all of it; the rest is load like any other) is taken out of each count, so that the
    forecaster's level stays the usual one, and is the right one when the event ends. Where next to nothing is planned,
    what comes says nothing of that level: it stays what it was before. Paths are multiplied by the planned size where
    the event lies. So a planned increase is there when it was said to be, even if load does not come yet; a planned
    decrease that does not come is dropped from the paths within minutes.

    Load that departs from its level in the half hour before an event, and the way it will, is the event that comes
    early: people come before the match begins. It is taken out as it is within the event, and lasts until its end.

    A holiday from Monday to Friday is like the newest such holiday that is known, or like the last Sunday. One on a
    weekend changes nothing. One that says what it is like is that, on any day. ``unknown`` says which events have no
    size, because their day is not in the history. An event within ``reach`` s is reason enough to trust the paths: what
    it makes of the load is known, whatever the forecaster is worth.

    Whatever else the forecaster offers (``kept``, ``study``, ``adopt`` ...) is passed on. About 1.2 kB a day are kept.
    """

    def __init__(
        self,
        forecaster: Forecaster,
        events: Iterable[PlannedEvent] = (),
        calendar: Calendar | None = None,
        reach: float = 3600.0,
    ) -> None:
        self.forecaster = forecaster
        self.name = forecaster.name
        self.step = forecaster.step
        self.calendar = calendar or Calendar()
        self.reach = reach
        self.end: float | None = None  # unix s up to which arrivals are known
        self._days = Days(self.calendar)
        self._recorder = Recorder(STEP, 2)
        self._level = (0.0, 0.0, 0.0)  # seconds, requests, and what is usual in them, of load without events
        self._belief = 1.0  # of a planned decrease that is on: the part of it that comes
        self._newest = (0.0, 0.0)  # requests, and how many were expected, while an event is to begin soon
        self._early = (
            0.0,
            -math.inf,
        )  # log of what came of an event before its begin; unix s at which all is to be there
        pass_on_study(self)
        self.plan(events)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "forecaster":
            raise AttributeError(name)
        return getattr(self.forecaster, name)

    def plan(self, events: Iterable[PlannedEvent], holidays: Iterable[Holiday] | None = None) -> None:
        """From now on these ``events`` (and ``holidays``, unless they stay as they are) are planned, and no others."""
        self.events = tuple(events)
        if holidays is not None:
            self.calendar = Calendar(self.calendar.time_zone, tuple(holidays))
        likes = [*(event.like for event in self.events), *(holiday.like for holiday in self.calendar.holidays)]
        self._days.pinned = frozenset(like for like in likes if isinstance(like, date))
        self._plan = make_plan(self.events, self.calendar, self._days, self.end)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Which events and holidays have no size, and why."""
        return self._plan.unknown

    def fit(self, history: Series) -> None:
        """See :class:`~forecasting.forecaster.Forecaster`."""
        check(history)
        newer = (self.end is None or history.end > self.end) and not np.isnan(history.rates).all()
        if len(history.rates):
            self._days.take(history)
        end = history.end if self.end is None else max(self.end, history.end)
        self._plan = make_plan(self.events, self.calendar, self._days, end)
        if newer:
            self._level = (0.0, 0.0, 0.0)
            self._early = (0.0, -math.inf)
        self.forecaster.fit(self._without_events(history))
        self.end = end

    def update(self, arrivals: Arrivals) -> None:
        """See :class:`~forecasting.forecaster.Forecaster`. Raises ``BadSeries`` for a count or time that cannot be."""
        end, seconds, count = arrivals.end, arrivals.seconds, arrivals.count
        possible = 0 < seconds < math.inf and 0 <= count < math.inf and math.isfinite(end)
        if not possible or (self.end is not None and end <= self.end):
            self.forecaster.update(arrivals)  # which refuses it, or passes it over
            return
        try:
            today = self.calendar.day(end)
        except (ValueError, OverflowError, OSError) as unknown:
            raise BadSeries(f"{arrivals}: the end must be unix seconds ({unknown})") from unknown
        middle = end - seconds / 2
        if self._plan.touches(middle, middle):
            self.forecaster.update(self._without_event(arrivals, middle))
        else:
            self._belief = 1.0
            usual = self._without_early(seconds, count, middle)
            self.forecaster.update(arrivals if usual == count else Arrivals(end, seconds, usual))
            self._see(seconds, usual, self._plan.usual_at(middle))
        for index in self._recorder.update(arrivals)[-2:]:
            rate = self._recorder.rate(index)
            if not math.isnan(rate):
                self._days.put((index + 0.5) * STEP, rate)
        self.end = end
        if self._plan.made_on != today:
            self._plan = make_plan(self.events, self.calendar, self._days, end)

    @property
    def sizeless(self) -> bool:
        """Whether an event or holiday that is not over has no size: see ``unknown``."""
        return self.end is not None and any(end > self.end for end in self._plan.sizeless)

    @property
    def trusted(self) -> bool:
        """See :class:`~forecasting.forecaster.Judged`."""
        return self.event_near or bool(getattr(self.forecaster, "trusted", True))

    @property
    def event_near(self) -> bool:
        """Whether an event is on, or begins within ``reach``."""
        return self.end is not None and self._plan.touches(self.end, self.end + self.reach)

    @property
    def decrease_on(self) -> bool:
        """Whether an event is on that is to leave less than usual."""
        if self.end is None or not self._plan.touches(self.end, self.end):
            return False
        at = np.array([self.end])
        return bool(self._plan.log_sizes(at, self._expected(at))[0] < 0.0)

    @property
    def demoted(self) -> bool:
        """See :class:`~forecasting.forecaster.Judged`."""
        return not self.trusted and bool(getattr(self.forecaster, "demoted", False))

    @property
    def why(self) -> str | None:
        """See :class:`~forecasting.forecaster.Judged`."""
        return None if self.trusted else getattr(self.forecaster, "why", None)

    @property
    def ready(self) -> bool:
        """Whether ``paths`` can be called."""
        return self.forecaster.ready

    def paths(self, steps: int, count: int, rng: np.random.Generator, out: Paths | None = None) -> Paths:
        """See :class:`~forecasting.forecaster.Forecaster`."""
        drawn = self.forecaster.paths(steps, count, rng, out)
        begin, plan = self.end, self._plan
        if begin is None or not (self._early[0] or plan.touches(begin, begin + steps * self.step)):
            return drawn
        times = begin + (np.arange(steps)[:, None] + (np.arange(_PARTS) + 0.5) / _PARTS) * self.step
        sizes = self._with_early(times, plan.log_sizes(times, drawn.mean(axis=0).astype(np.float64)[:, None]))
        if plan.touches(begin, begin):
            sizes = np.where(sizes < 0, sizes * self._belief, sizes)
        factors = np.exp(sizes).mean(axis=1).astype(np.float32)
        calm = plan.calms(times).max(axis=1).astype(np.float32)
        drawn += calm
        drawn *= factors
        drawn -= calm
        return np.maximum(drawn, np.float32(0), out=drawn)

    # -- the load without events ------------------------------------------------------------------------------------

    def _see(self, seconds: float, count: float, usual: float) -> None:
        """Compare the newest load to what is usual; older load counts the less."""
        kept = math.exp(-seconds / _LEVEL)
        known, requests, expected = self._level
        self._level = (known * kept + seconds, requests * kept + count, expected * kept + usual * seconds)

    def _expected(self, times: Floats) -> Floats:
        """Requests/s at ``times`` [n] without events: the usual rate, times how load was to it before the event."""
        calm = self._plan.calm
        usual = np.array([self._plan.usual_at(time) for time in times.tolist()])
        known, requests, expected = self._level
        ratio = (requests / known + calm) / (expected / known + calm) if known > 0 else 1.0
        return np.asarray(np.maximum(ratio * (usual + calm) - calm, 0.0))

    def _without_early(self, seconds: float, count: float, middle: float) -> float:
        """Of ``count`` requests before an event those that are usual; and what came of the next event is seen."""
        event = self._plan.next_within(middle, middle + _EARLY)
        if event is None or self._level[0] < _LEVEL / 2:  # what is usual now is not known
            self._newest, self._early = (0.0, 0.0), (0.0, -math.inf)
            return count
        usual = self._expected(np.array([middle]))
        until, due = event.begin + event.ramp, float(usual[0]) * seconds
        size = float(self._plan.log_sizes(np.array([until]), usual)[0])
        kept = math.exp(-seconds / _BELIEF)
        self._newest = (self._newest[0] * kept + count, self._newest[1] * kept + due)
        requests, expected = self._newest
        came = _came(requests, expected, size)
        chance = _CHANCE * math.sqrt(expected)
        if abs(came) <= max(_PART * abs(size), _DRIFT) or abs(requests - expected) <= chance:
            self._early = (0.0, -math.inf)
            return count
        self._early = (came, until)
        return count * math.exp(-_came(count, due, size))

    def _with_early(self, times: Floats, sizes: Floats) -> Floats:
        """Log ``sizes`` of what is planned at ``times``: at least what came early, until all is to be there."""
        early, until = self._early
        if not early:
            return sizes
        return np.where(times < until, np.maximum(sizes, early) if early > 0 else np.minimum(sizes, early), sizes)

    def _without(self, times: Floats, rates: Floats, seconds: float) -> tuple[Floats, Floats, Floats]:
        """``rates`` (requests/s, each over ``seconds``) at ``times`` as they would have been without events; the log of
        the part of the planned sizes that is in them; and those sizes; all [n]."""
        plan, expected = self._plan, self._expected(times)
        sizes = self._with_early(times, plan.log_sizes(times, expected))
        came = np.log((rates + plan.calm) / (expected + plan.calm))
        came = np.clip(came, np.minimum(sizes, 0.0), np.maximum(sizes, 0.0))
        calms = plan.calms(times)
        planned = np.maximum((expected + calms) * np.exp(sizes) - calms, 0.0)
        nearest = np.clip(rates, np.minimum(expected, planned), np.maximum(expected, planned))
        # What is expected, times what came over the nearest that was to come: a ratio that means nothing near nothing.
        calm = plan.calm + np.where(sizes < 0, _LITTLE * expected + _FEW / seconds, 0.0)
        without = np.maximum((expected + calm) * ((rates + calm) / (nearest + calm)) - calm, 0.0)
        return np.where(calms > 0, without, rates * np.exp(-came)), came, sizes

    def _without_event(self, arrivals: Arrivals, middle: float) -> Arrivals:
        """The arrivals as they would have been, and what they say about a planned decrease."""
        without, came, sizes = self._without(np.array([middle]), np.array([arrivals.rate]), arrivals.seconds)
        part, size = float(came[0]), float(sizes[0])
        if size < 0:
            self._belief += (part / size - self._belief) * -math.expm1(-arrivals.seconds / _BELIEF)
        return Arrivals(arrivals.end, arrivals.seconds, float(without[0]) * arrivals.seconds)

    def _without_events(self, history: Series) -> Series:
        """``history`` with past events and holidays missing, and what has come so far of those that are on taken out;
        as it is when nothing else would be left."""
        starts = history.start + np.arange(len(history.rates), dtype=np.float64) * history.step
        past, on = self._plan.touched(starts, history.step, history.end)
        ordinary = np.flatnonzero(~(past | on) & ~np.isnan(history.rates))
        if not len(ordinary):
            return history
        if self._level[0] <= 0:
            for k in ordinary[-max(1, round(2 * _LEVEL / history.step)) :].tolist():
                middle, came = float(starts[k]) + history.step / 2, float(history.rates[k]) * history.step
                self._see(history.step, self._without_early(history.step, came, middle), self._plan.usual_at(middle))
        rates = np.where(past, np.nan, history.rates)
        at = np.flatnonzero(on & ~np.isnan(rates))
        if len(at):
            rates[at] = self._without(starts[at] + history.step / 2, rates[at], history.step)[0]
        return Series(history.start, history.step, rates)


def _came(requests: float, expected: float, size: float) -> float:
    """Log of the part of an event of log ``size`` that is in so many ``requests``."""
    came = math.log((requests + _FEW) / (expected + _FEW))
    return min(max(came, min(size, 0.0)), max(size, 0.0))
