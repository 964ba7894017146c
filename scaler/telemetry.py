"""Metrics of the controller, in base units, and their life with the scaler they belong to."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from scaler.act.apply import Outcome
from scaler.plan.decision import ServiceDecision
from scaler.plan.observation import Freshness, Reading, ServiceObservation
from scaler.plan.reasons import Reason

WHO = ("namespace", "name")
SOURCES = ("kafka", "prometheus", "kubernetes")
OUTCOMES = (
    Reason.APPLIED,
    Reason.CONFLICT,
    Reason.PATCH_FAILED,
    Reason.TARGET_NOT_FOUND,
    Reason.OWNED_BY_ANOTHER,
    Reason.TARGET_WITHOUT_SCALE,
    Reason.FORBIDDEN,
)


@dataclass(frozen=True, slots=True)
class Who:
    """The scaler that a series belongs to."""

    namespace: str
    name: str


class Telemetry:
    """All series of the controller. A value that is not known is NaN, never 0."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        gauge = self._gauge
        self._numbers = {
            "arrival_rate": gauge("arrival_rate", "Newest arrival rate (requests/s)"),
            "backlog": gauge("backlog_messages", "Messages not yet committed"),
            "time_lag": gauge("time_lag_seconds", "Age of the oldest unconsumed message"),
            "service_rate": gauge("service_rate", "Learned service rate of one ready replica (requests/s)"),
            "lead_time": gauge("lead_time_seconds", "95 % point of the learned lead time"),
            "ready": gauge("ready_replicas", "Replicas that are ready"),
            "pending": gauge("pending_replicas", "Replicas asked for and not yet ready"),
            "forecast_replicas": gauge("forecast_replicas", "Count that the forecast asks for"),
            "floor_replicas": gauge("floor_replicas", "Count that the present load needs"),
            "partitions": gauge("partitions", "Partitions of the topic"),
        }
        self._desired = gauge("desired_replicas", "Count that was decided")
        self._current = gauge("current_replicas", "Count that was read from the target")
        self._forecast = gauge("forecast_rate", "Forecast arrival rate at the lead time (requests/s)", "quantile")
        self._reason = gauge("reason", "1 for each reason that touched the newest decision", "reason")
        self._status = gauge("input_status", "1 for the present status of a source's reading", "source", "status")
        self._age = gauge("input_age_seconds", "Age of a source's newest value", "source")
        self._true_at: dict[tuple[Who, str], float] = {}  # unix s of each source's newest value
        self._decisions = self._counter("decisions", "Decisions by their decisive reason", "reason")
        self._patches = self._counter("patches", "Patches of replica counts by outcome", "outcome")
        self.tick_seconds = Histogram(
            "lagcast_tick_seconds",
            "Duration of a tick",
            registry=self.registry,
            buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10),
        )
        self.config_errors = Counter(
            "lagcast_config_errors", "Configurations that were refused", registry=self.registry
        )
        self.config_ok = Gauge(
            "lagcast_config_valid", "1 when the newest configuration is the running one", registry=self.registry
        )

    def born(self, who: Who) -> None:
        """Counters begin at zero, so that the first event is seen as an increase."""
        for outcome in OUTCOMES:
            self._patches.labels(who.namespace, who.name, outcome)

    def gone(self, who: Who) -> None:
        """Remove every series of a scaler that is no longer there."""
        metrics: Iterable[Gauge | Counter] = (
            *self._numbers.values(),
            self._desired,
            self._current,
            self._forecast,
            self._reason,
            self._status,
            self._age,
            self._decisions,
            self._patches,
        )
        for metric in metrics:
            metric.remove_by_labels({"namespace": who.namespace, "name": who.name})
        self._true_at = {key: at for key, at in self._true_at.items() if key[0] != who}

    def observed(self, who: Who, seen: ServiceObservation, now: float) -> None:
        """Publish how far each source's reading can be trusted, and its age."""
        readings: tuple[Reading[object] | None, ...] = (seen.offsets, seen.latency, seen.replicas)
        for source, reading in zip(SOURCES, readings, strict=True):
            if reading is None:  # not configured, or no longer
                for metric in (self._status, self._age):
                    metric.remove_by_labels({"namespace": who.namespace, "name": who.name, "source": source})
                self._true_at.pop((who, source), None)
                continue
            for status in Freshness:
                self._status.labels(who.namespace, who.name, source, status).set(reading.freshness is status)
            if reading.value is not None:
                self._true_at[who, source] = reading.time
            since = self._true_at.get((who, source))
            age = None if since is None else max(now - since, 0.0)
            self._age.labels(who.namespace, who.name, source).set(_number(age))

    def decided(self, who: Who, decision: ServiceDecision, outcome: Outcome) -> None:
        """Publish a decision and what became of it."""
        labels = (who.namespace, who.name)
        for field, metric in self._numbers.items():
            metric.labels(*labels).set(_number(getattr(decision.numbers, field)))
        self._desired.labels(*labels).set(_number(decision.desired))
        self._current.labels(*labels).set(_number(decision.current))
        forecast = decision.numbers.forecast
        for quantile, field in (("0.05", "p05"), ("0.5", "p50"), ("0.95", "p95"), ("0.99", "p99")):
            self._forecast.labels(*labels, quantile).set(_number(getattr(forecast, field, None)))
        self._reason.remove_by_labels({"namespace": who.namespace, "name": who.name})
        for reason in (*decision.reasons, outcome.reason):
            self._reason.labels(*labels, reason).set(1)
        self._decisions.labels(*labels, decision.reason).inc()
        if outcome.reason in OUTCOMES:
            self._patches.labels(*labels, outcome.reason).inc()

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"lagcast_{name}", text, (*WHO, *labels), registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"lagcast_{name}", text, (*WHO, *labels), registry=self.registry)


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
