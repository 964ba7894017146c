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
_EARLY = 1800.0  # s before an event in which its load may come already, ...
_DRIFT = 0.1  # ... where the level moved by more (in logarithms) in that time
_WHOLE = 0.2  # part of the size by which all that came may differ from it, ...
_SURE = 600.0  # ... for so many s: less, and load that grows past it would be taken for it
# What a decrease leaves says the less of the level, the further it is below this share of what is expected ...
_LITTLE = 0.2
_FEW = 4.0  # ... or below this many requests, which come or not by chance
_PARTS = 4  # of a step, at which events are looked at
_NOTHING = 1e-9  # requests/s


class Planned:
    """``forecaster`` is shown the load without ``events`` and without the holidays of ``calendar``; its paths get them.

    History within past events and holidays is left out (NaN). While one is on, the part of the planned size that came
    (between nothing and all of it; the rest is load like any other) is taken out of each count, so that the
    forecaster's level stays the usual one, and is the right one when the event ends. Of a decrease within an increase
    either may come without the other. Where next to nothing is planned, what comes says nothing of that level: it stays
    what it was before. A count that only partly lies in an event has that part of its size. Paths are multiplied by the
    planned size where the event lies. So a planned increase is there when it was said to be, even if load does not come
    yet; a planned decrease that does not come is dropped from the paths within minutes.

    Load may come, or go, before the event does. Until the event that is a level like any other, to which the planned
    size is still to come: too much is better than too little there. When the event has been on for ten minutes, and all
    that there is is the planned size of the level half an hour before it, that level is the usual one again.

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
        self._level = (0.0, 0.0, 0.0)  # seconds, requests, and what is usual in them, of load without events, ...
        self._lately = self._level  # ... and of what is left of load in increases, too: the level before a decrease
        self._belief = 1.0  # of a planned decrease that is on: the part of it that comes
        self._next: PlannedEvent | None = None  # the newest that was to begin soon, ...
        self._before = (0.0, 0.0, 0.0)  # ... and the level when that was still to come
        # In the event: requests, those due at that level without it, and s for which the event made up the difference.
        self._came = (0.0, 0.0, 0.0)
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
        self._next = None

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
            self._level = self._lately = (0.0, 0.0, 0.0)
            self._next = None
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
        if self._plan.touches(end - seconds, end):
            self._judge(arrivals)
            self.forecaster.update(self._without_event(arrivals))
        else:
            self._belief = 1.0
            self.forecaster.update(arrivals)
            self._see(seconds, count, end - seconds / 2)
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
        if self.end is None or not self._plan.on(self.end):
            return False
        at = np.array([self.end])
        return bool(self._plan.log_sizes(at, self._expected(at, self._level))[0] < 0.0)

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
        if begin is None or not plan.touches(begin, begin + steps * self.step):
            return drawn
        times = begin + (np.arange(steps)[:, None] + (np.arange(_PARTS) + 0.5) / _PARTS) * self.step
        means = drawn.mean(axis=0).astype(np.float64)[:, None]
        sizes = plan.log_sizes(times, means, now=begin)
        if plan.on(begin):
            increases = plan.log_sizes(times, means, "increases", begin)
            sizes = increases + self._belief * (sizes - increases)
        factors = np.exp(sizes).mean(axis=1).astype(np.float32)
        calm = plan.calms(times).max(axis=1).astype(np.float32)
        drawn += calm
        drawn *= factors
        drawn -= calm
        return np.maximum(drawn, np.float32(0), out=drawn)

    # -- the load without events ------------------------------------------------------------------------------------

    def _see(self, seconds: float, count: float, middle: float) -> None:
        """Compare the newest load, without an event, to what is usual; older load counts the less."""
        event = self._plan.next_within(middle, middle + _EARLY)
        if event is not None and event is not self._next:
            self._next, self._before, self._came = event, self._level, (0.0, 0.0, 0.0)
        usual = self._plan.usual_at(middle)
        self._level, self._lately = (_moved(level, seconds, count, usual) for level in (self._level, self._lately))

    def _judge(self, arrivals: Arrivals) -> None:
        """While an event is on, whole: whether its load had come before it, so that the level is what it was before."""
        event, seconds, count = self._next, arrivals.seconds, arrivals.count
        begin, middle = arrivals.end - seconds, arrivals.end - seconds / 2
        if event is None or self._before[0] < _LEVEL / 2:
            return
        if not event.begin + event.ramp <= begin < arrivals.end <= event.end:
            return
        at, calm = np.array([middle]), self._plan.calm
        before = self._expected(at, self._before)
        size, moved = float(self._plan.log_sizes(at, before)[0]), self._expected(at, self._level)[0] + calm
        kept = math.exp(-seconds / _BELIEF)
        requests, due = self._came[0] * kept + count, self._came[1] * kept + float(before[0]) * seconds
        part = math.log((requests + _FEW) / (due + _FEW)) / size if size else 0.0
        early = math.log(moved / (before[0] + calm)) * math.copysign(1.0, size) > _DRIFT
        whole = part > 1.0 - _WHOLE and (size < 0 or part < 1.0 + _WHOLE)
        self._came = (requests, due, self._came[2] + seconds if early and whole else 0.0)
        if self._came[2] >= _SURE:
            self._level, self._lately, self._next = self._before, self._before, None

    def _expected(self, times: Floats, level: tuple[float, float, float]) -> Floats:
        """Requests/s at ``times`` (any shape) without events: the usual rate, times how load was to it at ``level``."""
        calm = self._plan.calm
        usual = np.array([self._plan.usual_at(time) for time in times.ravel().tolist()]).reshape(times.shape)
        known, requests, expected = level
        ratio = (requests / known + calm) / (expected / known + calm) if known > 0 else 1.0
        return np.asarray(np.maximum(ratio * (usual + calm) - calm, 0.0))

    def _without(self, begins: Floats, ends: Floats, rates: Floats) -> tuple[Floats, Floats, Floats]:
        """``rates`` (requests/s) from ``begins`` to ``ends`` (unix s) as they would have been without events; the share
        of that time in which a decrease is planned; and the part of the decrease that came; all [n]."""
        plan = self._plan
        times, parts = plan.pieces(begins, ends)
        expected = self._expected(times, self._level)
        decreases = plan.log_sizes(times, expected, "decreases")
        if self._lately != self._level and (decreases < 0).any():
            lately = np.maximum(self._expected(times, self._lately), expected)  # less is no level: an event is on
            expected = np.where(decreases < 0, lately, expected)
            decreases = plan.log_sizes(times, expected, "decreases")
        weights = parts * (expected + plan.calm)
        weights /= weights.sum(axis=1, keepdims=True)
        # Of all, and of the decreases or the increases alone: these may come without those.
        size, least, most = (
            np.log((weights * np.exp(sizes)).sum(axis=1))
            for sizes in (plan.log_sizes(times, expected), decreases, plan.log_sizes(times, expected, "increases"))
        )
        shares = (parts * (decreases < 0)).sum(axis=1)
        least = np.where(shares > 0, np.minimum(least, 0.0), 0.0)  # no rounding for a decrease
        calms = (plan.calms(times) * (parts > 0)).max(axis=1)
        expected = (parts * expected).sum(axis=1)
        # A ratio with ``calm`` where sizes are; else of the load alone, where only nothing over nothing must be one.
        calm = np.where(calms > 0, plan.calm, _NOTHING)
        came = np.log((rates + calm) / (expected + calm))
        part = np.divide(most - came, most - size, out=np.ones(len(size)), where=(shares > 0) & (size < most))
        part, came = np.clip(part, 0.0, 1.0), np.clip(came, least, most)
        low, high = (np.maximum((expected + calms) * np.exp(sizes) - calms, 0.0) for sizes in (least, most))
        nearest = np.clip(rates, low, high)
        # What is expected, times what came over the nearest that was to come: a ratio that means nothing near nothing.
        calm = plan.calm + np.where(least < 0, _LITTLE * expected + _FEW / (ends - begins), 0.0)
        without = np.maximum((expected + calm) * ((rates + calm) / (nearest + calm)) - calm, 0.0)
        return np.where(calms > 0, without, rates * np.exp(-came)), shares, part

    def _without_event(self, arrivals: Arrivals) -> Arrivals:
        """The arrivals as they would have been, and what they say about a planned decrease."""
        end, seconds = arrivals.end, arrivals.seconds
        begin = min(end - seconds, math.nextafter(end, -math.inf))  # a clock has no finer steps
        without, shares, part = self._without(*(np.array([value]) for value in (begin, end, arrivals.rate)))
        count, share = float(without[0]) * seconds, float(shares[0])
        if share > 0:
            self._belief += (float(part[0]) - self._belief) * -math.expm1(-seconds * share / _BELIEF)
        else:
            self._lately = _moved(self._lately, seconds, count, self._plan.usual_at(end - seconds / 2))
        return Arrivals(end, seconds, count)

    def _without_events(self, history: Series) -> Series:
        """``history`` with past events and holidays missing, and what has come so far of those that are on taken out;
        where nothing else would be left, over its factors, or as it is where it has none."""
        starts = history.start + np.arange(len(history.rates), dtype=np.float64) * history.step
        past, on = self._plan.touched(starts, history.step, history.end)
        known = ~np.isnan(history.rates)
        ordinary = np.flatnonzero(~(past | on) & known)
        if not len(ordinary):
            factors = self._plan.calms(starts + history.step / 2) == 0.0
            if not (factors & known).any():
                return history
            past, on = past & ~factors, on | factors
        step, fresh, newest = history.step, self._level[0] <= 0, -max(1, round(2 * _LEVEL / history.step))
        if fresh:
            for k in ordinary[newest:].tolist():
                self._see(step, float(history.rates[k]) * step, float(starts[k]) + step / 2)
        rates = np.where(past, np.nan, history.rates)
        at = np.flatnonzero(on & known)
        if len(at):
            rates[at], shares, _ = self._without(starts[at], starts[at] + step, rates[at])
            for k in at[shares == 0.0][newest:].tolist() if fresh else ():
                usual = self._plan.usual_at(float(starts[k]) + step / 2)
                self._lately = _moved(self._lately, step, float(rates[k]) * step, usual)
            at = at[shares > 0.0]
            if fresh and len(at):  # now that the level before them is known
                rates[at] = self._without(starts[at], starts[at] + step, history.rates[at])[0]
        return Series(history.start, history.step, rates)


def _moved(level: tuple[float, float, float], seconds: float, count: float, usual: float) -> tuple[float, float, float]:
    """The ``level`` with ``count`` requests in ``seconds`` s, where ``usual`` requests/s are; what is older counts the
    less."""
    kept, (known, requests, expected) = math.exp(-seconds / _LEVEL), level
    return known * kept + seconds, requests * kept + count, expected * kept + usual * seconds
