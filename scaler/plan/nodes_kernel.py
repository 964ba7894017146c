"""What nodes cost and save over the sample paths of a pool's services, compiled.

Everything is in GPUs: S services, N paths, K steps of ``dt`` s from now on. ``needed`` [S, N, K] is each service's
arrivals as the GPUs that are busy with them; services stand in the order in which a pool serves them, the least
patient first. Times are seconds. A cost is in GPU-seconds; ``price`` is that of a GPU-second of late work.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from forecasting.compiled import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Columns of ``per_service``, float64 [S, columns].
BACKLOG, SLACK, PRICE, GPUS, READY = range(5)


@compiled
def gpus_needed(
    rates: Floats,
    step: float,
    age: float,
    dt: float,
    middle: Floats,
    near: float,
    far: float,
    of_near: float,
    of_far: float,
    inverse: Floats,
    per: float,
    begin: int,
    end: int,
    out: Floats,
) -> None:
    """Fill the steps [begin, end) of ``out`` [N, any] from one service's paths (requests/s, [N, any], the first step
    begins ``age`` s before now).

    Each step's residuals above ``middle`` [steps], the median path, are multiplied by a factor: ``of_near`` up to
    ``near`` s from now, ``of_far`` from ``far`` s on, linear between them. The nearer, the less do paths hold of a
    jump. The rate in the last step of ``middle`` goes on for ever. ``inverse[i]`` are the replicas that give
    ``i * per`` requests/s, times the GPUs of one; what no number of replicas gives, counts as what the most give.
    """
    steps, top, given = end - begin, len(inverse) - 1, len(middle)
    # Of each step of ``out``: the first and the last of ``rates`` in it, and their parts of it.
    first, last = np.empty(steps, np.int64), np.empty(steps, np.int64)
    parts, several = np.empty((steps, 3)), False
    for k in range(steps):
        since, until = (age + (begin + k) * dt) / step, (age + (begin + k + 1) * dt) / step
        first[k] = min(int(since), given - 1)
        last[k] = max(min(math.ceil(until - 1e-9) - 1, given - 1), first[k])
        parts[k, 0], parts[k, 1], parts[k, 2] = first[k] + 1 - since, 1.0, until - last[k]
        parts[k] /= until - since
        several = several or last[k] > first[k]
    factors = np.empty(given)
    for k in range(given):
        place = ((k + 0.5) * step - age - near) / max(far - near, 1e-9)
        factors[k] = of_near + (of_far - of_near) * min(max(place, 0.0), 1.0)
    rises = np.empty(top)
    for i in range(top):
        rises[i] = inverse[i + 1] - inverse[i]
    path, places, low, most = np.empty(given), np.empty(steps), first[0], float(top)
    # Short loops over slices, which the compiler makes into vectors.
    for p in range(len(rates)):
        drawn, centre, factor, wide = rates[p, low:given], middle[low:], factors[low:], path[low:]
        for k in range(len(drawn)):
            wider = centre[k] + (drawn[k] - centre[k]) * factor[k]
            wide[k] = wider if drawn[k] > centre[k] else drawn[k]
        for k in range(steps):
            places[k] = path[first[k]]
        if several:
            for k in range(steps):
                if last[k] > first[k]:
                    places[k] = places[k] * parts[k, 0] + path[last[k]] * parts[k, 2]
                    for j in range(first[k] + 1, last[k]):
                        places[k] += path[j] * parts[k, 1]
        for k in range(steps):
            place = places[k] / per
            places[k] = place if place < most else most
        made = out[p, begin:end]
        for k in range(steps):
            below = int(places[k])
            below = below if below < top else top - 1
            at = np.uint64(below)  # never from the end
            made[k] = inverse[at] + rises[at] * (places[k] - float(below))


@compiled
def left_over(backlog: float, arriving: float, capacity: Floats, dt: float) -> float:
    """What is left of a ``backlog`` when as much as ``arriving`` goes on to come under ``capacity`` [steps]."""
    left = backlog
    for there in capacity:
        left = max(left + (arriving - there) * dt, 0.0)
    return left


@compiled
def share_up(cdf: Floats, after: float, age: float) -> float:
    """Share of those of ``age`` (s) that are up ``after`` s from now, given that none is yet.

    ``cdf``: the grid's step (s), then the shares up at 0, 1, 2, ... steps; linear between. One that is older than all
    that were seen is given another median: it is late, but still on its way.
    """
    if after <= 0.0:
        return 0.0
    before = _at(cdf, age) if age > 0.0 else 0.0
    if before > 1.0 - 1e-9:
        return _at(cdf, after)
    return max(_at(cdf, age + after) - before, 0.0) / (1.0 - before)


@compiled
def _at(cdf: Floats, time: float) -> float:
    place = time / cdf[0]
    low = int(place)
    if low >= len(cdf) - 2:
        return 1.0
    return float(cdf[low + 1] + (cdf[low + 2] - cdf[low + 1]) * (place - low))


@compiled
def share_on_node(nodes: Floats, cdf: Floats, after: float, age: float) -> float:
    """Share of the pods for a node that was asked for ``age`` s ago that serve ``after`` s from now: both lead times in
    a row. ``nodes``: quantiles of the node's lead time (s), ascending, each as likely as the others.
    """
    alive, total = 0, 0.0
    for q in range(len(nodes)):
        if nodes[q] > age:
            alive += 1
            total += share_up(cdf, after - (nodes[q] - age), 0.0)
    if alive == 0:  # later than all that were seen: another median lead time
        return share_up(cdf, after - nodes[len(nodes) // 2], 0.0)
    return total / alive


@compiled
def late_cost(needed: Floats, per_service: Floats, capacity: Floats, dt: float) -> float:
    """Price of the late work under ``capacity`` [steps] GPUs, mean over the paths.

    The least patient service takes what it needs, the next one what that leaves. Work is late when the capacity of the
    next ``slack`` seconds does not clear what is left of it.
    """
    services, paths, total = needed.shape[0], needed.shape[1], 0.0
    steps, waits = len(capacity), False
    left, rooms = np.empty(services), np.empty(steps)
    for s in range(services):
        waits = waits or not per_service[s, BACKLOG] <= 0.0
    for p in range(paths):
        if not (waits or _overflows(needed, p, capacity, dt, rooms)):
            continue
        for s in range(services):
            left[s] = per_service[s, BACKLOG]
        for k in range(steps):
            room, ahead = capacity[k] * dt, capacity[min(k + 1, steps - 1)]
            for s in range(services):
                arrived = needed[s, p, k] * dt
                if left[s] > 0.0 or arrived > room:
                    rest = left[s] + arrived - room
                    room = max(-rest, 0.0)
                    left[s] = max(rest, 0.0)
                    late = left[s] - ahead * per_service[s, SLACK]
                    if late > 0.0:
                        total += per_service[s, PRICE] * min(late, arrived)
                else:
                    room -= arrived
                ahead = max(ahead - needed[s, p, k], 0.0)
    return float(total / paths)


@compiled
def _overflows(needed: Floats, p: int, capacity: Floats, dt: float, rooms: Floats) -> bool:
    """Whether anything on a path comes to wait. As a rule nothing does, and no step depends on the one before it; the
    same operations as if it did, in loops that the compiler makes into vectors. ``rooms`` [steps] is written over."""
    for k in range(len(capacity)):
        rooms[k] = capacity[k] * dt
    waiting = 0
    for s in range(needed.shape[0]):
        working = needed[s, p, : len(capacity)]
        for k in range(len(capacity)):
            arrived = working[k] * dt
            waiting += arrived > rooms[k]
            rooms[k] -= arrived
    return waiting > 0


@compiled
def peaks(needed: Floats, first: int, last: int, out: Floats) -> None:
    """Fill ``out`` [N] with the most GPUs that each path needs in the steps [first, last), of all services together."""
    services = needed.shape[0]
    for p in range(needed.shape[1]):
        highest = 0.0
        for k in range(first, last):
            total = needed[0, p, k]
            for s in range(1, services):
                total += needed[s, p, k]
            highest = max(highest, total)
        out[p] = highest


@compiled
def mean_work(needed: Floats, steps: int) -> Floats:
    """The mean over the paths of each service's first ``steps``, [S, steps] GPUs."""
    services, paths = needed.shape[0], needed.shape[1]
    work = np.zeros((services, steps))
    for s in range(services):
        for p in range(paths):
            for k in range(steps):
                work[s, k] += needed[s, p, k]
    work /= paths
    return work


@compiled
def share_above(peak: Floats, level: float) -> float:
    """Share of the paths whose peak is above ``level``."""
    above = 0
    for value in peak:
        above += value > level
    return above / len(peak)


@compiled
def standing_capacity(
    dt: float,
    serving: float,
    free: float,
    pods: Floats,
    booting: Floats,
    size: float,
    most: float,
    nodes: Floats,
    cdf: Floats,
    out: Floats,
) -> None:
    """Fill ``out`` [2, steps] with the GPUs that serve in each step, ``most`` at most: row 0 with all that is paid for,
    row 1 on the nodes alone that are booting.

    ``pods`` [P, 2]: GPUs and age (s, since they have a node) of pods that do not serve yet; ``free``: GPUs without a
    pod, which get one now; ``booting``: ages (s) of nodes of ``size`` GPUs.
    """
    for k in range(out.shape[1]):
        after = (k + 0.5) * dt
        there = serving + free * share_up(cdf, after, 0.0)
        for i in range(len(pods)):
            there += pods[i, 0] * share_up(cdf, after, pods[i, 1])
        coming, share = 0.0, 0.0
        for i in range(len(booting)):
            if i == 0 or booting[i] != booting[i - 1]:
                share = share_on_node(nodes, cdf, after, booting[i])
            coming += size * share
        out[0, k], out[1, k] = min(there + coming, most), min(coming, most)


@compiled
def nodes_to_order(
    needed: Floats,
    per_service: Floats,
    base: Floats,
    first: int,
    last: int,
    paid: int,
    most: int,
    size: float,
    dt: float,
    waste: float,
    overlap: float,
    wait: float,
    reach: int,
    nodes: Floats,
    cdf: Floats,
) -> tuple[int, float]:
    """How many new nodes are worth their price, on top of the ``paid`` ones (``base`` [steps]: what those serve), and
    the price of the work that is late with them.

    Least of lateness and, for each new node, of what it costs: when no path needs it in the steps [first, last), where
    it can serve, ``waste`` seconds of it; else ``overlap`` seconds, which it stands there early. Ordered only when
    asking ``wait`` s later would cost more lateness than it saves. At most ``reach`` nodes that save nothing are looked
    past.
    """
    late = late_cost(needed, per_service, base, dt)
    if late <= 0.0:
        return 0, 0.0
    steps, peak = len(base), np.empty(needed.shape[1])
    peaks(needed, first, last, peak)
    now, later, capacity = np.empty(steps), np.empty(steps), np.empty(steps)
    for k in range(steps):
        now[k] = size * share_on_node(nodes, cdf, (k + 0.5) * dt, 0.0)
        later[k] = size * share_on_node(nodes, cdf, (k + 0.5) * dt - wait, 0.0)
    best, least, best_late, cost, more = 0, late, late, 0.0, 0
    while paid + more < most and more - best < reach:
        share = share_above(peak, (paid + more) * size)
        more += 1
        cost += size * ((1.0 - share) * waste + share * overlap)
        for k in range(steps):
            capacity[k] = base[k] + more * now[k]
        late = late_cost(needed, per_service, capacity, dt)
        if late + cost < least:
            best, least, best_late = more, late + cost, late
        if late <= 0.0 or cost >= least:
            break
    if best > 0 and wait > 0.0:
        for k in range(steps):
            capacity[k] = base[k] + best * later[k]
        unneeded = 1.0 - share_above(peak, (paid + best - 1) * size)
        if late_cost(needed, per_service, capacity, dt) - best_late < size * best * wait * unneeded:
            return 0, best_late
    return best, best_late


@compiled
def late_alone(
    s: int,
    counts: Ints,
    needed: Floats,
    per_service: Floats,
    ages: Floats,
    coming: Floats,
    dt: float,
    cdf: Floats,
    out: Floats,
) -> None:
    """Fill ``out`` with the price of one service's late work, mean over the paths, for each of ``counts`` (ascending)
    pods on nodes that are Ready.

    ``ages`` [P] (s) of its pods that have a node and do not serve yet, the oldest first; fewer pods take the youngest
    away first, more are new. ``coming`` [steps]: GPUs on nodes that are booting, as far as they are this service's.
    """
    steps, number, paths = len(coming), len(counts), needed.shape[1]
    capacity = np.empty((steps + 1, number))
    for k in range(steps):
        after = (k + 0.5) * dt
        new = share_up(cdf, after, 0.0)
        for i in range(number):
            ready = min(int(per_service[s, READY]), counts[i])
            kept = min(len(ages), counts[i] - ready)
            serving = ready + (counts[i] - ready - kept) * new
            for pod in range(kept):
                serving += share_up(cdf, after, ages[pod])
            capacity[k, i] = serving * per_service[s, GPUS] + coming[k]
    capacity[steps] = capacity[steps - 1]
    room, clears = capacity * dt, capacity * per_service[s, SLACK]
    left = np.empty(number)
    out[:] = 0.0
    for p in range(paths):
        left[:] = per_service[s, BACKLOG]
        for k in range(steps):
            arrived = needed[s, p, k] * dt
            if left[0] <= 0.0 and arrived <= room[k, 0]:
                continue  # nothing waits with the fewest pods, and so with none of the counts
            for i in range(number):
                left[i] = max(left[i] + arrived - room[k, i], 0.0)
                out[i] += max(min(left[i] - clears[k + 1, i], arrived), 0.0)
    for i in range(number):
        out[i] = per_service[s, PRICE] * out[i] / paths
