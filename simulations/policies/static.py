"""A fixed count, as a deployment without an autoscaler has it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scaler.plan.decision import ServiceDecision
from scaler.plan.observation import ServiceObservation
from scaler.plan.reasons import Reason
from scaler.plan.service import Service
from simulations.policies.peers import fault, for_each, in_controller, numbers, read_settings, without_target

if TYPE_CHECKING:
    from scaler.controller import MakePolicy
    from simulations.policies.catalog import PolicyMaker


@dataclass(frozen=True, slots=True)
class StaticSettings:
    """The count, or a share of max_replicas (rounded up) that it is. Neither: max_replicas."""

    replicas: int | None = None
    share: float | None = None

    def __post_init__(self) -> None:
        if self.replicas is not None and self.share is not None:
            raise ValueError("replicas: found beside share; allowed: one of them")
        if self.replicas is not None and self.replicas < 0:
            raise ValueError(f"replicas: found {self.replicas}; allowed: at least 0")
        if self.share is not None and not 0 < self.share <= 1:
            raise ValueError(f"share: found {self.share}; allowed: more than 0, at most 1")


class Static:
    """The rule for one service; it keeps to min_replicas and max_replicas."""

    def __init__(self, service: Service, settings: StaticSettings) -> None:
        self.uid = service.uid
        wanted = settings.replicas
        if wanted is None:
            share = 1.0 if settings.share is None else settings.share
            wanted = math.ceil(share * service.max_replicas - 1e-9)
        self._count = max(min(wanted, service.max_replicas), service.min_replicas)
        self._limit = None
        if self._count != wanted:
            self._limit = Reason.MAX_REPLICAS if self._count < wanted else Reason.MIN_REPLICAS

    def decide(self, now: float, observed: ServiceObservation) -> ServiceDecision:
        """One tick: the load is not looked at, only shown."""
        replicas = observed.replicas.value
        if replicas is None or not observed.replicas.fresh:
            return without_target(now, observed)
        offsets = observed.offsets.value if observed.offsets.fresh else None
        why: tuple[Reason, ...] = (Reason.STEADY if self._count == replicas.desired else Reason.NO_FORECAST,)
        if self._limit is not None:
            why = (self._limit, *why)
        if offsets is None:
            why = (*why, *fault(observed.offsets))
        return ServiceDecision(self.uid, now, replicas.desired, self._count, why, numbers(replicas, offsets))

    def save(self) -> dict[str, Any]:
        """It remembers nothing."""
        return {}

    def load(self, saved: Mapping[str, Any]) -> None:
        """It remembers nothing."""


def make(options: Mapping[str, str]) -> PolicyMaker:
    """The policy from its options, the fields of StaticSettings. Raises ConfigError."""
    settings = read_settings(StaticSettings, "static", options)
    return for_each("static", lambda service: Static(service, settings))


def static(options: Mapping[str, str]) -> MakePolicy:
    """Entry point ``static`` of the group ``lagcast.policies``."""
    return in_controller(make(options))
