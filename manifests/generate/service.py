"""One service: what came against what was forecast, and what was decided of it, and why."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from manifests.generate.panels import RATE, SERVICE, Panels, Query, Row, board, choice

QUANTILES = ("0.05", "0.5", "0.95", "0.99")


def service() -> Dashboard:
    """Dashboard "Lagcast / Service"."""
    p = Panels(SERVICE)
    band = [
        Query(f'max(lagcast_forecast_rate{{@, quantile="{q}"}} offset ${{ahead}}s)', f"forecast {q}") for q in QUANTILES
    ]
    late, due = (f"sum(increase(lagcast_{{kind}}requests_{k}_total{{@}}[$__range]))" for k in ("late", "due"))
    share_late = f"{late} / ({due} > 0)"
    hours = "sum(increase(lagcast_{kind}replica_seconds_total{@}[$__range])) / 3600"
    now = Row(
        "Objective",
        [
            p.stat(
                "Requests in time",
                "Share of requests that left within the objective, over the shown time.",
                "percentunit",
                "1 - " + share_late.replace("{kind}", ""),
                digits=2,
            ),
            p.stat(
                "Objective",
                "Share of requests that is to leave in time, as declared.",
                "percentunit",
                "max(lagcast_objective_share{@})",
                digits=2,
            ),
            p.stat("Within", "Time within which they are to leave.", "s", "max(lagcast_objective_within_seconds{@})"),
            p.stat("Time lag", "Age of the oldest unconsumed message now.", "s", "max(lagcast_time_lag_seconds{@})"),
            p.stat("Ready replicas", "Replicas that serve now.", "short", "max(lagcast_ready_replicas{@})"),
            p.stat("Lead time", "95 % point of the learned lead time.", "s", "max(lagcast_lead_time_seconds{@})"),
        ],
    )
    load = Row(
        "Load and forecast",
        [
            p.graph(
                "Arrivals against the forecast of then",
                "What came, and the forecast band that was made for it one lead time (as it is now) before. Nine "
                "tenths of what comes should lie in the band.",
                "reqps",
                Query("max(lagcast_arrival_rate{@})", "arrivals"),
                *band,
                bands=[("forecast 0.95", "forecast 0.05")],
            ),
            p.graph(
                "Forecast one lead time ahead",
                "The newest forecast at each moment, for one lead time later.",
                "reqps",
                *(Query(f'max(lagcast_forecast_rate{{@, quantile="{q}"}})', f"forecast {q}") for q in QUANTILES),
                bands=[("forecast 0.95", "forecast 0.05")],
            ),
            p.graph(
                "Time lag",
                "Age of the oldest unconsumed message, beside the objective.",
                "s",
                Query("max(lagcast_time_lag_seconds{@})", "time lag"),
                Query("max(lagcast_objective_within_seconds{@})", "objective"),
                dashed=["objective"],
            ),
            p.graph(
                "Requests due and late",
                "Requests whose time was up, and those of them that had not left.",
                "reqps",
                Query(f"sum(rate(lagcast_requests_due_total{{@}}[{RATE}]))", "due"),
                Query(f"sum(rate(lagcast_requests_late_total{{@}}[{RATE}]))", "late"),
            ),
        ],
    )
    kinds = ("desired", "current", "ready", "forecast", "floor", "min", "max")
    replicas = Row(
        "Replicas and reasons",
        [
            p.graph(
                "Replicas",
                "Decided, there and ready; what the forecast asks for, what the present needs, and the limits.",
                "short",
                *(Query(f"max(lagcast_{kind}_replicas{{@}})", kind) for kind in kinds),
                dashed=["min", "max"],
            ),
            p.graph(
                "Patches",
                "Patches of the count, by what became of them. In mode Recommend there are none.",
                "ops",
                Query(f"sum by (outcome) (rate(lagcast_patches_total{{@}}[{RATE}]))", "{{outcome}}"),
            ),
            p.timeline(
                "Reasons",
                "Every reason that touched the decision, while it did.",
                Query("max by (reason) (lagcast_reason{@})", "{{reason}}"),
            ),
        ],
    )
    capacity = Row(
        "Capacity, latency and lead time",
        [
            p.heatmap(
                "Inference latency",
                "The service's own histogram: how many requests took how long, without the time in the queue.",
                f"sum by (le) (increase(${{latency_metric:raw}}_bucket{{${{latency_selector:raw}}}}[{RATE}]))",
            ),
            p.graph(
                "Inference latency, quantiles",
                "As Lagcast reads it from Prometheus, over the declared window.",
                "s",
                Query("max by (quantile) (lagcast_latency_seconds{@})", "{{quantile}}"),
            ),
            p.graph(
                "Service rate of one replica",
                "Requests/s that one ready replica serves, as learned.",
                "reqps",
                Query("max(lagcast_service_rate{@})", "service rate"),
            ),
            p.graph(
                "Lead time, mean by part",
                "Mean of the pods that became Ready since the controller started; learned 95 % point of the whole.",
                "s",
                Query(
                    "sum by (part) (lagcast_pod_lead_time_seconds_sum{@})"
                    " / (sum by (part) (lagcast_pod_lead_time_seconds_count{@}) > 0)",
                    "{{part}}",
                ),
                Query("max(lagcast_lead_time_seconds{@})", "learned 95 % point"),
            ),
        ],
    )
    followed = Row(
        "If every recommendation had been followed",
        [
            p.stat(
                "Late as it ran",
                "Share of requests that did not leave in time, over the shown time.",
                "percentunit",
                share_late.replace("{kind}", ""),
                span=6,
                digits=2,
            ),
            p.stat(
                "Late if followed",
                "Share that a queue served by the recommended counts would have left too late: an estimate, for "
                "partitions and rebalances are left out.",
                "percentunit",
                share_late.replace("{kind}", "recommended_"),
                span=6,
                digits=2,
            ),
            p.stat(
                "Replica-hours as it ran",
                "Replica time over the shown time, paid for from being asked for.",
                "h",
                hours.replace("{kind}", ""),
                span=6,
                digits=1,
            ),
            p.stat(
                "Replica-hours if followed",
                "Replica time over the shown time if every recommendation had been followed.",
                "h",
                hours.replace("{kind}", "recommended_"),
                span=6,
                digits=1,
            ),
            p.graph(
                "Replicas paid for",
                "What ran, beside what was recommended.",
                "short",
                Query(f"sum(rate(lagcast_replica_seconds_total{{@}}[{RATE}]))", "as it ran"),
                Query(f"sum(rate(lagcast_recommended_replica_seconds_total{{@}}[{RATE}]))", "if followed"),
            ),
            p.graph(
                "Late requests",
                "Requests that did not leave in time, and those that would not have.",
                "reqps",
                Query(f"sum(rate(lagcast_requests_late_total{{@}}[{RATE}]))", "as it ran"),
                Query(f"sum(rate(lagcast_recommended_requests_late_total{{@}}[{RATE}]))", "if followed"),
            ),
        ],
    )
    of_name = 'lagcast_scaler_info{job=~"$job", namespace="$namespace", name="$name"}'
    ahead = 'round(max(lagcast_forecast_ahead_seconds{job=~"$job", namespace="$namespace", name="$name"} >= 0))'
    says = (
        "One service: load against forecast, replicas, time lag, the reasons of each decision, latency and lead time."
    )
    return board(
        "lagcast-service",
        "Lagcast / Service",
        says,
        [now, load, replicas, capacity, followed],
        choice("namespace", 'label_values(lagcast_scaler_info{job=~"$job"}, namespace)'),
        choice("name", 'label_values(lagcast_scaler_info{job=~"$job", namespace="$namespace"}, name)'),
        choice("latency_metric", f"label_values({of_name}, latency_metric)", hidden=True),
        choice("latency_selector", f"label_values({of_name}, latency_selector)", hidden=True),
        choice("ahead", f"query_result({ahead} or vector(0))", hidden=True, regex=r"/.*\} (\d+) .*/"),
    )
