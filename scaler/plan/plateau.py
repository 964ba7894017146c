"""A group at its limit: it serves the same whatever arrives, because something always waits."""

from __future__ import annotations

import math
from collections import deque

from scaler.plan.progress import Progress

_BEYOND = 0.25  # s of work that wait beyond what is always there, and one message
_FEWEST, _MOST = 4, 12  # intervals in a row
_FOLLOWS = 0.25  # of what arrives more, or more is served of it: not at its limit, or only some consumers are
_SURE = 6.0  # standard errors of that: a service time that varies looks like it now and then


class Plateau:
    """The newest intervals in a row in which work waited, with the same consumers. O(``_MOST``) an interval.

    Where a queue is left at either end of each, and what is served does not follow what arrives (the slope of the
    regression of one on the other is surely about 0, not 1), it is as much as can be served. Where only some consumers
    have a queue, what the others serve follows their part of the arrivals.
    """

    def __init__(self) -> None:
        self._run: deque[tuple[float, float]] = deque(maxlen=_MOST)  # requests/s: arrived, served
        self._seconds = 0.0  # of each of them
        self._consumers = 0
        self._told = False  # by an earlier interval of the run

    def clear(self) -> None:
        """Something else happened in between."""
        self._run.clear()
        self._told = False

    def add(self, progress: Progress, consumers: int, in_hand: float) -> tuple[float, float] | None:
        """Take in an interval, in which as much as ``in_hand`` s of work waits without a queue. Requests/s of all
        ``consumers`` and the seconds that say so; None where nothing does.
        """
        seconds, served = progress.seconds, progress.served / progress.seconds
        least = (in_hand + _BEYOND) * served + 1.0
        if progress.arrivals is None or min(progress.waiting_before, progress.waiting) < least:
            self.clear()
            return None
        if consumers != self._consumers or abs(seconds - self._seconds) > 0.1 * seconds:
            self.clear()
            self._seconds, self._consumers = seconds, consumers
        self._run.append((progress.arrivals / seconds, served))
        if len(self._run) < _FEWEST or self._slope() > _FOLLOWS:
            return None
        if self._told:
            return served, seconds
        self._told = True
        return sum(served for _, served in self._run) / len(self._run), seconds * len(self._run)

    def _slope(self) -> float:
        """Of what is served over what arrives: as much as it may be at most; infinite where arrivals do not vary."""
        n = len(self._run)
        came, left = sum(a for a, _ in self._run) / n, sum(s for _, s in self._run) / n
        varied = sum((a - came) ** 2 for a, _ in self._run)
        if varied <= 1e-12 * came**2:
            return math.inf
        slope = sum((a - came) * (s - left) for a, s in self._run) / varied
        off = sum((s - left - slope * (a - came)) ** 2 for a, s in self._run)
        return abs(slope) + _SURE * math.sqrt(off / ((n - 2) * varied))
