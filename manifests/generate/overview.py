"""All services at a glance: the objective first, then load, replicas and cost."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from manifests.generate.panels import NAMESPACE, RATE, Column, Panels, Query, Row, board, choice

BY = "max by (namespace, name)"  # one value a service, whichever replica of the controller tells it
NAMED = "{{namespace}}/{{name}}"


def overview() -> Dashboard:
    """Dashboard "Lagcast / Overview"."""
    p = Panels(NAMESPACE)
    late, due = (
        f"sum by (namespace, name) (increase(lagcast_requests_{k}_total{{@}}[{{w}}]))" for k in ("late", "due")
    )
    in_time = f"1 - {late} / ({due} > 0)"
    all_late, all_due = (f"sum(increase(lagcast_requests_{k}_total{{@}}[$__range]))" for k in ("late", "due"))
    short = f"{in_time.replace('{w}', '$__range')} < on (namespace, name) {BY} (lagcast_objective_share{{@}})"
    hours = "sum(increase(lagcast_{kind}replica_seconds_total{@}[$__range])) / 3600"
    objective = Row(
        "Objective",
        [
            p.stat(
                "Requests in time",
                "Share of the requests of all services that left within their objective, over the shown time.",
                "percentunit",
                f"1 - {all_late} / ({all_due} > 0)",
                digits=2,
            ),
            p.stat(
                "Services below their objective",
                "Services whose share of requests in time, over the shown time, is below the one that they declare.",
                "short",
                f"count({short}) or vector(0)",
            ),
            p.stat(
                "Services", "Services that Lagcast looks after.", "short", f"count({BY} (lagcast_scaler_info{{@}}))"
            ),
            p.stat(
                "Services without a sure reading",
                "Services of which a source is stale, absent or in error now. Their counts are not lowered.",
                "short",
                'count(max by (namespace, name) (lagcast_input_status{@, status!="fresh"}) > 0) or vector(0)',
            ),
            p.stat(
                "Replica-hours",
                "Replica time of all services over the shown time, paid for from being asked for.",
                "h",
                hours.replace("{kind}", ""),
                digits=1,
            ),
            p.stat(
                "Replica-hours as recommended",
                "Replica time over the shown time if every recommendation had been followed.",
                "h",
                hours.replace("{kind}", "recommended_"),
                digits=1,
            ),
            p.table(
                "Services",
                "Each service over the shown time and now. In time: share of requests that left within the objective.",
                ("namespace", "name"),
                Column("in time", "percentunit", in_time.replace("{w}", "$__range")),
                Column("objective", "percentunit", f"{BY} (lagcast_objective_share{{@}})"),
                Column("time lag", "s", f"{BY} (lagcast_time_lag_seconds{{@}})"),
                Column("arrivals/s", "reqps", f"{BY} (lagcast_arrival_rate{{@}})"),
                Column("current", "short", f"{BY} (lagcast_current_replicas{{@}})"),
                Column("ready", "short", f"{BY} (lagcast_ready_replicas{{@}})"),
                Column("desired", "short", f"{BY} (lagcast_desired_replicas{{@}})"),
                Column("most", "short", f"{BY} (lagcast_max_replicas{{@}})"),
            ),
            p.graph(
                "Requests in time, by service",
                "Share of the requests due that had left. 100 % is best; what is missing to it burns the objective.",
                "percentunit",
                Query(in_time.replace("{w}", RATE), NAMED),
                span=24,
                least=None,
            ),
        ],
    )
    load = Row(
        "Load",
        [
            p.graph(
                "Arrivals, by service",
                "Requests that arrive in each service's topic.",
                "reqps",
                Query(f"{BY} (lagcast_arrival_rate{{@}})", NAMED),
                span=8,
                stacked=True,
            ),
            p.graph(
                "Time lag, by service",
                "Age of the oldest message that is not yet consumed.",
                "s",
                Query(f"{BY} (lagcast_time_lag_seconds{{@}})", NAMED),
                span=8,
            ),
            p.graph(
                "Backlog, by service",
                "Messages not yet committed.",
                "short",
                Query(f"{BY} (lagcast_backlog_messages{{@}})", NAMED),
                span=8,
                stacked=True,
            ),
        ],
    )
    replicas = Row(
        "Replicas",
        [
            p.graph(
                "Replicas of all services",
                "Asked for by Lagcast, there, and ready, summed over the services whose count is known.",
                "short",
                *(
                    Query(f"sum({BY} (lagcast_{kind}_replicas{{@}}) >= 0)", kind)
                    for kind in ("desired", "current", "ready", "pending")
                ),
            ),
            p.graph(
                "Desired replicas, by service",
                "Counts that were decided.",
                "short",
                Query(f"{BY} (lagcast_desired_replicas{{@}})", NAMED),
                stacked=True,
            ),
        ],
    )
    cost = Row(
        "Cost",
        [
            p.graph(
                "Replicas paid for, by service",
                "Replica-seconds a second: from being asked for until given back.",
                "short",
                Query(f"sum by (namespace, name) (rate(lagcast_replica_seconds_total{{@}}[{RATE}]))", NAMED),
                stacked=True,
            ),
            p.graph(
                "Replicas paid for, and as recommended",
                "What ran, beside what would have run if every recommendation had been followed.",
                "short",
                Query(f"sum(rate(lagcast_replica_seconds_total{{@}}[{RATE}]))", "as it ran"),
                Query(f"sum(rate(lagcast_recommended_replica_seconds_total{{@}}[{RATE}]))", "as recommended"),
            ),
        ],
    )
    namespace = choice("namespace", 'label_values(lagcast_scaler_info{job=~"$job"}, namespace)', several=True)
    says = "All services that Lagcast looks after: whether they keep their objective, their load, replicas and cost."
    return board("lagcast-overview", "Lagcast / Overview", says, [objective, load, replicas, cost], namespace)
