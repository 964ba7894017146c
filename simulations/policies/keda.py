"""KEDA's Kafka lag rule through the HPA: what a ScaledObject with one ``kafka`` trigger does to a Deployment.

The rule sees the offsets at the controller's ticks; where a tick is longer than a sync, the syncs in between are caught
up with the newest offsets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scaler.plan.decision import ServiceDecision
from scaler.plan.observation import ServiceObservation, TopicOffsets
from scaler.plan.reasons import Reason
from scaler.plan.service import Service
from simulations.policies.kafka_scaler import KafkaSettings, Lag, kafka_lag
from simulations.policies.peers import after, fault, for_each, in_controller, numbers, read_settings, without_target
from simulations.policies.scaled_object import ScaledObject, ScaledObjectSettings, Trigger

if TYPE_CHECKING:
    from scaler.controller import MakePolicy
    from simulations.policies.catalog import PolicyMaker

KedaSettings = ScaledObjectSettings


class KafkaTrigger:
    """The trigger with what it remembers from one poll to the next."""

    def __init__(self, service: Service, settings: KafkaSettings) -> None:
        self._settings = settings
        self.target = settings.target(service.service_rate)
        self._committed: dict[int, int] = {}

    def read(self, offsets: TopicOffsets) -> Lag:
        """One poll."""
        lag = kafka_lag(offsets, self._committed, self._settings, self.target)
        if self._settings.exclude_persistent_lag:
            self._committed = dict(zip(offsets.partitions.tolist(), offsets.committed.tolist(), strict=True))
        return lag

    def save(self) -> list[list[int]]:
        """All state, in JSON's types."""
        return [[partition, offset] for partition, offset in self._committed.items()]

    def load(self, saved: Any) -> None:
        """Take over what ``save`` gave."""
        self._committed = {int(partition): int(offset) for partition, offset in saved}


class KedaLag:
    """The rule for one service."""

    def __init__(self, service: Service, settings: ScaledObjectSettings) -> None:
        self.uid = service.uid
        self._trigger = KafkaTrigger(service, settings)
        self._scaled = ScaledObject(service, settings)

    def decide(self, now: float, observed: ServiceObservation) -> ServiceDecision:
        """One tick: KEDA's own step between 0 and 1, then every HPA sync that is due."""
        replicas = observed.replicas.value
        if replicas is None or not observed.replicas.fresh:
            return without_target(now, observed)
        offsets = observed.offsets.value if observed.offsets.fresh else None
        due = self._scaled.due(now)
        lag = self._trigger.read(offsets) if offsets is not None and due else None
        told = (
            Trigger(None, self._trigger.target, False)
            if lag is None
            else Trigger(lag.total, self._trigger.target, lag.active)
        )
        count, why = self._scaled.step(now, due, replicas, (told,))
        if lag is not None and lag.capped:
            why = tuple(dict.fromkeys((*why, Reason.PARTITIONS)))
        if offsets is None:
            why = after(fault(observed.offsets), why)
        return ServiceDecision(self.uid, now, replicas.desired, count, why, numbers(replicas, offsets))

    def save(self) -> dict[str, Any]:
        """All state, in JSON's types."""
        return {"scaled": self._scaled.save(), "committed": self._trigger.save()}

    def load(self, saved: Mapping[str, Any]) -> None:
        """Take over what ``save`` gave."""
        self._scaled.load(saved["scaled"])
        self._trigger.load(saved["committed"])


def make(options: Mapping[str, str]) -> PolicyMaker:
    """The policy from its options, the fields of ScaledObjectSettings. Raises ConfigError."""
    settings = read_settings(ScaledObjectSettings, "keda_lag", options)
    return for_each("keda_lag", lambda service: KedaLag(service, settings))


def keda_lag(options: Mapping[str, str]) -> MakePolicy:
    """Entry point ``keda_lag`` of the group ``lagcast.policies``."""
    return in_controller(make(options))
