"""A tick of one scaler, with numbers that can be followed by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from scaler.explain.facts import Facts, Pool, facts, pool_of
from scaler.plan.decision import Forecast, Numbers, PoolDecision, ServiceDecision
from scaler.plan.observation import (
    Freshness,
    LatencySample,
    PoolObservation,
    PoolState,
    Reading,
    ReplicaState,
    ServiceObservation,
    TopicOffsets,
)
from scaler.plan.reasons import Reason
from scaler.plan.service import Service

NOW = 1_800_000_000.0
SERVICE = Service("u1", 10.0, 0.99, 1, 30, 2.0, 0.2, 60.0, 15.0, 60.0, 300.0)
FORECAST = Forecast(at=90.0, p05=15.0, p50=20.0, p95=25.0, p99=30.0, model="direct")
NUMBERS = Numbers(
    arrival_rate=18.0,
    backlog=36.0,
    time_lag=3.2,
    service_rate=2.5,
    lead_time=90.0,
    ready=6,
    pending=1,
    forecast=FORECAST,
    forecast_replicas=12,
    floor_replicas=8,
    partitions=12,
    level=17.5,
    planned_rate=2.0,
    useful_replicas=11,
    bounded_replicas=12,
    late_share=0.004,
)


def offsets(*backlog: int, uncommitted: int = 0) -> TopicOffsets:
    """Partitions with 100 messages each, of which so many wait; the last ``uncommitted`` have no commit at all."""
    count = len(backlog)
    committed = 100 - np.array(backlog, np.int64)
    committed[count - uncommitted :] = -1
    return TopicOffsets(
        np.arange(count, dtype=np.int64), np.full(count, 100, np.int64), np.zeros(count, np.int64), committed
    )


def observation(**changes: Any) -> ServiceObservation:
    """All fresh: Kafka 0.4 s old, Prometheus 5 s, Kubernetes 1 s."""
    given: dict[str, Any] = {
        "uid": "u1",
        "offsets": Reading(offsets(*([3] * 12)), NOW - 0.4, Freshness.FRESH),
        "latency": Reading(LatencySample(0.2, 0.4, 0.9, 270.0, 60.0, 60.0), NOW - 5.0, Freshness.FRESH),
        "replicas": Reading(ReplicaState(7, 6, (NOW - 42.0,), 0, "t", updating=False), NOW - 1.0, Freshness.FRESH),
    }
    return ServiceObservation(**{**given, **changes})


def decision(**changes: Any) -> ServiceDecision:
    given: dict[str, Any] = {
        "uid": "u1",
        "time": NOW,
        "current": 7,
        "desired": 11,
        "reasons": (Reason.FORECAST, Reason.PARTITIONS),
        "numbers": NUMBERS,
    }
    return ServiceDecision(**{**given, **changes})


def tick(observed: ServiceObservation | None = None, **changes: Any) -> Facts:
    """The facts of a tick; ``changes`` go to the decision, or to the facts themselves."""
    own = {
        name: changes.pop(name)
        for name in ("last_week", "outcome", "detail", "mode", "name", "pool")
        if name in changes
    }
    service = changes.pop("service", SERVICE)
    given: dict[str, Any] = {"namespace": "prod", "name": "chat", "target": "Deployment/chat", "mode": "Enforce"}
    return facts(observed or observation(), decision(**changes), service, **{**given, **own})


def pool(**changes: Any) -> Pool:
    """Four nodes, of which three are kept and one is empty; two more are ordered."""
    state = PoolState(ready=4, pending_since=(NOW - 60.0,), empty=1, floor=4)
    given: dict[str, Any] = {"uid": "p1", "time": NOW, "floor": 5, "reasons": (Reason.FORECAST, Reason.MAX_NODES)}
    made = PoolDecision(**{**given, "kept": 3, "ordered": 2, "lead_time": 300.0, "needed": (29.04, 38.0), **changes})
    return pool_of("gpus", PoolObservation("p1", Reading(state, NOW - 2.0, Freshness.FRESH)), made)
