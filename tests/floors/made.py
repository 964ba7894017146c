"""Orders, and an actor over stand-ins."""

from __future__ import annotations

from typing import Any

from scaler.act.apply import Actor
from scaler.act.order import Order, Outcome, ScalerRef
from scaler.api.pause import read_pause
from scaler.api.predictive_scaler import Mode
from scaler.observe.ports import TargetRef
from scaler.plan.decision import Numbers, ServiceDecision
from scaler.plan.reasons import Reason
from scaler.standins.autoscalers import FakeFinalizers, FakeFloors
from scaler.standins.cluster import FakeCluster

CHAT = TargetRef("apps/v1", "Deployment", "shop", "chat")
WHO = ScalerRef("shop", "chat", "uid-1")
START = 1_700_000_000.0
TICK = 15.0


class Stage:
    """One scaler on one target, and all that it touches."""

    def __init__(self, mode: Mode = Mode.FLOOR, *, current: int = 4) -> None:
        self.mode, self.now = mode, START
        self.follows = True  # the autoscaler brings its target up to the minimum
        self.cluster = FakeCluster(lambda: 60.0, start=START)
        self.cluster.deploy(CHAT, current)
        self.floors, self.finalizers = FakeFloors(), FakeFinalizers(WHO)
        self.restart()

    def restart(self) -> None:
        """A new process, which remembers nothing."""
        self.actor = Actor(self.cluster, self.cluster, self.cluster, self.floors, self.finalizers)

    def tick(
        self,
        desired: int | None,
        *reasons: Reason,
        annotations: dict[str, str] | None = None,
        target: TargetRef = CHAT,
        who: ScalerRef = WHO,
        **more: Any,
    ) -> Outcome:
        """Carry out one decision, and let a tick pass."""
        current = None if desired is None else self.cluster.replicas(CHAT)
        decided = ServiceDecision(who.uid, self.now, current, desired, reasons or (Reason.FORECAST,), Numbers())
        pause = read_pause(annotations or {})
        order = Order(who, target, self.mode, decided, self.now, pause, **{"most": 30, **more})
        outcome = self.actor.apply(order)
        self.now += TICK
        self.cluster.advance(self.now)
        for one in self.floors._kept.values() if self.follows else ():
            if one.scales(CHAT) and (one.least or 0) > self.cluster.replicas(CHAT):
                self.cluster.set_replicas(CHAT, one.least or 0, "kube-controller-manager")
        return outcome

    def floor(self, name: str = "chat") -> tuple[int | None, str | None]:
        """The minimum of an autoscaler, and whose mark it has."""
        found = self.floors.one("shop", name)
        return found.least, None if found.mark is None else found.mark.scaler
