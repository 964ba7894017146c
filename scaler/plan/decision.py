"""What a policy answers: numbers and reason codes. Text is made only when someone looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from scaler.plan.observation import GroupObservation
from scaler.plan.reasons import Reason


@dataclass(frozen=True, slots=True)
class Forecast:
    """Quantiles of the arrival rate (requests/s) at the lead time, over the sample paths."""

    at: float  # s ahead of now
    p05: float
    p50: float
    p95: float
    p99: float
    model: str  # name of the forecaster


@dataclass(frozen=True, slots=True)
class Numbers:
    """What the decision was made of. None: not known at this tick (never 0 for 'unknown')."""

    arrival_rate: float | None = None  # requests/s, newest
    backlog: float | None = None  # messages not yet committed
    time_lag: float | None = None  # s, age of the oldest unconsumed message
    service_rate: float | None = None  # requests/s one ready replica serves
    lead_time: float | None = None  # s, the 95 % point of what was learned
    ready: int | None = None
    pending: int | None = None
    forecast: Forecast | None = None
    forecast_replicas: int | None = None  # what the rollout asks for
    floor_replicas: int | None = None  # what the present needs
    held_replicas: int | None = None  # what it lately needed: no lower count is taken
    partitions: int | None = None
    level: float | None = None  # requests/s at which the present is held: the mean over the newest window
    planned_rate: float | None = None  # requests/s of a replica that are planned for: less than it serves
    useful_replicas: int | None = None  # a higher count could not be given work: partitions, and their split
    bounded_replicas: int | None = None  # the answer after the rules for scaling in, before the limits
    late_share: float | None = None  # of the requests over the paths, expected with ``bounded_replicas``
    pool_replicas: int | None = None  # what the pool's plan gives the service: nodes that are paid for are filled
    pool_room: int | None = None  # its part of a full pool, which cannot hold all that is asked for
    waiting_for_node: int | None = None  # of the pending replicas: no node has room for them


@dataclass(frozen=True, slots=True)
class ServiceDecision:
    """The desired count of one target, and why.

    ``desired`` is None when no count may be written (the target's own count is unknown). ``reasons`` names
    everything that touched the number, the decisive one first; a source's fault is in it, too.
    """

    uid: str
    time: float
    current: int | None  # the count that was read; act tests it in its patch
    desired: int | None
    reasons: tuple[Reason, ...]
    numbers: Numbers

    @property
    def reason(self) -> Reason:
        return self.reasons[0]


@dataclass(frozen=True, slots=True)
class PoolDecision:
    """The nodes that a pool is to keep at least, and why. ``floor`` is None when none may be written."""

    uid: str
    time: float
    floor: int | None
    reasons: tuple[Reason, ...]
    vacate: bool = False  # deletion costs are set such that scaling in empties the emptiest node first
    kept: int | None = None  # Ready nodes that stay filled; None: not known
    ordered: int = 0  # new nodes
    lead_time: float | None = None  # s from asked for to Ready, the 95 % point of what was learned
    # GPUs that all services need when a node ordered now serves: the median path, and 95 % of the paths at most.
    needed: tuple[float, float] | None = None
    unknown: int = 0  # services on it whose load or replicas are not known: the floor is not below the one that stands


@dataclass(frozen=True, slots=True)
class GroupDecision:
    """One decision for each service and each pool of the group, in the observation's order."""

    services: tuple[ServiceDecision, ...]
    pools: tuple[PoolDecision, ...] = ()


class Policy(Protocol):
    """Decides for one group of services. Owns its state; no I/O, no clock."""

    def step(self, now: float, observed: GroupObservation) -> GroupDecision:
        """One tick at unix time ``now``."""
        ...

    def snapshot(self) -> bytes:
        """All state, such that a policy that restores it decides the same from here on."""
        ...

    def restore(self, saved: bytes) -> None:
        """Take over a snapshot. Raises ValueError when it was made by another kind or version."""
        ...
