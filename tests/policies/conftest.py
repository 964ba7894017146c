"""Readings and services to feed a peer with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from scaler.plan.observation import (
    Freshness,
    GroupObservation,
    Reading,
    ReplicaState,
    ServiceObservation,
    TopicOffsets,
)
from scaler.plan.reasons import Reason
from scaler.plan.service import Service

SERVICE = Service(
    uid="u",
    within=10.0,
    share=0.99,
    min_replicas=1,
    max_replicas=100,
    service_rate=2.0,
    service_time=0.5,
    lead_time=60.0,
    tick=15.0,
    step=60.0,
    scale_in_hold=300.0,
)


@pytest.fixture
def service() -> Callable[..., Service]:
    return lambda **changes: replace(SERVICE, **changes)


def offsets_of(end: Sequence[int], committed: Sequence[int], begin: Sequence[int] | None = None) -> TopicOffsets:
    count = len(end)
    return TopicOffsets(
        np.arange(count, dtype=np.int64),
        np.array(end, dtype=np.int64),
        np.array(begin if begin is not None else [0] * count, dtype=np.int64),
        np.array(committed, dtype=np.int64),
    )


@pytest.fixture
def offsets() -> Callable[..., TopicOffsets]:
    return offsets_of


@pytest.fixture
def observe() -> Callable[..., GroupObservation]:
    """``observe(now, desired, offsets)``; offsets None or replicas not fresh stand for a fault of the source."""

    def make(
        now: float,
        desired: int,
        offsets: TopicOffsets | None,
        *,
        ready: int | None = None,
        freshness: Freshness = Freshness.ERROR,
        replicas: Freshness = Freshness.FRESH,
    ) -> GroupObservation:
        state = ReplicaState(desired, desired if ready is None else ready, (), 0, "t", updating=False)
        seen: Reading[TopicOffsets] = (
            Reading(None, now, freshness, Reason.BROKER_UNREACHABLE)
            if offsets is None
            else Reading(offsets, now, Freshness.FRESH)
        )
        known = replicas in (Freshness.FRESH, Freshness.STALE)
        count = Reading(state if known else None, now, replicas)
        return GroupObservation((ServiceObservation("u", seen, None, count),))

    return make
