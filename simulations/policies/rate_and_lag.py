"""The strong reactive rule: what the present rate needs, plus the backlog drained in a minute, held for ten.

``replicas = factor x rate / service rate + excess lag / (drain x service rate)``, the largest of the last ``hold``
seconds. Excess lag is what waits beyond the requests that are in service or served and not yet committed. It knows no
forecast and no lead time; it is the bar that a forecast has to clear.
"""

# ruff: noqa: RUF009 - a Duration is an immutable float

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scaler.api.quantities import Duration
from scaler.plan.decision import ServiceDecision
from scaler.plan.observation import ServiceObservation
from scaler.plan.reasons import Reason
from scaler.plan.service import Service
from simulations.policies.peers import fault, for_each, held, in_controller, numbers, read_settings, without_target
from simulations.policies.windows import Largest, RateWindow, backlog

if TYPE_CHECKING:
    from scaler.controller import MakePolicy
    from simulations.policies.catalog import PolicyMaker


@dataclass(frozen=True, slots=True)
class RateAndLagSettings:
    """The rule's parameters. ``time_scale`` multiplies every period: 0.1 is ten times faster, for compressed time."""

    factor: float = 1.1  # capacity for each unit of rate
    rate_window: Duration = Duration(60)  # the rate is the mean over it
    drain: Duration = Duration(60)  # excess lag is to be gone in it
    hold: Duration = Duration(600)  # the largest answer within it counts
    commit_delay: Duration = Duration(0.5)  # half the commit interval: served, and still seen as lag
    time_scale: float = 1.0

    def __post_init__(self) -> None:
        for name in ("factor", "rate_window", "drain", "time_scale"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: found {getattr(self, name)}; allowed: more than 0")


class RateAndLag:
    """The rule for one service."""

    def __init__(self, service: Service, settings: RateAndLagSettings) -> None:
        scale = settings.time_scale
        self.uid = service.uid
        self._service = service
        self._factor = settings.factor
        self._window = RateWindow(settings.rate_window * scale)
        self._drain = settings.drain * scale
        self._answers = Largest(settings.hold * scale, inclusive=True)
        self._in_flight = service.service_time + settings.commit_delay

    def decide(self, now: float, observed: ServiceObservation) -> ServiceDecision:
        """One tick. Without fresh offsets, or before a rate is known, the count is held."""
        replicas = observed.replicas.value
        if replicas is None or not observed.replicas.fresh:
            return without_target(now, observed)
        offsets = observed.offsets.value
        if offsets is None or not observed.offsets.fresh:
            return held(now, observed, replicas, fault(observed.offsets), numbers(replicas, None))
        recreated = self._window.take(observed.offsets.time, offsets)
        rate = self._window.rate()
        if rate is None:
            reason = Reason.TOPIC_RECREATED if recreated else Reason.INPUT_ABSENT
            return held(now, observed, replicas, (reason,), numbers(replicas, offsets))
        waiting, current = backlog(offsets), replicas.desired
        need = self._need(rate, waiting)
        largest = int(self._answers.push(now, need))
        desired, reasons = self._limited(largest, need, current, len(offsets.end))
        seen = numbers(replicas, offsets, rate, waiting)
        return ServiceDecision(self.uid, now, current, desired, reasons, seen)

    def _need(self, rate: float, waiting: float) -> int:
        excess = max(waiting - rate * self._in_flight, 0.0)
        need = (self._factor * rate + excess / self._drain) / self._service.service_rate
        # What floating point adds to a whole number is not worth a replica.
        return math.ceil(need - 1e-9)

    def _limited(self, wanted: int, need: int, current: int, partitions: int) -> tuple[int, tuple[Reason, ...]]:
        least, most = self._service.min_replicas, self._service.max_replicas
        desired = max(min(wanted, most, partitions), least)
        source = Reason.STEADY if desired == current else Reason.NO_FORECAST
        if desired < wanted:
            return desired, (Reason.PARTITIONS if desired == partitions else Reason.MAX_REPLICAS, source)
        if desired > wanted:
            return desired, (Reason.MIN_REPLICAS, source)
        return desired, (Reason.SCALE_IN_DELAYED, source) if wanted > need else (source,)

    def save(self) -> dict[str, Any]:
        """All state, in JSON's types."""
        return {"window": self._window.save(), "answers": self._answers.save()}

    def load(self, saved: Mapping[str, Any]) -> None:
        """Take over what ``save`` gave."""
        self._window.load(saved["window"])
        self._answers.load(saved["answers"])


def make(options: Mapping[str, str]) -> PolicyMaker:
    """The policy from its options, the fields of RateAndLagSettings. Raises ConfigError."""
    settings = read_settings(RateAndLagSettings, "rate_and_lag", options)
    return for_each("rate_and_lag", lambda service: RateAndLag(service, settings))


def rate_and_lag(options: Mapping[str, str]) -> MakePolicy:
    """Entry point ``rate_and_lag`` of the group ``lagcast.policies``."""
    return in_controller(make(options))
