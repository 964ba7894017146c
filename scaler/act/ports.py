"""The ports through which the controller changes the world."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from scaler.act.floor import Autoscaler, Mark
from scaler.act.order import ScalerRef
from scaler.observe.ports import TargetRef


class ReplicaWriter(Protocol):
    """Writes replica counts through /scale."""

    def write(self, target: TargetRef, current: int, desired: int) -> None:
        """Set the target's replicas to ``desired``, only if they still are ``current`` (a JSON Patch ``test``)
        and no other autoscaler owns them.

        Raises TargetNotFound, TargetWithoutScale, OwnedByAnother, Forbidden, Unreachable or Conflict (scaler.errors).
        """
        ...

    def last_writer(self, target: TargetRef) -> str | None:
        """Field manager that wrote the target's count last (``scaler.kube.MANAGER`` is ours); None when the object does
        not say, or may not be read.

        Raises Unreachable.
        """
        ...


class FloorWriter(Protocol):
    """Reads and writes the minimums of HorizontalPodAutoscalers and KEDA's ScaledObjects."""

    def autoscalers(self, namespace: str) -> Sequence[Autoscaler]:
        """Those of a namespace ("": of all), as they are now; without those that a ScaledObject owns. A cluster without
        KEDA has no ScaledObjects.

        Raises Forbidden or Unreachable.
        """
        ...

    def write(self, found: Autoscaler, mark: Mark) -> None:
        """Set the minimum to ``mark.value`` and put the mark on, only over what was read.

        Raises TargetNotFound, Forbidden, Unreachable, Conflict, or TargetError when the value itself is refused.
        """
        ...

    def restore(self, found: Autoscaler) -> None:
        """Put the value back that was there before the mark, unless somebody else has changed it since, and take the
        mark off; nothing where there is no mark. Raises as ``write``.
        """
        ...


class Finalizers(Protocol):
    """Lagcast's finalizer on a PredictiveScaler: it is not gone before its floor is."""

    def put(self, scaler: ScalerRef) -> None:
        """Put it on; nothing when it is there. Raises TargetNotFound when this very object (by uid) is gone or going,
        Forbidden, Unreachable or Conflict.
        """
        ...

    def take_off(self, scaler: ScalerRef) -> None:
        """Take it off; nothing when it is not there, or the object is gone. Raises Forbidden, Unreachable, Conflict."""
        ...


class EventWriter(Protocol):
    """Tells the target's readers what happened, as Kubernetes Events."""

    def event(self, target: TargetRef, reason: str, message: str, *, warning: bool, now: float) -> None:
        """Never raises for an outage: an Event that cannot be written is logged and dropped."""
        ...
