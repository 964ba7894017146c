"""What has to be observed for one scaler, resolved from its resource."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scaler.api.latency import Latency
from scaler.api.predictive_scaler import PredictiveScaler
from scaler.observe.ports import GroupTopic, LatencyQuery, TargetRef

MOST_READ = 13_000  # steps of a history: each is a look-up in every partition. Nine days of minutes, as backtests read


@dataclass(frozen=True, slots=True)
class KafkaCluster:
    """One Kafka cluster and how to reach it; scalers with the same cluster share one source."""

    bootstrap_servers: str
    properties: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class PrometheusServer:
    """One Prometheus server and the files by which it lets us in, by their names in ``spec.latency.access``."""

    url: str
    access: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True, slots=True)
class HistoryWindow:
    """How much of the topic's past a scaler wants: ``span`` and ``step`` in s."""

    span: float
    step: float


@dataclass(frozen=True, slots=True)
class Watched:
    """Everything that is sampled for one scaler."""

    uid: str
    target: TargetRef
    kafka: KafkaCluster
    topic: GroupTopic
    prometheus: PrometheusServer | None
    latency: LatencyQuery | None
    history: HistoryWindow | None


def watched(resource: PredictiveScaler) -> Watched:
    """Resolve a resource into what has to be sampled for it."""
    spec, meta = resource.spec, resource.metadata
    latency = spec.latency
    return Watched(
        uid=resource.uid,
        target=TargetRef(spec.target.api_version, spec.target.kind, meta.namespace, spec.target.name),
        kafka=KafkaCluster(spec.kafka.bootstrap_servers, tuple(sorted(spec.kafka.properties.items()))),
        topic=GroupTopic(spec.kafka.consumer_group, spec.kafka.topic),
        prometheus=_server(latency) if latency else None,
        latency=LatencyQuery(latency.metric, latency.selector, latency.window) if latency else None,
        history=history_window(spec.forecast.history, spec.forecast.step) if spec.forecast.history > 0 else None,
    )


def _server(latency: Latency) -> PrometheusServer:
    files = {} if latency.access is None else latency.access.files
    return PrometheusServer(latency.prometheus, tuple(sorted(files.items())))


def history_window(span: float, step: float) -> HistoryWindow:
    """The last ``span`` s in the forecaster's steps (s), or as many of them together as make few enough look-ups."""
    return HistoryWindow(span, step * max(math.ceil(span / step / MOST_READ - 1e-9), 1))
