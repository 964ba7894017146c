"""Limits of the count that hold at some times of the week, by the clock on the wall. Pure: the time is handed in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from forecasting.calendar import Calendar
from scaler.plan.reasons import Reason

DAY = 86_400.0
_DAYS = 7  # for which windows are looked up at once


@dataclass(frozen=True, slots=True)
class Window:
    """At ``days`` (Monday is 0) from ``begin`` to ``end`` (s after that day's midnight by the clock; over 86,400 on the
    next day): no fewer than ``least``, no more than ``most``. None: as declared for all times.
    """

    name: str
    days: tuple[int, ...]
    begin: float
    end: float
    time_zone: str
    least: int | None = None
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """The least and the largest count that may be written, and which limit it is."""

    least: int
    most: int
    least_by: Reason = Reason.MIN_REPLICAS
    most_by: Reason = Reason.MAX_REPLICAS


class Schedule:
    """The limits of one service: ``least`` and ``most``, narrowed by ``windows``."""

    def __init__(self, least: int, most: int, windows: Sequence[Window] = ()) -> None:
        self._always = Limits(least, most)
        self._windows = tuple(windows)
        self._spans: list[tuple[float, float, Window]] = []
        self._known = (math.inf, -math.inf)  # unix s between which the spans are all that there are

    def limits(self, now: float, ahead: float) -> Limits:
        """At unix s ``now``. A minimum holds ``ahead`` s before its time, so that replicas serve when it begins; a
        maximum holds at its time, and stands above every minimum.
        """
        if not self._windows:
            return self._always
        self._look_up(now, now + ahead)
        least, most = self._always.least, self._always.most
        for begin, end, window in self._spans:
            if begin <= now + ahead and now < end and window.least is not None:
                least = max(least, window.least)
            if begin <= now < end and window.most is not None:
                most = min(most, window.most)
        return Limits(
            min(least, most),
            most,
            Reason.SCHEDULED_MIN if least > self._always.least else Reason.MIN_REPLICAS,
            Reason.SCHEDULED_MAX if most < self._always.most else Reason.MAX_REPLICAS,
        )

    def _look_up(self, begin: float, end: float) -> None:
        if self._known[0] <= begin and end <= self._known[1]:
            return
        last = max(end, begin + _DAYS * DAY)
        self._spans = [
            (at, until, window) for window in self._windows for at, until in _spans(window, begin - DAY, last + DAY)
        ]
        self._known = (begin - DAY, last)


def _spans(window: Window, begin: float, end: float) -> list[tuple[float, float]]:
    """Unix s at which the window begins and ends, on the days from ``begin`` to ``end`` (unix s).

    What falls into an hour that the clock leaves out in spring is left out; in autumn, of an hour that comes twice it
    begins with the first.
    """
    calendar = Calendar(window.time_zone)
    # Local days by their number since 1970-01-01, which was a Thursday.
    first, last = (int((at + calendar.offset(at)) // DAY) for at in (begin, end))
    starts = np.array([day * DAY for day in range(first - 1, last + 1) if (day + 3) % 7 in window.days])
    opened, closed = calendar.to_unix(starts + window.begin), calendar.to_unix(starts + window.end)
    return [(at, until) for at, until in zip(opened.tolist(), closed.tolist(), strict=True) if until > at]
