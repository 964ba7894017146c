"""What every replica count would cost over the sample paths: the queue rolled forward, in one vectorised pass.

Times are seconds ahead of now. C candidates, N paths, K grid steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaler.plan.capacity import PartitionSplit
from scaler.plan.lead_time import LeadTimes
from scaler.plan.paths import Futures

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_CRUMB = 1e-6  # requests: what rounding leaves


@dataclass(frozen=True, slots=True)
class Standing:
    """The replicas as they are. ``current`` is what was asked for; ``pending_ages`` (s) are those not serving yet."""

    current: int
    ready: int
    pending_ages: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Queue:
    """The backlog as it is: messages, and the age of the oldest (s)."""

    backlog: float
    age: float


@dataclass(frozen=True, slots=True)
class Terms:
    """What lateness and replicas cost, in replica-seconds, and until when a count answers for lateness."""

    rate: float  # requests/s of one replica, as far as it may be planned for
    slack: float  # s between a request's arrival and the last moment to begin with it
    answers_until: float  # s: the lead time of the next order
    until: float  # s: the end of the decision window
    tick: float  # s
    lead: float  # s that a new replica is paid for before it serves
    price: float  # replica-seconds a late request
    pause: float  # s that every ready replica stands still when the membership changes
    drain: float  # s in which a backlog is to be gone


@dataclass(frozen=True, slots=True, eq=False)
class Costs:
    """One entry for each candidate."""

    counts: Ints
    total: Floats  # replica-seconds, lateness included
    late: Floats  # requests, mean over the paths
    arrivals: float  # requests that the lateness is a part of, mean over the paths
    needed: Floats  # [N] replicas' worth that each path needs when new replicas come, its backlog drained

    @property
    def cheapest(self) -> int:
        """The cheapest count; the smallest of equals."""
        return int(self.counts[int(np.argmin(self.total))])

    def late_share(self, count: int) -> float:
        """Share of the requests that would be late with a candidate."""
        late = float(self.late[int(np.nonzero(self.counts == count)[0][0])])
        return late / self.arrivals if self.arrivals > 0 else 0.0


def grid(until: float, steps: int, knots: Floats) -> Floats:
    """Times from 0 to ``until``: even steps, and the paths' own knots as long as those are not more than the steps."""
    even = np.linspace(0.0, until, steps + 1)
    inside = knots[knots < until]
    if 0 < len(inside) <= steps:
        even = np.union1d(even, inside)
    return even


def replicas_over_time(candidates: Ints, standing: Standing, lead_times: LeadTimes, times: Floats) -> Floats:
    """Serving replicas for each candidate at ``times``; shape [C, len(times)].

    Those that were asked for come when their lead times say, in expectation; a higher count's new ones from their lead
    time on. A lower count acts at once, and takes the youngest pending replicas first, as a ReplicaSet does.
    """
    ages = sorted(standing.pending_ages, reverse=True)
    ready = min(standing.ready, standing.current)
    pending = np.array([lead_times.ready_share(age, times) for age in ages]).reshape(len(ages), len(times))
    arriving = np.concatenate([np.zeros((1, len(times))), np.cumsum(pending, axis=0)])
    fresh = lead_times.ready_share(0.0, times)
    serving = np.empty((len(candidates), len(times)))
    for i, r in enumerate(candidates):
        removed = max(standing.current - int(r), 0)
        kept = max(len(ages) - removed, 0)
        serving[i] = max(ready - max(removed - len(ages), 0), 0) + arriving[kept]
        serving[i] += max(int(r) - standing.current, 0) * fresh
    return serving


def served(arrived: Floats, capacity: Floats) -> Floats:
    """Cumulative service of a queue. ``arrived`` [N, K+1] counts the backlog in, ``capacity`` [C, K] is what each step
    could serve; shape [C, K+1, N]: time before paths, so that running over time is done for all paths at once.

    Reflection (Lindley's recursion, unrolled): S(k) = G(k) + min(0, min over 1 <= j <= k of A(j) - G(j)).
    """
    could = np.zeros((capacity.shape[0], capacity.shape[1] + 1, 1))
    np.cumsum(capacity, axis=1, out=could[:, 1:, 0])
    lacking = arrived.T[None, :, :] - could
    lacking[:, 0, :] = 0.0
    np.minimum(lacking, 0.0, out=lacking)
    for k in range(1, lacking.shape[1]):  # quicker than accumulate, which runs through each path by itself
        np.minimum(lacking[:, k], lacking[:, k - 1], out=lacking[:, k])
    lacking += could
    return lacking


def late_requests(due: Floats, service: Floats) -> Floats:
    """Late requests, mean over the paths; shape [C].

    ``due`` [N, K+1] are the requests that must have been begun by each time, ``service`` [C, K+1, N] those that were.
    Both are linear between the times, so the part of a step's due requests that is late ends where the curves cross.
    """
    behind = due.T[None, :, :] - service
    step = np.diff(due, axis=1).T
    late = behind > _CRUMB
    begin, end = late[:, :-1], late[:, 1:]
    whole = np.einsum("ckn,kn->c", (begin & end).astype(np.float64), step)
    candidate, k, path = np.nonzero(begin ^ end)  # the few steps in which a path becomes late, or is in time again
    before, after = behind[candidate, k, path], behind[candidate, k + 1, path]
    part = np.maximum(before, after) / np.maximum(np.abs(before) + np.abs(after), _CRUMB)
    crossing = np.bincount(candidate, weights=part * step[k, path], minlength=len(service))
    late_mean: Floats = (whole + crossing) / due.shape[0]
    return late_mean


def due_by(times: Floats, futures: Futures, queue: Queue, slack: float) -> Floats:
    """Requests that must have been begun by ``times``; shape [N, len(times)].

    The backlog arrived evenly over its age.
    """
    ahead = times - slack
    new = futures.arrived(np.maximum(ahead, 0.0))
    if queue.backlog <= 0:
        return new
    age = max(queue.age, 1e-9)
    old = queue.backlog * np.clip(1.0 + np.minimum(ahead, 0.0) / age, 0.0, 1.0)
    return new + old


def costs(
    candidates: Ints,
    standing: Standing,
    queue: Queue,
    futures: Futures,
    split: PartitionSplit,
    lead_times: LeadTimes,
    terms: Terms,
    steps: int,
) -> Costs:
    """Cost of each candidate count (ascending), in replica-seconds.

    Replica time: every count is paid for a tick, after which it can be changed; beyond it each path gets what it needs,
    so that only what a path does *not* need is paid for over the decision window. Starting: a new replica that a path
    does not need, and one given up that it does, pays its lead time. Then the price of the late requests up to the lead
    time of the next order, and the pause of a change of membership.
    """
    times = grid(terms.answers_until, steps, futures.knots)
    middle = (times[1:] + times[:-1]) / 2
    serving = replicas_over_time(candidates, standing, lead_times, middle)
    capacity = split.usable(serving) * (terms.rate * np.diff(times))
    arrived = futures.arrived(times) + queue.backlog
    service = served(arrived, capacity)
    due = due_by(times, futures, queue, terms.slack)
    late = late_requests(due, service)
    at_lead = min(int(np.searchsorted(times, terms.lead)), len(times) - 1)
    standing_row = int(np.argmin(np.abs(candidates - standing.current)))
    left = arrived[:, at_lead] - service[standing_row, at_lead]
    then = (arrived[:, -1] - arrived[:, at_lead]) / max(times[-1] - times[at_lead], 1e-9)
    worth = (then + np.maximum(left, 0.0) / terms.drain) / terms.rate

    most = len(split.table) - 1
    window = futures.between(terms.tick, terms.until)
    needed = np.searchsorted(split.table, window / terms.rate - 1e-9)
    needed = np.minimum(needed, most)
    seconds = max(terms.until - terms.tick, 0.0)
    peak = needed.max(axis=1)
    r = candidates[:, None]
    idle = _mean_excess(needed, candidates) * seconds
    unneeded = np.maximum(r - np.maximum(peak, standing.current)[None, :], 0).mean(axis=1)
    missed = np.maximum(np.minimum(peak, standing.current)[None, :] - r, 0).mean(axis=1)
    change = np.where(candidates != standing.current, terms.pause * standing.ready, 0.0)
    total = candidates * terms.tick + idle + (unneeded + missed) * terms.lead + terms.price * late + change
    return Costs(candidates, total, late, float((due[:, -1] - due[:, 0]).mean()), worth)


def _mean_excess(needed: Ints, candidates: Ints) -> Floats:
    """Mean over all paths and steps of (r - needed)+ for each candidate: the sum over j < r of P(needed <= j)."""
    top = int(candidates.max()) if len(candidates) else 0
    below = np.cumsum(np.bincount(np.minimum(needed, top).ravel(), minlength=top + 1)) / needed.size
    excess = np.concatenate([[0.0], np.cumsum(below)])
    result: Floats = excess[candidates]
    return result
