"""One scaler's figures that are counted over time."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from scaler.metrics.attainment import NOTHING, Attainment, Judged
from scaler.metrics.followed import Capacity, Followed
from scaler.metrics.scores import Score, Scores
from scaler.plan.decision import ServiceDecision
from scaler.plan.observation import ServiceObservation
from scaler.plan.service import Service

WAYS = 32  # lead times whose median is the usual one
GAP = 4.0  # ticks between two samples; more is an outage, and nobody knows how it went


@dataclass(frozen=True, slots=True)
class Entry:
    """What one tick adds."""

    requests: Judged = NOTHING
    replica_seconds: float = 0.0
    followed: Judged = NOTHING
    followed_seconds: float = 0.0
    scores: Sequence[Score] = field(default_factory=tuple)


class Ledger:
    """Counts for one scaler, from what was observed and decided; nothing without fresh offsets."""

    def __init__(self, service: Service) -> None:
        self.service = service
        gap = GAP * service.tick
        self._gap = gap
        self._attainment = Attainment(service.within, gap)
        self._followed = Followed(service.within, gap)
        self._scores = Scores(service.step, gap)
        self._paid: tuple[float, int] | None = None  # unix s, replicas
        self._ways: deque[float] = deque(maxlen=WAYS)  # s, of the pods that became Ready last

    def step(self, seen: ServiceObservation, decision: ServiceDecision) -> Entry:
        """Take in one tick."""
        cost = self._cost(decision)
        self._ways.extend(way.total for way in seen.lead_times)
        offsets = seen.offsets.value
        if not seen.offsets.fresh or offsets is None:
            return Entry(replica_seconds=cost)
        time = seen.offsets.time
        arrived = offsets.end.astype(np.float64)
        # As the plan's `consumed_up_to`, whose module would bring a compiler along.
        served = np.maximum(offsets.committed, offsets.begin).astype(np.float64)
        total = float(arrived.sum())
        numbers = decision.numbers
        seconds, followed = 0.0, NOTHING
        if decision.current is not None:
            seconds, followed = self._followed.step(time, total, decision.current, self._capacity(decision))
        return Entry(
            requests=self._attainment.step(time, arrived, served),
            replica_seconds=cost,
            followed=followed,
            followed_seconds=seconds,
            scores=self._scores.step(time, total, numbers.forecast, numbers.arrival_rate),
        )

    def _cost(self, decision: ServiceDecision) -> float:
        """Replica-seconds since the last tick that knew the count."""
        before = self._paid
        self._paid = None if decision.current is None else (decision.time, decision.current)
        if before is None or not 0.0 < decision.time - before[0] <= self._gap:
            return 0.0
        return before[1] * (decision.time - before[0])

    def _capacity(self, decision: ServiceDecision) -> Capacity | None:
        """What is recommended, with the usual lead time: the plan's own is the 95 % point, and so too long."""
        n = decision.numbers
        lead = float(np.median(self._ways)) if self._ways else n.lead_time
        if decision.desired is None or n.service_rate is None or lead is None:
            return None
        return Capacity(decision.desired, n.service_rate, lead, n.partitions)
