"""GPU pools: their nodes, cost and lead times, and what the services wait for."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from manifests.generate.panels import CONTROLLER, NAMESPACE, Column, Panels, Query, Row, board, choice

POOL = "max by (pool)"
BY = "max by (namespace, name)"
NAMED = "{{namespace}}/{{name}}"


def _nodes() -> Row:
    p = Panels(CONTROLLER)  # a pool has no namespace
    lead = (f"sum by (pool) (lagcast_node_lead_time_seconds_{kind}{{@}})" for kind in ("sum", "count"))
    return Row(
        "Pools",
        [
            p.table(
                "Pools",
                "Nodes as they are now and as they were decided, the most that limits and budget allow, and the cost "
                "of those that are Ready or asked for.",
                ("pool",),
                Column("ready", "short", f"{POOL} (lagcast_pool_ready_nodes{{@}})"),
                Column("pending", "short", f"{POOL} (lagcast_pool_pending_nodes{{@}})"),
                Column("empty", "short", f"{POOL} (lagcast_pool_empty_nodes{{@}})"),
                Column("desired", "short", f"{POOL} (lagcast_pool_desired_nodes{{@}})"),
                Column("most", "short", f"{POOL} (lagcast_pool_max_nodes{{@}})"),
                Column("services", "short", f"{POOL} (lagcast_pool_services{{@}})"),
                Column("cost an hour", "short", f"{POOL} (lagcast_pool_cost_per_hour{{@}})"),
                Column("learned lead time", "s", f"{POOL} (lagcast_pool_lead_time_seconds{{@}})"),
                Column("mean lead time", "s", "{} / ({} > 0)".format(*lead)),
            ),
            p.graph(
                "Nodes, by pool",
                "Decided, and Ready: what is decided early is Ready when it is needed.",
                "short",
                Query(f"{POOL} (lagcast_pool_desired_nodes{{@}})", "desired {{pool}}"),
                Query(f"{POOL} (lagcast_pool_ready_nodes{{@}})", "ready {{pool}}"),
                dashed=("desired",),
            ),
            p.graph(
                "Nodes on their way, and empty ones",
                "Asked for and not Ready; and Ready without a pod of a scaled target: paid for, and doing nothing.",
                "short",
                Query(f"{POOL} (lagcast_pool_pending_nodes{{@}})", "pending {{pool}}"),
                Query(f"{POOL} (lagcast_pool_empty_nodes{{@}})", "empty {{pool}}"),
            ),
            p.graph(
                "Oldest pending node",
                "Since it was asked for, beside what 95 % of the nodes take: far above it, none is coming.",
                "s",
                Query(f"{POOL} (lagcast_pool_oldest_pending_seconds{{@}})", "pending {{pool}}"),
                Query(f"{POOL} (lagcast_pool_lead_time_seconds{{@}})", "learned {{pool}}"),
            ),
            p.graph(
                "Cost an hour, by pool",
                "Of the nodes that are Ready or asked for, in the currency of spec.node.costPerHour.",
                "short",
                Query(f"{POOL} (lagcast_pool_cost_per_hour{{@}})", "{{pool}}"),
                stacked=True,
            ),
        ],
    )


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
    says = "GPU nodes: how many, since when they are asked for, what they cost; and what the services wait for."
    return board("lagcast-pools", "Lagcast / GPU pools", says, [_nodes(), waiting], namespace)
