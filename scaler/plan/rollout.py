"""What every replica count would cost over the sample paths: the queue rolled forward, compiled.

Times are seconds ahead of now. N paths, K grid steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from forecasting.compiled import compiled
from scaler.plan.paths import Futures

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_NEAR = 0.005  # of the least cost: as good
_CRUMB = 1e-6  # requests: what rounding leaves
STEPS = 16  # of the grid: a replica's lead time in steps that are short beside it


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
    window: float  # s: the lead time of the next order; a count is paid for, and answers for what arrives, until then
    price: float  # replica-seconds a late request
    pause: float  # s that every ready replica stands still when the membership changes
    inflation: float  # factor on the paths' residuals above their median


class Rollout:
    """The queue under every count, over the same paths; a count's cost in replica-seconds.

    ``table``: what r replicas can give, in replicas; ``points`` (s, ascending): the lead times that were seen.
    """

    def __init__(
        self,
        futures: Futures,
        queue: Queue,
        standing: Standing,
        table: Floats,
        points: Floats,
        terms: Terms,
    ) -> None:
        rates, step, age = futures.rates, futures.step, futures.age
        self.terms = terms
        self._futures = futures
        self._queue = queue
        self._standing = standing
        self._table = table
        self._points = points
        self._dt = (terms.window + terms.slack) / STEPS
        self._arrived = np.empty((rates.shape[0], STEPS + 1))
        self._due = np.empty((rates.shape[0], STEPS + 1))
        dt, slack = self._dt, terms.slack
        # Paths may reach a node's lead time ahead: what comes behind the grid is looked at by nobody here.
        middle = futures.medians.path(min(rates.shape[1], int((age + STEPS * dt) / step) + 1))
        of = (queue.backlog, queue.age, slack, dt, middle, self._arrived, self._due)
        self.peak = float(spread(rates, step, age, terms.inflation, *of))  # requests/s: of any path, on the grid
        within = max(math.ceil((terms.window + age) / step), 1)
        self.foreseen = max(middle[:within].tolist())  # requests/s: the most that half of the paths reach in the window
        ages = np.array(standing.pending_ages, dtype=np.float64)
        self._coming = np.empty((len(ages) + 1, STEPS))
        self._fresh = np.empty(STEPS)
        coming(ages, points, self._dt, self._coming, self._fresh)
        fallen_due = np.add.reduce(self._due[:, -1] - self._due[:, 0])
        self.arrivals = float(fallen_due) / len(rates)  # requests a late share is a part of
        self._lates: dict[int, float] = {}  # by count, as far as known

    def plain(self) -> Rollout:
        """The same over the paths as they were drawn, not inflated."""
        terms = replace(self.terms, inflation=1.0)
        return Rollout(self._futures, self._queue, self._standing, self._table, self._points, terms)

    def late(self, count: int) -> float:
        """Late requests with ``count`` replicas, mean over the paths."""
        known = self._lates.get(count)
        if known is None:
            s, t = self._standing, self.terms
            standing = (s.current, s.ready, self._coming, self._fresh, self._table)
            known = float(late_mean(count, *standing, self._arrived, self._due, self._dt, t.rate, t.pause))
            self._lates[count] = known
        return known

    def late_share(self, count: int) -> float:
        """The same as a share of the requests that fall due."""
        return self.late(count) / self.arrivals if self.arrivals > 0 else 0.0

    def cost(self, count: int) -> float:
        """Replica-seconds over the window, lateness included."""
        return count * self.terms.window + self.terms.price * self.late(count)

    def cheapest(self, lowest: int, highest: int) -> int:
        """The count of least cost in [lowest, highest]; of those that cost next to nothing more, the highest."""
        s, t = self._standing, self.terms
        standing = (s.current, s.ready, self._coming, self._fresh, self._table)
        paths = (self._arrived, self._due, self._dt)
        found, late = search(lowest, max(highest, lowest), *standing, *paths, t.rate, t.pause, t.window, t.price)
        if late >= 0.0:
            self._lates[found] = late
        return found

    def safe(self, count: int, current: int, share: float) -> int:
        """The lowest count in [count, current] that leaves at most ``share`` late, or serves as much as ``current``."""
        same = int(np.searchsorted(self._table, self._table[min(current, len(self._table) - 1)] - 1e-9))
        low, high = count, max(min(current, max(same, count)), count)
        while low < high:  # more replicas are never later
            middle = (low + high) // 2
            if self.late_share(middle) <= share:
                high = middle
            else:
                low = middle + 1
        return low


@compiled
def spread(
    rates: Floats,
    step: float,
    age: float,
    inflation: float,
    backlog: float,
    backlog_age: float,
    slack: float,
    dt: float,
    middle: Floats,
    arrived: Floats,
    due: Floats,
) -> float:
    """Fill, on a grid of ``dt`` s, ``arrived`` [N, K + 1] with cumulative arrivals (the backlog counts in) and ``due``
    [N, K + 1] with what must have been begun. The backlog came evenly over its age; the rate in the last step of
    ``middle`` [steps], the median path, goes on for ever. Returns the highest rate of any path in these steps.

    Residuals above the median path are multiplied by ``inflation``: paths seldom hold the whole jump.
    """
    count, steps, grid = len(rates), len(middle), arrived.shape[1]
    # Where the grid's times lie on the paths, which is the same for all of them: the step, and what of it is past.
    at, past = np.empty((2, grid), np.int64), np.empty((2, grid))
    begin, late_due = _place(age, step, steps), grid
    for k in range(grid):
        ahead = k * dt - slack
        at[0, k], past[0, k] = _place(age + k * dt, step, steps)
        at[1, k], past[1, k] = _place(age + max(ahead, 0.0), step, steps)
        if ahead >= 0.0:
            late_due = min(late_due, k)
    old = np.empty(late_due)  # of the backlog
    for k in range(late_due):
        old[k] = backlog * max(0.0, 1.0 + (k * dt - slack) / max(backlog_age, 1e-9))
    path, sums, peak = np.empty(steps), np.zeros(steps + 1), 0.0
    for p in range(count):
        for k in range(steps):
            path[k] = rates[p, k] + (inflation - 1.0) * max(rates[p, k] - middle[k], 0.0)
        came = 0.0
        for k in range(steps):
            came += path[k] * step
            sums[k + 1] = came
            peak = max(peak, path[k])
        before = _until(sums, path, step, begin[0], begin[1])
        for k in range(grid):
            arrived[p, k] = backlog + _until(sums, path, step, at[0, k], past[0, k]) - before
        for k in range(late_due):
            due[p, k] = old[k]
        for k in range(late_due, grid):
            due[p, k] = backlog + _until(sums, path, step, at[1, k], past[1, k]) - before
    return peak


@compiled
def _place(at: float, step: float, steps: int) -> tuple[int, float]:
    """The step of a path (the last one has no end) in which a time since its begin is, and how many steps into it."""
    position = at / step
    k = min(int(position), steps - 1)
    return k, position - k


@compiled
def _until(sums: Floats, path: Floats, step: float, k: int, past: float) -> float:
    """Cumulative arrivals of a path until ``past`` steps after the begin of step ``k``."""
    value: float = sums[k] + path[k] * past * step
    return value


@compiled
def ready_share(points: Floats, age: float, after: float) -> float:
    """Share of replicas of ``age`` s that serve ``after`` s from now, given that they do not yet; ``points``: the lead
    times that were seen (s, ascending). One older than all of them is given another median lead time: late, but coming.
    """
    gone = np.searchsorted(points, age, side="right")
    alive = len(points) - gone
    if alive == 0:
        return 1.0 if after >= points[(len(points) - 1) // 2] else 0.0
    done = np.searchsorted(points, age + after, side="right")
    return float((done - gone) / alive)


@compiled
def coming(ages: Floats, points: Floats, dt: float, pending: Floats, fresh: Floats) -> None:
    """Expected serving replicas at the middle of each grid step: ``pending[j]`` of the j oldest that are on their way
    (``ages`` s, descending), ``fresh`` of one that is asked for now."""
    for k in range(len(fresh)):
        after = (k + 0.5) * dt
        fresh[k] = ready_share(points, 0.0, after)
        pending[0, k] = 0.0
        for j in range(len(ages)):
            pending[j + 1, k] = pending[j, k] + ready_share(points, ages[j], after)


@compiled
def capacity(
    count: int, current: int, ready: int, pending: Floats, fresh: Floats, table: Floats, k: int, pause: float
) -> float:
    """Replicas' worth of service in a grid step. A lower count acts at once and takes the youngest pending replicas
    first, as a ReplicaSet does; ``pause``: the share of a step that a change of membership costs."""
    on_way = pending.shape[0] - 1
    removed = max(current - count, 0)
    serving = max(ready - max(removed - on_way, 0), 0) + pending[max(on_way - removed, 0), k]
    serving += max(count - current, 0) * fresh[k]
    low = min(int(serving), len(table) - 1)
    high = min(low + 1, len(table) - 1)
    worth = table[low] + (table[high] - table[low]) * min(serving - low, 1.0)
    changed = removed > on_way and k == 0  # a serving replica leaves now
    joined = count > current and fresh[k] >= 0.5 and (k == 0 or fresh[k - 1] < 0.5)  # new ones join then
    if changed or joined:
        worth *= 1.0 - pause
    return float(worth)


@compiled
def late_mean(
    count: int,
    current: int,
    ready: int,
    pending: Floats,
    fresh: Floats,
    table: Floats,
    arrived: Floats,
    due: Floats,
    dt: float,
    rate: float,
    pause: float,
) -> float:
    """Late requests, mean over the paths.

    Service never runs ahead of arrivals nor of capacity (Lindley's recursion). Late is what must have been begun and is
    not: both cumulative curves are linear within a step, so the late part of a step's due requests ends where they
    cross.
    """
    paths, steps = arrived.shape[0], arrived.shape[1] - 1
    could = np.empty(steps)
    for k in range(steps):
        could[k] = capacity(count, current, ready, pending, fresh, table, k, min(pause / dt, 1.0)) * rate * dt
    total = 0.0
    for p in range(paths):
        served, behind = 0.0, max(due[p, 0], 0.0)
        for k in range(steps):
            served = min(served + could[k], arrived[p, k + 1])
            after = due[p, k + 1] - served
            if behind > _CRUMB or after > _CRUMB:
                came = due[p, k + 1] - due[p, k]
                if behind > _CRUMB and after > _CRUMB:
                    total += came
                else:
                    total += came * max(behind, after) / max(abs(behind) + abs(after), _CRUMB)
            behind = after
    mean: float = total / paths
    return mean


@compiled
def search(
    lowest: int,
    highest: int,
    current: int,
    ready: int,
    pending: Floats,
    fresh: Floats,
    table: Floats,
    arrived: Floats,
    due: Floats,
    dt: float,
    rate: float,
    pause: float,
    window: float,
    price: float,
) -> tuple[int, float]:
    """The count of least ``count x window + price x late``; of those that cost next to nothing more, the highest. And
    the late requests with it, mean over the paths; NaN where no cost is a number.

    Branch and bound: more replicas are never later, but for the pause that a change costs: so the present count, which
    has none, is looked at first. Between a count and a higher one no cost is less than the lower one's replica time
    with the higher one's lateness; where even that is no better than what was found, nobody looks. The paths hold less
    than may come, so that of giving up and of having enough for all, when both cost the same, it is the second.
    """
    best, least = lowest, np.inf
    step = max((highest - lowest) // 12, 1)
    # Gaps between counts that were looked at: (lower, higher, price of the higher one's lateness).
    size = 2 * (highest - lowest) // step + 64
    gaps, seen = np.empty((size, 3)), np.empty((highest - lowest + 2, 3))
    waiting, before, count, looked = 0, lowest - 1, lowest, 0
    if lowest <= current <= highest:
        requests = late_mean(current, current, ready, pending, fresh, table, arrived, due, dt, rate, pause)
        seen[0, 0], seen[0, 1], seen[0, 2] = current, current * window + price * requests, requests
        least, looked = seen[0, 1], 1
    while count <= highest and count * window < least:
        requests = late_mean(count, current, ready, pending, fresh, table, arrived, due, dt, rate, pause)
        late = price * requests
        seen[looked, 0], seen[looked, 1], seen[looked, 2] = count, count * window + late, requests
        least = min(least, seen[looked, 1])
        looked += 1
        if before >= lowest:
            gaps[waiting, 0], gaps[waiting, 1], gaps[waiting, 2] = before, count, late
            waiting += 1
        before = count
        count = min(count + step, highest) if count < highest else highest + 1
    if before < count <= highest:  # too dear even without lateness; what is before it need not be
        gaps[waiting, 0], gaps[waiting, 1], gaps[waiting, 2] = before, count, 0.0
        waiting += 1
    while waiting > 0:
        waiting -= 1
        low, high, late_high = int(gaps[waiting, 0]), int(gaps[waiting, 1]), gaps[waiting, 2]
        if high - low < 2 or (low + 1) * window + late_high >= least:
            continue
        count = (low + high) // 2
        requests = late_mean(count, current, ready, pending, fresh, table, arrived, due, dt, rate, pause)
        late = price * requests
        seen[looked, 0], seen[looked, 1], seen[looked, 2] = count, count * window + late, requests
        least = min(least, seen[looked, 1])
        looked += 1
        gaps[waiting, 0], gaps[waiting, 1], gaps[waiting, 2] = count, high, late_high
        gaps[waiting + 1, 0], gaps[waiting + 1, 1], gaps[waiting + 1, 2] = low, count, late
        waiting += 2
    best_late = np.nan
    for i in range(looked):
        if seen[i, 1] <= (1.0 + _NEAR) * least and seen[i, 0] >= best:
            best, best_late = int(seen[i, 0]), seen[i, 2]
    return best, best_late


@compiled
def left_at(
    level: float,
    backlog: float,
    current: int,
    ready: int,
    ages: Floats,
    points: Floats,
    table: Floats,
    rate: float,
    lead: float,
) -> float:
    """The backlog (messages) ``lead`` s from now with arrivals held at ``level`` (requests/s) and the present count."""
    steps = 20
    dt = lead / steps
    pending, fresh = np.empty((len(ages) + 1, steps)), np.empty(steps)
    coming(ages, points, dt, pending, fresh)
    left = backlog
    for k in range(steps):
        left = max(left + (level - capacity(current, current, ready, pending, fresh, table, k, 0.0) * rate) * dt, 0.0)
    return left
