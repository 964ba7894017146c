"""The sizes of what is planned, worked out from the days that are known; never changed after."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from forecasting.calendar import Calendar, Holiday
from forecasting.events import PlannedEvent
from forecasting.events_days import BINS, STEP, Days, day_of, is_weekend

Floats = NDArray[np.float64]

Known = NDArray[np.bool_]

_DAY = 86400.0
_ONE_DAY = timedelta(days=1)
_TAKEN = 3600.0  # s over which a holiday takes over what the one right before it turned out to be
_NOTHING_USUAL = "the history knows no usual load to compare that day with"
_SUNDAY = 6
Of = Literal["all", "decreases", "increases"]
_BETWEEN = {"all": (-math.inf, math.inf), "decreases": (-math.inf, 0.0), "increases": (0.0, math.inf)}  # log sizes


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """``sized``: ``events`` events, and then the holidays ahead, each with its log size at each time of day [288], NaN
    for a rate.

    ``usual``: requests/s at each time of day, of weekdays and of weekends [2, 288]. ``calm`` (requests/s) keeps ratios
    of small numbers near 1. ``unknown``: why an event has no size; ``sizeless``: unix s at which each of those ends.
    ``made_on``: the local date, None before any load. ``guessed``: of those that are like the holiday right before
    them, the size that was foreseen for that: what it lacked is in the level of the load, and leaves it in an hour.
    """

    calendar: Calendar
    sized: tuple[tuple[PlannedEvent, Floats], ...]
    usual: Floats
    calm: float
    unknown: tuple[str, ...]
    made_on: date | None
    sizeless: tuple[float, ...] = ()
    events: int = 0
    guessed: Mapping[int, Floats] = field(default_factory=dict)

    def on(self, time: float) -> bool:
        """Whether an event is on at ``time`` (unix s)."""
        return any(event.begin <= time < event.end for event, _ in self.sized)

    def touches(self, begin: float, end: float) -> bool:
        """Whether some of an event lies between ``begin`` and ``end`` (unix s)."""
        return any(event.begin < end and event.end > begin for event, _ in self.sized)

    def pieces(self, begins: Floats, ends: Floats) -> tuple[Floats, Floats]:
        """What lies from ``begins`` to ``ends`` (unix s, [n], in order), cut where an event or its ramp begins or ends:
        the middles of the pieces (unix s), and their shares of the whole, some of which are 0; [n, pieces]."""
        edges = sorted({edge for event, _ in self.sized for edge in event.edges if begins[0] < edge < ends[-1]})
        of = np.searchsorted(begins, edges) - 1
        inside = [edge for k, edge in zip(of.tolist(), edges, strict=True) if edge < ends[k]]
        cuts = np.column_stack([begins, *(np.clip(edge, begins, ends) for edge in inside), ends])
        return (cuts[:, 1:] + cuts[:, :-1]) / 2, np.diff(cuts) / (ends - begins)[:, None]

    def next_within(self, begin: float, end: float) -> PlannedEvent | None:
        """The next event that begins in (begin, end] (unix s)."""
        ahead = [event for event, _ in self.sized if begin < event.begin <= end]
        return min(ahead, key=lambda event: event.begin) if ahead else None

    def usual_at(self, time: float) -> float:
        """Requests/s that are usual at ``time`` (unix s)."""
        local = time + self.calendar.offset(time)
        return float(self.usual[int(is_weekend(day_of(local))), min(int(local % _DAY / STEP), BINS - 1)])

    def log_sizes(self, times: Floats, level: Floats, of: Of = "all", now: float | None = None) -> Floats:
        """Log of what ``of`` the events make of ``level`` (requests/s, broadcast to ``times``) at ``times`` (unix s).
        ``now`` (unix s): when that is the level; None: at the times.

        Factors multiply. A rate stands for all events at its time, and "like that day" for the holiday that it is on.
        """
        least, most = _BETWEEN[of]
        local = self.calendar.to_local(times)
        bins = np.minimum((local % _DAY / STEP).astype(np.intp), BINS - 1)
        total, like, days = np.zeros((3, *times.shape))
        for k, (event, size) in enumerate(self.sized):
            if event.rate is not None:
                continue
            weight = event.weight(times)
            if not weight.any():
                continue
            if k < self.events:
                total += weight * np.clip(size[bins], least, most)
                if event.like is not None:  # where it has a size
                    like = np.maximum(like, weight * (size[bins] != 0.0))
            else:
                made = size[bins]
                if k in self.guessed:
                    taken = np.clip(((times if now is None else now) - event.begin) / _TAKEN, 0.0, 1.0)
                    made = taken * made + (1.0 - taken) * self.guessed[k][bins]
                days += weight * np.clip(made, least, most)
        total += (1.0 - like) * days
        sizes = np.full(times.shape, np.nan)
        for event, _ in self.sized:
            if event.rate is not None:
                weight = event.weight(times)
                if not weight.any():
                    continue
                to_rate = np.minimum(np.log((event.rate + self.calm) / (level + self.calm)), most)
                stands = (weight > 0) & (to_rate >= least)
                sizes = np.where(stands, np.fmax(sizes, (1 - weight) * total + weight * to_rate), sizes)
        return np.where(np.isnan(sizes), total, sizes)

    def calms(self, times: Floats) -> Floats:
        """Requests/s to which sizes at ``times`` apply beside the load: sizes of a rate or a day are ratios with
        ``calm``, since either may be planned where nothing comes, or be nothing; a factor is one of the load alone."""
        with_calm = np.zeros(times.shape, np.bool_)
        for event, _ in self.sized:
            if event.factor is None:
                with_calm |= event.weight(times) > 0
        return np.where(with_calm, self.calm, 0.0)

    def touched(self, starts: Floats, step: float, now: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Of steps of ``step`` s from ``starts`` (unix s): which an event or holiday that ended by ``now`` touches, and
        which one that goes on."""
        past, on = np.zeros((2, len(starts)), np.bool_)
        spans = [(event.begin, event.end) for event, _ in self.sized]
        for day, holiday in holidays_of(self.calendar).items():
            if holiday.like is not None or not is_weekend(day):
                spans.append(self.calendar.bounds(day))
        for begin, end in spans:
            (past if end <= now else on)[(starts < end) & (starts + step > begin)] = True
        return past, on & ~past


def make_plan(events: Sequence[PlannedEvent], calendar: Calendar, days: Days, now: float | None) -> Plan:
    """What is usual on ``days``, and how large ``events`` and the holidays from ``now`` (unix s) on are to be."""
    holidays = holidays_of(calendar)
    special = {day for event in events for day in calendar.days(event.begin, event.end)} | holidays.keys()
    usual, sure = _usual(days, special, holidays, events)
    mean = float(usual.mean())
    calm = 0.02 * mean + 0.5 / STEP
    sized: list[tuple[PlannedEvent, Floats]] = []
    unknown: list[str] = []
    sizeless: list[float] = []
    guessed: dict[int, Floats] = {}
    for event in events:
        size = np.full(BINS, np.nan if event.factor is None else math.log(event.factor))
        if event.like is not None:
            kind = int(is_weekend(event.like))
            size = np.where(sure[kind], days.ratio(event.like, usual[kind], calm), 0.0)
            lacks = "" if sure[kind].any() else _NOTHING_USUAL
            lacks = lacks if days.knows(event.like) else f"like {event.like}, of which the history does not know half"
            if lacks:
                unknown.append(f"event {event.name!r}: {lacks}")
                sizeless.append(event.end)
        sized.append((event, size))
    today = None if now is None else calendar.day(now)
    working = [day for day in holidays if not is_weekend(day)]
    counted = [day for day, holiday in holidays.items() if holiday.like is not None or not is_weekend(day)]
    likes = {
        day: _like(day, holidays[day], days, working, special)
        for day in counted
        if today is not None and day >= today - _ONE_DAY
    }

    def size_of(day: date) -> Floats:
        # Over what is usual on its own day of the week, which is what the forecaster expects: the other's load comes.
        like, kind = likes[day], int(is_weekend(day))
        return np.zeros(BINS) if like is None else np.where(sure[kind], days.ratio(like, usual[kind], calm), 0.0)

    for day, like in likes.items():
        if today is None or day < today:
            continue
        kind = int(is_weekend(day))
        begin, end = calendar.bounds(day)
        if like is None or not sure[kind].any():
            lacked = "holiday and no Sunday" if holidays[day].like is None else "day that it is like"
            unknown.append(f"holiday {day}: {f'the history knows no {lacked}' if like is None else _NOTHING_USUAL}")
            sizeless.append(end)
            continue
        if like == day - _ONE_DAY and like in likes:
            guessed[len(sized)] = size_of(like)
        sized.append((PlannedEvent(begin, end, like=like, name=f"holiday {day}"), size_of(day)))
    return Plan(calendar, tuple(sized), usual, calm, tuple(unknown), today, tuple(sizeless), len(events), guessed)


def _usual(
    days: Days, special: Collection[date], holidays: Collection[date], events: Sequence[PlannedEvent]
) -> tuple[Floats, Known]:
    """What is usual at each time of day on weekdays and on weekends [2, 288], and where that is known: of days without
    an event, else of days with one, outside of it. Elsewhere it is what the factors leave, or the mean; so no event's
    size is known there."""
    made, spans = [], [(event.begin, event.end) for event in events]
    for weekend in (False, True):
        usual = days.usual(weekend, special)
        made.append(np.where(np.isnan(usual), days.usual(weekend, holidays, spans), usual))
    usual = np.array(made)
    sure: Known = ~np.isnan(usual)
    if not sure.all():
        usual = np.where(sure, usual, days.usual_without(events))
    some = usual if not np.isnan(usual).all() else days.usual(False, ())
    mean = 1.0 if np.isnan(some).all() else float(np.nanmean(some))
    return np.where(np.isnan(usual), mean, usual), sure


def _like(day: date, holiday: Holiday, days: Days, working: Sequence[date], special: Collection[date]) -> date | None:
    """The known day that a holiday is like."""
    if isinstance(holiday.like, int):
        return days.newest(day, weekday=holiday.like, without=special)
    if holiday.like is not None:
        return holiday.like if days.knows(holiday.like) else None
    return days.newest(day, among=working) or days.newest(day, weekday=_SUNDAY)


def holidays_of(calendar: Calendar) -> Mapping[date, Holiday]:
    """All days that are holidays, in order."""
    days = {
        date.fromordinal(number): holiday
        for holiday in calendar.holidays
        for number in range(holiday.first.toordinal(), holiday.last.toordinal() + 1)
    }
    return dict(sorted(days.items()))
