"""A service's answer within the rules, what its pool says of it, and the numbers that are told of both."""

from __future__ import annotations

from dataclasses import dataclass

from scaler.plan.decision import Numbers
from scaler.plan.prepared import Plan, Prepared
from scaler.plan.reasons import Reason


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """Before the limits."""

    prepared: Prepared
    plan: Plan | None  # as it was answered; None: nothing could be planned
    count: int  # within the rules; the current count where nothing could be planned
    held: tuple[Reason, ...]  # what held it at the current count
    pool: int | None = None  # what the pool's plan gives the service; None: it is planned alone


@dataclass(frozen=True, slots=True)
class Room:
    """What the plan of a pool says of one service's replicas."""

    most: int | None  # its part of a full pool; None: all that is asked for fits
    waiting: int = 0  # of those that do not serve yet, for room on a node


@dataclass(frozen=True, slots=True)
class Learned:
    """What the service's planner goes by."""

    rate: float  # requests/s of a replica
    lead_time: float  # s
    partitions: int | None
    useful: int | None  # replicas that can be given work


def numbers_of(answer: Answer, room: Room | None, learned: Learned, ready: int | None) -> Numbers:
    """What the decision was made of; ``ready`` replicas as last read."""
    prepared, plan = answer.prepared, answer.plan
    seen, standing, terms = prepared.seen, prepared.standing, prepared.terms
    known = prepared.replicas is not None
    rate = None
    if seen.progress is not None and seen.progress.arrivals is not None:
        rate = seen.progress.arrivals / seen.progress.seconds
    late_share = None if plan is None or plan.rollout is None else plan.rollout.late_share(answer.count)
    return Numbers(
        arrival_rate=rate,
        backlog=seen.backlog,
        time_lag=None if seen.lag is None else seen.lag.seconds,
        service_rate=learned.rate,
        lead_time=learned.lead_time,
        ready=ready,
        pending=None if standing is None or not known else len(standing.pending_ages),
        forecast=None if plan is None else plan.forecast,
        forecast_replicas=None if plan is None else plan.cheapest,
        floor_replicas=None if plan is None else plan.floor,
        held_replicas=None if plan is None else plan.held,
        partitions=learned.partitions,
        level=seen.level,
        planned_rate=None if terms is None or plan is None else terms.rate,
        useful_replicas=learned.useful,
        bounded_replicas=None if late_share is None else answer.count,
        late_share=late_share,
        pool_replicas=answer.pool,
        pool_room=None if room is None else room.most,
        waiting_for_node=None if room is None else room.waiting,
    )
