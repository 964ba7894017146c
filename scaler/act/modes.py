"""What each mode makes of an order: Recommend reports it, Enforce writes the count. (Floor has a file of its own.)"""

from __future__ import annotations

from collections.abc import Container
from datetime import UTC, datetime
from typing import Protocol

from scaler.act.contest import Contests
from scaler.act.order import Order, Outcome
from scaler.act.ports import ReplicaWriter
from scaler.act.text import change
from scaler.api.pause import PAUSED_REPLICAS, PAUSED_SCALE_IN
from scaler.errors import ContestedTarget
from scaler.kube import MANAGER
from scaler.plan.reasons import Reason


class ModeActor(Protocol):
    """One mode."""

    def at_once(self, order: Order) -> Outcome | None:
        """What becomes of an order without asking the API server; None when that has to be asked."""
        ...

    def act(self, order: Order) -> Outcome:
        """Carry it out, or raise TargetError. An outcome that is APPLIED has written."""
        ...

    def keep(self, uids: Container[str]) -> None:
        """Forget the scalers that are gone."""
        ...


class Recommend:
    """Reports what would be written."""

    def at_once(self, order: Order) -> Outcome:
        decision = order.decision
        if decision.desired is None or decision.current is None:
            return Outcome(decision.reason)
        if decision.desired == decision.current:
            return Outcome(Reason.UNCHANGED)
        return Outcome(Reason.RECOMMENDED, change(decision))

    def act(self, order: Order) -> Outcome:
        return self.at_once(order)

    def keep(self, uids: Container[str]) -> None:
        """It remembers nothing."""


class Enforce:
    """Writes the count of the target itself, over the count that was read."""

    def __init__(self, writer: ReplicaWriter, contests: Contests | None = None) -> None:
        self._writer = writer
        self._contests = contests or Contests()

    def at_once(self, order: Order) -> Outcome | None:
        decision, wanted = order.decision, order.wanted
        if wanted is None or decision.current is None:
            return Outcome(decision.reason)
        if wanted == decision.current and order.pause.replicas is None:
            return Outcome(Reason.UNCHANGED)
        if order.pause.everything:
            return Outcome(Reason.PAUSED, change(decision))
        if wanted == decision.current:
            return Outcome(Reason.PAUSED, f"held at {wanted}: {PAUSED_REPLICAS}")
        if order.pause.scale_in and order.pause.replicas is None and wanted < decision.current:
            return Outcome(Reason.PAUSED, f"{PAUSED_SCALE_IN}; else {change(decision)}")
        return None

    def act(self, order: Order) -> Outcome:
        current, wanted = order.decision.current, order.wanted
        if current is None or wanted is None:
            return Outcome(order.decision.reason)
        uid, where = order.scaler.uid, str(order.target)
        if self._contests.suspect(uid, where, current):
            by = self._writer.last_writer(order.target)
            if by != MANAGER:  # else what was read is older than what was written
                self._contests.reversed(uid, where, by or "", order.now)
        leave_to_the_other(self._contests, order, where)
        self._writer.write(order.target, current, wanted)
        self._contests.wrote(uid, where, wanted, order.now)
        if order.pause.replicas is not None:
            return Outcome(Reason.APPLIED, f"{current} -> {wanted}: {PAUSED_REPLICAS}", count=wanted)
        return Outcome(Reason.APPLIED, change(order.decision), count=wanted)

    def keep(self, uids: Container[str]) -> None:
        """Forget what was written for scalers that are gone."""
        self._contests.keep(uids)


def leave_to_the_other(contests: Contests, order: Order, where: str) -> None:
    """Raises ContestedTarget while somebody else is left to win."""
    contested = contests.contested(order.scaler.uid, where, order.now)
    if contested is not None:
        by, until = contested
        who = f"the field manager {by!r}" if by else "somebody who left no field manager"
        at = datetime.fromtimestamp(until, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        raise ContestedTarget(
            f"{where}: what was written is put back again and again, last by {who}; nothing is written before {at}: "
            "have it leave the count alone, or set this scaler's mode to Recommend"
        )
