"""What the count is raised to while nobody can say what the load is. It is never lowered then (rule 1)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scaler.plan.observation import LatencySample

BUSY = 0.8  # of a replica's time, where more are asked for: the usual target of an HPA on utilisation


@dataclass(frozen=True, slots=True)
class FallbackRule:
    """After ``after`` s without the load: at least ``replicas``, or (None) what keeps replicas no busier than 80 %, by
    the latency histogram.
    """

    after: float
    replicas: int | None = None


class Fallback:
    """Since when the load has not been known, and what follows."""

    def __init__(self, rule: FallbackRule | None, concurrency: float) -> None:
        """``concurrency``: requests one replica serves at a time."""
        self._rule = rule
        self._concurrency = concurrency
        self._since: float | None = None  # unix s

    def least(self, now: float, known: bool, latency: LatencySample | None, ready: int) -> int:
        """The count below which the answer is not to be; 0 while the load is known, or not yet missed for long.

        ``latency``: of the last window, where it is fresh; ``ready``: replicas that serve.
        """
        if known or self._rule is None:
            self._since = None
            return 0
        # A clock that was set back starts the wait again.
        self._since = now if self._since is None else min(self._since, now)
        if now - self._since < self._rule.after:
            return 0
        if self._rule.replicas is not None:
            return self._rule.replicas
        return self._busy(latency, ready)

    def _busy(self, latency: LatencySample | None, ready: int) -> int:
        """By the utilisation law: requests in service are the seconds spent in service in each second."""
        if latency is None or latency.sum is None or not latency.window > 0:
            return 0
        busy = latency.sum / latency.window / self._concurrency
        # What waits in a replica counts in some histograms: no more than the replicas that are there can be busy.
        return math.ceil(min(busy, float(ready)) / BUSY - 1e-9) if math.isfinite(busy) and busy > 0 else 0
