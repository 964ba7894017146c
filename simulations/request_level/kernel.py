"""Compiled: one service's events in order of time. All state is in the tables of ``tables.py``.

An event is an arrival, or a replica that is due: it becomes ready, or it has finished something. Of two at the same
instant, what makes room comes first. All that is compiled stays in this one file: numba's cache knows of no other.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from simulations.request_level.tables import Floats, Table

FREE, STARTING, READY, DRAINING = 0, 1, 2, 3  # phases of a replica's row
PARALLEL, SERIAL, SHARING, BATCH = 0, 1, 2, 3  # how a replica serves
NOBODY = -1

_inside = njit(inline="always")  # calls with so many tables cost as much as what is done with them


@_inside
def _room(replicas: Table, run: Table, r: int) -> bool:
    replica, rules = replicas[r], run[0]
    if replica.phase != READY:
        return False
    return bool(replica.held < rules.slots and (rules.serving != BATCH or replica.held == 0))


@njit(cache=True)
def _least(slots: Table, r: int, held: int) -> int:
    """Slot of replica ``r`` with the lowest mark."""
    best = 0
    for k in range(1, held):
        if slots[r, k].mark < slots[r, best].mark:
            best = k
    return best


@_inside
def _enter(
    due: Floats, replicas: Table, slots: Table, requests: Table, run: Table, sizes: Floats, r: int, i: int, t: float
) -> None:
    """Request ``i`` goes into replica ``r``, which has room, at ``t``."""
    replica, request, rules = replicas[r], requests[i], run[0]
    held = replica.held
    replica.held = held + 1
    if rules.serving == SERIAL:
        slots[r, (replica.first + held) % rules.slots].request = i
        if held == 0:
            request.begun = t
            due[r] = t + request.work
        return
    request.begun = t
    slots[r, held].request = i
    if rules.serving == PARALLEL:
        slots[r, held].mark = t + request.work
        due[r] = min(due[r], t + request.work)
    elif rules.serving == SHARING:
        if held:
            replica.attained += (t - replica.clock) / held
        replica.clock = t
        slots[r, held].mark = replica.attained + request.work
        ahead = slots[r, _least(slots, r, held + 1)].mark - replica.attained
        due[r] = t + max(ahead, 0.0) * (held + 1)
    else:
        due[r] = t + sizes[held]


@_inside
def _leave(requests: Table, partitions: Table, run: Table, i: int, t: float) -> None:
    request = requests[i]
    request.left = t
    partitions[request.partition].gone += 1
    run[0].served += 1
    run[0].latency += t - request.arrival


@_inside
def _release(
    due: Floats, replicas: Table, slots: Table, requests: Table, partitions: Table, run: Table, r: int, t: float
) -> None:
    """What replica ``r`` has finished at ``t`` leaves it."""
    replica, rules = replicas[r], run[0]
    held = replica.held
    due[r] = np.inf
    if rules.serving == BATCH:
        for k in range(held):
            _leave(requests, partitions, run, slots[r, k].request, t)
        replica.held = 0
        return
    replica.held = held - 1
    if rules.serving == SERIAL:
        _leave(requests, partitions, run, slots[r, replica.first].request, t)
        replica.first = (replica.first + 1) % rules.slots
        if held > 1:
            following = requests[slots[r, replica.first].request]
            following.begun = t
            due[r] = t + following.work
        return
    k = _least(slots, r, held)
    _leave(requests, partitions, run, slots[r, k].request, t)
    if rules.serving == SHARING:
        replica.attained = slots[r, k].mark
        replica.clock = t
    slots[r, k].request = slots[r, held - 1].request
    slots[r, k].mark = slots[r, held - 1].mark
    if held > 1:
        least = slots[r, _least(slots, r, held - 1)].mark
        if rules.serving == PARALLEL:
            due[r] = least
        else:
            due[r] = t + max(least - replica.attained, 0.0) * (held - 1)


@njit(cache=True)
def _soonest(due: Floats) -> int:
    """Replica that is due first."""
    best = 0
    for r in range(1, len(due)):
        if due[r] < due[best]:
            best = r
    return best


@_inside
def _append(queues: Table, requests: Table, q: int, i: int) -> None:
    queue = queues[q]
    requests[i].after = NOBODY
    if queue.waiting:
        requests[queue.tail].after = i
    else:
        queue.head = i
    queue.tail = i
    queue.waiting += 1


@_inside
def _find(replicas: Table, run: Table, q: int) -> int:
    """A replica with room for a request of queue ``q``, in turn; NOBODY if there is none."""
    if q > 0:
        return q - 1 if _room(replicas, run, q - 1) else NOBODY
    if run[0].partitioned:
        return NOBODY
    r = int(run[0].turn)
    for _ in range(len(replicas)):
        if r >= len(replicas):
            r = 0
        if _room(replicas, run, r):
            run[0].turn = r + 1
            return r
        r += 1
    return NOBODY


@njit(cache=True)
def reassign(replicas: Table, queues: Table, partitions: Table, requests: Table) -> None:
    """Split the partitions anew among the ready replicas, by number; what waits goes with its partition."""
    members = np.empty(len(replicas), dtype=np.int64)
    count = 0
    for r in range(len(replicas)):
        if replicas[r].phase == READY:
            members[count] = r
            count += 1
    for p in range(len(partitions)):
        partitions[p].queue = 0
    if count:
        each, more = len(partitions) // count, len(partitions) % count
        p = 0
        for m in range(count):
            for _ in range(each + (1 if m < more else 0)):
                partitions[p].queue = members[m] + 1
                p += 1
    moving = np.empty(queues["waiting"].sum(), dtype=np.int64)
    n = 0
    for q in range(len(queues)):
        i = queues[q].head
        for _ in range(queues[q].waiting):
            moving[n] = i
            n += 1
            i = requests[i].after
        queues[q].waiting = 0
    moving.sort()  # in order of arrival
    for k in range(n):
        _append(queues, requests, partitions[requests[moving[k]].partition].queue, moving[k])


@_inside
def _refill(
    due: Floats,
    replicas: Table,
    slots: Table,
    queues: Table,
    partitions: Table,
    requests: Table,
    run: Table,
    sizes: Floats,
    r: int,
    t: float,
) -> None:
    """Replica ``r`` takes what waits for it, as far as it has room; a batch is as large as the queue allows."""
    queue = queues[r + 1 if run[0].partitioned else 0]
    most = run[0].slots - replicas[r].held if _room(replicas, run, r) else 0
    for _ in range(min(most, queue.waiting)):
        i = queue.head
        queue.head = requests[i].after
        queue.waiting -= 1
        _enter(due, replicas, slots, requests, run, sizes, r, i, t)
        partitions[requests[i].partition].started += 1


@_inside
def _arrive(
    due: Floats,
    replicas: Table,
    slots: Table,
    queues: Table,
    partitions: Table,
    requests: Table,
    run: Table,
    sizes: Floats,
    i: int,
    t: float,
) -> int:
    """Request ``i`` arrives at ``t``; returns the replica that takes it, NOBODY when it waits or is refused."""
    partition = partitions[requests[i].partition]
    partition.arrived += 1
    run[0].following = i + 1
    queue = queues[partition.queue]
    r = _find(replicas, run, partition.queue) if queue.waiting == 0 else NOBODY
    if r != NOBODY:
        _enter(due, replicas, slots, requests, run, sizes, r, i, t)
        partition.started += 1
    elif 0 <= run[0].bound <= queue.waiting:
        requests[i].left = t
        partition.gone += 1
        run[0].refused += 1
    else:
        _append(queues, requests, partition.queue, i)
    return r


@njit(cache=True)
def advance(
    due: Floats,
    replicas: Table,
    slots: Table,
    queues: Table,
    partitions: Table,
    requests: Table,
    run: Table,
    sizes: Floats,
    until: float,
) -> None:
    """Everything that happens before ``until``; with inf, all that can still happen.

    ``due``: s of each replica's next event, inf without one, shape [replicas]. ``slots``: shape [replicas, slots].
    ``sizes``: s of a batch of 1, 2, ...; of length 0 where requests are served one by one.
    """
    if run[0].partitioned:  # since the last call, a replica that stopped may have left its queue to an idle one
        for r in range(len(replicas)):
            _refill(due, replicas, slots, queues, partitions, requests, run, sizes, r, run[0].now)
    soonest = _soonest(due)
    while True:
        i = run[0].following
        t = due[soonest]
        arrival = requests[i].arrival if i < len(requests) else np.inf
        if min(arrival, t) >= until:
            run[0].now = until
            return
        if arrival < t:
            r = _arrive(due, replicas, slots, queues, partitions, requests, run, sizes, i, arrival)
            if r == soonest and due[r] > t:  # sharing: those in it are done later now
                soonest = _soonest(due)
            elif r != NOBODY and due[r] < t:
                soonest = r
            continue
        first, last = soonest, soonest + 1  # replicas that may take what waits
        if replicas[soonest].phase == STARTING:
            replicas[soonest].phase = READY
            due[soonest] = np.inf
            if run[0].partitioned:
                reassign(replicas, queues, partitions, requests)
                first, last = 0, len(replicas)
        else:
            _release(due, replicas, slots, requests, partitions, run, soonest, t)
            if replicas[soonest].phase == DRAINING and replicas[soonest].held == 0:
                replicas[soonest].phase = FREE
        for r in range(first, last):
            _refill(due, replicas, slots, queues, partitions, requests, run, sizes, r, t)
        soonest = _soonest(due)
