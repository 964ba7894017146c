"""From one decision to at most one change and one Event, by the mode's own actor."""

from __future__ import annotations

import logging
from collections.abc import Container, Mapping

from scaler.act.floor_mode import Floor
from scaler.act.modes import Enforce, ModeActor, Recommend
from scaler.act.order import Order, Outcome
from scaler.act.ports import EventWriter, Finalizers, FloorWriter, ReplicaWriter
from scaler.api.predictive_scaler import Mode
from scaler.errors import (
    Conflict,
    ContestedTarget,
    Forbidden,
    NoAutoscaler,
    NotLeader,
    OwnedByAnother,
    SeveralAutoscalers,
    Silent,
    TargetError,
    TargetNotFound,
    TargetWithoutScale,
)
from scaler.observe.ports import ClusterSource
from scaler.plan.reasons import Reason

log = logging.getLogger(__name__)

_FAILURES: tuple[tuple[type[TargetError], Reason], ...] = (
    (TargetNotFound, Reason.TARGET_NOT_FOUND),
    (TargetWithoutScale, Reason.TARGET_WITHOUT_SCALE),
    (Forbidden, Reason.FORBIDDEN),
    (OwnedByAnother, Reason.OWNED_BY_ANOTHER),
    (NoAutoscaler, Reason.NO_AUTOSCALER),
    (SeveralAutoscalers, Reason.SEVERAL_AUTOSCALERS),
    (ContestedTarget, Reason.CONTESTED_TARGET),
    (Conflict, Reason.CONFLICT),
    (NotLeader, Reason.STANDBY),
)


class Actor:
    """Writes what was decided, as its mode allows, and only over what was read."""

    def __init__(
        self,
        writer: ReplicaWriter,
        events: EventWriter,
        cluster: ClusterSource,
        floors: FloorWriter,
        finalizers: Finalizers,
    ) -> None:
        self._events = events
        self._cluster = cluster
        self._modes: Mapping[Mode, ModeActor] = {
            Mode.RECOMMEND: Recommend(),
            Mode.FLOOR: Floor(floors, finalizers),
            Mode.ENFORCE: Enforce(writer),
        }
        self._said: dict[str, str] = {}  # by uid: what went wrong last
        self._silent_at: float | None = None  # the tick in which the API server did not answer

    def apply(self, order: Order) -> Outcome:
        """Carry out one decision. Never raises for what the API server answers."""
        actor = self._modes[order.mode]
        outcome = actor.at_once(order)
        if outcome is not None:
            return outcome
        target, now = order.target, order.now
        if self._silent_at == now:  # each would wait for as long again
            return Outcome(Reason.PATCH_FAILED, f"{target}: not tried: the API server did not answer in this tick")
        try:
            outcome = actor.act(order)
        except TargetError as error:
            return self._failed(order, error)
        self._said.pop(order.scaler.uid, None)
        if outcome.count is not None:
            self._cluster.asked(target, outcome.count, now)
        if outcome.patched:
            log.info("%s: %s", target, outcome.detail)
            self._events.event(target, order.decision.reason, outcome.detail, warning=False, now=now)
        return outcome

    def keep(self, uids: Container[str]) -> None:
        """Forget the scalers that are gone."""
        self._said = {uid: said for uid, said in self._said.items() if uid in uids}
        for actor in self._modes.values():
            actor.keep(uids)

    def _failed(self, order: Order, error: TargetError) -> Outcome:
        reason = next((r for kind, r in _FAILURES if isinstance(error, kind)), Reason.PATCH_FAILED)
        if isinstance(error, Silent):
            self._silent_at = order.now
        uid, text = order.scaler.uid, str(error)
        if reason is Reason.STANDBY:  # the election itself says so
            return Outcome(reason, text)
        if self._said.get(uid) != text:  # once, not at every tick
            log.warning("%s: %s", order.target, text)
            if isinstance(error, ContestedTarget):
                self._events.event(order.target, reason, text, warning=True, now=order.now)
        self._said[uid] = text
        return Outcome(reason, text)
