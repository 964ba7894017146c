"""What `/metrics` shows: made from the list, true to the decision, and gone with its scaler."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from scaler.act.order import Outcome
from scaler.api.predictive_scaler import PredictiveScaler, to_service
from scaler.metrics import reference
from scaler.metrics.catalog import METRICS, WHO, Kind
from scaler.plan.decision import Forecast, Numbers, ServiceDecision
from scaler.plan.observation import (
    Freshness,
    LatencySample,
    LeadTime,
    Reading,
    ReplicaState,
    ServiceObservation,
    TopicOffsets,
)
from scaler.plan.reasons import Reason
from scaler.telemetry import OUTCOMES, Telemetry, Who

CHAT, EMBED = Who("ml", "chat"), Who("ml", "embed")
TICK = 15.0


def resource(name: str, mode: str = "Enforce") -> PredictiveScaler:
    return PredictiveScaler.model_validate(
        {
            "apiVersion": "lagcast.io/v1alpha1",
            "kind": "PredictiveScaler",
            "metadata": {"name": name, "namespace": "ml"},
            "spec": {
                "target": {"name": f"{name}-server"},
                "kafka": {"bootstrapServers": "one:9092", "topic": f"topic-{name}", "consumerGroup": f"group-{name}"},
                "latency": {"prometheus": "http://prometheus:9090", "selector": f'app="{name}"'},
                "objective": {"within": "10s", "share": "99%"},
                "replicas": {"min": 1, "max": 30, "serviceRate": "2"},
                "mode": mode,
            },
        }
    )


def observation(time: float, end: float, committed: float) -> ServiceObservation:
    one = np.zeros(1, dtype=np.int64)
    offsets = TopicOffsets(one, one + int(end), one, one + int(committed))
    return ServiceObservation(
        uid="u",
        offsets=Reading(offsets, time, Freshness.FRESH),
        latency=Reading(LatencySample(0.1, 0.2, None, 9.0, 1.0, 60.0), time, Freshness.FRESH),
        replicas=Reading(ReplicaState(4, 4, (), 0, "a", False), time, Freshness.FRESH),
        lead_times=(LeadTime("pod-1", 1.0, 60.0, 30.0, None, time),),
    )


def decision(time: float, *reasons: Reason, model: str = "seasonal") -> ServiceDecision:
    numbers = Numbers(
        arrival_rate=8.0, service_rate=2.0, lead_time=60.0, forecast=Forecast(60.0, 6.0, 8.0, 9.0, 10.0, model)
    )
    return ServiceDecision("u", time, 4, 6, reasons or (Reason.FORECAST,), numbers)


class Shown:
    """A Telemetry with two scalers, and what it shows."""

    def __init__(self) -> None:
        self.telemetry = Telemetry()
        for who in (CHAT, EMBED):
            self.configure(who)

    def configure(self, who: Who, mode: str = "Enforce") -> None:
        made = resource(who.name, mode)
        self.telemetry.configured(who, made, to_service(made, TICK))

    def tick(
        self, who: Who, time: float, *reasons: Reason, committed: float | None = None, model: str = "seasonal"
    ) -> None:
        seen = observation(time, 8 * time, 8 * time if committed is None else committed)
        self.telemetry.observed(who, seen, time)
        told = decision(time, *reasons, model=model)
        self.telemetry.decided(who, seen, told, Outcome(Reason.APPLIED))

    def value(self, metric: str, who: Who | None = CHAT, **labels: str) -> float | None:
        of = {} if who is None else {"namespace": who.namespace, "name": who.name}
        return self.telemetry.registry.get_sample_value(metric, of | labels)

    def names_of(self, who: Who) -> set[str]:
        samples = [s for family in self.telemetry.registry.collect() for s in family.samples]
        return {s.name for s in samples if s.labels.get("name") == who.name}


@pytest.fixture
def shown() -> Shown:
    return Shown()


def test_what_is_served_is_the_list(shown: Shown) -> None:
    shown.tick(CHAT, 0.0)
    text = generate_latest(shown.telemetry.registry).decode()
    families = [f for f in text_string_to_metric_families(text) if f.name.startswith("lagcast_")]
    served = {f.name: f for f in families if not f.name.endswith("_created")}  # the client's own, beside each counter
    assert set(served) == {f"lagcast_{metric.name}" for metric in METRICS}
    for metric in METRICS:
        family = served[f"lagcast_{metric.name}"]
        assert family.type == metric.kind
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(metric.label_names), sample


def test_names_are_in_base_units() -> None:
    for metric in METRICS:
        assert re.fullmatch(r"[a-z][a-z_]*[a-z]", metric.name)
        assert not re.search(r"_(total|ms|milliseconds|minutes|hours|percent|ratio)$", metric.name), metric.name
        assert metric.text[0].isupper() or metric.text[0].isdigit()
        assert len(set(metric.label_names)) == len(metric.label_names)
        assert not metric.of_scaler or metric.label_names[:2] == WHO


def test_the_reference_names_every_metric_and_is_the_one_checked_in() -> None:
    page = reference.render()
    for metric in METRICS:
        assert f"| `{metric.sample}" in page
        assert metric.text in page
    kept = Path(__file__).parents[2] / "docs" / "metrics.md"
    assert kept.read_text(encoding="utf-8") == page, "run `make generate`"


def test_a_scaler_that_is_gone_leaves_no_series_and_the_other_one_stays(shown: Shown) -> None:
    for who in (CHAT, EMBED):
        for tick in range(8):
            shown.tick(who, tick * TICK)
    before = shown.names_of(EMBED)
    assert shown.names_of(CHAT) == before
    assert {f"lagcast_{m.name}" for m in METRICS if m.of_scaler and m.kind is Kind.GAUGE} <= before
    shown.telemetry.gone(CHAT)
    assert shown.names_of(CHAT) == set()
    assert shown.names_of(EMBED) == before
    shown.configure(CHAT)
    assert shown.value("lagcast_requests_due_total") == 0.0, "made anew, it counts anew"


def test_counters_begin_at_zero(shown: Shown) -> None:
    for outcome in OUTCOMES:
        assert shown.value("lagcast_patches_total", outcome=outcome) == 0.0
    for metric in METRICS:
        if metric.kind is Kind.COUNTER and not metric.labels and metric.of_scaler:
            assert shown.value(metric.sample) == 0.0, metric.name
    assert shown.value("lagcast_forecasts_covered_total", quantile="0.95") == 0.0
    assert shown.value("lagcast_pod_lead_time_seconds_count", part="total") == 0.0


def test_what_was_declared_is_shown_and_follows_a_change(shown: Shown) -> None:
    assert shown.value("lagcast_objective_within_seconds") == 10.0
    assert shown.value("lagcast_objective_share") == pytest.approx(0.99)
    assert (shown.value("lagcast_min_replicas"), shown.value("lagcast_max_replicas")) == (1.0, 30.0)
    labels = {"forecast": "auto", "kind": "Deployment", "target": "chat-server", "topic": "topic-chat"}
    labels |= {"group": "group-chat", "latency_metric": "inference_latency_seconds", "latency_selector": 'app="chat"'}
    assert shown.value("lagcast_scaler_info", mode="Enforce", **labels) == 1.0
    shown.configure(CHAT, "Recommend")
    assert shown.value("lagcast_scaler_info", mode="Enforce", **labels) is None
    assert shown.value("lagcast_scaler_info", mode="Recommend", **labels) == 1.0


def test_only_the_newest_reasons_and_model_are_shown(shown: Shown) -> None:
    shown.tick(CHAT, 0.0, Reason.FORECAST, Reason.MAX_REPLICAS, model="old")
    shown.tick(CHAT, TICK, Reason.STEADY, model="new")
    assert shown.value("lagcast_reason", reason="MaxReplicas") is None
    assert shown.value("lagcast_reason", reason="Forecast") is None
    assert shown.value("lagcast_reason", reason="Steady") == 1.0
    assert shown.value("lagcast_reason", reason="Applied") == 1.0
    assert shown.value("lagcast_decisions_total", reason="Forecast") == 1.0
    assert shown.value("lagcast_forecast_model", model="old") is None
    assert shown.value("lagcast_forecast_model", model="new") == 1.0


def test_what_is_not_known_is_nan(shown: Shown) -> None:
    shown.tick(CHAT, 0.0)
    for metric, labels in (("lagcast_time_lag_seconds", {}), ("lagcast_latency_seconds", {"quantile": "0.99"})):
        value = shown.value(metric, **labels)
        assert value is not None
        assert math.isnan(value), metric


def test_requests_replicas_and_forecasts_are_counted(shown: Shown) -> None:
    # 8 requests/s; nothing is committed after 60 s. 4 replicas run, 6 are wanted.
    for tick in range(13):
        time = tick * TICK
        shown.tick(CHAT, time, committed=8 * min(time, 60.0))
    assert shown.value("lagcast_requests_due_total") == pytest.approx(8 * 170)
    assert shown.value("lagcast_requests_late_total") == pytest.approx(8 * 110)
    assert shown.value("lagcast_replica_seconds_total") == pytest.approx(4 * 180)
    assert shown.value("lagcast_recommended_replica_seconds_total") == pytest.approx(6 * 180)
    assert shown.value("lagcast_recommended_requests_late_total") == 0.0, "4 replicas at 2 requests/s suffice"
    scored = shown.value("lagcast_forecasts_scored_total")
    assert scored is not None
    assert scored > 0
    assert shown.value("lagcast_forecasts_covered_total", quantile="0.95") == scored
    assert shown.value("lagcast_forecasts_covered_total", quantile="0.05") == 0.0
    assert shown.value("lagcast_forecast_loss_total", quantile="0.95") == pytest.approx(scored * 0.05)
    assert shown.value("lagcast_forecast_outcome_total") == pytest.approx(scored * 8.0)
    assert shown.value("lagcast_pod_lead_time_seconds_count", part="ready_to_partitions") == 0.0
    assert shown.value("lagcast_pod_lead_time_seconds_sum", part="total") == pytest.approx(13 * 91.0)


def test_nothing_is_counted_without_fresh_offsets(shown: Shown) -> None:
    shown.tick(CHAT, 0.0)
    for tick in range(1, 4):
        seen = observation(tick * TICK, 999.0, 0.0)
        stale = Reading(seen.offsets.value, 0.0, Freshness.STALE)
        blind = ServiceObservation("u", stale, None, seen.replicas)
        shown.telemetry.observed(CHAT, blind, tick * TICK)
        shown.telemetry.decided(CHAT, blind, decision(tick * TICK), Outcome(Reason.UNCHANGED))
    assert shown.value("lagcast_requests_due_total") == 0.0
    assert shown.value("lagcast_replica_seconds_total") == pytest.approx(4 * 45.0), "the count is known all the same"
    assert shown.value("lagcast_input_age_seconds", source="kafka") == 45.0
    assert shown.value("lagcast_input_status", source="prometheus", status="fresh") is None
    assert shown.value("lagcast_latency_seconds", quantile="0.5") is None
    shown.tick(CHAT, 60.0)
    assert shown.value("lagcast_requests_due_total") == pytest.approx(8 * 50), "it goes on where it was"


def test_ticks_of_the_controller(shown: Shown) -> None:
    assert math.isnan(shown.value("lagcast_last_tick_timestamp_seconds", None) or 0.0)
    shown.telemetry.interval(15.0)
    shown.telemetry.ticked(0.2, 1000.0, failed=False)
    shown.telemetry.ticked(0.4, 1015.0, failed=True)
    assert shown.value("lagcast_tick_interval_seconds", None) == 15.0
    assert shown.value("lagcast_last_tick_timestamp_seconds", None) == 1000.0
    assert shown.value("lagcast_failed_ticks_total", None) == 1.0
    assert shown.value("lagcast_tick_seconds_count", None) == 2.0
    assert shown.value("process_resident_memory_bytes", None)
