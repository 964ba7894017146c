"""A tick's row as plain data: what `/status` serves and `lagcast status` shows."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from scaler.act.text import numbers
from scaler.controller import Row
from scaler.plan.observation import Reading
from scaler.pools.limits import most_nodes
from scaler.pools.row import PoolRow


def as_dict(row: Row, now: float) -> dict[str, Any]:
    """One scaler's newest tick; values that are not known are null. ``now`` is unix s."""
    meta, decision = row.resource.metadata, row.decision
    seen = row.observed
    sources = {"kafka": seen.offsets, "prometheus": seen.latency, "kubernetes": seen.replicas}
    return {
        "namespace": meta.namespace,
        "name": meta.name,
        "target": f"{row.resource.spec.target.kind}/{row.resource.spec.target.name}",
        "mode": str(row.resource.spec.mode),
        "time": decision.time,
        "current": decision.current,
        "desired": decision.desired,
        "reasons": [str(r) for r in decision.reasons],
        "outcome": {"reason": str(row.outcome.reason), "detail": row.outcome.detail},
        "summary": numbers(decision.numbers),
        "numbers": asdict(decision.numbers),
        "inputs": {name: _input(reading, now) for name, reading in sources.items() if reading is not None},
    }


def pool_as_dict(row: PoolRow, now: float) -> dict[str, Any]:
    """One pool's newest tick, as ``as_dict``."""
    pool, decision, state = row.resource, row.decision, row.seen.observation.state
    seen = state.value if state.fresh else None
    reasons = () if decision is None else decision.reasons
    return {
        "name": pool.metadata.name,
        "provider": pool.spec.provider.name,
        "mode": str(pool.spec.mode),
        "min": pool.spec.nodes.min,
        "max": most_nodes(pool).nodes,
        "current": None if seen is None else seen.floor,
        "desired": row.nodes,
        "ready": None if seen is None else seen.ready,
        "pending": None if seen is None else len(seen.pending_since),
        "empty": None if seen is None else seen.empty,
        "services": row.services,
        "leadTime": None if decision is None else decision.lead_time,
        "reasons": [str(r) for r in reasons],
        "outcome": {"reason": str(row.outcome.reason), "detail": row.outcome.detail},
        "inputs": {"kubernetes": _input(state, now)},
    }


def _input(reading: Reading[Any], now: float) -> dict[str, Any]:
    return {
        "status": str(reading.freshness),
        "age": round(max(now - reading.time, 0.0), 3),
        "reason": None if reading.reason is None else str(reading.reason),
        "detail": reading.detail,
    }
