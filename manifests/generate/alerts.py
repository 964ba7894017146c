"""The alerts: one list, from which the plain rules file and the PrometheusRule are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

BY = "by (namespace, name)"
ON = "on (namespace, name)"
SERVICE = "{{ $labels.namespace }}/{{ $labels.name }}"


@dataclass(frozen=True, slots=True)
class Alert:
    """One alerting rule. Its runbook is docs/runbooks/<name>.md."""

    name: str
    expr: str
    wait: str  # how long it must hold
    severity: str  # critical: a person is to look now; warning: in working hours
    summary: str
    description: str


def _late(window: str) -> str:
    late, due = (f"sum {BY} (increase(lagcast_requests_{kind}_total[{window}]))" for kind in ("late", "due"))
    return f"{late} / ({due} > 0)"


def _burning(factor: float, most: float, long: str, short: str) -> str:
    """Late share above ``factor`` times the budget over a long and a short window (Google SRE workbook, chapter 5), or
    above ``most``, which a loose objective would never reach otherwise."""
    limit = f"clamp_max({factor:g} * (1 - max {BY} (lagcast_objective_share)), {most:g})"
    return f"({_late(long)} > {ON} {limit}) and {ON} ({_late(short)} > {ON} {limit})"


def _reason(reason: str) -> str:
    return f'max {BY} (lagcast_reason{{reason="{reason}"}}) == 1'


_LOSS = f'sum {BY} (increase(lagcast_forecast_loss_total{{quantile="0.5"}}[6h]))'
_NAIVE = f"sum {BY} (increase(lagcast_forecast_naive_loss_total[6h]))"
_COVERED = f'sum {BY} (increase(lagcast_forecasts_covered_total{{quantile="0.95"}}[6h]))'
_SCORED = f"sum {BY} (increase(lagcast_forecasts_scored_total[6h]))"

# The newest tick of each replica; before the first one, the start of the process.
REPLICA = "by (job, instance)"
_STARTED = "process_start_time_seconds and on (job, instance) lagcast_tick_interval_seconds"
_SINCE = f"(max {REPLICA} (lagcast_last_tick_timestamp_seconds > 0) or max {REPLICA} ({_STARTED}))"

ALERTS: tuple[Alert, ...] = (
    Alert(
        "LagcastObjectiveBurning",
        _burning(14.4, 0.5, "1h", "5m"),
        "2m",
        "critical",
        f"{SERVICE} leaves its objective fast",
        "{{ $value | humanizePercentage }} of the last hour's requests were late: at this rate a month's allowance is "
        "gone in two days.",
    ),
    Alert(
        "LagcastObjectiveBurningSlowly",
        _burning(6.0, 0.3, "6h", "30m"),
        "15m",
        "warning",
        f"{SERVICE} leaves its objective slowly",
        "{{ $value | humanizePercentage }} of the last six hours' requests were late: at this rate a month's allowance "
        "is gone in five days.",
    ),
    Alert(
        "LagcastTimeLagHigh",
        f"max {BY} (lagcast_time_lag_seconds) > {ON} 2 * max {BY} (lagcast_objective_within_seconds)",
        "5m",
        "warning",
        f"{SERVICE} is behind",
        "The oldest unconsumed message is {{ $value | humanizeDuration }} old, more than twice the objective.",
    ),
    Alert(
        "LagcastAtMaxReplicas",
        _reason("MaxReplicas"),
        "15m",
        "warning",
        f"{SERVICE} needs more than its largest count",
        "spec.replicas.max has held the count down for 15 minutes.",
    ),
    Alert(
        "LagcastConsumersNotProgressing",
        _reason("ConsumersNotProgressing"),
        "2m",
        "critical",
        f"{SERVICE} has backlog and ready replicas, and commits nothing",
        "More replicas would not help: the count is held until the consumers move.",
    ),
    Alert(
        "LagcastForecastDegraded",
        f"(({_LOSS} / ({_NAIVE} > 0) > 1.1) or ({_COVERED} / ({_SCORED} > 0) < 0.85)) and {ON} ({_SCORED} >= 100)",
        "1h",
        "warning",
        f"{SERVICE} is forecast badly",
        "Over six hours the median was worse than 'as now', or the 0.95 quantile covered less than 85 %.",
    ),
    Alert(
        "LagcastInputStale",
        'max by (namespace, name, source, status) (lagcast_input_status{status!="fresh"}) == 1',
        "10m",
        "warning",
        f"{SERVICE} is not seen: {{{{ $labels.source }}}} is {{{{ $labels.status }}}}",
        "What cannot be seen is not taken for zero: the count is not lowered meanwhile.",
    ),
    Alert(
        "LagcastFallbackActive",
        f'{_reason("NoForecast")} unless {ON} lagcast_scaler_info{{forecast="none"}}',
        "1h",
        "warning",
        f"{SERVICE} is scaled without a forecast",
        "A forecast is declared, and there has been none for an hour: the plan reacts to the present load only.",
    ),
    Alert(
        "LagcastPatchesFailing",
        'sum by (namespace, name, outcome) (increase(lagcast_patches_total{outcome!~"Applied|Conflict"}[10m])) > 3',
        "5m",
        "critical",
        f"{SERVICE} cannot be scaled: {{{{ $labels.outcome }}}}",
        "{{ $value | humanize }} patches of the last 10 minutes failed.",
    ),
    Alert(
        "LagcastNodeLeadTimeMissed",
        "max by (pool) (lagcast_pool_oldest_pending_seconds) > on (pool) 2 * max by (pool) "
        "(lagcast_pool_lead_time_seconds)",
        "2m",
        "warning",
        "Pool {{ $labels.pool }} waits for a GPU node that does not come",
        "A node was asked for {{ $value | humanizeDuration }} ago, more than twice what they take: pods that are "
        "planned on it have nowhere to go.",
    ),
    Alert(
        "LagcastPoolWritesFailing",
        'sum by (pool, outcome) (increase(lagcast_pool_writes_total{outcome!~"Applied|Conflict"}[10m])) > 3',
        "5m",
        "critical",
        "Pool {{ $labels.pool }} cannot be written: {{ $labels.outcome }}",
        "{{ $value | humanize }} writes of its provider's count failed in the last 10 minutes.",
    ),
    Alert(
        "LagcastNotTicking",
        f"(time() - {_SINCE} > on (job, instance) 10 * max {REPLICA} (lagcast_tick_interval_seconds))"
        " or absent(lagcast_tick_interval_seconds)",
        "2m",
        "critical",
        "Lagcast decides nothing",
        "No tick of a replica has ended for ten times the time between ticks, or no controller is scraped. Where it is "
        "the leader, counts stay as they are.",
    ),
    Alert(
        "LagcastNoLeader",
        "max by (job) (lagcast_leader) == 0",
        "1m",
        "critical",
        "No replica of Lagcast leads",
        "Replicas run and decide, and none of them holds the lease: counts stay as they are.",
    ),
    Alert(
        "LagcastTicksSlow",
        "histogram_quantile(0.9, sum by (job, instance, le) (rate(lagcast_tick_seconds_bucket[10m])))"
        " > on (job, instance) 0.8 * max by (job, instance) (lagcast_tick_interval_seconds)",
        "10m",
        "warning",
        "Lagcast's ticks are slow on {{ $labels.instance }}",
        "One tick in ten takes {{ $value | humanizeDuration }} or longer, nearly the time between two.",
    ),
    Alert(
        "LagcastInternalError",
        "(sum by (job, instance) (increase(lagcast_failed_ticks_total[15m])) > 0)"
        ' or (max by (namespace, name) (lagcast_reason{reason="InternalError"}) == 1)',
        "1m",
        "warning",
        "Lagcast has a fault of its own",
        "A tick, or the decision for {{ $labels.namespace }}/{{ $labels.name }}, ended in a fault of Lagcast itself.",
    ),
    Alert(
        "LagcastConfigRefused",
        "max by (job, instance) (lagcast_config_valid) == 0",
        "5m",
        "warning",
        "Lagcast runs an old configuration on {{ $labels.instance }}",
        "The newest configuration was refused; the one before it goes on.",
    ),
)


def rules() -> dict[str, Any]:
    """The plain rules file."""
    return {"groups": [{"name": "lagcast", "rules": [_rule(alert) for alert in ALERTS]}]}


def prometheus_rule(namespace: str) -> dict[str, Any]:
    """The same for the Prometheus operator."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "lagcast", "namespace": namespace},
        "spec": rules(),
    }


def runbook(alert: str) -> str:
    """Path of an alert's runbook in the repository."""
    return f"docs/runbooks/{alert}.md"


def _rule(alert: Alert) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "expr": alert.expr,
        "for": alert.wait,
        "labels": {"severity": alert.severity},
        "annotations": {
            "summary": alert.summary,
            "description": alert.description,
            "runbook": runbook(alert.name),
        },
    }
