"""Which consumer holds which partition: range, round robin, cooperative sticky, for one topic.

Members are named by numbers that only grow; a group is sorted by them, as it is by member ids in Kafka.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from forecasting.compiled import compiled
from simulations.setting import Assignor

Ints = NDArray[np.int64]

RANGE, ROUND_ROBIN, STICKY = 0, 1, 2
CODE = {Assignor.RANGE: RANGE, Assignor.ROUND_ROBIN: ROUND_ROBIN, Assignor.COOPERATIVE_STICKY: STICKY}
NOBODY = -1


@compiled
def assign(assignor: int, members: Ints, count: int, owner: Ints) -> None:
    """Write each partition's owner, shape [partitions], for the first ``count`` of ``members`` (ascending).

    Range gives neighbours to one member, the first ones get one more. Round robin deals them out. Cooperative sticky
    starts from ``owner`` as it stands and moves no more partitions than an even split needs.
    """
    partitions = len(owner)
    if count == 0:
        for p in range(partitions):
            owner[p] = NOBODY
        return
    if assignor == ROUND_ROBIN:
        for p in range(partitions):
            owner[p] = members[p % count]
        return
    each, more = partitions // count, partitions % count
    if assignor == RANGE:
        p = 0
        for m in range(count):
            for _ in range(each + (1 if m < more else 0)):
                owner[p] = members[m]
                p += 1
        return
    _stick(members, count, owner, each, more)


@compiled
def _stick(members: Ints, count: int, owner: Ints, each: int, more: int) -> None:
    held = np.zeros(count, np.int64)
    place = np.empty(len(owner), np.int64)  # of the owner among the members, or nobody
    for p in range(len(owner)):
        place[p] = NOBODY
        for m in range(count):
            if members[m] == owner[p]:
                place[p] = m
                held[m] += 1
    quota = _quotas(held, each, more)
    held = np.zeros(count, np.int64)
    for p in range(len(owner)):
        if place[p] != NOBODY:
            if held[place[p]] < quota[place[p]]:
                held[place[p]] += 1
            else:
                place[p] = NOBODY
    m = 0
    for p in range(len(owner)):
        if place[p] == NOBODY:
            while held[m] >= quota[m]:
                m += 1
            place[p] = m
            held[m] += 1
        owner[p] = members[place[p]]


@compiled
def _quotas(held: Ints, each: int, more: int) -> Ints:
    """Partitions of each member: ``more`` of them get one above ``each``, those first that hold so many already."""
    quota = np.empty(len(held), np.int64)
    for m in range(len(held)):
        quota[m] = each
        if more > 0 and held[m] > each:
            quota[m] += 1
            more -= 1
    for m in range(len(held)):
        if more > 0 and quota[m] == each:
            quota[m] += 1
            more -= 1
    return quota


@compiled
def group_by_owner(members: Ints, count: int, owner: Ints, order: Ints, start: Ints) -> int:
    """Partitions sorted by owner into ``order``, where each owner's begin into ``start``; returns how many own some."""
    active = k = 0
    for m in range(count):
        begin = k
        for p in range(len(owner)):
            if owner[p] == members[m]:
                order[k] = p
                k += 1
        if k > begin:
            start[active] = begin
            active += 1
    start[active] = k
    return active
