"""How many nodes a pool may have, and the count that is written of the one that was decided. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from scaler.api.gpu_node_pool import GpuNodePool, PoolMode
from scaler.plan.nodes_need import PoolSpec
from scaler.plan.observation import PoolState
from scaler.plan.reasons import Reason


@dataclass(frozen=True, slots=True)
class Most:
    """The most nodes, and what bounds them."""

    nodes: int
    limit: Reason


@dataclass(frozen=True, slots=True)
class Bounded:
    """Nodes to keep, within the limits; ``limits`` moved the number, the decisive one first."""

    nodes: int
    limits: tuple[Reason, ...] = ()


def most_nodes(pool: GpuNodePool) -> Most:
    """The least of ``nodes.max`` and what the budget pays for."""
    node, budget = pool.spec.node, pool.spec.budget
    found = [Most(pool.spec.nodes.max, Reason.MAX_NODES)]
    if budget is not None and budget.gpus is not None:
        found.append(Most(budget.gpus // node.gpus, Reason.GPU_BUDGET))
    if budget is not None and budget.cost_per_hour is not None and node.cost_per_hour is not None:
        found.append(Most(int(budget.cost_per_hour.value // node.cost_per_hour.value), Reason.COST_BUDGET))
    return min(found, key=lambda most: most.nodes)


def pool_spec(pool: GpuNodePool) -> PoolSpec:
    """The pool as the plan sees it."""
    node = pool.spec.node
    most, lead, idle = most_nodes(pool).nodes, float(node.lead_time), float(node.idle)
    return PoolSpec(pool.uid, node.gpus, lead, idle, most, enforced(pool))


def enforced(pool: GpuNodePool) -> bool:
    """Whether its count is written."""
    return pool.spec.mode is PoolMode.ENFORCE and not pool.paused


def bounded(pool: GpuNodePool, decided: int, state: PoolState) -> Bounded:
    """``decided`` nodes within minimum and maximum; and never lower than the nodes that are not empty, unless the count
    that stands is lower already.
    """
    most, least = most_nodes(pool), pool.spec.nodes.min
    nodes, limits = decided, []
    if nodes < least:
        nodes, limits = least, [Reason.MIN_NODES]
    if nodes > most.nodes:
        nodes, limits = most.nodes, [most.limit]
    if nodes < state.floor:
        in_use = state.occupied + len(state.pending_since)
        kept = min(state.floor, max(nodes, in_use))
        if kept > nodes:
            nodes = kept
            limits.append(Reason.NODES_IN_USE)
    return Bounded(nodes, tuple(limits))


def cost_per_hour(pool: GpuNodePool, nodes: int) -> float | None:
    """Of so many nodes; None where a node's cost is not declared."""
    cost = pool.spec.node.cost_per_hour
    return None if cost is None else nodes * float(cost)
