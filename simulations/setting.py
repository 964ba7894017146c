"""What a simulated run is made of: services, their pods, their nodes, and what goes wrong when.

Durations in seconds, rates in requests/s, times in seconds since the run's first second.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from forecasting.series import Series
from scaler.plan.service import Service
from simulations.errors import BadSetting

_ROUNDING = 1e-6  # s; a history's end is a sum


def _require(fine: bool, field: str, found: object, allowed: str) -> None:
    if not fine:
        raise BadSetting(f"{field}: found {found}; allowed: {allowed}")


class Assignor(StrEnum):
    """How a group splits the partitions among its consumers."""

    RANGE = "range"
    ROUND_ROBIN = "roundrobin"
    COOPERATIVE_STICKY = "cooperative-sticky"


class Protocol(StrEnum):
    """What a change of membership stops: everybody, who gains or loses a partition, or only the partitions moved.

    Kafka is kinder under ``COOPERATIVE`` (KIP-429): there a consumer that gains or loses goes on with what it keeps,
    in two rounds of rebalancing. Here it stands still as a whole, for one pause. Any assignor is taken with any
    protocol, although Kafka has a cooperative one only for cooperative sticky.
    """

    EAGER = "eager"
    COOPERATIVE = "cooperative"
    KIP848 = "kip848"


@dataclass(frozen=True, slots=True)
class Partitioned:
    """First in, first out in each partition. ``weights``: each partition's share of the load; None is even."""

    partitions: int
    assignor: Assignor = Assignor.COOPERATIVE_STICKY
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        _require(self.partitions >= 1, "partitions", self.partitions, "at least 1")
        if self.weights is not None:
            _require(len(self.weights) == self.partitions, "weights", len(self.weights), "one for each partition")
            fine = all(0 <= w < math.inf for w in self.weights) and sum(self.weights) > 0
            _require(fine, "weights", self.weights, "finite, not negative, and not all 0")


@dataclass(frozen=True, slots=True)
class Shared:
    """One queue that every ready replica takes from. ``partitions`` is only what the policy is shown."""

    partitions: int = 1

    def __post_init__(self) -> None:
        _require(self.partitions >= 1, "partitions", self.partitions, "at least 1")


@dataclass(frozen=True, slots=True)
class Between:
    """Uniform between two durations (s)."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _require(0 <= self.low <= self.high < math.inf, "duration", (self.low, self.high), "0 <= low <= high")


@dataclass(frozen=True, slots=True)
class Rebalance:
    """Seconds that consumers stand still when the membership changes, and which ones."""

    protocol: Protocol = Protocol.EAGER
    pause: float = 0.5

    def __post_init__(self) -> None:
        _require(0 <= self.pause < math.inf, "pause", self.pause, "a duration of at least 0")


@dataclass(frozen=True, slots=True)
class ServiceSetting:
    """One service: what its policy is told (``service``), and what is true.

    ``rate`` and ``time`` are the truth, ``service.service_rate`` and ``service.service_time`` what was declared.
    """

    service: Service
    rate: float  # requests/s that one replica serves
    time: float  # s that one request takes in a replica: part of its latency, not of the capacity
    queue: Partitioned | Shared
    lead_time: Between  # of a pod, from where a node has room for it to holding partitions
    rebalance: Rebalance = Rebalance()
    commit_interval: float = 1.0
    scrape_delay: float = 0.0  # age of what the policy is shown
    replicas: int = 1  # at the start, ready
    weight: int = 1  # GPUs of a replica, on a node
    latency: bool = True  # a histogram of its latency is there to be read

    def __post_init__(self) -> None:
        _require(0 < self.rate < math.inf, "rate", self.rate, "more than 0 requests/s")
        _require(0 <= self.time < math.inf, "time", self.time, "at least 0 s")
        _require(0 <= self.commit_interval < math.inf, "commit_interval", self.commit_interval, "at least 0 s")
        _require(0 <= self.scrape_delay < math.inf, "scrape_delay", self.scrape_delay, "at least 0 s")
        _require(self.replicas >= 0, "replicas", self.replicas, "at least 0")
        _require(self.weight >= 1, "weight", self.weight, "at least 1 GPU")


class Removal(StrEnum):
    """Who takes an idle node away."""

    CLUSTER_AUTOSCALER = "cluster-autoscaler"
    """A node that has been empty for ``idle``; not within ``idle`` of the pool's last growth (its scale-down delay)."""
    KARPENTER = "karpenter"
    """A node that has been empty for ``idle``, whatever the pool did."""


class ScaleIn(StrEnum):
    """Which pods go at a scale-in, when the policy itself does not say (``PoolDecision.vacate``)."""

    FULLEST = "fullest"
    """As the ReplicaSet controller does: from the node with the most pods of the service, the newest first."""
    EMPTIEST = "emptiest"
    """Somebody keeps pod deletion costs such that nodes empty one by one."""


@dataclass(frozen=True, slots=True)
class NodePool:
    """GPU nodes that come for pods that do not fit, and go when they have been empty for a while."""

    uid: str
    size: int  # GPUs of a node
    lead_time: Between  # of a node, from asked for to Ready
    idle: float = 600.0
    removal: Removal = Removal.KARPENTER
    price: float = 1.0  # of a GPU-hour
    max_nodes: int | None = None
    scale_in: ScaleIn = ScaleIn.FULLEST

    def __post_init__(self) -> None:
        _require(self.size >= 1, "size", self.size, "at least 1 GPU")
        _require(0 <= self.idle < math.inf, "idle", self.idle, "at least 0 s")
        _require(0 <= self.price < math.inf, "price", self.price, "at least 0")
        _require(self.max_nodes is None or self.max_nodes >= 0, "max_nodes", self.max_nodes, "at least 0, or none")


class FaultKind(StrEnum):
    """What can be scheduled to go wrong: the last two of the list below happen at once, the others last."""

    BROKER_DOWN = "broker-down"  # offsets cannot be read, and nothing is consumed or produced
    METRICS_ABSENT = "metrics-absent"  # latency cannot be read
    API_DOWN = "api-down"  # replicas cannot be read, and no decision takes effect
    CONSUMERS_STUCK = "consumers-stuck"  # ready, and nothing is served
    NODE_LOST = "node-lost"  # one node, with its pods, whosever they are
    POD_CRASH = "pod-crash"  # one pod, which comes back after its lead time


INSTANT = frozenset({FaultKind.NODE_LOST, FaultKind.POD_CRASH})
SESSION_TIMEOUT = 45.0  # s, Kafka's default session.timeout.ms
EVICTION = 300.0  # s, Kubernetes' default toleration of a node that is not ready or not reachable


@dataclass(frozen=True, slots=True)
class Fault:
    """``kind`` from second ``at``; those that last, for ``seconds``. ``service``: its uid, None for all.

    ``detected_after`` (s): of a crash, until the group takes the partitions from the dead consumer; None is Kafka's
    session timeout, 45 s. Of a lost node, until its pods are made anew; None is Kubernetes' 300 s (its consumers are
    out of their group after 45 s, or as soon as that).

    Raises BadSetting for what would do nothing: a lasting kind without seconds, seconds of a kind that happens at
    once, the node of one service (nodes are shared).
    """

    kind: FaultKind
    at: float
    seconds: float = 0.0
    service: str | None = None
    detected_after: float | None = None

    def __post_init__(self) -> None:
        _require(0 <= self.at < math.inf, "at", self.at, "at least 0 s")
        _require(0 <= self.seconds < math.inf, "seconds", self.seconds, "at least 0 s")
        lasts = self.kind not in INSTANT
        allowed = "more than 0 s, as it lasts" if lasts else "none, as it happens at once"
        _require(lasts == (self.seconds > 0), f"seconds of {self.kind}", self.seconds, allowed)
        if self.kind is FaultKind.NODE_LOST:
            _require(self.service is None, f"service of {self.kind}", self.service, "none, as nodes are shared")
        after = self.detected_after
        _require(after is None or not lasts, f"detected_after of {self.kind}", after, "none, as it lasts")
        _require(after is None or 0 <= after < math.inf, "detected_after", after, "at least 0 s, or none")

    @property
    def detection(self) -> float:
        """``detected_after``, or its default (s)."""
        if self.detected_after is not None:
            return self.detected_after
        return EVICTION if self.kind is FaultKind.NODE_LOST else SESSION_TIMEOUT


@dataclass(frozen=True, slots=True)
class Setting:
    """A whole run: its services, the pool that they share (None: pods need no node), its faults and its seed.

    ``tick`` is that of every service: a policy counts its ticks by the one it was told. Raises BadSetting.
    """

    services: tuple[ServiceSetting, ...]
    pool: NodePool | None = None
    tick: float = 15.0  # s between decisions, a whole number of seconds
    seed: int = 0
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        _require(len(self.services) >= 1, "services", len(self.services), "at least one")
        whole = 1 <= self.tick < math.inf and self.tick == int(self.tick)
        _require(whole, "tick", self.tick, "whole seconds, at least 1")
        _require(self.seed >= 0, "seed", self.seed, "at least 0")
        uids = [s.service.uid for s in self.services]
        _require(len(set(uids)) == len(uids), "services", uids, "each uid once")
        known = {f.service for f in self.faults if f.service is not None}
        _require(known <= set(uids), "faults", sorted(known - set(uids)), f"of a service that is there: {uids}")
        for one in self.services:
            told = one.service.tick
            _require(told == self.tick, "tick", self.tick, f"what service {one.service.uid} is told, {told}")
            if self.pool is not None:
                _require(one.weight <= self.pool.size, "weight", one.weight, f"at most a node, {self.pool.size} GPUs")
        self._check_pool()

    def _check_pool(self) -> None:
        """A fault of nodes needs nodes, and the replicas at the start must fit on those that there may be."""
        if self.pool is None:
            lost = [f.at for f in self.faults if f.kind is FaultKind.NODE_LOST]
            _require(not lost, "faults", f"node-lost at {lost} s without a pool", "with a pool")
        elif self.pool.max_nodes is not None:
            needed, most = nodes_at_start(self.services, self.pool.size), self.pool.max_nodes
            found = f"{[s.replicas for s in self.services]} at the start, which need {needed} nodes"
            _require(needed <= most, "replicas", found, f"what fits on max_nodes, {most}")


@dataclass(frozen=True, slots=True, eq=False)
class Load:
    """What arrives at one service from unix second ``start`` on.

    ``arrivals``: requests of each second, shape [seconds]; NaN in a gap of the data, where nothing is known.
    ``history``: what is handed to the policy at its first tick; it ends at ``start`` or before. None: nothing.
    """

    start: float
    arrivals: NDArray[np.float64]
    history: Series | None = None

    def __post_init__(self) -> None:
        shape = np.shape(self.arrivals)
        _require(len(shape) == 1, "arrivals", f"shape {shape}", "one number for each second, shape [seconds]")
        _require(len(self.arrivals) > 0, "arrivals", "none", "at least one second")
        _require(math.isfinite(self.start), "start", self.start, "unix seconds")
        if self.history is not None:
            found = f"to {self.history.end}, {self.history.end - self.start:g} s past start"
            _require(self.history.end <= self.start + _ROUNDING, "history", found, f"it ends at {self.start} or before")
        with np.errstate(invalid="ignore"):
            wrong = np.flatnonzero((self.arrivals < 0) | np.isinf(self.arrivals))
        if len(wrong):
            _require(False, f"arrivals[{int(wrong[0])}]", float(self.arrivals[wrong[0]]), "finite, not negative")


def nodes_at_start(services: Iterable[ServiceSetting], size: int) -> int:
    """Nodes of ``size`` GPUs on which the replicas of the start are, the first that has room for each."""
    used: list[int] = []
    for one in services:
        for _ in range(one.replicas):
            free = next((n for n, there in enumerate(used) if there + one.weight <= size), None)
            if free is None:
                used.append(one.weight)
            else:
                used[free] += one.weight
    return len(used)


def uids(services: Iterable[ServiceSetting]) -> tuple[str, ...]:
    """The services' names, in order."""
    return tuple(s.service.uid for s in services)
