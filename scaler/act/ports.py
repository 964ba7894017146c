"""The ports through which the controller changes the world."""

from __future__ import annotations

from typing import Protocol

from scaler.observe.ports import TargetRef


class ReplicaWriter(Protocol):
    """Writes replica counts through /scale."""

    def write(self, target: TargetRef, current: int, desired: int) -> None:
        """Set the target's replicas to ``desired``, only if they still are ``current`` (a JSON Patch ``test``)
        and no other autoscaler owns them.

        Raises TargetNotFound, TargetWithoutScale, OwnedByAnother, Forbidden, Unreachable or Conflict (scaler.errors).
        """
        ...


class EventWriter(Protocol):
    """Tells the target's readers what happened, as Kubernetes Events."""

    def event(self, target: TargetRef, reason: str, message: str, *, warning: bool, now: float) -> None:
        """Never raises for an outage: an Event that cannot be written is logged and dropped."""
        ...
