"""Every metric of the controller. docs/metrics.md and the series themselves are made from this list."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

PREFIX = "lagcast_"
WHO = ("namespace", "name")
"""Labels of a series that belongs to one scaler."""
POOL = "pool"
"""Label of a series that belongs to one pool of GPU nodes."""


class Kind(StrEnum):
    """As Prometheus has them."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"
    SUMMARY = "summary"


class Part(StrEnum):
    """The parts of the reference page."""

    LOAD = "Load"
    OBJECTIVE = "Objective"
    REPLICAS = "Replicas"
    FORECAST = "Forecast"
    CAPACITY = "Capacity and lead times"
    DECISIONS = "Decisions and patches"
    INPUTS = "Inputs"
    POOLS = "Pools of GPU nodes"
    RECOMMENDED = "What following every recommendation would have given"
    CONTROLLER = "The controller itself"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. ``field`` names the field of ``scaler.plan.decision.Numbers`` that a gauge shows."""

    part: Part
    name: str  # without prefix and, for a counter, without _total
    kind: Kind
    text: str
    labels: tuple[str, ...] = ()  # besides those of the scaler
    of_scaler: bool = True
    field: str = ""
    buckets: tuple[float, ...] = ()

    @property
    def label_names(self) -> tuple[str, ...]:
        """All labels, in order."""
        return (*WHO, *self.labels) if self.of_scaler else self.labels

    @property
    def sample(self) -> str:
        """Its name as a query writes it."""
        return PREFIX + self.name + ("_total" if self.kind is Kind.COUNTER else "")


_G, _C, _H, _S = Kind.GAUGE, Kind.COUNTER, Kind.HISTOGRAM, Kind.SUMMARY
_P = Part


def _pool(name: str, kind: Kind, text: str, *labels: str) -> Metric:
    return Metric(_P.POOLS, name, kind, text, (POOL, *labels), of_scaler=False)


POOL_METRICS: tuple[Metric, ...] = (
    _pool("pool_desired_nodes", _G, "Nodes that were decided to be kept, within the pool's limits"),
    _pool(
        "pool_current_nodes",
        _G,
        "Nodes that the pool keeps by its provider's count, less cordoned ones that nothing holds",
    ),
    _pool(
        "pool_ready_nodes",
        _G,
        "Nodes that are Ready, with all their GPUs or pods of the pool, and take pods or hold some",
    ),
    _pool("pool_pending_nodes", _G, "Nodes asked for and not yet Ready"),
    _pool("pool_empty_nodes", _G, "Of the Ready nodes, those without a pod of a scaled target"),
    _pool("pool_min_nodes", _G, "Least nodes, as declared"),
    _pool("pool_max_nodes", _G, "Most nodes: nodes.max, or what the budget pays for"),
    _pool("pool_node_gpus", _G, "GPUs of a node, as declared"),
    _pool("pool_services", _G, "Scalers that are planned on the pool"),
    _pool("pool_oldest_pending_seconds", _G, "Time since the oldest pending node was asked for; 0 where none is"),
    _pool("pool_lead_time_seconds", _G, "Time from asking for a node to its being Ready: learned 95 % point"),
    _pool("node_lead_time_seconds", _S, "Lead times of the nodes that were seen asked for, and became Ready"),
    _pool("pool_cost_per_hour", _G, "Cost an hour of the nodes that are Ready or asked for, in the declared currency"),
    _pool("pool_reason", _G, "1 for each reason that touched the newest decision", "reason"),
    _pool("pool_writes", _C, "Writes of the provider's count by outcome", "outcome"),
    _pool("pool_input_status", _G, "1 for the present status of the reading of nodes and count", "status"),
    _pool("pool_info", _G, "1 for each pool, with its provider and mode", "provider", "mode"),
)

# A number of the decision is shown by adding its line here, with its field.
METRICS: tuple[Metric, ...] = (
    Metric(_P.LOAD, "arrival_rate", _G, "Newest arrival rate (requests/s)", field="arrival_rate"),
    Metric(_P.LOAD, "backlog_messages", _G, "Messages not yet committed", field="backlog"),
    Metric(_P.LOAD, "time_lag_seconds", _G, "Age of the oldest unconsumed message", field="time_lag"),
    Metric(_P.LOAD, "partitions", _G, "Partitions of the topic", field="partitions"),
    Metric(_P.OBJECTIVE, "objective_within_seconds", _G, "Time within which a request is to leave, as declared"),
    Metric(_P.OBJECTIVE, "objective_share", _G, "Share of requests that are to leave within that time (0 to 1)"),
    Metric(
        _P.OBJECTIVE,
        "requests_due",
        _C,
        "Requests whose time was up: they arrived objective_within_seconds ago. By offsets, at the ticks, and even "
        "between them",
    ),
    Metric(_P.OBJECTIVE, "requests_late", _C, "Of the requests due, those that were not committed by then"),
    Metric(_P.REPLICAS, "desired_replicas", _G, "Count that was decided"),
    Metric(_P.REPLICAS, "current_replicas", _G, "Count that was read from the target"),
    Metric(
        _P.REPLICAS, "autoscaler_min_replicas", _G, "In mode Floor, the minimum that stands on the target's autoscaler"
    ),
    Metric(_P.REPLICAS, "ready_replicas", _G, "Replicas that are ready", field="ready"),
    Metric(_P.REPLICAS, "pending_replicas", _G, "Replicas asked for and not yet ready", field="pending"),
    Metric(_P.REPLICAS, "forecast_replicas", _G, "Count that the forecast asks for", field="forecast_replicas"),
    Metric(_P.REPLICAS, "floor_replicas", _G, "Count that the present load needs", field="floor_replicas"),
    Metric(_P.REPLICAS, "min_replicas", _G, "Least count that may be written, as declared"),
    Metric(_P.REPLICAS, "max_replicas", _G, "Largest count that may be written, as declared"),
    Metric(_P.REPLICAS, "replica_seconds", _C, "Seconds of replicas, paid for from being asked for"),
    Metric(
        _P.FORECAST,
        "forecast_rate",
        _G,
        "Forecast arrival rate at the lead time (requests/s), by quantile",
        ("quantile",),
    ),
    Metric(_P.FORECAST, "forecast_ahead_seconds", _G, "How far ahead of now lagcast_forecast_rate is made for"),
    Metric(_P.FORECAST, "forecast_model", _G, "1 for the model that made the newest forecast", ("model",)),
    Metric(_P.FORECAST, "forecasts_scored", _C, "Forecasts whose time has come, held against what came"),
    Metric(
        _P.FORECAST,
        "forecasts_covered",
        _C,
        "Of the forecasts scored, those that the arrival rate was not above, by quantile: a share of 0.95 at quantile "
        "0.95 where the forecast is calibrated",
        ("quantile",),
    ),
    Metric(
        _P.FORECAST,
        "forecast_loss",
        _C,
        "Pinball loss of the forecasts scored (requests/s), summed, by quantile",
        ("quantile",),
    ),
    Metric(
        _P.FORECAST,
        "forecast_naive_loss",
        _C,
        'Pinball loss at quantile 0.5 of the forecast "as now" (requests/s), summed over the same forecasts',
    ),
    Metric(_P.FORECAST, "forecast_outcome", _C, "Arrival rates that came (requests/s), summed over the same forecasts"),
    Metric(
        _P.CAPACITY, "service_rate", _G, "Learned service rate of one ready replica (requests/s)", field="service_rate"
    ),
    Metric(_P.CAPACITY, "lead_time_seconds", _G, "95 % point of the learned lead time", field="lead_time"),
    Metric(
        _P.CAPACITY,
        "pod_lead_time_seconds",
        _S,
        "Lead times of the pods that became Ready, by part: patch_to_created, created_to_scheduled (the node's), "
        "scheduled_to_ready (the pod's), ready_to_partitions, and total of those that were seen",
        ("part",),
    ),
    Metric(
        _P.CAPACITY,
        "latency_seconds",
        _G,
        "Inference latency over the declared window, as Prometheus answered, by quantile",
        ("quantile",),
    ),
    Metric(_P.DECISIONS, "reason", _G, "1 for each reason that touched the newest decision", ("reason",)),
    Metric(_P.DECISIONS, "decisions", _C, "Decisions by their decisive reason", ("reason",)),
    Metric(_P.DECISIONS, "patches", _C, "Patches of replica counts and floors by outcome", ("outcome",)),
    Metric(_P.INPUTS, "input_status", _G, "1 for the present status of a source's reading", ("source", "status")),
    Metric(_P.INPUTS, "input_age_seconds", _G, "Age of a source's newest value", ("source",)),
    Metric(_P.RECOMMENDED, "recommended_replica_seconds", _C, "Seconds of replicas that would have been paid for"),
    Metric(
        _P.RECOMMENDED,
        "recommended_requests_due",
        _C,
        "Requests whose time was up, as lagcast_requests_due_total, while the recommendation was known",
    ),
    Metric(
        _P.RECOMMENDED,
        "recommended_requests_late",
        _C,
        "Of those, the ones that a queue served by the recommended replicas would have left waiting. The replicas "
        "serve at the learned rate after the usual lead time (the median of those seen last; before any is seen, the "
        "planned one); partitions are one queue and rebalances cost nothing: an estimate",
    ),
    Metric(
        _P.CONTROLLER,
        "scaler_info",
        _G,
        "1 for each scaler, with what it scales, the forecast it declares, and where its latency histogram is found",
        ("mode", "forecast", "kind", "target", "topic", "group", "latency_metric", "latency_selector"),
    ),
    Metric(
        _P.CONTROLLER,
        "leader",
        _G,
        "1 while this replica leads: it alone changes anything, and shows series of scalers; 0 on standby",
        of_scaler=False,
    ),
    Metric(
        _P.CONTROLLER,
        "leader_changes",
        _C,
        "Times that this replica became the leader, or ceased to be it",
        of_scaler=False,
    ),
    Metric(
        _P.CONTROLLER, "lease_errors", _C, "Times that the lease could not be read, taken or renewed", of_scaler=False
    ),
    Metric(_P.CONTROLLER, "build_info", _G, "1, with the version of Lagcast", ("version",), of_scaler=False),
    Metric(
        _P.CONTROLLER,
        "tick_seconds",
        _H,
        "Duration of a tick",
        of_scaler=False,
        buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 5, 10, 15, 30, 60),
    ),
    Metric(
        _P.CONTROLLER, "tick_interval_seconds", _G, "Time between ticks, as the controller was told", of_scaler=False
    ),
    Metric(_P.CONTROLLER, "last_tick_timestamp_seconds", _G, "When the newest tick ended (unix time)", of_scaler=False),
    Metric(_P.CONTROLLER, "failed_ticks", _C, "Ticks that ended in a fault of Lagcast itself", of_scaler=False),
    Metric(
        _P.CONTROLLER,
        "fit_seconds",
        _H,
        "Duration of a fit of a forecaster, in its own process; those that failed included",
        of_scaler=False,
        buckets=(0.1, 0.3, 1, 3, 10, 30, 60, 120),
    ),
    Metric(
        _P.CONTROLLER,
        "failed_fits",
        _C,
        "Fits that failed, ran over their time or were lost; see the log",
        of_scaler=False,
    ),
    Metric(_P.CONTROLLER, "config_valid", _G, "1 when the newest configuration is the running one", of_scaler=False),
    Metric(_P.CONTROLLER, "config_errors", _C, "Configurations that were refused", of_scaler=False),
    *POOL_METRICS,
)
