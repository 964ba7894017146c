"""A tick's row as plain data: what `/status` serves and `lagcast status` shows."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from scaler.act.text import numbers
from scaler.controller import Row
from scaler.plan.observation import Reading


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


def _input(reading: Reading[Any], now: float) -> dict[str, Any]:
    return {
        "status": str(reading.freshness),
        "age": round(max(now - reading.time, 0.0), 3),
        "reason": None if reading.reason is None else str(reading.reason),
        "detail": reading.detail,
    }
