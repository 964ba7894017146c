"""Partitions that nobody gets on with while others are served, as behind a message that cannot be processed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecasting.compiled import compiled
from scaler.plan.progress import Progress

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_AGAIN = 2.0  # times the longest time without a commit that did end: consumers that take many at once need long turns
_LATELY = 600.0  # s in which what came fades by e: how much of it comes to the silent ones
_MOST = 4.0  # times as long, at most: one that was mended after hours keeps nobody from telling the next one


@dataclass(frozen=True, slots=True, eq=False)
class Suspects:
    """Partitions with messages, none of which was committed for a while: silent ones, if it goes on. Shape [suspects];
    whoever committed nothing for longest comes first."""

    which: Ints  # places among the partitions
    seconds: Floats  # since something was committed
    waits: Floats  # messages that count
    rates: Floats  # messages/s that came meanwhile
    partitions: int


@dataclass(frozen=True, slots=True, eq=False)
class Aside:
    """What a tick leaves out: messages of silent partitions, and what waited in those that were silent."""

    arrived: float
    waiting: float


NOTHING = Aside(0.0, 0.0)


class SilentPartitions:
    """Tells which partitions are silent: with messages and without a commit for as long as any consumer could need to
    come round to them, while others commit. The first commit ends it; what waited then is left out until it is gone.

    The clock of a partition is a share of that time, which depends on the consumers. It runs only when somebody else
    commits: where nobody does, it is the group that stands still, and that tells nothing about one partition.
    """

    def __init__(self, memory: float) -> None:
        """``memory``: s in which what is known of how long turns take fades by e."""
        self._memory = memory
        self.forget()

    def forget(self) -> None:
        """Nothing is known any more of any partition, as of a topic made anew."""
        self._silent: Bools = np.zeros(0, dtype=np.bool_)
        self._clock: Floats = np.zeros(0)  # of the time after which it is silent, the share that has passed
        self._still: Floats = np.zeros(0)  # s without a commit of anybody's, on no clock yet
        self._seconds: Floats = np.zeros(0)  # s since the last commit
        self._left: Floats = np.zeros(0)  # messages that counted then
        self._aside: Floats = np.zeros(0)  # messages of a silence that is over, not committed yet
        self._came: Floats = np.zeros(0)  # messages that came; the longer ago, the less
        self._suspected = 0
        self._ended = 0.0  # the longest time on a clock that a commit ended; the longer ago, the less

    def learn(self, progress: Progress, after: float | None, pause: float) -> Aside:
        """Take in an interval. ``after`` s on its clock a partition is silent; None: nothing is on the clock, as nobody
        is there to commit. Of the time until somebody commits again, ``pause`` s are, at most.
        """
        self._pad(progress.backlog_before)
        arrived = _arrived(progress)
        pace, longest = (0.0, 0.0) if after is None else (1.0 / after, max(pause, progress.seconds))
        came, waits, self._suspected, ended = _take_in(
            arrived,
            progress.consumed,
            progress.backlog_before,
            progress.backlog_after,
            progress.seconds,
            pace,
            longest,
            progress.served > 0,
            self._silent,
            self._clock,
            self._still,
            self._seconds,
            self._left,
            self._aside,
        )
        self._came = self._came * math.exp(-progress.seconds / _LATELY) + arrived
        self._ended = max(self._ended * math.exp(-progress.seconds / self._memory), min(ended, _MOST / _AGAIN))
        return Aside(came, waits) if came or waits else NOTHING

    def _pad(self, before: Floats) -> None:
        more = len(before) - len(self._silent)
        if more < 0:
            self.forget()
            more = len(before)
        if more > 0:  # partitions were added
            self._silent = np.append(self._silent, np.zeros(more, dtype=np.bool_))
            self._left = np.append(self._left, before[len(before) - more :])
            self._clock, self._still, self._seconds, self._aside, self._came = (
                np.append(old, np.zeros(more))
                for old in (self._clock, self._still, self._seconds, self._aside, self._came)
            )

    @property
    def part(self) -> float:
        """The share of what lately came that came to those that are silent."""
        came = float(self._came.sum())
        return float(self._came[self._silent].sum()) / came if came > 0.0 else 0.0

    def due(self) -> Ints:
        """Those whose time has passed, and that are not silent yet; none where the silent ones would be the most."""
        if not self._suspected:
            return np.zeros(0, dtype=np.int64)
        due: Ints = np.flatnonzero((self._clock >= max(_AGAIN * self._ended, 1.0)) & ~self._silent)
        most = len(self._silent) // 2 - int(self._silent.sum()) if len(due) else 0
        return due if len(due) <= most else due[:0]

    def of(self, which: Ints, progress: Progress) -> Aside:
        """What ``which`` have to be left out, besides what is."""
        arrived = _arrived(progress)
        waits = progress.backlog_after[which] - self._aside[which]
        return Aside(float(arrived[which].sum()), float(waits.sum()))

    def begin(self, which: Ints, progress: Progress) -> Suspects:
        """Those are silent from now on. As they were when the interval began."""
        of = self._those(which, progress.backlog_before)
        self._silent[which] = True
        return of

    def suspects(self, progress: Progress) -> Suspects | None:
        """Those that are not silent and committed nothing in the last interval; None: there are none."""
        if not self._suspected:
            return None
        which = np.flatnonzero((self._seconds > 0.0) & ~self._silent)
        return self._those(which[np.argsort(-self._seconds[which], kind="stable")], progress.backlog_after)

    def _those(self, which: Ints, waiting: Floats) -> Suspects:
        seconds, waits = self._seconds[which], waiting[which] - self._aside[which]
        rates = np.maximum(waits - self._left[which], 0.0) / seconds
        return Suspects(which, seconds, waits, rates, len(self._silent))


def _arrived(progress: Progress) -> Floats:
    """Messages that came to each partition; what was served of them, where more is not known."""
    return progress.consumed if progress.arrived is None else progress.arrived


@compiled
def _take_in(
    arrived: Floats,
    consumed: Floats,
    before: Floats,
    after: Floats,
    passed: float,
    pace: float,
    longest: float,
    served: bool,
    silent: Bools,
    clock: Floats,
    still: Floats,
    seconds: Floats,
    left: Floats,
    aside: Floats,
) -> tuple[float, float, int, float]:
    """Bring the last six [partitions] up to date; the messages that came and that wait which are left out, how many
    partitions committed nothing and are not silent, and the longest time on a clock that a commit ended."""
    came, waits, suspected, ended = 0.0, 0.0, 0, 0.0
    for p in range(len(silent)):
        if consumed[p] > 0.0 or after[p] <= 0.0:
            if silent[p]:
                silent[p], aside[p] = False, before[p]
            if consumed[p] > 0.0:
                ended = max(ended, clock[p])
            clock[p] = still[p] = seconds[p] = 0.0
            if aside[p] > 0.0:
                aside[p] = min(max(aside[p] - consumed[p], 0.0), after[p])
            left[p] = after[p] - aside[p]
        else:
            aside[p] = min(aside[p], after[p])  # retention takes some, too
            seconds[p] += passed
            if before[p] > 0.0 and pace > 0.0:
                still[p] += passed
            if served:
                clock[p] += min(still[p], longest) * pace
                still[p] = 0.0
            if not silent[p]:
                suspected += 1
        if silent[p]:
            came += arrived[p]
            waits += after[p]
        else:
            waits += aside[p]
    return came, waits, suspected, ended
