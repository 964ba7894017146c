"""What one tick asks to have carried out for one scaler, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from scaler.api.pause import Pause
from scaler.api.predictive_scaler import Mode
from scaler.observe.ports import TargetRef
from scaler.plan.decision import ServiceDecision
from scaler.plan.reasons import Reason


@dataclass(frozen=True, slots=True)
class ScalerRef:
    """One PredictiveScaler."""

    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"PredictiveScaler {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Order:
    """A decision, and how it may be carried out."""

    scaler: ScalerRef
    target: TargetRef
    mode: Mode
    decision: ServiceDecision
    now: float  # unix s
    pause: Pause = field(default_factory=Pause)
    most: int | None = None  # the scaler's own maximum, which a pause at a count does not pass either

    @property
    def wanted(self) -> int | None:
        """The count to bring the target to: the one at which it is paused, else the one that was decided."""
        if self.pause.replicas is None:
            return self.decision.desired
        return self.pause.replicas if self.most is None else min(self.pause.replicas, self.most)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a decision."""

    reason: Reason
    detail: str = ""
    limit: Reason | None = None  # a limit that moved what was written, ...
    limited: str = ""  # ... and what it is, in words
    count: int | None = None  # the replicas that were asked for by what was written, where any were
    floor: int | None = None  # in mode Floor: the minimum that stands on the autoscaler

    @property
    def patched(self) -> bool:
        return self.reason is Reason.APPLIED
