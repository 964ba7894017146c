"""KEDA around its triggers: the step between 0 and 1, the fallback, and the HPA that it makes.

Timing follows the ScaledObject reference, the fallback keda pkg/fallback/fallback.go, the step to and from zero
pkg/scaling/executor/scale_scaledobjects.go. The HPA reads each metric anew at each of its syncs; KEDA itself only moves
between 0 and the least, at its polling interval, and asks the triggers itself only where the least is 0.
"""

# ruff: noqa: RUF009 - a Duration is an immutable float

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from scaler.api.quantities import Duration
from scaler.plan.observation import ReplicaState
from scaler.plan.reasons import Reason
from scaler.plan.service import Service
from simulations.policies.hpa import Condition, Outcome
from simulations.policies.hpa_loop import Grid, HpaLoop, reasons
from simulations.policies.kafka_scaler import KafkaSettings


class FallbackBehavior(StrEnum):
    """The count that is asked for while a trigger fails: the declared one, the present one, or what is more or less."""

    STATIC = "static"
    CURRENT = "currentReplicas"
    CURRENT_IF_HIGHER = "currentReplicasIfHigher"
    CURRENT_IF_LOWER = "currentReplicasIfLower"


@dataclass(frozen=True, slots=True)
class ScaledObjectSettings(KafkaSettings):
    """A ScaledObject's fields, with KEDA's own defaults. ``fallback_replicas`` None: no fallback."""

    polling_interval: Duration = Duration(30)
    cooldown: Duration = Duration(300)  # before the step to zero
    initial_cooldown: Duration = Duration(0)
    fallback_replicas: int | None = None
    fallback_failures: int = 3  # failureThreshold: more failed readings in a row than this
    fallback_behavior: FallbackBehavior = FallbackBehavior.STATIC

    def __post_init__(self) -> None:
        KafkaSettings.__post_init__(self)
        if not self.polling_interval > 0:
            raise ValueError("polling_interval: found 0s; allowed: more")
        for name in ("fallback_replicas", "fallback_failures"):
            if (found := getattr(self, name)) is not None and found < 0:
                raise ValueError(f"{name}: found {found}; allowed: at least 0")
        if self.fallback_replicas is None:
            if self.fallback_failures != 3:
                raise ValueError(_ALONE.format("fallback_failures", self.fallback_failures))
            if self.fallback_behavior is not FallbackBehavior.STATIC:
                raise ValueError(_ALONE.format("fallback_behavior", self.fallback_behavior))


_ALONE = "{}: found {} without fallback_replicas; allowed: only beside it"


class Trigger(NamedTuple):
    """What one trigger says: its metric and target (AverageValue, one unit), and whether it is active.

    ``total`` None: it could not be read.
    """

    total: float | None
    target: float
    active: bool


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be done at a tick: the HPA's syncs, and KEDA's own poll."""

    syncs: Sequence[float]
    polled: bool

    def __bool__(self) -> bool:
        return bool(self.syncs) or self.polled


class ScaledObject:
    """One service's ScaledObject with ``triggers`` triggers."""

    def __init__(self, service: Service, settings: ScaledObjectSettings, triggers: int = 1) -> None:
        self._settings = settings
        self._least = service.min_replicas
        self._loop = HpaLoop(service, settings)
        self._polls = Grid(settings.polling_interval * settings.time_scale)
        self._failures = [0] * triggers
        self._born: float | None = None
        self._active_at: float | None = None

    def due(self, now: float) -> Due:
        """What is to be done at ``now``."""
        if self._born is None:
            self._born = now
        return Due(self._loop.due(now), bool(self._polls.due(now)))

    def step(
        self, now: float, due: Due, replicas: ReplicaState, triggers: Sequence[Trigger]
    ) -> tuple[int, tuple[Reason, ...]]:
        """The count that KEDA, then the HPA leave behind, and why."""
        count, outcome = replicas.desired, None
        if due.polled:
            count = self._poll(now, count, triggers)
        for at in due.syncs:
            count, outcome = self._sync(at, count, replicas, triggers)
        if outcome is not None and outcome.active is Condition.SCALING_DISABLED:
            outcome = None  # what KEDA did is all there is
        return count, reasons(outcome, changed=count != replicas.desired)

    def _sync(
        self, at: float, count: int, replicas: ReplicaState, triggers: Sequence[Trigger]
    ) -> tuple[int, Outcome | None]:
        if count == 0:  # the HPA is disabled, and asks for no metric
            return self._loop.sync((at,), count, replicas, [(t.total, t.target) for t in triggers])
        return self._loop.sync((at,), count, replicas, self._metrics(count, triggers))

    def _metrics(self, count: int, triggers: Sequence[Trigger]) -> list[tuple[float | None, float]]:
        metrics = []
        self._count_failures(triggers)
        for n, (total, target, _) in enumerate(triggers):
            if self._falls_back(n):
                total = self._instead(count, target)  # noqa: PLW2901 - what the HPA is told
            metrics.append((total, target))
        return metrics

    def _count_failures(self, triggers: Sequence[Trigger]) -> None:
        for n, trigger in enumerate(triggers):
            self._failures[n] = 0 if trigger.total is not None else self._failures[n] + 1

    def _falls_back(self, n: int) -> bool:
        settings = self._settings
        return settings.fallback_replicas is not None and self._failures[n] > settings.fallback_failures

    def _instead(self, count: int, target: float) -> float | None:
        """The metric that makes the HPA ask for the fallback's count; None without a fallback."""
        declared = self._settings.fallback_replicas
        if declared is None:
            return None
        match self._settings.fallback_behavior:
            case FallbackBehavior.CURRENT:
                declared = count
            case FallbackBehavior.CURRENT_IF_HIGHER:
                declared = max(count, declared)
            case FallbackBehavior.CURRENT_IF_LOWER:
                declared = min(count, declared)
        return declared * target

    def _poll(self, now: float, count: int, triggers: Sequence[Trigger]) -> int:
        """KEDA's own step: up from zero when a trigger is active; to zero when none was for the cooldown."""
        if self._least == 0:
            self._count_failures(triggers)
        failed = any(t.total is None and not self._falls_back(n) for n, t in enumerate(triggers))
        if any(t.active or self._falls_back(n) for n, t in enumerate(triggers)):  # a fallback is active, too
            if count == 0 or not failed:  # beside one that fails, the cooldown does not begin anew
                self._active_at = now
            return max(self._least, 1) if count == 0 else count
        if failed and self._settings.fallback_replicas != 0:
            return count  # a trigger that fails is not one that is idle
        if self._least > 0:
            return max(count, self._least)
        scale, born, last = self._settings.time_scale, self._born, self._active_at
        # The initial cooldown is for what no trigger was ever active for.
        young = last is None and born is not None and now < born + self._settings.initial_cooldown * scale
        cooling = last is not None and now < last + self._settings.cooldown * scale
        return count if young or cooling else 0

    def save(self) -> dict[str, Any]:
        """All state, in JSON's types."""
        return {
            "loop": self._loop.save(),
            "polled": self._polls.save(),
            "failures": self._failures,
            "born": self._born,
            "active_at": self._active_at,
        }

    def load(self, saved: Mapping[str, Any]) -> None:
        """Take over what ``save`` gave."""
        self._loop.load(saved["loop"])
        self._polls.load(saved["polled"])
        self._failures = [int(n) for n in saved["failures"]]
        self._born = saved["born"]
        self._active_at = saved["active_at"]
