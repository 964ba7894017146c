"""Rows and objects to decide a status from."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from scaler.act.order import Outcome
from scaler.api.objects import parse
from scaler.api.predictive_scaler import PredictiveScaler
from scaler.controller import Row
from scaler.plan.decision import Forecast, Numbers, ServiceDecision
from scaler.plan.observation import Freshness, Reading, ReplicaState, ServiceObservation, TopicOffsets
from scaler.plan.reasons import Reason
from tests.configuration.objects import GOOD, spoil

NOW = 1_700_000_000.0  # 2023-11-14T22:13:20Z
NUMBERS = Numbers(
    arrival_rate=8.0,
    backlog=1234.0,
    time_lag=12.34,
    service_rate=0.3,
    lead_time=143.0,
    ready=3,
    pending=1,
    forecast=Forecast(120.0, 1.0, 9.87, 15.2, 20.0, "levelSeason"),
    forecast_replicas=9,
    floor_replicas=7,
)
RECOMMENDED = Outcome(Reason.RECOMMENDED)
ONE = np.array([1], dtype=np.int64)
OFFSETS = Reading(TopicOffsets(ONE, ONE, ONE, ONE), NOW, Freshness.FRESH)
REPLICAS = Reading(ReplicaState(4, 3, (), 0, "t", updating=False), NOW, Freshness.FRESH)


def item(
    name: str = "chat", *, generation: int = 1, created: str = "2023-01-01T00:00:00Z", **more: Any
) -> dict[str, Any]:
    """A scaler as the API server hands it over; ``more`` are fields by path with __ for a dot."""
    made = copy.deepcopy(GOOD)
    made["metadata"] = {
        "name": name,
        "namespace": "default",
        "uid": f"uid-{name}",
        "generation": generation,
        "creationTimestamp": created,
        "resourceVersion": "5",
    }
    made["spec"]["target"] = {"name": name}
    for path, value in more.items():
        made = spoil(made, path.replace("__", "."), value)
    return made


def scaler(name: str = "chat", **more: Any) -> PredictiveScaler:
    """The same, read."""
    resource = parse(item(name, **more)).resource
    assert isinstance(resource, PredictiveScaler)
    return resource


def row(
    *reasons: Reason,
    outcome: Outcome = RECOMMENDED,
    desired: int | None = 9,
    numbers: Numbers = NUMBERS,
    offsets: Reading[TopicOffsets] = OFFSETS,
    replicas: Reading[ReplicaState] = REPLICAS,
    resource: PredictiveScaler | None = None,
) -> Row:
    """One tick's row."""
    resource = resource or scaler()
    seen = ServiceObservation(resource.uid, offsets, None, replicas)
    decided = ServiceDecision(resource.uid, NOW, 4, desired, reasons or (Reason.FORECAST,), numbers)
    return Row(resource, seen, decided, outcome)
