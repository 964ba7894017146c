"""An in-memory Prometheus behind the LatencySource port, for the demo and for tests.

It keeps what was observed, not buckets: quantiles are exact, counts are not extrapolated. It scrapes whenever it is
asked, as long as a pod is exposed.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from scaler.observe.ports import LatencyQuery, Served
from scaler.observe.prometheus import MAX_AGE, read
from scaler.plan.observation import Freshness, LatencySample, Reading
from scaler.plan.reasons import Reason

KEPT = 3600.0  # s of observations that are kept: the longest window that can be asked


@dataclass(slots=True)
class _Histogram:
    pods: set[str] = field(default_factory=set)
    seen: float = -math.inf  # unix s, when a pod was last there
    poisoned: bool = False  # something that is no number was observed: a histogram's sum never recovers from it
    observed: deque[tuple[float, float, int]] = field(default_factory=deque)  # unix s, s, how often; in order


class FakePrometheus:
    """Histograms in memory, found by metric and selector as they stand in the query. Set ``down`` for an outage."""

    def __init__(self, max_age: float = MAX_AGE) -> None:
        self.down = False
        self._max_age = max_age
        self._histograms: dict[tuple[str, str], _Histogram] = {}

    def expose(self, metric: str, selector: str, at: float, pod: str = "pod") -> None:
        """A pod with this histogram is scraped from unix time ``at`` on."""
        histogram = self._histograms.setdefault((metric, selector), _Histogram())
        histogram.pods.add(pod)
        histogram.seen = max(histogram.seen, at)

    def vanish(self, metric: str, selector: str, at: float, pod: str = "pod") -> None:
        """The pod is scraped no more from unix time ``at`` on."""
        histogram = self._histograms[metric, selector]
        histogram.pods.discard(pod)
        histogram.seen = max(histogram.seen, at)

    def observe(self, metric: str, selector: str, at: float, seconds: float, count: int = 1) -> None:
        """``count`` requests of ``seconds`` each ended at unix time ``at``; to be told roughly in order of time."""
        histogram = self._histograms[metric, selector]
        if not (math.isfinite(seconds) and seconds >= 0):
            histogram.poisoned = True
            return
        histogram.observed.append((at, seconds, count))
        while histogram.observed[0][0] <= at - KEPT:
            histogram.observed.popleft()

    def sample(self, now: float, wanted: Sequence[LatencyQuery]) -> Mapping[LatencyQuery, Reading[LatencySample]]:
        """One reading for each wanted, true at ``now``."""
        return {query: self._answer(now, query) for query in wanted}

    def served(self, query: LatencyQuery, pods: Sequence[str], span: float) -> Mapping[str, Sequence[Served]]:
        """Nothing: what was observed is not kept by pod."""
        return {}

    def close(self) -> None:
        """Nothing to end."""

    def _answer(self, now: float, query: LatencyQuery) -> Reading[LatencySample]:
        if self.down:
            detail = "the stand-in Prometheus is down"
            return Reading(None, now, Freshness.ERROR, Reason.PROMETHEUS_UNREACHABLE, detail)
        histogram = self._histograms.get((query.metric, query.selector))
        values = {} if histogram is None else _numbers(histogram, now, query.window)
        return read(now, query, values, self._max_age, "the stand-in")


def _numbers(histogram: _Histogram, now: float, window: float) -> dict[str, float]:
    if histogram.pods:
        histogram.seen = now
    inside = [o for o in histogram.observed if now - window < o[0] <= now]
    seconds = np.array([s for _, s, _ in inside])
    weights = np.array([c for _, _, c in inside], dtype=np.float64)
    values = {"age": now - histogram.seen, "count": float(weights.sum()), "sum": float(seconds @ weights)}
    if histogram.poisoned:
        values["sum"] = math.nan
    if values["count"] > 0:
        order = np.argsort(seconds, kind="stable")
        rank = np.cumsum(weights[order])
        for part, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
            k = min(int(np.searchsorted(rank, share * rank[-1])), len(order) - 1)
            values[part] = float(seconds[order][k])
    return values
