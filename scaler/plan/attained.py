"""The attainment that was reached, and how it corrects the plan: slowly, within bounds, and not at all without data."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

from scaler.plan.silent import Suspects

Floats = NDArray[np.float64]


class Attained:
    """Late requests among those that came, told from cumulative arrivals and commits; the older, the less they count.

    A request is late when the commits have not reached it ``within`` s after it arrived. Between two samples both
    cumulative curves are taken as straight. ``memory`` (s) is the time in which a request's weight falls by e.

    The plan with forecasts and the one without have a record each: what one is short of is not made up by the other,
    nor is what one provides too much taken from the other.

    What counts only because of partitions in which nothing is committed is remembered for each of them: it is put back
    where that goes on for so long that no plan can help.
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
        # Of those late and of those that arrived, what is there because of each partition: [2, partitions].
        self._owed: Floats = np.zeros((2, 0))
        self._other_owed: Floats = np.zeros((2, 0))

    def judge(self, foreseen: bool) -> bool:
        """Whose the record is from now on, the plan's with forecasts or without; True when that is another."""
        if foreseen is self.foreseen:
            return False
        self.foreseen = foreseen
        mine = self.late, self.arrived, self.seconds
        (self.late, self.arrived, self.seconds), self._other = self._other, mine
        self._owed, self._other_owed = self._other_owed, self._owed
        return True

    def restart(self) -> None:
        """What came before says nothing about what comes now: a gap, a topic made anew, a clock set back."""
        self._points.clear()

    def learn(
        self, time: float, arrived: float, backlog: float, counts: bool, suspects: Suspects | None = None
    ) -> None:
        """Take in the messages that arrived since the last call, and the backlog at ``time`` (unix s). ``counts``: what
        becomes due now is the plan's to answer for; at a limit, or with stuck consumers, it is not.
        """
        self.settle(suspects)
        points = self._points
        total = points[-1][1] + arrived if points else 0.0
        points.append((time, total, total - backlog))
        while len(points) > 1 and points[1][0] + self._within <= time:
            begin, end = points[0], points[1]
            came = end[1] - begin[1]
            waits = end[1] - self._served(end[0] + self._within)
            points.popleft()
            if counts:
                self._add(end[0] - begin[0], came, min(max(waits, 0.0), came))
                if suspects is not None:
                    self._owe(suspects, time - begin[0], time - end[0], came, waits)

    def settle(self, suspects: Suspects | None) -> None:
        """Who is no suspect any more has committed something: what it had late counts for good."""
        self._owed, self._other_owed = _of(suspects, self._owed), _of(suspects, self._other_owed)

    def _owe(self, suspects: Suspects, begun: float, ended: float, came: float, waits: float) -> None:
        """Of ``came`` requests of ``begun`` to ``ended`` s ago ``waits`` were not served in time: how many fewer would
        be late and would have come without the suspect that is silent for longest, without the next one, too, ...
        """
        old = int(np.searchsorted(-suspects.seconds, -ended, side="right"))  # the others committed something since
        if old == 0:
            return
        rates = suspects.rates[:old]
        waited = np.maximum(suspects.waits[:old] - rates * ended, 0.0)
        theirs = np.minimum(rates * (begun - ended), waited)
        others = np.maximum(came - np.cumsum(theirs), 0.0)
        late = np.minimum(np.maximum(waits - np.cumsum(waited), 0.0), others)
        self._owed[0, suspects.which[:old]] -= np.diff(late, prepend=min(max(waits, 0.0), came))
        self._owed[1, suspects.which[:old]] -= np.diff(others, prepend=came)

    def put_back(self, left_out: Suspects) -> None:
        """Take out what counted only because of partitions that are left out from the next call on, of both plans'
        records; and their messages of what is not due yet."""
        last = later = self._points[-1] if self._points else (0.0, 0.0, 0.0)
        waits = float(left_out.waits.sum())
        for k in reversed(range(len(self._points))):
            time, total, committed = self._points[k]
            waited = float(np.maximum(left_out.waits - left_out.rates * (last[0] - time), 0.0).sum())
            # Where theirs came in a burst: no more of them waited than of all, and no more came since.
            waits = max(min(waited, total - committed), waits - (later[1] - total))
            self._points[k], later = (time, total - waits, committed), (time, total, committed)
        which = left_out.which
        self.late, self.arrived = _without(self._owed, which, self.late, self.arrived)
        late, arrived = _without(self._other_owed, which, *self._other[:2])
        self._other = late, arrived, self._other[2]

    def forget(self, late: float) -> None:
        """Leave no more than ``late`` requests late. What may be put back goes first: it would have gone anyway."""
        owed = self._owed[0].sum()
        if owed > 0.0:
            self._owed[0] *= max(1.0 - max(self.late - late, 0.0) / owed, 0.0)
        self.late = min(self.late, late)

    def take(self, late: float, arrived: float, seconds: float) -> None:
        """Go on as if this had been seen, of which nothing is put back."""
        self.late, self.arrived, self.seconds = late, arrived, seconds
        self._owed = np.zeros_like(self._owed)

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
        if self._owed.size:
            self._owed *= fade


def _without(owed: Floats, which: NDArray[np.int64], late: float, arrived: float) -> tuple[float, float]:
    """Requests late, and all, without what is ``owed`` of ``which``, and is no more then."""
    known = which[which < owed.shape[1]]  # what came since the record was begun anew counts for nothing yet
    theirs = owed[:, known].sum(axis=1)
    owed[:, known] = 0.0
    return max(late - float(theirs[0]), 0.0), max(arrived - float(theirs[1]), 0.0)


def _of(suspects: Suspects | None, owed: Floats) -> Floats:
    """What is ``owed`` of those who are suspects still."""
    if suspects is None:
        return owed[:, :0]
    kept = np.zeros((2, suspects.partitions))
    known = suspects.which[suspects.which < owed.shape[1]]
    kept[:, known] = owed[:, known]
    return kept


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
    seconds, arrived = max(attained.seconds, prior), max(attained.arrived, prior * rate)
    before = prior * arrived / seconds
    attained.take(late_share * (reached * (arrived + before) - before), arrived, seconds)


def bound(attained: Attained, late_share: float, prior: float, reached: float) -> None:
    """Forget the late requests beyond those at which :func:`correction` is ``reached``.

    A correction at its limit does no more than that, and is to fall as soon as what is reached is better: an integral
    that goes on to grow at the limit of what it acts on keeps it there for long (anti-windup).
    """
    if attained.seconds <= 0:
        return
    before = _before(attained, prior)
    most = late_share * (reached * (attained.arrived + before) - before)
    attained.forget(max(most, 0.0))


def _before(attained: Attained, prior: float) -> float:
    """Requests of ``prior`` seconds of the usual load."""
    return prior * attained.arrived / attained.seconds
