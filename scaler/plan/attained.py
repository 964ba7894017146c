"""The attainment that was reached, and how it corrects the plan: slowly, within bounds, and not at all without data."""

from __future__ import annotations

import math
from collections import deque


class Attained:
    """Late requests among those that came, told from cumulative arrivals and commits; the older, the less they count.

    A request is late when the commits have not reached it ``within`` s after it arrived. Between two samples both
    cumulative curves are taken as straight. ``memory`` (s) is the time in which a request's weight falls by e.

    The plan with forecasts and the one without have a record each: what one is short of is not made up by the other,
    nor is what one provides too much taken from the other.
    """

    def __init__(self, within: float, memory: float) -> None:
        self._within = within
        self._memory = memory
        self._points: deque[tuple[float, float, float]] = deque()  # unix s, messages arrived, messages committed
        self.foreseen = False  # whose record is in use
        self._other = (0.0, 0.0, 0.0)  # the other one's
        self.late = 0.0  # requests
        self.arrived = 0.0  # requests
        self.seconds = 0.0  # s in which they arrived

    def judge(self, foreseen: bool) -> bool:
        """Whose the record is from now on, the plan's with forecasts or without; True when that is another."""
        if foreseen is self.foreseen:
            return False
        self.foreseen = foreseen
        mine = self.late, self.arrived, self.seconds
        (self.late, self.arrived, self.seconds), self._other = self._other, mine
        return True

    def restart(self) -> None:
        """What came before says nothing about what comes now: a gap, a topic made anew, a clock set back."""
        self._points.clear()

    def learn(self, time: float, arrived: float, backlog: float, counts: bool) -> None:
        """Take in the messages that arrived since the last call, and the backlog at ``time`` (unix s). ``counts``: what
        becomes due now is the plan's to answer for; at a limit, or with stuck consumers, it is not.
        """
        points = self._points
        total = points[-1][1] + arrived if points else 0.0
        points.append((time, total, total - backlog))
        while len(points) > 1 and points[1][0] + self._within <= time:
            begin, end = points[0], points[1]
            came = end[1] - begin[1]
            late = min(max(end[1] - self._served(end[0] + self._within), 0.0), came)
            points.popleft()
            if counts:
                self._add(end[0] - begin[0], came, late)

    def _served(self, at: float) -> float:
        before = self._points[0]
        for after in self._points:
            if after[0] >= at:
                span = after[0] - before[0]
                part = (at - before[0]) / span if span > 0 else 1.0
                return before[2] + part * (after[2] - before[2])
            before = after
        return before[2]

    def _add(self, seconds: float, came: float, late: float) -> None:
        fade = math.exp(-seconds / self._memory)
        self.late = self.late * fade + late
        self.arrived = self.arrived * fade + came
        self.seconds = self.seconds * fade + seconds


def correction(attained: Attained, late_share: float, prior: float) -> float:
    """How many times the late share that is aimed at was reached; 1 while nothing is known.

    Counts ``prior`` seconds of the usual load as just on target, so that one bad minute after a start is not a verdict.
    """
    if attained.arrived <= 0 or attained.seconds <= 0:
        return 1.0
    before = _before(attained, prior)
    return (attained.late + late_share * before) / (late_share * (attained.arrived + before))


def doubt(attained: Attained, late_share: float, prior: float, reached: float, rate: float) -> None:
    """Take it that the late share aimed at was reached ``reached`` times over ``prior`` seconds of arrivals at ``rate``
    (requests/s), unless the record says no less: of a plan that has to take over from one that was wrong.
    """
    if correction(attained, late_share, prior) >= reached or not rate > 0:
        return
    attained.seconds, attained.arrived = max(attained.seconds, prior), max(attained.arrived, prior * rate)
    attained.late = late_share * (reached * (attained.arrived + _before(attained, prior)) - _before(attained, prior))


def bound(attained: Attained, late_share: float, prior: float, reached: float) -> None:
    """Forget the late requests beyond those at which :func:`correction` is ``reached``.

    A correction at its limit does no more than that, and is to fall as soon as what is reached is better: an integral
    that goes on to grow at the limit of what it acts on keeps it there for long (anti-windup).
    """
    if attained.seconds <= 0:
        return
    before = _before(attained, prior)
    most = late_share * (reached * (attained.arrived + before) - before)
    attained.late = min(attained.late, max(most, 0.0))


def _before(attained: Attained, prior: float) -> float:
    """Requests of ``prior`` seconds of the usual load."""
    return prior * attained.arrived / attained.seconds
