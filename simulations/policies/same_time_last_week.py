"""KEDA's lag trigger beside a query for the arrival rate at the same time last week: the larger of the two counts.

As operators do it today: a ScaledObject with a ``kafka`` trigger and a ``prometheus`` trigger on
``rate(...[5m] offset 7d)``, the offset shortened such that the query looks ahead by the lead time.
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
from simulations.policies.hpa_metrics import milli
from simulations.policies.keda import KafkaTrigger
from simulations.policies.past import Past
from simulations.policies.peers import after, fault, for_each, in_controller, numbers, read_settings, without_target
from simulations.policies.scaled_object import ScaledObject, ScaledObjectSettings, Trigger
from simulations.policies.windows import RateWindow

if TYPE_CHECKING:
    from scaler.controller import MakePolicy
    from simulations.policies.catalog import PolicyMaker

_STEP = 60.0  # s, at which the past is kept


@dataclass(frozen=True, slots=True)
class SameTimeSettings(ScaledObjectSettings):
    """The query's options beside those of the ScaledObject and its lag trigger.

    ``share``: the query's target for each replica, a share of its service rate; and, unless ``threshold`` or
    ``seconds`` is given, the lag trigger's target in seconds of a replica's work. ``lead`` None: the declared lead
    time.
    """

    share: float = 0.7
    offset: Duration = Duration(7 * 86400)
    lead: Duration | None = None
    rate_window: Duration = Duration(300)
    ignore_null_values: bool = True  # KEDA's own: no data from the query is a zero; otherwise a failure

    def __post_init__(self) -> None:
        ScaledObjectSettings.__post_init__(self)
        for name in ("share", "offset", "rate_window"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: found {getattr(self, name)}; allowed: more than 0")
        if self.lead is not None and self.lead >= self.offset:
            raise ValueError(f"lead: found {self.lead}; allowed: less than offset, {self.offset}")

    def target(self, service_rate: float) -> int:
        """The lag trigger's target in thousandths of a message."""
        if self.threshold is None and self.seconds is None:
            return max(milli(self.share * service_rate), 1)
        return ScaledObjectSettings.target(self, service_rate)


class SameTimeLastWeek:
    """The rule for one service."""

    def __init__(self, service: Service, settings: SameTimeSettings) -> None:
        scale = settings.time_scale
        lead = service.lead_time if settings.lead is None else settings.lead * scale
        self.uid = service.uid
        self._kafka = KafkaTrigger(service, settings)
        self._scaled = ScaledObject(service, settings, triggers=2)
        self._target = max(milli(settings.share * service.service_rate), 1)
        self._back = settings.offset * scale - lead
        self._over = settings.rate_window * scale
        self._zero_for_none = settings.ignore_null_values
        self._window = RateWindow(_STEP * scale)
        self._past = Past(_STEP * scale, self._back + self._over)

    def decide(self, now: float, observed: ServiceObservation) -> ServiceDecision:
        """One tick. The query is asked from what was recorded, whether the broker answers or not."""
        if observed.history is not None and observed.history.fresh and observed.history.value is not None:
            self._past.fill(observed.history.value)
        offsets = observed.offsets.value if observed.offsets.fresh else None
        if offsets is not None:
            self._window.take(observed.offsets.time, offsets)
            if (newest := self._window.newest()) is not None:
                self._past.take(*newest)
        replicas = observed.replicas.value
        if replicas is None or not observed.replicas.fresh:
            return without_target(now, observed)
        due = self._scaled.due(now)
        lag = self._kafka.read(offsets) if offsets is not None and due else None
        kafka = Trigger(None, self._kafka.target, active=False)
        if lag is not None:
            kafka = Trigger(lag.total, self._kafka.target, lag.active)
        query = self._query(now) if due else Trigger(0.0, self._target, active=False)
        count, why = self._scaled.step(now, due, replicas, (kafka, query))
        if lag is not None and lag.capped:
            why = tuple(dict.fromkeys((*why, Reason.PARTITIONS)))
        if offsets is None:
            why = after(fault(observed.offsets), why)
        elif query.total is None:
            why = after((Reason.INPUT_ABSENT,), why)
        rate = None if offsets is None else self._window.rate()
        return ServiceDecision(self.uid, now, replicas.desired, count, why, numbers(replicas, offsets, rate))

    def _query(self, now: float) -> Trigger:
        then = now - self._back
        rate = self._past.mean(then - self._over, then)
        if rate is None:
            return Trigger(0.0 if self._zero_for_none else None, self._target, active=False)
        return Trigger(milli(rate), self._target, rate > 0)

    def save(self) -> dict[str, Any]:
        """All state, in JSON's types."""
        return {
            "scaled": self._scaled.save(),
            "committed": self._kafka.save(),
            "window": self._window.save(),
            "past": self._past.save(),
        }

    def load(self, saved: Mapping[str, Any]) -> None:
        """Take over what ``save`` gave."""
        self._scaled.load(saved["scaled"])
        self._kafka.load(saved["committed"])
        self._window.load(saved["window"])
        self._past.load(saved["past"])


def make(options: Mapping[str, str]) -> PolicyMaker:
    """The policy from its options, the fields of SameTimeSettings. Raises ConfigError."""
    settings = read_settings(SameTimeSettings, "same_time_last_week", options)
    return for_each("same_time_last_week", lambda service: SameTimeLastWeek(service, settings))


def same_time_last_week(options: Mapping[str, str]) -> MakePolicy:
    """Entry point ``same_time_last_week`` of the group ``lagcast.policies``."""
    return in_controller(make(options))
