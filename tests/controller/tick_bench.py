"""A controller over stand-ins, with a fixed policy for each scaler."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from prometheus_client import CollectorRegistry

from scaler.act.apply import Actor
from scaler.act.finalizer import NoFinalizers
from scaler.api.predictive_scaler import PredictiveScaler
from scaler.clock import ManualClock
from scaler.controller import Controller
from scaler.observe.gather import Gatherer
from scaler.observe.histories import Histories
from scaler.observe.watched import watched
from scaler.plan.decision import GroupDecision, Numbers, ServiceDecision
from scaler.plan.observation import GroupObservation
from scaler.plan.reasons import Reason
from scaler.plan.service import Service
from scaler.standins.autoscalers import FakeFloors
from scaler.standins.broker import FakeBroker
from scaler.standins.cluster import FakeCluster
from scaler.telemetry import Telemetry


def resource(name: str = "chat", mode: str = "Enforce", **replicas: Any) -> PredictiveScaler:
    return PredictiveScaler.model_validate(
        {
            "apiVersion": "lagcast.io/v1alpha1",
            "kind": "PredictiveScaler",
            "metadata": {"name": name},
            "spec": {
                "target": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
                "kafka": {"bootstrapServers": "one:9092", "topic": f"topic-{name}", "consumerGroup": f"group-{name}"},
                "objective": {"within": "10s", "share": "99%"},
                "replicas": {"min": 1, "max": 30, "serviceRate": "2", **replicas},
                "mode": mode,
            },
        }
    )


class Fixed:
    """Always wants the same count; remembers what it was shown."""

    def __init__(self, uid: str, wanted: int | Exception) -> None:
        self.uid, self.wanted = uid, wanted
        self.seen: list[GroupObservation] = []

    def step(self, now: float, observed: GroupObservation) -> GroupDecision:
        self.seen.append(observed)
        if isinstance(self.wanted, Exception):
            raise self.wanted
        state = observed.services[0].replicas.value
        current = None if state is None else state.desired
        desired = None if current is None else self.wanted
        return GroupDecision(
            (ServiceDecision(self.uid, now, current, desired, (Reason.FORECAST,), Numbers(arrival_rate=8.0)),)
        )

    def snapshot(self) -> bytes:
        return b""

    def restore(self, saved: bytes) -> None: ...


class Bench:
    """A controller over stand-ins with a fixed policy for each scaler."""

    def __init__(self, wanted: dict[str, int | Exception]) -> None:
        self.clock = ManualClock(1000.0)
        self.broker = FakeBroker(self.clock)
        self.cluster = FakeCluster(lambda: 60.0, start=1000.0)
        self.telemetry = Telemetry(CollectorRegistry())
        self.pool = ThreadPoolExecutor(2)
        self.policies: dict[str, list[Fixed]] = {}
        self.wanted = wanted
        self.controller = Controller(
            Gatherer(lambda _: self.broker, self._none, self.cluster, self.pool, Histories(self.pool), 5.0),
            Actor(self.cluster, self.cluster, self.cluster, FakeFloors(), NoFinalizers()),
            self.make,
            self.telemetry,
            self.clock,
            15.0,
        )
        for name in wanted:
            self.broker.create_topic(f"topic-{name}", 4)
            self.broker.join(f"group-{name}")
            self.cluster.deploy(watched(resource(name)).target, 4)

    def _none(self, url: str) -> Any:
        raise AssertionError(url)

    def make(self, scaler: PredictiveScaler, service: Service) -> Fixed:
        made = Fixed(service.uid, self.wanted[scaler.metadata.name])
        self.policies.setdefault(scaler.metadata.name, []).append(made)
        return made

    def value(self, metric: str, **labels: str) -> float | None:
        return self.telemetry.registry.get_sample_value(metric, {"namespace": "default", **labels})
