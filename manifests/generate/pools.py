"""GPU pools, as far as they are observed: what the services wait for."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from manifests.generate.panels import NAMESPACE, Column, Panels, Query, Row, board, choice

BY = "max by (namespace, name)"
NAMED = "{{namespace}}/{{name}}"


def pools() -> Dashboard:
    """Dashboard "Lagcast / GPU pools"."""
    p = Panels(NAMESPACE)

    def mean(part: str) -> str:
        summed, counted = (
            f'sum by (namespace, name) (lagcast_pod_lead_time_seconds_{k}{{@, part="{part}"}})'
            for k in ("sum", "count")
        )
        return f"{summed} / ({counted} > 0)"

    waiting = Row(
        "What services wait for",
        [
            p.graph(
                "Pending replicas, by service",
                "Replicas asked for and not yet ready: without a node, or coming up on one.",
                "short",
                Query(f"{BY} (lagcast_pending_replicas{{@}})", NAMED),
                stacked=True,
            ),
            p.graph(
                "Replicas paid for, by service",
                "Replicas that hold a place, from being asked for until given back.",
                "short",
                Query(f"{BY} (lagcast_current_replicas{{@}})", NAMED),
                stacked=True,
            ),
            p.table(
                "Lead times",
                "Means over the pods that became Ready since the controller started: until a node had room (the node's "
                "part), from there to Ready (the pod's part), and the learned 95 % point that is planned with.",
                ("namespace", "name"),
                Column("created to scheduled", "s", mean("created_to_scheduled")),
                Column("scheduled to ready", "s", mean("scheduled_to_ready")),
                Column("whole", "s", mean("total")),
                Column("learned 95 % point", "s", f"{BY} (lagcast_lead_time_seconds{{@}})"),
            ),
        ],
    )
    namespace = choice("namespace", 'label_values(lagcast_scaler_info{job=~"$job"}, namespace)', several=True)
    says = "What the services wait for: a node with room, or a pod to come up. Nodes themselves are not observed yet."
    return board("lagcast-pools", "Lagcast / GPU pools", says, [waiting], namespace)
