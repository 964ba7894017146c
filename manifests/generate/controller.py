"""The controller itself: its ticks, its inputs, its patches, and what it uses."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from manifests.generate.panels import CONTROLLER, RATE, Panels, Query, Row, board


def controller() -> Dashboard:
    """Dashboard "Lagcast / Controller"."""
    p = Panels(CONTROLLER)
    buckets = f"sum by (le) (rate(lagcast_tick_seconds_bucket{{@}}[{RATE}]))"
    now = Row(
        "Now",
        [
            p.stat("Version", "Version that runs.", "short", "max by (version) (lagcast_build_info{@})", text=True),
            p.stat(
                "Services",
                "Services that it looks after.",
                "short",
                "count(max by (namespace, name) (lagcast_scaler_info{@}))",
            ),
            p.stat(
                "Newest tick",
                "Time since the newest tick ended.",
                "s",
                "time() - max(lagcast_last_tick_timestamp_seconds{@})",
                digits=0,
            ),
            p.stat("Tick every", "Time between ticks, as it was told.", "s", "max(lagcast_tick_interval_seconds{@})"),
            p.stat(
                "Configuration refused",
                "1 when the newest configuration was refused and an older one runs.",
                "short",
                "1 - min(lagcast_config_valid{@})",
            ),
            p.stat(
                "Failed ticks",
                "Ticks over the shown time that ended in a fault of Lagcast itself.",
                "short",
                "sum(increase(lagcast_failed_ticks_total{@}[$__range]))",
                digits=0,
            ),
        ],
    )
    leader = Row(
        "Leader",
        [
            p.graph(
                "Who leads",
                "1 for the replica that leads; the others observe and decide as well, and change nothing.",
                "short",
                Query("max by (instance) (lagcast_leader{@})", "{{instance}}"),
            ),
            p.graph(
                "Leader changes and lease errors",
                "Takeovers and losses, and looks at the lease that failed. Each replica asks every two seconds.",
                "short",
                Query(f"sum(increase(lagcast_leader_changes_total{{@}}[{RATE}]))", "changes"),
                Query(f"sum(increase(lagcast_lease_errors_total{{@}}[{RATE}]))", "lease errors"),
            ),
        ],
    )
    ticks = Row(
        "Ticks",
        [
            p.graph(
                "Duration of a tick",
                "Must stay well below the time between ticks.",
                "s",
                *(Query(f"histogram_quantile({q}, {buckets})", f"{q}") for q in ("0.5", "0.99")),
                Query("max(lagcast_tick_interval_seconds{@})", "time between ticks"),
                dashed=["time between ticks"],
            ),
            p.graph(
                "Decisions",
                "Decisions by their decisive reason.",
                "ops",
                Query(f"sum by (reason) (rate(lagcast_decisions_total{{@}}[{RATE}]))", "{{reason}}"),
                stacked=True,
            ),
            p.graph(
                "Patches",
                "Patches of replica counts by what became of them.",
                "ops",
                Query(f"sum by (outcome) (rate(lagcast_patches_total{{@}}[{RATE}]))", "{{outcome}}"),
            ),
            p.graph(
                "Services, by mode",
                "How many services are in which mode.",
                "short",
                Query("count by (mode) (max by (namespace, name, mode) (lagcast_scaler_info{@}))", "{{mode}}"),
                stacked=True,
            ),
        ],
    )
    inputs = Row(
        "Inputs",
        [
            p.graph(
                "Readings, by source and status",
                "Services whose newest reading of a source is fresh, stale, absent or in error.",
                "short",
                Query(
                    "sum by (source, status) (max by (namespace, name, source, status) (lagcast_input_status{@}))",
                    "{{source}} {{status}}",
                ),
            ),
            p.graph(
                "Age of the oldest reading, by source",
                "Of all services. A source that answers is a tick old at most.",
                "s",
                Query("max by (source) (lagcast_input_age_seconds{@})", "{{source}}"),
            ),
        ],
    )
    process = Row(
        "Process",
        [
            p.graph(
                "CPU",
                "Cores used by the controller's process, without its helpers.",
                "short",
                Query(f"rate(process_cpu_seconds_total{{@}}[{RATE}])", "{{instance}}"),
            ),
            p.graph(
                "Memory",
                "Resident memory of the controller's process, without its helpers.",
                "bytes",
                Query("process_resident_memory_bytes{@}", "{{instance}}"),
            ),
        ],
    )
    says = "The controller itself: whether it ticks in time, what its sources answer, what became of its patches."
    return board("lagcast-controller", "Lagcast / Controller", says, [now, leader, ticks, inputs, process])
