"""A pool's status and conditions, from one tick's row. Pure: what they were, and what is so now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from scaler.api.gpu_node_pool import GpuNodePool
from scaler.api.pause import PAUSED
from scaler.api.status import Because, ConditionType, PoolStatus, Refusal, Truth
from scaler.kube import Json
from scaler.plan.decision import PoolDecision
from scaler.plan.reasons import Reason
from scaler.pools.limits import cost_per_hour, most_nodes
from scaler.pools.row import PoolRow
from scaler.resources.conditions import FAULTS, Finding, Lately, dated, rfc3339
from scaler.resources.declared import Place, Refused
from scaler.resources.status import duration, quantity

_LIMITS: Mapping[Reason, str] = {
    Reason.MIN_NODES: "spec.nodes.min keeps the count up",
    Reason.MAX_NODES: "more is wanted than spec.nodes.max; raise it if the cloud has more",
    Reason.GPU_BUDGET: "more is wanted than spec.budget.gpus pays for",
    Reason.COST_BUDGET: "more is wanted than spec.budget.costPerHour pays for",
    Reason.NODES_IN_USE: "it is lowered by its empty nodes only, and not so many are empty",
}


def place_of(pool: GpuNodePool) -> Place:
    """Where its status is written."""
    return Place("", pool.metadata.name, pool.uid, pool.metadata.generation)


def of_row(row: PoolRow, before: PoolStatus, now: float, lately: Lately) -> PoolStatus:
    """The status after a tick; ``before`` is the one that it follows, ``now`` unix s, ``lately`` remembers."""
    pool, state = row.resource, row.seen.observation.state
    place, seen = place_of(pool), state.value if state.fresh else None
    findings = lately.steady((_ready(row), _limited(row), _paused(pool)), now)
    ready = findings[0]
    decided = None if row.decision is None else str(row.decision.reasons[0])
    return _status(
        observedGeneration=place.generation,
        currentNodes=None if seen is None else seen.floor,
        desiredNodes=row.nodes,
        readyNodes=None if seen is None else seen.ready,
        pendingNodes=None if seen is None else len(seen.pending_since),
        emptyNodes=None if seen is None else seen.empty,
        maxNodes=most_nodes(pool).nodes,
        services=row.services,
        leadTime=duration(None if row.decision is None else row.decision.lead_time),
        costPerHour=quantity(None if seen is None else cost_per_hour(pool, seen.ready + len(seen.pending_since))),
        reason=decided if ready.status is Truth.TRUE else str(ready.reason),
        lastScaleTime=rfc3339(now) if row.outcome.patched else before.last_scale_time,
        conditions=[c.model_dump(by_alias=True) for c in dated(findings, before.conditions, place, now)],
    )


def place_in(item: Json) -> Place:
    """Where the status of an object is written, as the API server hands it over."""
    metadata = item["metadata"]
    return Place("", str(metadata["name"]), str(metadata["uid"]), metadata.get("generation"))


def of_ending(place: Place, why: str, before: PoolStatus, now: float) -> PoolStatus:
    """The status of a pool that is being deleted, and waits."""
    said = f"its deletion waits, for what it raised is not put back: {why}"
    return _unused(place, Because.NOT_RELEASED, said, before, now)


def of_refused(refused: Refused, before: PoolStatus, now: float) -> PoolStatus:
    """The status of a pool that is not used."""
    return _unused(refused.place, refused.reason, refused.text, before, now)


def read(status: Json) -> PoolStatus:
    """What the API server has; empty where another version wrote something that cannot be read."""
    try:
        return PoolStatus.model_validate(status)
    except ValidationError:
        return PoolStatus()


def _ready(row: PoolRow) -> Finding:
    kind, no, state = ConditionType.READY, Truth.FALSE, row.seen.observation.state
    if row.outcome.reason in FAULTS:
        return Finding(kind, no, row.outcome.reason, row.outcome.detail or f"{row.outcome.reason}: see the log")
    if not state.fresh:
        said = state.detail or f"the reading of its nodes is {state.freshness}"
        return Finding(kind, no, state.reason or Reason.INPUT_ERROR, said)
    if row.decision is None:
        said = "no PredictiveScaler names it in spec.gpu.pool: nothing is decided for it"
        return Finding(kind, no, Because.NO_SCALER, said)
    return _decided(row, row.decision)


def _decided(row: PoolRow, decision: PoolDecision) -> Finding:
    kind, no = ConditionType.READY, Truth.FALSE
    if Reason.INTERNAL_ERROR in decision.reasons:
        return Finding(kind, no, Reason.INTERNAL_ERROR, "deciding failed; its count is held; please report it")
    if row.nodes is None or decision.unknown:
        of = f"{decision.unknown} of {row.services} services"
        said = f"the load or the replicas of {of} on it are not known, see their status: its count is not lowered"
        return Finding(kind, no, Because.NOT_DECIDED, said)
    if row.seen.lacking:
        node, size, count = row.seen.lacking[0], row.resource.spec.node.gpus, len(row.seen.lacking)
        stated = (
            f"{node.name} states {node.gpus} GPUs in resources whose name ends in /gpu, and spec.node.gpus says {size}"
        )
        return Finding(kind, no, Because.GPUS_MISSING, f"{count} of its nodes are Ready and not used: {stated}")
    return Finding(kind, Truth.TRUE, Because.DECIDING, "its nodes and its services are seen, and it is decided")


def _limited(row: PoolRow) -> Finding:
    kind = ConditionType.SCALING_LIMITED
    if row.decision is None or row.nodes is None:
        return Finding(kind, Truth.UNKNOWN, Because.NOT_DECIDED, "no count was decided")
    for reason in row.decision.reasons:
        if reason in _LIMITS:
            return Finding(kind, Truth.TRUE, reason, _LIMITS[reason])
        if reason is Reason.NODES_UNSEEN:
            labels = row.resource.spec.node.labels
            said = f"more pods of its services serve than its Ready nodes hold: nodes are not Ready, or lack {labels}"
            return Finding(kind, Truth.TRUE, reason, f"{said}; no pod is given up for it")
    if row.outcome.reason is Reason.NODES_IN_USE:
        return Finding(kind, Truth.TRUE, Reason.NODES_IN_USE, row.outcome.detail)
    if row.outcome.reason is Reason.UNCHANGED and row.outcome.detail:  # the number that its user has set
        return Finding(kind, Truth.TRUE, Reason.MIN_NODES, row.outcome.detail)
    return Finding(kind, Truth.FALSE, Because.WITHIN_LIMITS, "no limit moved the desired count")


def _paused(pool: GpuNodePool) -> Finding:
    kind = ConditionType.PAUSED
    if pool.paused:
        return Finding(kind, Truth.TRUE, Reason.PAUSED, f'{PAUSED}: "true": nothing is changed')
    return Finding(kind, Truth.FALSE, Because.NOT_PAUSED, "no annotation asks for it")


def _unused(place: Place, reason: Because | Refusal, text: str, before: PoolStatus, now: float) -> PoolStatus:
    """The status of a pool of which no tick tells anything."""
    finding = Finding(ConditionType.READY, Truth.FALSE, reason, text)
    return _status(
        observedGeneration=place.generation,
        reason=str(reason),
        lastScaleTime=before.last_scale_time,
        conditions=[c.model_dump(by_alias=True) for c in dated((finding,), before.conditions, place, now)],
    )


def _status(**fields: Any) -> PoolStatus:
    return PoolStatus.model_validate(fields)
