"""What happened between two samples of a topic's offsets, and how old the oldest unconsumed message is."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import InitVar, dataclass, field

import numpy as np
from numpy.typing import NDArray

from forecasting.compiled import compiled
from scaler.plan.observation import TopicOffsets

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Totals = tuple[float, float, float, float]  # messages: arrived, consumed, backlog before, and after

_FEW_SAMPLES = 64  # of head offsets: as many suffice while what waits is young


def consumed_up_to(offsets: TopicOffsets) -> Ints:
    """The next offset to be consumed per partition: the committed one, or the log start where there is none."""
    position: Ints = np.maximum(offsets.committed, offsets.begin)
    return position


def backlog(offsets: TopicOffsets) -> Ints:
    """Messages not yet committed per partition; never negative."""
    left: Ints = np.maximum(offsets.end - consumed_up_to(offsets), 0)
    return left


@dataclass(frozen=True, slots=True, eq=False)
class Progress:
    """The change from one sample to a later one. Arrays have the shape [partitions] of the later sample."""

    end: float  # unix s of the later sample
    seconds: float  # > 0
    arrived: Floats | None  # messages; None when the topic was made anew in between
    consumed: Floats  # messages committed, as far as the group did it (not retention)
    backlog_before: Floats  # messages; 0 for partitions that were added
    backlog_after: Floats
    recreated: bool
    totals: InitVar[Totals | None] = None  # of the four arrays; None: they are added up here
    # Of all partitions together, messages:
    arrivals: float | None = field(init=False)  # None as above
    served: float = field(init=False)
    waiting_before: float = field(init=False)
    waiting: float = field(init=False)

    def __post_init__(self, totals: Totals | None) -> None:
        if totals is None:
            arrived = self.consumed if self.arrived is None else self.arrived
            totals = _total(arrived), _total(self.consumed), _total(self.backlog_before), _total(self.backlog_after)
        arrivals, served, waiting_before, waiting = totals
        object.__setattr__(self, "arrivals", None if self.arrived is None else arrivals)
        object.__setattr__(self, "served", served)
        object.__setattr__(self, "waiting_before", waiting_before)
        object.__setattr__(self, "waiting", waiting)


@compiled
def _total(values: Floats) -> float:
    """Their sum; numpy's own takes four times as long for a dozen."""
    total = 0.0
    for value in values:
        total += value
    return total


def difference(before: TopicOffsets, then: float, after: TopicOffsets, now: float) -> Progress | None:
    """What changed between ``then`` and ``now`` (unix s); None when no time has passed.

    Offsets are cumulative, so a pair with an outage between its samples is as good as any. End offsets and log starts
    never go backwards and partitions never go away: where they did, the topic was made anew, and nothing is known about
    the arrivals.
    """
    if now <= then:
        return None
    kept, end, begin, committed = True, before.end, before.begin, before.committed
    same = before.partitions is after.partitions or before.partitions.tobytes() == after.partitions.tobytes()
    if not same:
        known, found = _among(after.partitions, before.partitions)
        kept = int(known.sum()) == len(before.partitions)
        if len(end):  # what is new was empty at its log start
            end, begin, committed = (np.where(known, values[found], after.begin) for values in (end, begin, committed))
        else:
            end = begin = committed = after.begin
    changes = np.empty((4, len(after.partitions)))
    back, totals = _changes(end, begin, committed, after.end, after.begin, after.committed, changes)
    arrived, consumed, left_before, left = changes
    if back or not kept:
        nothing = np.zeros(len(after.partitions))
        return Progress(now, now - then, None, nothing, nothing, left, True)
    return Progress(now, now - then, arrived, consumed, left_before, left, False, totals)


@compiled
def _changes(
    end_before: Ints,
    begin_before: Ints,
    committed_before: Ints,
    end: Ints,
    begin: Ints,
    committed: Ints,
    changes: Floats,
) -> tuple[bool, Totals]:
    """Fill ``changes`` [4, partitions] with what arrived, what was consumed, and the backlog before and after; whether
    an end or a log start went backwards, and the four totals. Messages are whole: in any order they add up to the same.

    No branch, and a loop for each: so they are done many at a time.
    """
    partitions = len(end)
    back = 0
    came = served = waited = waits = 0
    for p in range(partitions):
        back |= int(end[p] < end_before[p]) | int(begin[p] < begin_before[p])
        arrived = end[p] - end_before[p]
        changes[0, p] = arrived
        came += arrived
    for p in range(partitions):
        # Not what retention took.
        since = max(committed_before[p], begin_before[p], begin[p])
        consumed = max(max(committed[p], begin[p]) - since, 0)
        changes[1, p] = consumed
        served += consumed
    for p in range(partitions):
        before = max(end_before[p] - max(committed_before[p], begin_before[p]), 0)
        changes[2, p] = before
        waited += before
    for p in range(partitions):
        left = max(end[p] - max(committed[p], begin[p]), 0)
        changes[3, p] = left
        waits += left
    return back != 0, (float(came), float(served), float(waited), float(waits))


def _among(partitions: Ints, others: Ints) -> tuple[NDArray[np.bool_], Ints]:
    """Which of ``partitions`` are among ``others``, and where (0 for those that are not)."""
    known = np.isin(partitions, others, assume_unique=True)
    return known, np.where(known, np.searchsorted(others, partitions), 0)


@dataclass(frozen=True, slots=True)
class TimeLag:
    """Age of the oldest unconsumed message (s), as between two samples it is on average; or None, and only ``at_least``
    so old."""

    seconds: float | None
    at_least: float


class TimeLagTracker:
    """Remembers when each head offset was current, and looks up the committed offset among them.

    Keeps at most ``size`` samples, and far fewer while no message waits long. When it is full, every second one of the
    older half goes, so that the memory reaches far back at a coarser grain: how old a message is that is consumed again
    is told, too. O(partitions x log(size)) a look-up.
    """

    def __init__(self, size: int) -> None:
        self._size = max(size, 8)
        self._count = 0
        self._times: Floats
        self._ends: Ints
        self.clear()

    def clear(self) -> None:
        """Forget everything (the topic was made anew)."""
        self._keep(np.empty(0), np.empty((0, 0), dtype=np.int64), min(_FEW_SAMPLES, self._size))

    def add(self, time: float, offsets: TopicOffsets) -> None:
        """Take in a sample; time is monotone."""
        missing = len(offsets.end) - self._ends.shape[1]
        if missing > 0:  # partitions were added: before, their head was their log start
            old = np.broadcast_to(offsets.begin[-missing:], (len(self._ends), missing))
            self._ends = np.concatenate([self._ends, old], axis=1)
        elif missing < 0:
            raise ValueError("partitions went away: clear() first")
        if self._count == len(self._times):
            self._make_room(consumed_up_to(offsets))
        self._times[self._count] = time
        self._ends[self._count] = offsets.end
        self._count += 1

    def _make_room(self, position: Ints) -> None:
        """For more samples: where what waits came within the newest quarter of them, only the older ones get fewer."""
        # The first sample with a head beyond the position; heads only grow.
        beyond = bisect_left(range(self._count), True, key=lambda k: bool(np.any(self._ends[k] > position)))
        waiting = self._count - max(beyond - 1, 0)  # the one before it tells when the oldest message came
        rows = min(max(4 * waiting, _FEW_SAMPLES), self._size)
        times, ends = self._times, self._ends
        while len(times) > rows * 3 // 4:
            half = len(times) // 2
            kept = np.concatenate([np.arange(0, half, 2), np.arange(half, len(times))])
            times, ends = times[kept], ends[kept]
        self._keep(times, ends, rows)

    def _keep(self, times: Floats, ends: Ints, rows: int) -> None:
        """These samples, with room for ``rows``. What is unused is in snapshots, too: it is not left to chance."""
        self._count = len(times)
        self._times = np.zeros(rows)
        self._ends = np.zeros((rows, ends.shape[1]), dtype=np.int64)
        self._times[: self._count] = times
        self._ends[: self._count] = ends

    def lag(self, now: float, offsets: TopicOffsets) -> TimeLag:
        """Age at ``now`` of the oldest message that is not committed; 0 when there is none."""
        if self._count == 0 or self._ends.shape[1] != len(offsets.end):
            return TimeLag(0.0, 0.0) if not np.any(offsets.end > consumed_up_to(offsets)) else TimeLag(None, 0.0)
        arrived, known = _oldest(self._times, self._count, self._ends, offsets.end, offsets.begin, offsets.committed)
        if math.isinf(arrived):
            return TimeLag(0.0, 0.0)
        age = max(now - arrived, 0.0)
        return TimeLag(age if known else None, age)


@compiled
def _oldest(times: Floats, count: int, ends: Ints, end: Ints, begin: Ints, committed: Ints) -> tuple[float, bool]:
    """When the oldest message that waits arrived (unix s; inf: none waits), by ``count`` samples of the head offsets.

    The message at a position came after the last sample whose head was not beyond it. False with the first sample's
    time when there is no such sample.
    """
    oldest, beyond = np.inf, count
    for p in range(len(end)):
        position = max(committed[p], begin[p])
        # Nothing waits, or what waits came after a sample that is younger than the oldest.
        if end[p] <= position or (beyond < count and ends[beyond, p] <= position):
            continue
        low, high = 0, count  # how many heads are not beyond it; heads only grow
        while low < high:
            middle = (low + high) // 2
            if ends[middle, p] <= position:
                low = middle + 1
            else:
                high = middle
        last = low - 1
        if last < 0:
            return times[0], False
        after = min(last + 1, count - 1)
        # Message k of n that came in between came, on average, when k + 1 of n + 1 parts had passed.
        part = (position - ends[last, p] + 1) / (max(ends[after, p] - ends[last, p], 1) + 1)
        arrived = times[last] + part * (times[after] - times[last])
        if arrived < oldest:
            oldest, beyond = arrived, last + 2
    return oldest, True
