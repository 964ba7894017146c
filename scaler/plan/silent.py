"""Partitions that nobody gets on with, as behind a message that cannot be processed, while the others are served."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from forecasting.compiled import compiled
from scaler.plan.progress import Progress

Floats = NDArray[np.float64]


class SilentPartitions:
    """Of each partition with messages, for how long none of them was committed."""

    def __init__(self, after: float) -> None:
        """``after`` s without a commit a partition counts as silent."""
        self._after = after
        self._seconds: Floats = np.zeros(0)  # [partitions]

    def waiting(self, progress: Progress) -> float:
        """Take in an interval; the messages that wait in silent partitions at its end, where those are not the most."""
        if len(self._seconds) != len(progress.backlog_after):
            self._seconds = np.zeros(len(progress.backlog_after))
        of = progress.consumed, progress.backlog_after, progress.seconds
        silent, waiting = _take_in(*of, self._after, self._seconds)
        return waiting if 2 * silent <= len(self._seconds) else 0.0


@compiled
def _take_in(consumed: Floats, waiting: Floats, passed: float, after: float, seconds: Floats) -> tuple[int, float]:
    """Partitions of which ``seconds`` [partitions], which is brought up to date, are ``after`` or more, and messages
    that wait there."""
    silent, found = 0, 0.0
    for p in range(len(seconds)):
        seconds[p] = seconds[p] + passed if consumed[p] <= 0.0 and waiting[p] > 0.0 else 0.0
        if seconds[p] >= after:
            silent += 1
            found += waiting[p]
    return silent, found
