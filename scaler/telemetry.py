"""Metrics of the controller, in base units, and their life with the scaler they belong to."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from scaler.act.order import Outcome
from scaler.api.predictive_scaler import PredictiveScaler
from scaler.metrics.catalog import METRICS, POOL, PREFIX, Kind, Metric
from scaler.metrics.labelled import Labelled
from scaler.metrics.ledger import Ledger
from scaler.metrics.pools import PoolSeries
from scaler.metrics.scores import QUANTILES
from scaler.plan.decision import ServiceDecision
from scaler.plan.observation import Freshness, LatencySample, LeadTime, Reading, ServiceObservation
from scaler.plan.reasons import Reason
from scaler.plan.service import Service

SOURCES = ("kafka", "prometheus", "kubernetes")
OUTCOMES = (
    Reason.APPLIED,
    Reason.CONFLICT,
    Reason.PATCH_FAILED,
    Reason.TARGET_NOT_FOUND,
    Reason.OWNED_BY_ANOTHER,
    Reason.NO_AUTOSCALER,
    Reason.SEVERAL_AUTOSCALERS,
    Reason.CONTESTED_TARGET,
    Reason.TARGET_WITHOUT_SCALE,
    Reason.FORBIDDEN,
)
LEAD_PARTS = ("patch_to_created", "created_to_scheduled", "scheduled_to_ready", "ready_to_partitions", "total")
LATENCIES = (("0.5", "p50"), ("0.95", "p95"), ("0.99", "p99"))
COUNTED = (  # they begin at zero, so that the first event is seen as an increase
    "requests_due",
    "requests_late",
    "replica_seconds",
    "forecasts_scored",
    "forecast_naive_loss",
    "forecast_outcome",
    "recommended_replica_seconds",
    "recommended_requests_due",
    "recommended_requests_late",
)

_Own = Counter | Gauge | Histogram
_INFO = "scaler_info"


@dataclass(frozen=True, slots=True)
class Who:
    """The scaler that a series belongs to."""

    namespace: str
    name: str


@dataclass(slots=True)
class _Shown:
    """What is remembered of one scaler."""

    ledger: Ledger
    info: tuple[str, ...]
    reasons: frozenset[str] = frozenset()
    model: str | None = None


class Telemetry:
    """All series of the controller, made from their list. A value that is not known is NaN, never 0."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._series: dict[str, Labelled] = {}  # of scalers and pools
        self._own: dict[str, _Own] = {}  # of the controller itself
        for metric in METRICS:
            if metric.of_scaler or POOL in metric.labels:
                self._series[metric.name] = Labelled(metric, self.registry)
            else:
                self._own[metric.name] = self._make(metric)
        self.pools = PoolSeries(self._series)
        self._fields = {metric.name: metric.field for metric in METRICS if metric.field}
        self._shown: dict[Who, _Shown] = {}
        # Unix s of the newest value of each source that is told; None before the first.
        self._true_at: dict[tuple[Who, str], float | None] = {}
        ProcessCollector(registry=self.registry)
        self._gauge("build_info", _version()).set(1)
        self._gauge("leader").set(1)
        self._gauge("last_tick_timestamp_seconds").set(math.nan)
        self._gauge("tick_interval_seconds").set(math.nan)

    # --- the controller

    def interval(self, tick: float) -> None:
        """Seconds between ticks."""
        self._gauge("tick_interval_seconds").set(tick)

    def ticked(self, took: float, ended: float, failed: bool) -> None:
        """A tick took ``took`` seconds and ended at unix time ``ended``, in a fault of ours or not."""
        histogram = self._own["tick_seconds"]
        assert isinstance(histogram, Histogram)  # noqa: S101 - as it was made
        histogram.observe(took)
        if failed:
            self._counter("failed_ticks").inc()
        else:
            self._gauge("last_tick_timestamp_seconds").set(ended)

    def fitted(self, took: float, error: str) -> None:
        """A fit took ``took`` seconds; ``error`` is empty unless it failed. May be called from another thread."""
        histogram = self._own["fit_seconds"]
        assert isinstance(histogram, Histogram)  # noqa: S101 - as it was made
        histogram.observe(took)
        if error:
            self._counter("failed_fits").inc()

    def led_by(self, leads: Callable[[], bool]) -> None:
        """Whether this replica leads is asked when it is shown. Before, and without an election, it does."""
        self._gauge("leader").set_function(lambda: float(leads()))

    @property
    def leader_changes(self) -> Counter:
        """Times that this replica became the leader, or ceased to be it."""
        return self._counter("leader_changes")

    @property
    def lease_errors(self) -> Counter:
        """Times that the lease could not be read, taken or renewed."""
        return self._counter("lease_errors")

    @property
    def config_errors(self) -> Counter:
        """Configurations that were refused."""
        return self._counter("config_errors")

    @property
    def config_ok(self) -> Gauge:
        """1 when the newest configuration is the running one."""
        return self._gauge("config_valid")

    # --- one scaler

    def configured(self, who: Who, resource: PredictiveScaler, service: Service) -> None:
        """Publish what was declared of a scaler; a new one's counters begin at zero, so that the first event is seen as
        an increase."""
        info = _info(resource)
        shown = self._shown.get(who)
        if shown is None:
            shown = self._shown[who] = _Shown(Ledger(service), info)
            self._born(who)
        elif shown.ledger.service != service:
            shown.ledger = Ledger(service)
        if shown.info != info:
            self._remove(who, _INFO)
            shown.info = info
        self._set(who, _INFO, 1, *info)
        for name, value in (
            ("objective_within_seconds", service.within),
            ("objective_share", service.share),
            ("min_replicas", service.min_replicas),
            ("max_replicas", service.max_replicas),
        ):
            self._set(who, name, value)

    def gone(self, who: Who) -> None:
        """Remove every series of a scaler that is no longer there."""
        for metric in METRICS:
            if metric.of_scaler:
                self._remove(who, metric.name)
        self._shown.pop(who, None)
        self._true_at = {key: at for key, at in self._true_at.items() if key[0] != who}

    def observed(self, who: Who, seen: ServiceObservation, now: float) -> None:
        """Publish how far each source's reading can be trusted, and its age; and what they told in passing."""
        readings: tuple[Reading[object] | None, ...] = (seen.offsets, seen.latency, seen.replicas)
        for source, reading in zip(SOURCES, readings, strict=True):
            if reading is None:  # not configured, or no longer
                if (who, source) in self._true_at:
                    del self._true_at[who, source]
                    for name in ("input_status", "input_age_seconds"):
                        self._remove(who, name, source=source)
                    if source == "prometheus":
                        self._remove(who, "latency_seconds")
                continue
            for status in Freshness:
                self._set(who, "input_status", reading.freshness is status, source, status)
            if reading.value is not None:
                self._true_at[who, source] = reading.time
            since = self._true_at.setdefault((who, source), None)
            age = None if since is None else max(now - since, 0.0)
            self._set(who, "input_age_seconds", age, source)
        self._latency(who, seen.latency)
        for pod in seen.lead_times:
            self._lead_time(who, pod)

    def decided(self, who: Who, seen: ServiceObservation, decision: ServiceDecision, outcome: Outcome) -> None:
        """Publish a decision, what became of it, and what it was made of."""
        for name, field in self._fields.items():
            self._set(who, name, getattr(decision.numbers, field))
        self._set(who, "desired_replicas", decision.desired)
        self._set(who, "current_replicas", decision.current)
        self._set(who, "autoscaler_min_replicas", outcome.floor)
        forecast = decision.numbers.forecast
        self._set(who, "forecast_ahead_seconds", getattr(forecast, "at", None))
        for quantile, field in QUANTILES:
            self._set(who, "forecast_rate", getattr(forecast, field, None), quantile)
        self._count(who, "decisions", 1, decision.reason)
        if outcome.reason in OUTCOMES:
            self._count(who, "patches", 1, outcome.reason)
        shown = self._shown.get(who)
        if shown is None:  # never configured: a decision of its own, outside a controller
            return
        reasons = frozenset(str(reason) for reason in (*decision.reasons, outcome.reason))
        for reason in shown.reasons - reasons:
            self._remove(who, "reason", reason=reason)
        for reason in reasons:
            self._set(who, "reason", 1, reason)
        shown.reasons = reasons
        model = None if forecast is None else forecast.model
        if shown.model is not None and shown.model != model:
            self._remove(who, "forecast_model", model=shown.model)
        if model is not None:
            self._set(who, "forecast_model", 1, model)
        shown.model = model
        self._keep(who, shown.ledger, seen, decision)

    def _born(self, who: Who) -> None:
        for outcome in OUTCOMES:
            self._begin(who, "patches", outcome)
        for name in COUNTED:
            self._begin(who, name)
        for quantile, _ in QUANTILES:
            self._begin(who, "forecasts_covered", quantile)
            self._begin(who, "forecast_loss", quantile)
        for part in LEAD_PARTS:
            self._begin(who, "pod_lead_time_seconds", part)

    def _keep(self, who: Who, ledger: Ledger, seen: ServiceObservation, decision: ServiceDecision) -> None:
        entry = ledger.step(seen, decision)
        for name, amount in (
            ("requests_due", entry.requests.due),
            ("requests_late", entry.requests.late),
            ("replica_seconds", entry.replica_seconds),
            ("recommended_replica_seconds", entry.followed_seconds),
            ("recommended_requests_due", entry.followed.due),
            ("recommended_requests_late", entry.followed.late),
        ):
            self._count(who, name, amount)
        for score in entry.scores:
            self._count(who, "forecasts_scored", 1)
            self._count(who, "forecast_naive_loss", score.naive_loss)
            self._count(who, "forecast_outcome", score.outcome)
            for (quantile, _), below, loss in zip(QUANTILES, score.below, score.loss, strict=True):
                self._count(who, "forecasts_covered", below, quantile)
                self._count(who, "forecast_loss", loss, quantile)

    def _latency(self, who: Who, reading: Reading[LatencySample] | None) -> None:
        sample = None if reading is None else reading.value
        for quantile, field in LATENCIES if reading is not None else ():
            self._set(who, "latency_seconds", getattr(sample, field, None), quantile)

    def _lead_time(self, who: Who, pod: LeadTime) -> None:
        for part in LEAD_PARTS:
            value = getattr(pod, part)
            if value is not None:
                self._series["pod_lead_time_seconds"].observe(value, who.namespace, who.name, part)

    # --- series

    def _make(self, metric: Metric) -> _Own:
        name, labels = PREFIX + metric.name, metric.label_names
        match metric.kind:
            case Kind.GAUGE:
                return Gauge(name, metric.text, labels, registry=self.registry)
            case Kind.COUNTER:
                return Counter(name, metric.text, labels, registry=self.registry)
            case Kind.HISTOGRAM:
                return Histogram(name, metric.text, labels, registry=self.registry, buckets=metric.buckets)
            case Kind.SUMMARY:
                raise ValueError(f"{metric.name}: the controller itself shows no summary")

    def _gauge(self, name: str, *labels: str) -> Gauge:
        own = self._own[name]
        assert isinstance(own, Gauge)  # noqa: S101 - as it was made
        return own.labels(*labels) if labels else own

    def _counter(self, name: str) -> Counter:
        own = self._own[name]
        assert isinstance(own, Counter)  # noqa: S101 - as it was made
        return own

    def _set(self, who: Who, name: str, value: float | None, *labels: str) -> None:
        self._series[name].set(value, who.namespace, who.name, *labels)

    def _begin(self, who: Who, name: str, *labels: str) -> None:
        self._series[name].begin(who.namespace, who.name, *labels)

    def _count(self, who: Who, name: str, amount: float, *labels: str) -> None:
        self._series[name].add(amount, who.namespace, who.name, *labels)

    def _remove(self, who: Who, name: str, **labels: str) -> None:
        self._series[name].remove(namespace=who.namespace, name=who.name, **labels)


def _info(resource: PredictiveScaler) -> tuple[str, ...]:
    spec = resource.spec
    metric, selector = ("", "") if spec.latency is None else (spec.latency.metric, spec.latency.selector)
    target, kafka = spec.target, spec.kafka
    return (
        str(spec.mode),
        str(spec.forecast.model),
        target.kind,
        target.name,
        kafka.topic,
        kafka.consumer_group,
        metric,
        selector,
    )


def _version() -> str:
    try:
        return version("lagcast")
    except PackageNotFoundError:
        return "unknown"
