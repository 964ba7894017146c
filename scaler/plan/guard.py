"""The rules that bound the answer. Each names the rule of the design that it keeps."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scaler.plan.capacity import PartitionSplit
from scaler.plan.lead_time import Distribution, LeadTimes
from scaler.plan.observation import Freshness, LatencySample, Reading, ServiceObservation
from scaler.plan.progress import Progress
from scaler.plan.reasons import Reason
from scaler.plan.rollout import Standing, left_at
from scaler.plan.schedule import Limits
from scaler.plan.service import Service

Floats = NDArray[np.float64]

_FAULT = {
    Freshness.STALE: Reason.INPUT_STALE,
    Freshness.ABSENT: Reason.INPUT_ABSENT,
    Freshness.ERROR: Reason.INPUT_ERROR,
}


def input_faults(observed: ServiceObservation) -> tuple[Reason, ...]:
    """Rule 1: what is wrong with the sources that a lower count needs; empty only when all of them are fresh.

    A latency source that is not configured is not missed; one that answers with an impossible number is an error.
    """
    faults: list[Reason] = []
    for reading in (observed.offsets, observed.replicas, observed.latency):
        if reading is None:
            continue
        if not reading.fresh or reading.value is None:
            faults.append(_FAULT.get(reading.freshness, Reason.INPUT_ERROR))
            if reading.reason is not None:
                faults.append(reading.reason)
    if not latency_sane(observed.latency):
        faults += (Reason.INPUT_ERROR, Reason.METRIC_INVALID)
    return tuple(dict.fromkeys(faults)) if faults else ()


def latency_sane(latency: Reading[LatencySample] | None) -> bool:
    """Whether every number that a latency sample has can be: finite and not negative."""
    if latency is None or latency.value is None:
        return True
    sample = latency.value
    for number in (sample.p50, sample.p95, sample.p99, sample.count, sample.sum, sample.window):
        if number is not None and not 0 <= number < math.inf:
            return False
    return True


def reactive_floor(
    level: float,
    backlog: float,
    standing: Standing,
    split: PartitionSplit,
    lead_times: LeadTimes | Distribution,
    rate: float,
    drain: float,
) -> int:
    """Rules 3 and 4: the least count that the present needs.

    Arrivals stay at their newest ``level`` (requests/s), what is ready and pending serves until a replica asked for now
    would (the 95 % point of the lead times), and the backlog that is left then is drained within ``drain`` seconds.
    """
    if backlog <= 0 and not standing.pending_ages and level <= split.worth(standing.ready) * rate:
        left = 0.0  # what is ready keeps up
    else:
        ages, lead = np.array(standing.pending_ages, dtype=np.float64), lead_times.quantile(0.95)
        of = (standing.current, standing.ready, ages, lead_times.points, split.table)
        left = left_at(level, backlog, *of, rate, lead)
    needed = (level + left / drain) / rate
    count = split.least(needed)
    waiting = level > 0 or backlog > 0
    return max(count, 1) if waiting else count


def scale_in_floor(level: float, backlog: float, split: PartitionSplit, rate: float, drain: float) -> int:
    """Rule 4 for a lower count, which acts at once: the backlog to drain is the present one, not what would be left."""
    count = split.least((level + backlog / drain) / rate)
    return max(count, 1) if level > 0 or backlog > 0 else count


def limited(
    wanted: int,
    current: int,
    cap: int | None,
    service: Service,
    now: Limits | None = None,
    room: int | None = None,
) -> tuple[int, tuple[Reason, ...]]:
    """Rules 7 and 8: ``wanted`` within what can be given work (``cap``; None: not known), what a full pool has room for
    (``room``; None: for all), min and max (``now``; None: as declared for all times) and the steps from ``current``,
    and the limits that moved it, in the order in which they did.
    """
    count, reasons = wanted, []
    now = now or Limits(service.min_replicas, service.max_replicas)
    if cap is not None and count > max(cap, current, now.least):
        count = max(cap, current, now.least)
        reasons.append(Reason.PARTITIONS)
    if room is not None and count > room:
        count = room
        reasons.append(Reason.POOL_FULL)
    if count < now.least:
        count = now.least
        reasons.append(now.least_by)
    if count > now.most:
        count = now.most
        reasons.append(now.most_by)
    if service.max_scale_out is not None and count > current + service.max_scale_out:
        count = current + service.max_scale_out
        reasons.append(Reason.SCALE_OUT_LIMIT)
    if service.max_scale_in is not None and count < current - service.max_scale_in:
        count = current - service.max_scale_in
        reasons.append(Reason.SCALE_IN_LIMIT)
    return count, tuple(reasons)


class ScaleInHold:
    """A lower count is taken only when it was the answer for the whole hold: the largest answer of that time stands."""

    def __init__(self) -> None:
        self._answers: deque[tuple[float, int]] = deque()

    def lowest(self, now: float, answer: int, current: int, hold: float) -> int:
        """Take in the answer of ``now`` (unix s), and return the lowest count that may be taken; at most ``current``
        while what is remembered does not reach back over ``hold`` seconds.
        """
        while self._answers and self._answers[-1][0] > now:  # the clock was set back: what it was then is not known
            answer = max(answer, self._answers.pop()[1])
        self._answers.append((now, answer))
        while len(self._answers) > 1 and self._answers[1][0] <= now - hold:
            self._answers.popleft()
        if self._answers[0][0] > now - hold:
            return max(current, answer)
        return max(count for _, count in self._answers)


class StuckWatch:
    """Rule 13: backlog, ready replicas, and no commit for ``after`` seconds is not load; nor is it while those replicas
    are there and not ready any more.

    From the first tick without a commit on, the backlog that may be planned with is the one of the last commit: what
    piles up behind consumers that do not move says nothing about how many are needed.
    """

    def __init__(self, after: float) -> None:
        self._after = after
        self._still: float | None = None  # s without a commit, as far as it was seen; None before the first progress
        self._trusted = math.inf
        self._moved = -math.inf  # unix s at which that backlog stood

    def step(self, ready: int, pending_since: Sequence[float], progress: Progress | None) -> bool:
        """Take in a tick (``progress`` None: nothing new is known, which is no sign of anything); whether the consumers
        are stuck. ``pending_since``: unix s at which the pods that are not ready were created."""
        if progress is not None:
            left = progress.waiting
            free = left < 1 or progress.recreated or progress.served > 0
            # Those that stood still are there and not ready, as where a message ends each consumer that reads it: pods
            # of a node that is lost, or that were taken away, are not.
            gone = ready < 1 and self.silent and min(pending_since, default=math.inf) <= self._moved
            if free or self._still is None or (ready < 1 and not gone):
                self._still = 0.0
                self._trusted, self._moved = left, progress.end
            elif not gone:
                self._still += progress.seconds
        return self._still is not None and self._still >= self._after

    @property
    def silent(self) -> bool:
        """Whether nothing was committed since the last tick although there was work: too early to call them stuck, too
        early to give one of them up."""
        return self._still is not None and self._still > 0

    def trusted(self, backlog: float) -> float:
        """The part of a backlog (messages) that may be planned with."""
        return min(backlog, self._trusted)


class HeldNeed:
    """The largest present need (replicas, or GPUs) of the last ``hold`` seconds: what the load has just been it may
    soon be again, and a replica given back takes a lead time to come again.
    """

    def __init__(self) -> None:
        self._needs: deque[tuple[float, float]] = deque()  # descending needs: what a later, larger one hides is gone

    def largest(self, now: float, need: float, hold: float) -> float:
        """Take in the need of ``now`` (unix s), and return the largest that is remembered."""
        while self._needs and self._needs[-1][0] > now:  # the clock was set back
            need = max(need, self._needs.pop()[1])
        while self._needs and self._needs[-1][1] <= need:
            self._needs.pop()
        self._needs.append((now, need))
        while self._needs[0][0] <= now - hold and len(self._needs) > 1:
            self._needs.popleft()
        return self._needs[0][1]
