"""What a policy is told each tick: only what is new, each reading with its time and how far it can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from forecasting.series import Series
from scaler.plan.reasons import Reason

T_co = TypeVar("T_co", covariant=True)

# s by which a clock may be set back and is waited for. What was learned by one that was further ahead is forgotten, and
# the history read again.
SET_BACK = 300.0


class Freshness(StrEnum):
    """How far a reading can be trusted. Absent, stale and error are never read as zero."""

    FRESH = "fresh"
    STALE = "stale"  # a value is there, but it is older than the source allows
    ABSENT = "absent"  # the source answered, and has no such thing (no topic, no group, no series)
    ERROR = "error"  # the source did not answer, or answered nonsense


@dataclass(frozen=True, slots=True)
class Reading(Generic[T_co]):
    """One source's answer about one object.

    ``value`` is None unless ``freshness`` is fresh or stale. ``time`` (unix s) is when the value was true;
    for absent and error, when it was asked. ``reason`` and ``detail`` say what is wrong and what the user can do;
    ``detail`` never holds a secret.
    """

    value: T_co | None
    time: float
    freshness: Freshness
    reason: Reason | None = None
    detail: str = ""

    @property
    def fresh(self) -> bool:
        return self.freshness is Freshness.FRESH


@dataclass(frozen=True, slots=True, eq=False)
class TopicOffsets:
    """All partitions of one topic, and one consumer group's place in them, at one instant.

    Arrays are int64 of shape [partitions], in order of partition number.
    """

    partitions: NDArray[np.int64]
    end: NDArray[np.int64]  # next offset to be written
    begin: NDArray[np.int64]  # log start: earliest retained offset
    committed: NDArray[np.int64]  # -1 where the group has committed nothing yet
    assignor: str | None = None  # how the group splits them, by Kafka's name; None: not told


@dataclass(frozen=True, slots=True)
class LatencySample:
    """Inference latency over the last window: seconds, and requests served. A field the source lacks is None."""

    p50: float | None
    p95: float | None
    p99: float | None
    count: float | None  # requests served in the window, all pods together
    sum: float | None  # seconds spent in service in the window, all pods together
    window: float  # s


@dataclass(frozen=True, slots=True)
class LeadTime:
    """One pod's way from being asked for to serving, in its parts (s); a part not seen is None."""

    pod: str
    patch_to_created: float | None
    created_to_scheduled: float | None
    scheduled_to_ready: float | None
    ready_to_partitions: float | None
    ready_at: float  # unix s

    @property
    def total(self) -> float:
        """Sum of the parts that were seen (s)."""
        parts = (self.patch_to_created, self.created_to_scheduled, self.scheduled_to_ready, self.ready_to_partitions)
        return float(sum(p for p in parts if p is not None))


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """The target's replicas at one instant.

    ``pending_since`` holds, for each pod that exists but is not Ready, the unix time it was created. Replicas asked
    for whose pod does not exist yet are ``desired - ready - len(pending_since)``.
    """

    desired: int  # spec.replicas, as /scale shows it
    ready: int
    pending_since: tuple[float, ...]
    terminating: int
    template: str  # hash of the pod template; a change is a rolling update's start
    updating: bool  # a rolling update is under way
    unscheduled_since: tuple[
        float, ...
    ] = ()  # of ``pending_since``, those that no node has taken for longer than usual


@dataclass(frozen=True, slots=True, eq=False)
class ServiceObservation:
    """What is new about one scaler since the last tick."""

    uid: str
    offsets: Reading[TopicOffsets]
    latency: Reading[LatencySample] | None  # None: no latency source is configured
    replicas: Reading[ReplicaState]
    lead_times: tuple[LeadTime, ...] = ()  # pods that became Ready since the last tick
    history: Reading[Series] | None = None  # handed over once, when it arrives in the background


@dataclass(frozen=True, slots=True)
class PoolState:
    """One pool of GPU nodes at one instant.

    ``pending_since`` holds, for each node that was asked for and is not Ready, the unix time it was asked for.
    """

    ready: int
    pending_since: tuple[float, ...]
    empty: int  # Ready nodes without a pod
    floor: int  # nodes that are kept at least, as last written; 0 when nobody wrote any

    @property
    def occupied(self) -> int:
        """Ready nodes with a pod."""
        return max(self.ready - self.empty, 0)


@dataclass(frozen=True, slots=True)
class PoolObservation:
    """What is new about a pool since the last tick."""

    uid: str
    state: Reading[PoolState]
    lead_times: tuple[float, ...] = ()  # s from asked for to Ready, of the nodes that became Ready since the last tick


@dataclass(frozen=True, slots=True, eq=False)
class GroupObservation:
    """What is new about a group of services that are planned together (usually one), and the pools they share."""

    services: tuple[ServiceObservation, ...]
    pools: tuple[PoolObservation, ...] = ()
