"""Readings and services to feed a peer with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from forecasting.series import Series
from scaler.plan.decision import Policy, ServiceDecision
from scaler.plan.observation import (
    Freshness,
    GroupObservation,
    LatencySample,
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


@dataclass
class Cluster:
    """A service in closed loop with its policy: replicas serve from the next tick on, lag is what is not yet committed.

    ``counts`` and ``decisions`` grow as it runs. Ticks are 15 s.
    """

    policy: Policy
    service: Service = SERVICE
    count: int = 4
    partitions: int = 100
    start: float = 1_767_571_200.0
    history: Series | None = None
    tick: int = 0
    end: int = 0
    backlog: float = 0.0
    decisions: list[ServiceDecision] = field(default_factory=list)

    @property
    def now(self) -> float:
        return self.start + self.tick * 15.0

    def run(
        self,
        rates: Sequence[float],
        *,
        offsets: Freshness = Freshness.FRESH,
        replicas: Freshness = Freshness.FRESH,
    ) -> list[ServiceDecision]:
        """A tick for each rate (requests/s); returns their decisions."""
        begin = len(self.decisions)
        for rate in rates:
            decision = self.step(rate, offsets, replicas)
            self.decisions.append(decision)
            if decision.desired is not None:
                self.count = decision.desired
        return self.decisions[begin:]

    def step(self, rate: float, offsets: Freshness, replicas: Freshness) -> ServiceDecision:
        arrived = round(rate * 15)
        self.end += arrived
        self.backlog = max(self.backlog + arrived - self.count * self.service.service_rate * 15, 0.0)
        waiting = min(round(self.backlog + 0.7 * rate), self.end)
        rest = [0] * (self.partitions - 1)
        topic = Reading(offsets_of([self.end, *rest], [self.end - waiting, *rest]), self.now, Freshness.FRESH)
        if offsets is not Freshness.FRESH:
            stale = topic.value if offsets is Freshness.STALE else None
            topic = Reading(stale, self.now, offsets, Reason.BROKER_UNREACHABLE)
        state = ReplicaState(self.count, self.count, (), 0, "t", updating=False)
        known = replicas in (Freshness.FRESH, Freshness.STALE)
        seen = Reading(state if known else None, self.now, replicas)
        history = None
        if self.tick == 0 and self.history is not None:
            history = Reading(self.history, self.now, Freshness.FRESH)
        mean = self.service.service_time + self.backlog / max(self.count, 1) / self.service.service_rate
        latency = Reading(
            LatencySample(mean, mean, mean, float(arrived), mean * arrived, 15.0), self.now, Freshness.FRESH
        )
        if offsets is not Freshness.FRESH:
            latency = Reading(latency.value if offsets is Freshness.STALE else None, self.now, offsets)
        observed = ServiceObservation(self.service.uid, topic, latency, seen, history=history)
        (decision,) = self.policy.step(self.now, GroupObservation((observed,))).services
        self.tick += 1
        return decision


@pytest.fixture
def cluster() -> type[Cluster]:
    return Cluster
