"""How long a Ready replica takes to hold partitions, told from counts: ready replicas, and members of the group."""

from __future__ import annotations

import math
from collections import deque


class Joining:
    """Watches counts of replicas that became Ready until the group counts as many members."""

    def __init__(self, longest: float) -> None:
        """``longest``: s after which a replica that did not join is forgotten."""
        self._longest = longest
        self._ready: int | None = None
        self._waiting: deque[tuple[float, int]] = deque()  # (unix s, ready replicas since then)

    def step(self, now: float, ready: int, members: int | None, partitions: int) -> list[float]:
        """Seconds from Ready to holding partitions of those that were seen to join at this tick (unix time ``now``).

        As exact as ticks are apart. Members are those with partitions; more replicas than partitions never join.
        """
        before, self._ready = self._ready, ready
        if members is None or (self._waiting and now < self._waiting[-1][0]):  # not told, or the clock was set back
            self._waiting.clear()
            return []
        if before is not None and ready > before:
            self._waiting.append((now, ready))
        while self._waiting and (self._waiting[-1][1] > ready or now - self._waiting[0][0] > self._longest):
            # Somebody left meanwhile, or never joined: the counts no longer tell who is waited for.
            self._waiting.clear()
        joined = []
        while self._waiting and members >= min(self._waiting[0][1], partitions):
            joined.append(now - self._waiting.popleft()[0])
        return [seconds for seconds in joined if math.isfinite(seconds)]
