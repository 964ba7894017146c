"""The newest level of arrivals."""

from __future__ import annotations

from collections import deque

from forecasting.series import Arrivals


class Level:
    """Remembers the arrivals of the last ``memory`` s."""

    def __init__(self, memory: float) -> None:
        self._memory = memory
        self._recent: deque[Arrivals] = deque()

    def clear(self) -> None:
        """What came before says nothing: a topic made anew, a clock set back."""
        self._recent.clear()

    def add(self, arrivals: Arrivals) -> None:
        """Take in the newest."""
        self._recent.append(arrivals)
        while len(self._recent) > 1 and self._recent[1].end < arrivals.end - self._memory:
            self._recent.popleft()

    def over(self, window: float) -> float | None:
        """The mean (requests/s) over ``window`` s, or the newest interval if that is longer; None before any."""
        seconds = count = 0.0
        for arrivals in reversed(self._recent):
            if seconds > 0 and seconds + arrivals.seconds > window * 1.001:
                break
            seconds += arrivals.seconds
            count += arrivals.count
        return count / seconds if seconds > 0 else None
