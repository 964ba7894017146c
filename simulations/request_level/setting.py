"""What a request-level run is made of. Durations in seconds, times in seconds since the run's begin."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum

from scaler.plan.service import Service
from simulations.errors import BadSetting
from simulations.service_times import ByBatch, ServiceTime
from simulations.setting import Between, Partitioned, Shared

TOTAL = "total"  # uid of the pool that stands for the replicas that services share


class Discipline(StrEnum):
    """What a replica does with the requests that it holds."""

    PARALLEL = "parallel"
    """Each at full speed: as many servers as slots."""
    SERIAL = "serial"
    """One after the other, in order of arrival; the others wait inside the replica."""
    SHARING = "sharing"
    """All at once, each at an equal part of the replica's speed (processor sharing)."""


@dataclass(frozen=True, slots=True)
class RequestService:
    """One service: what its policy is told (``service``), and what is true.

    A request goes to a replica that has room, in turn; when none has, it waits, and is refused when ``queue_bound``
    others wait already (in each replica's own queue, where the queue is partitioned). A replica that is stopped takes
    no more and finishes what it holds. Partitions are split by number, as evenly as may be; what waits moves with
    them, without a pause.
    """

    service: Service
    time: ServiceTime  # of a request, or of a batch by its size
    queue: Shared | Partitioned = field(default_factory=Shared)  # policies may keep to its number of partitions
    slots: int = 1  # requests that one replica holds at most; a service time by batch has its own size
    discipline: Discipline = Discipline.PARALLEL
    queue_bound: int | None = None  # requests that wait at most; None: no bound
    overhead: float = 0.0  # s on the way there and back: part of each latency, not of the capacity
    lead_time: Between = field(
        default_factory=lambda: Between(0.0, 0.0)
    )  # from where there is room for a replica to serving
    replicas: int = 1  # at the start, ready
    window: float = 30.0  # s over which latency is shown to the policy, whole ticks
    drops_seen: bool = False  # a refusal is an answer too: its latency (the overhead) counts in what is shown

    def __post_init__(self) -> None:
        _require(self.slots >= 1, "slots", self.slots, "at least 1")
        _require(self.queue_bound is None or self.queue_bound >= 0, "queue_bound", self.queue_bound, "at least 0")
        _require(0 <= self.overhead < math.inf, "overhead", self.overhead, "at least 0 s")
        _require(self.replicas >= 0, "replicas", self.replicas, "at least 0")
        _require(0 < self.window < math.inf, "window", self.window, "more than 0 s")
        batched = isinstance(self.time, ByBatch)
        _require(not batched or self.slots == 1, "slots", self.slots, "1 where the service time is by batch")

    @property
    def partitions(self) -> int:
        return self.queue.partitions


@dataclass(frozen=True, slots=True)
class RequestSetting:
    """A whole run. ``total``: replicas that all services together may have; None: as many as they ask for."""

    services: tuple[RequestService, ...]
    tick: float = 15.0  # s between decisions
    total: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        _require(len(self.services) >= 1, "services", len(self.services), "at least one")
        _require(0 < self.tick < math.inf, "tick", self.tick, "more than 0 s")
        _require(self.seed >= 0, "seed", self.seed, "at least 0")
        uids = [s.service.uid for s in self.services]
        _require(len(set(uids)) == len(uids), "services", uids, "each uid once")
        at_start = sum(s.replicas for s in self.services)
        fits = self.total is None or self.total >= at_start
        _require(fits, "total", self.total, f"at least what is there at the start, {at_start}")
        for one in self.services:
            ticks = one.window / self.tick
            whole = ticks >= 1 and math.isclose(ticks, round(ticks))
            _require(whole, f"window of {one.service.uid}", one.window, f"whole ticks of {self.tick:g} s")
            told = one.service.tick
            _require(told == self.tick, f"tick of {one.service.uid}", told, f"the run's tick, {self.tick:g} s")


def _require(fine: bool, field: str, found: object, allowed: str) -> None:
    if not fine:
        raise BadSetting(f"{field}: found {found}; allowed: {allowed}")
