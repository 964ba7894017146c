"""Sliding windows that cost the same however long they are: the largest value, and the arrival rate."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecasting.compiled import compiled
from scaler.plan.observation import TopicOffsets


class Largest:
    """The largest of the values of the last ``window`` seconds, the newest always among them.

    A value exactly ``window`` old counts only with ``inclusive``. Times must not go backwards.
    """

    __slots__ = ("_entries", "_inclusive", "_window")

    def __init__(self, window: float, *, inclusive: bool = False) -> None:
        self._window = window
        self._inclusive = inclusive
        self._entries: deque[tuple[float, float]] = deque()  # (time, value), values falling: the first is the largest

    def push(self, now: float, value: float) -> float:
        """Take in ``value`` at ``now``; returns the largest."""
        entries, cutoff = self._entries, now - self._window
        while entries and entries[0][0] <= cutoff and not (self._inclusive and entries[0][0] == cutoff):
            entries.popleft()
        while entries and entries[-1][1] <= value:
            entries.pop()
        entries.append((now, value))
        return entries[0][1]

    def save(self) -> list[list[float]]:
        """All state, in JSON's types."""
        return [list(entry) for entry in self._entries]

    def load(self, saved: Iterable[Any]) -> None:
        """Take over what ``save`` gave."""
        self._entries = deque((float(at), value) for at, value in saved)


class RateWindow:
    """Mean arrival rate over the last ``window`` seconds, from the end offsets of a topic."""

    __slots__ = ("_ends", "_partitions", "_window")

    def __init__(self, window: float) -> None:
        self._window = window
        self._ends: deque[tuple[float, int]] = deque()  # (unix s, end offsets of all partitions together)
        self._partitions = 0

    def take(self, time: float, offsets: TopicOffsets) -> bool:
        """Keep what was read at ``time``; True when the topic is another than before."""
        ends, end, partitions = self._ends, total(offsets.end), len(offsets.end)
        if not ends:
            ends.append((time, end))
            self._partitions = partitions
            return False
        newest, before = ends[-1]
        # An added partition only adds messages; fewer partitions, or offsets that went back, are a new topic.
        recreated = end < before or partitions < self._partitions
        self._partitions = partitions
        if recreated:
            ends.clear()
            ends.append((time, end))
        elif time > newest:
            ends.append((time, end))
            # One sample at or before the window's start stays: the rate is over the whole window.
            begin = time - self._window
            while len(ends) > 2 and ends[1][0] <= begin:
                ends.popleft()
        return recreated

    def rate(self) -> float | None:
        """Requests/s; None until two samples are there."""
        ends = self._ends
        if len(ends) < 2:
            return None
        (first, before), (last, after) = ends[0], ends[-1]
        return (after - before) / (last - first)

    def newest(self) -> tuple[float, float, int] | None:
        """(begin, end, requests) of what the last two samples tell; None until they are there."""
        if len(self._ends) < 2:
            return None
        (first, before), (last, after) = self._ends[-2], self._ends[-1]
        return first, last, after - before

    def save(self) -> dict[str, Any]:
        """All state, in JSON's types."""
        return {"ends": [list(entry) for entry in self._ends], "partitions": self._partitions}

    def load(self, saved: Any) -> None:
        """Take over what ``save`` gave."""
        self._ends = deque((float(at), int(end)) for at, end in saved["ends"])
        self._partitions = int(saved["partitions"])


def total(column: NDArray[np.int64]) -> int:
    """Sum of an int64 array."""
    return _sum(column)


def backlog(offsets: TopicOffsets) -> float:
    """Retained messages not yet committed; where nothing was committed yet, all that are retained."""
    return _waiting(offsets.end, offsets.begin, offsets.committed)


# Compiled: of a few partitions, numpy's own functions take longer than all the rest of a peer's tick.
@compiled
def _sum(column: NDArray[np.int64]) -> int:
    whole = 0
    for one in column:
        whole += one
    return whole


@compiled
def _waiting(end: NDArray[np.int64], begin: NDArray[np.int64], committed: NDArray[np.int64]) -> float:
    waiting = 0
    for p in range(len(end)):
        waiting += max(end[p] - max(committed[p], begin[p]), 0)
    return float(waiting)
