"""An HPA in its controller's loop: a sync a period, metrics to proposals, conditions to reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from scaler.plan.observation import ReplicaState
from scaler.plan.reasons import Reason
from scaler.plan.service import Service
from simulations.policies.hpa import Condition, Hpa, Outcome
from simulations.policies.hpa_metrics import average_value, together
from simulations.policies.hpa_settings import HpaSettings

# A tick may come a little early or late of a whole sync period.
_SLACK = 0.05
# After a long silence only the newest syncs are caught up.
_MOST_SYNCS = 20

# An external metric of type AverageValue: (total, None when it could not be read; target), in one unit.
Metric = tuple[float | None, float]


class Grid:
    """Times at which something is done every ``period`` seconds, from the first time that it is asked for."""

    __slots__ = ("_last", "_period")

    def __init__(self, period: float) -> None:
        self._period = period
        self._last: float | None = None

    def due(self, now: float) -> Sequence[float]:
        """Since the last time it was asked, oldest first."""
        last, period = self._last, self._period
        if last is None:
            self._last = now
            return (now,)
        whole = int((now - last) / period + _SLACK)
        if whole == 1:
            self._last = last + period
            return (self._last,)
        if whole <= 0:
            return ()
        self._last = last + whole * period
        return [last + n * period for n in range(max(1, whole - _MOST_SYNCS + 1), whole + 1)]

    def save(self) -> float | None:
        """All state, in JSON's types."""
        return self._last

    def load(self, saved: float | None) -> None:
        """Take over what ``save`` gave."""
        self._last = saved


class HpaLoop:
    """One service's HPA. It works between max(min_replicas, 1) and max_replicas; zero is not its business."""

    def __init__(self, service: Service, settings: HpaSettings) -> None:
        scale = settings.time_scale
        self._hpa = Hpa(
            max(service.min_replicas, 1), service.max_replicas, settings.rules(), settings.stabilization * scale
        )
        self._tolerance = settings.tolerances()
        self._grid = Grid(settings.sync_period * scale)

    def due(self, now: float) -> Sequence[float]:
        """Times of the syncs since the last tick, oldest first."""
        return self._grid.due(now)

    def sync(
        self, times: Sequence[float], count: int, replicas: ReplicaState, metrics: Sequence[Metric]
    ) -> tuple[int, Outcome | None]:
        """The syncs at ``times``, all with the newest metrics, from ``count`` on; the last one's outcome.

        ``replicas`` is what was read; ``count`` is another when the tick has already changed it.
        """
        outcome = None
        for at in times:
            # status.replicas counts the pods there are; after a change at this tick, those that were asked for.
            unchanged = count == replicas.desired
            existing = replicas.ready + len(replicas.pending_since) if unchanged else count
            outcome = self._hpa.sync(at, count, self._proposal(metrics, existing, count))
            count = outcome.desired
        return count, outcome

    def _proposal(self, metrics: Sequence[Metric], existing: int, current: int) -> int | None:
        if len(metrics) == 1:
            total, target = metrics[0]
            return None if total is None else average_value(total, target, existing, self._tolerance)
        return together(
            (
                None if total is None else average_value(total, target, existing, self._tolerance)
                for total, target in metrics
            ),
            current,
        )

    def save(self) -> dict[str, Any]:
        """All state, in JSON's types."""
        return {"synced": self._grid.save(), "hpa": self._hpa.save()}

    def load(self, saved: Mapping[str, Any]) -> None:
        """Take over what ``save`` gave."""
        self._grid.load(saved["synced"])
        self._hpa.load(saved["hpa"])


_LIMITS = {
    Condition.TOO_FEW_REPLICAS: Reason.MIN_REPLICAS,
    Condition.TOO_MANY_REPLICAS: Reason.MAX_REPLICAS,
    Condition.SCALE_UP_LIMIT: Reason.SCALE_OUT_LIMIT,
    Condition.SCALE_DOWN_LIMIT: Reason.SCALE_IN_LIMIT,
}


def reasons(outcome: Outcome | None, *, changed: bool) -> tuple[Reason, ...]:
    """An HPA's conditions as reasons, the decisive one first; ``changed``: whether the count moves. None: no sync."""
    if outcome is None:
        return (Reason.NO_FORECAST,) if changed else (Reason.STEADY,)
    return _reasons(outcome.limited, outcome.able, changed)


@lru_cache
def _reasons(limited: Condition, able: Condition, changed: bool) -> tuple[Reason, ...]:
    source = Reason.NO_FORECAST if changed else Reason.STEADY
    if limited in _LIMITS:
        return (_LIMITS[limited], source)
    if able is Condition.SCALE_DOWN_STABILIZED:
        return (Reason.SCALE_IN_DELAYED, source)
    if able is Condition.SCALE_UP_STABILIZED:
        return (Reason.SCALE_OUT_LIMIT, source)
    return (source,)
