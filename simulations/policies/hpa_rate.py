"""An HPA on the arrival rate: an external metric of type AverageValue, as a Prometheus adapter serves it.

The metric is the mean rate of arrivals over the last minute, its target a share of what one replica serves. Defaults of
``behavior``: double or four more in 15 s, 300 s down window, 10 % tolerance; pending replicas count as existing.
"""

# ruff: noqa: RUF009 - a Duration is an immutable float

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scaler.api.quantities import Duration
from scaler.plan.decision import ServiceDecision
from scaler.plan.observation import ServiceObservation
from scaler.plan.reasons import Reason
from scaler.plan.service import Service
from simulations.policies.hpa_loop import HpaLoop, reasons
from simulations.policies.hpa_metrics import milli
from simulations.policies.hpa_settings import HpaBehavior, HpaSettings
from simulations.policies.peers import after, fault, for_each, in_controller, numbers, read_settings, without_target
from simulations.policies.windows import RateWindow

if TYPE_CHECKING:
    from scaler.controller import MakePolicy
    from simulations.policies.catalog import PolicyMaker


@dataclass(frozen=True, slots=True)
class HpaRateSettings(HpaSettings):
    """The metric's options beside those of the HPA."""

    behavior: HpaBehavior = HpaBehavior.DEFAULT
    utilization: float = 0.7  # target: this share of the service rate for each replica
    rate_window: Duration = Duration(60)

    def __post_init__(self) -> None:
        HpaSettings.__post_init__(self)
        for name in ("utilization", "rate_window"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: found {getattr(self, name)}; allowed: more than 0")


class HpaRate:
    """The rule for one service."""

    def __init__(self, service: Service, settings: HpaRateSettings) -> None:
        self.uid = service.uid
        self._target = max(milli(settings.utilization * service.service_rate), 1)
        self._least = max(service.min_replicas, 1)
        self._window = RateWindow(settings.rate_window * settings.time_scale)
        self._hpa = HpaLoop(service, settings)

    def decide(self, now: float, observed: ServiceObservation) -> ServiceDecision:
        """One tick. Without fresh offsets, or before a rate is known, the count is held."""
        replicas = observed.replicas.value
        if replicas is None or not observed.replicas.fresh:
            return without_target(now, observed)
        current = replicas.desired
        offsets = observed.offsets.value if observed.offsets.fresh else None
        recreated = offsets is not None and self._window.take(observed.offsets.time, offsets)
        rate = None if offsets is None else self._window.rate()
        total = None if rate is None else milli(rate)
        count, outcome = self._hpa.sync(self._hpa.due(now), current, replicas, ((total, self._target),))
        why = reasons(outcome, changed=count != current)
        if offsets is None:
            why = after(fault(observed.offsets), why)
        elif rate is None:
            why = after((Reason.TOPIC_RECREATED if recreated else Reason.INPUT_ABSENT,), why)
        elif current == 0 and total:
            # An HPA leaves a target at zero alone; whoever uses one starts it again.
            count, why = self._least, (Reason.MIN_REPLICAS, Reason.NO_FORECAST)
        return ServiceDecision(self.uid, now, current, count, why, numbers(replicas, offsets, rate))

    def save(self) -> dict[str, Any]:
        """All state, in JSON's types."""
        return {"window": self._window.save(), "hpa": self._hpa.save()}

    def load(self, saved: Mapping[str, Any]) -> None:
        """Take over what ``save`` gave."""
        self._window.load(saved["window"])
        self._hpa.load(saved["hpa"])


def make(options: Mapping[str, str]) -> PolicyMaker:
    """The policy from its options, the fields of HpaRateSettings. Raises ConfigError."""
    settings = read_settings(HpaRateSettings, "hpa_rate", options)
    return for_each("hpa_rate", lambda service: HpaRate(service, settings))


def hpa_rate(options: Mapping[str, str]) -> MakePolicy:
    """Entry point ``hpa_rate`` of the group ``lagcast.policies``."""
    return in_controller(make(options))
