"""From one decision to at most one patch and one Event."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from scaler.act.ports import EventWriter, ReplicaWriter
from scaler.act.text import change
from scaler.api.predictive_scaler import Mode
from scaler.errors import (
    Conflict,
    Forbidden,
    NotLeader,
    OwnedByAnother,
    TargetError,
    TargetNotFound,
    TargetWithoutScale,
    Unreachable,
)
from scaler.observe.ports import ClusterSource, TargetRef
from scaler.plan.decision import ServiceDecision
from scaler.plan.reasons import Reason

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a decision."""

    reason: Reason
    detail: str = ""

    @property
    def patched(self) -> bool:
        return self.reason is Reason.APPLIED


_FAILURES: tuple[tuple[type[TargetError], Reason], ...] = (
    (TargetNotFound, Reason.TARGET_NOT_FOUND),
    (TargetWithoutScale, Reason.TARGET_WITHOUT_SCALE),
    (Forbidden, Reason.FORBIDDEN),
    (OwnedByAnother, Reason.OWNED_BY_ANOTHER),
    (Conflict, Reason.CONFLICT),
)


class Actor:
    """Writes what was decided, if the mode allows it and only over the count that was read."""

    def __init__(self, writer: ReplicaWriter, events: EventWriter, cluster: ClusterSource) -> None:
        self._writer = writer
        self._events = events
        self._cluster = cluster
        self._said: dict[TargetRef, str] = {}  # what went wrong last
        self._silent_at: float | None = None  # the tick in which the API server did not answer

    def apply(
        self, target: TargetRef, mode: Mode, decision: ServiceDecision, now: float, paused: bool = False
    ) -> Outcome:
        """Carry out one decision, unless its scaler is ``paused``. Never raises for what the API server answers."""
        if decision.desired is None or decision.current is None:
            return Outcome(decision.reason)
        if decision.desired == decision.current:
            return Outcome(Reason.UNCHANGED)
        if mode is not Mode.ENFORCE or paused:
            return Outcome(Reason.PAUSED if mode is Mode.ENFORCE else Reason.RECOMMENDED, change(decision))
        if self._silent_at == now:  # each would wait for as long again
            return Outcome(Reason.PATCH_FAILED, f"{target}: not tried: the API server did not answer in this tick")
        try:
            self._writer.write(target, decision.current, decision.desired)
        except NotLeader as error:  # lost since this tick began
            return Outcome(Reason.STANDBY, str(error))
        except TargetError as error:
            reason = next((r for kind, r in _FAILURES if isinstance(error, kind)), Reason.PATCH_FAILED)
            if isinstance(error, Unreachable):
                self._silent_at = now
            if self._said.get(target) != str(error):  # once, not at every tick
                log.warning("%s: %s", target, error)
            self._said[target] = str(error)
            return Outcome(reason, str(error))
        self._said.pop(target, None)
        self._cluster.asked(target, decision.desired, now)
        text = change(decision)
        log.info("%s: %s", target, text)
        self._events.event(target, decision.reason, text, warning=False, now=now)
        return Outcome(Reason.APPLIED, text)
