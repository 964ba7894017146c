"""All that explains one tick of one scaler: what a row of the journal holds."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

from scaler.plan.decision import Numbers, PoolDecision, ServiceDecision
from scaler.plan.observation import (
    Freshness,
    LatencySample,
    PoolObservation,
    Reading,
    ReplicaState,
    ServiceObservation,
    TopicOffsets,
)
from scaler.plan.reasons import Reason
from scaler.plan.service import Service

_NUMBERS = tuple(field.name for field in fields(Numbers))
KAFKA, PROMETHEUS, KUBERNETES = "kafka", "prometheus", "kubernetes"


@dataclass(frozen=True, slots=True)
class Source:
    """How one source answered. ``time`` (unix s) is when its value was true; without one, when it was asked."""

    name: str
    freshness: Freshness
    time: float
    reason: Reason | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Offsets:
    """The topic and the group's place in it: messages, over all partitions together."""

    partitions: int
    end: int  # sum of the end offsets: grows by what arrives
    committed: int  # sum of what is consumed up to: grows by what is done
    backlog: int
    lag: int  # end offsets less committed ones, where there are any: as dashboards count it, expired messages included
    without_commit: int  # partitions in which the group has committed nothing
    largest_backlog: int  # of a single partition
    assignor: str | None = None  # how the group splits the partitions, as Kafka tells


@dataclass(frozen=True, slots=True)
class LatencySeen:
    """Seconds in service over the last ``window`` (s), and requests served in it."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    count: float | None = None
    window: float | None = None


@dataclass(frozen=True, slots=True)
class Replicas:
    """The target's replicas. ``oldest_pending`` is unix s: when the pod that has waited longest was created."""

    desired: int
    ready: int
    pending: int  # pods that are there and not Ready
    terminating: int
    updating: bool
    oldest_pending: float | None = None


@dataclass(frozen=True, slots=True)
class Pool:
    """The pool of GPU nodes that the service is planned on: what was seen of it, and its decision of the same tick."""

    name: str
    source: Source
    decision: PoolDecision
    ready: int | None = None  # nodes; None: not known, as below
    pending: int | None = None  # nodes that were asked for and are not Ready
    empty: int | None = None  # Ready nodes without a pod
    written: int | None = None  # nodes that are kept at least, as last written


@dataclass(frozen=True, slots=True)
class Facts:
    """One tick of one scaler. Times in unix s, durations in s, rates in requests/s."""

    namespace: str
    name: str
    target: str  # kind/name
    mode: str
    service: Service  # what was declared
    decision: ServiceDecision
    sources: tuple[Source, ...]
    offsets: Offsets | None = None
    latency: LatencySeen | None = None
    replicas: Replicas | None = None
    last_week: float | None = None  # arrival rate a week before the time at which a replica asked for now would serve
    outcome: Reason | None = None  # None: the decision was made, and nothing more is known
    detail: str = ""  # of the outcome
    pool: Pool | None = None  # None: it is planned alone


def facts(
    observed: ServiceObservation,
    decision: ServiceDecision,
    service: Service,
    *,
    namespace: str,
    name: str,
    target: str,
    mode: str,
    last_week: float | None = None,
    outcome: Reason | None = None,
    detail: str = "",
    pool: Pool | None = None,
) -> Facts:
    """One tick's facts. A number that cannot be (NaN, infinite) is None: its fault is in the decision's reasons."""
    readings = {KAFKA: observed.offsets, PROMETHEUS: observed.latency, KUBERNETES: observed.replicas}
    return Facts(
        namespace=namespace,
        name=name,
        target=target,
        mode=mode,
        service=service,
        decision=_told(decision),
        sources=tuple(_source(source, reading) for source, reading in readings.items() if reading is not None),
        offsets=None if observed.offsets.value is None else _offsets(observed.offsets.value),
        latency=None if observed.latency is None or observed.latency.value is None else _seen(observed.latency.value),
        replicas=None if observed.replicas.value is None else _replicas(observed.replicas.value),
        last_week=last_week,
        outcome=outcome,
        detail=detail,
        pool=pool,
    )


def pool_of(name: str, observed: PoolObservation, decision: PoolDecision) -> Pool:
    """One tick of the pool of that name."""
    source, state = _source(KUBERNETES, observed.state), observed.state.value
    if state is None:
        return Pool(name, source, decision)
    return Pool(name, source, decision, state.ready, len(state.pending_since), state.empty, state.floor)


def lead_time(decision: ServiceDecision, service: Service) -> float:
    """s until a pod asked for now serves where a node has room: as learned, or as declared where it is not said."""
    learned = decision.numbers.lead_time
    return service.pod_lead_time if learned is None else learned


def _told(decision: ServiceDecision) -> ServiceDecision:
    """The decision with what any policy says it was made of, as far as it is numbers."""
    numbers = decision.numbers
    values = {name: getattr(numbers, name) for name in _NUMBERS}
    wrong: dict[str, None] = {
        name: None for name, value in values.items() if isinstance(value, float) and not math.isfinite(value)
    }
    forecast = numbers.forecast
    if forecast is not None:
        quantiles = (forecast.at, forecast.p05, forecast.p50, forecast.p95, forecast.p99)
        if not all(math.isfinite(value) for value in quantiles):
            wrong["forecast"] = None
    return replace(decision, numbers=replace(numbers, **wrong)) if wrong else decision


def _source(name: str, reading: Reading[Any]) -> Source:
    return Source(name, reading.freshness, reading.time, reading.reason, reading.detail)


def _offsets(seen: TopicOffsets) -> Offsets:
    from scaler.plan.progress import backlog, consumed_up_to  # with a compiler; who only reads rows needs none

    waiting = backlog(seen)
    known = seen.committed >= 0
    return Offsets(
        partitions=len(seen.partitions),
        end=int(seen.end.sum()),
        committed=int(consumed_up_to(seen).sum()),
        backlog=int(waiting.sum()),
        lag=int((seen.end - seen.committed)[known].sum()),
        without_commit=int(len(known) - known.sum()),
        largest_backlog=int(waiting.max(initial=0)),
        assignor=seen.assignor,
    )


def _seen(sample: LatencySample) -> LatencySeen:
    numbers = (sample.p50, sample.p95, sample.p99, sample.count, sample.window)
    return LatencySeen(*(n if n is not None and math.isfinite(n) else None for n in numbers))


def _replicas(state: ReplicaState) -> Replicas:
    return Replicas(
        desired=state.desired,
        ready=state.ready,
        pending=len(state.pending_since),
        terminating=state.terminating,
        updating=state.updating,
        oldest_pending=min(state.pending_since, default=None),
    )
