"""Local time and holidays: where people's days lie in unix time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate, pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

from forecasting.series import Series, check, resample, step_index

Floats = NDArray[np.float64]

_HOUR = 3600.0
_WHOLE = 1e-6  # of a step; offsets and steps are of whole seconds


@dataclass(frozen=True, slots=True)
class Holiday:
    """Whole local days, ``first`` to ``last`` (both are holidays), on which load is not as usual.

    ``like``: the past day that they are like, or the newest such day of the week (Monday is 0). None: see
    :class:`~forecasting.events_planned.Planned`.
    """

    first: date
    last: date
    name: str = ""
    like: date | int | None = None

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise ValueError(f"holiday {self.name or self.first}: it ends on {self.last}, before it begins")
        if isinstance(self.like, int) and not 0 <= self.like <= 6:
            raise ValueError(f"holiday {self.name or self.first}: like {self.like}; a day of the week is 0 to 6")


@dataclass(frozen=True, slots=True)
class Change:
    """At ``at`` (unix s) local time minus unix time becomes ``after`` (s); until then it is ``before``."""

    at: float
    before: float
    after: float


@dataclass(frozen=True)
class Calendar:
    """A time zone (IANA name) and its holidays.

    Local seconds are the clock on the wall read as if it were UTC: 09:00 is always 9 x 3600 s after a multiple of a
    day, on both sides of a change to or from daylight saving time. Raises ``ValueError`` for a zone that is not known.
    """

    time_zone: str = "UTC"
    holidays: tuple[Holiday, ...] = ()
    _zone: ZoneInfo = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "_zone", ZoneInfo(self.time_zone))
        except (ZoneInfoNotFoundError, ValueError, OSError) as unknown:
            raise ValueError(
                f"time zone {self.time_zone!r} is not known here; give an IANA name such as Europe/Berlin"
            ) from unknown

    def offset(self, time: float) -> float:
        """Local minus unix time (s) at ``time`` (unix s)."""
        ahead = datetime.fromtimestamp(time, self._zone).utcoffset()
        return 0.0 if ahead is None else ahead.total_seconds()

    def changes(self, begin: float, end: float) -> tuple[Change, ...]:
        """Changes of the clock with ``begin`` < at <= ``end`` (unix s), to the second."""
        found: list[Change] = []
        left, old = begin, self.offset(begin)
        while left < end:
            # No zone has had two changes within a day that cancel each other.
            right = min(left + 24 * _HOUR, end)
            new = self.offset(right)
            if new != old:
                low, high = math.floor(left), math.ceil(right)
                while high - low > 1:
                    middle = (low + high) // 2
                    low, high = (middle, high) if self.offset(middle) == old else (low, middle)
                new = self.offset(high)
                if high <= end:
                    found.append(Change(float(high), old, new))
                right = float(max(high, left))
            left, old = right, new
        return tuple(found)

    def to_local(self, times: Floats) -> Floats:
        """Local seconds of ``times`` (unix s, any shape)."""
        if not times.size:
            return times.astype(np.float64)
        begin, end = float(times.min()), float(times.max())
        local = times + self.offset(begin)
        for change in self.changes(begin, end):
            local = np.where(times >= change.at, times + change.after, local)
        return np.asarray(local, dtype=np.float64)

    def to_unix(self, local: Floats) -> Floats:
        """Unix seconds of ``local`` seconds (any shape): when the clock first shows that, or later.

        In spring an hour of the clock does not exist: 02:30 is the instant of the change, called 03:00. In autumn an
        hour comes twice: 02:30 is the first.
        """
        if not local.size:
            return local.astype(np.float64)
        begin, end = float(local.min()) - 26 * _HOUR, float(local.max()) + 26 * _HOUR
        times = local - self.offset(begin)
        for change in self.changes(begin, end):
            # Only what can have been read neither before the change nor, in an hour that is missing, never.
            after = local - max(change.before, change.after) >= change.at
            times = np.where(after, local - change.after, np.minimum(times, change.at))
        return np.asarray(times, dtype=np.float64)

    def day(self, time: float) -> date:
        """The local date at ``time`` (unix s)."""
        return datetime.fromtimestamp(time, self._zone).date()

    def bounds(self, first: date, last: date | None = None) -> tuple[float, float]:
        """Unix seconds at which the local days ``first`` to ``last`` (the same day unless given) begin and end; a day
        has 23 or 25 hours where the clock changes."""
        after = (last or first) + timedelta(days=1)
        edges = np.array([midnight(first), midnight(after)])
        begin, end = self.to_unix(edges).tolist()
        return begin, end

    def is_holiday(self, day: date) -> bool:
        """Whether ``day`` lies in one of the holidays."""
        return any(holiday.first <= day <= holiday.last for holiday in self.holidays)

    def days(self, begin: float, end: float) -> Iterable[date]:
        """Local dates from the one at ``begin`` to the one before ``end`` (unix s)."""
        day = self.day(begin)
        while self.bounds(day)[0] < end:
            yield day
            day += timedelta(days=1)


def midnight(day: date) -> float:
    """Local seconds at which ``day`` begins."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def to_local_series(series: Series, calendar: Calendar) -> Series:
    """``series`` by local time: its start and steps are local seconds.

    The hour that spring leaves out is missing (NaN); of the hour that comes twice in autumn the second is kept, the
    first where the second is not known; what the clock had shown already, and has not reached again at the end, is left
    out. Where an offset is no multiple of the step, a step's rate is the mean over those it lies in. Raises
    ``BadSeries``.
    """
    check(series)
    step, n = series.step, len(series.rates)
    changes = calendar.changes(series.start, series.end) if n else ()
    if not changes:
        return _moved(series, calendar.offset(series.start))
    edges = [0, *(min(max(round((c.at - series.start) / step), 0), n) for c in changes), n]
    offsets = [changes[0].before, *(c.after for c in changes)]
    return _laid(series, edges, offsets)


def without_repeats(series: Series, repeats: Sequence[tuple[float, float]]) -> Series:
    """``series`` by a clock that was set back at the end of each of ``repeats`` (begin, end), to its begin: what is
    after them lies so much earlier, over what they hold. As :func:`to_local_series` otherwise; in order of time."""
    back = [max(round((end - series.start) / series.step), 0) for _, end in repeats]
    rates = np.append(series.rates, np.full(max(max(back, default=0) - len(series.rates), 0), np.nan))
    offsets = [0.0, *accumulate(begin - end for begin, end in repeats)]
    return _laid(Series(series.start, series.step, rates), [0, *back, len(rates)], offsets)


def _laid(series: Series, edges: Sequence[int], offsets: Sequence[float]) -> Series:
    """The pieces between ``edges`` (steps), each moved by its offset (s). Of two known rates the later is kept; what
    lies beyond the end of the last piece is left out."""
    step = series.step
    pieces = [
        _moved(Series(series.start + begin * step, step, series.rates[begin:end]), offset)
        for (begin, end), offset in zip(pairwise(edges), offsets, strict=True)
    ]
    at = [step_index(piece.start, step) for piece in pieces]
    base, end = min(at), at[-1] + len(pieces[-1].rates)
    rates = np.full(end - base, np.nan)
    for begin, piece in zip(at, pieces, strict=True):
        known = piece.rates[: max(end - begin, 0)]
        np.copyto(rates[begin - base : begin - base + len(known)], known, where=~np.isnan(known))
    return Series(base * step, step, rates)


def _moved(series: Series, offset: float) -> Series:
    """``series``, ``offset`` s later; in the whole steps before its end where that is no multiple of a step."""
    step = series.step
    shift = round(offset / step) * step
    if abs(shift - offset) <= _WHOLE * step:
        return Series(series.start + shift, step, series.rates)
    moved = resample(Series(series.start + offset, step, series.rates), step)
    complete = step_index(series.end + offset, step) - step_index(moved.start, step)
    return Series(moved.start, step, moved.rates[: max(complete, 0)])
