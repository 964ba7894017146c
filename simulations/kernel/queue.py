"""One service's queue, second by second: what arrives, who serves it, and how long each request waited.

A second is fluid: its arrivals are spread evenly over it, and so is what is served in it. Each partition is first in,
first out, so the n-th request to arrive is the n-th to be taken into service, and the wait of every request follows
from the two cumulative curves, exactly up to their straight lines within a second.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulations.kernel.assignment import assign, group_by_owner
from simulations.kernel.compiled import compiled
from simulations.kernel.draws import GOLDEN, mixed, split
from simulations.kernel.latency import add, late_part
from simulations.setting import Protocol

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

EAGER, COOPERATIVE, KIP848 = 0, 1, 2
PROTOCOL = {Protocol.EAGER: EAGER, Protocol.COOPERATIVE: COOPERATIVE, Protocol.KIP848: KIP848}

# Rows of ``parts``, float64 [rows, partitions].
SHARE, WAITING, REST, RESUME, COME, WANT, GRANT, PHASE = range(8)
PART_ROWS = 8
# Rows of ``places``, int64 [rows, partitions + 1].
HEAD, OWNER, BEFORE, ORDER, START = range(5)
PLACE_ROWS = 5
# Rows of ``columns``, float64 [rows, seconds].
LATE, BACKLOG, TIME_LAG = range(3)
# ``real``, float64.
RATE, TIME, SLACK, PAUSE, SHOWN_SERVED = range(5)
# ``whole``, int64.
SHARED, ASSIGNOR, HOW, EVEN, ACTIVE, REBALANCES, OLDEST, COMMITTED = range(8)
# Columns of an event, int64 [events, columns]: what became of a pod.
AT, WHOSE, NUMBER, SIGN, ASKED, SCHEDULED = range(6)

ARRIVED, SERVED = 0, 1  # of ``curves``
_NOTHING = 1e-9  # requests: less is rounding


@compiled
def serve(
    first: int,
    last: int,
    service: int,
    seed: Any,
    arrivals: Floats,  # [seconds], NaN in a gap
    filled: Floats,  # [seconds], what the offsets grow by: arrivals, and in a gap the rate around it
    stopped: Flags,  # [seconds], nothing is served
    columns: Floats,
    ring: Floats,  # [window, partitions], arrivals of the newest seconds
    curves: Floats,  # [2, window, partitions], cumulative at the end of the newest seconds, as the offsets show them
    parts: Floats,
    places: Ints,
    members: Ints,  # numbers of the ready pods, ascending, after their count
    events: Ints,
    count: int,
    bins: Floats,
    bounds: Floats,
    normals: Floats,
    real: Floats,
    whole: Ints,
) -> int:
    """Run the seconds ``first`` to ``last``; returns the second reached: less than ``last`` when ``ring`` is full."""
    window, partitions = ring.shape
    bits = np.zeros(1, np.int64)
    e = 0
    for s in range(first, last):
        if s - whole[OLDEST] >= window - 1:
            return s
        changed = False
        while e < count and events[e, AT] <= s:
            if events[e, AT] == s and events[e, WHOSE] == service:
                change_members(members, events[e, NUMBER], events[e, SIGN])
                changed = True
            e += 1
        if changed:
            whole[REBALANCES] += 1
            rebalance(s + real[PAUSE], parts, places, members, whole)
        row = s % window
        _arrive(arrivals[s], seed, s, parts, ring[row], normals, whole)
        if stopped[s]:
            parts[GRANT] = 0.0
        elif whole[SHARED]:
            parts[GRANT, 0] = min(parts[WANT, 0], members[0] * real[RATE] * _open(parts[RESUME, 0], s))
        else:
            _share_out(s, parts, places, real[RATE], whole[ACTIVE])
        backlog, lag, oldest = 0.0, 0.0, s + 1
        for p in range(partitions):
            come, want, grant = ring[row, p], parts[WANT, p], parts[GRANT, p]
            if want - grant < _NOTHING:
                parts[GRANT, p] = grant = want
            if grant > 0.0:
                if want == come and grant == want:
                    add(bins, bounds, real[TIME], real[TIME], grant, bits)
                    columns[LATE, s] += late_part(0.0, 0.0, grant, real[SLACK])
                    places[HEAD, p] = s + 1
                    parts[REST, p] = 0.0
                else:
                    _leave(p, s, grant, ring, parts, places, columns, bins, bounds, real, bits)
            waiting = want - grant
            parts[WAITING, p] = waiting
            if waiting > 0.0:
                head = _head(p, s, ring, parts, places)
                backlog += waiting
                lag = max(lag, s + 1 - head)
                oldest = min(oldest, places[HEAD, p])
            else:
                places[HEAD, p] = s + 1
                parts[REST, p] = 0.0
        columns[BACKLOG, s], columns[TIME_LAG, s] = backlog, lag
        whole[OLDEST] = oldest
        _draw_curves(s, arrivals[s], filled[s], ring[row], curves, parts)
    return last


@compiled
def change_members(members: Ints, number: int, sign: int) -> None:
    """Let pod ``number`` into the group (sign 1), or out of it."""
    count = members[0]
    at = 1 + np.searchsorted(members[1 : count + 1], number)
    if sign > 0:
        members[at + 1 : count + 2] = members[at : count + 1].copy()
        members[at] = number
        members[0] += 1
    elif at <= count and members[at] == number:
        members[at:count] = members[at + 1 : count + 1].copy()
        members[0] -= 1


@compiled
def rebalance(resume: float, parts: Floats, places: Ints, members: Ints, whole: Ints) -> None:
    """Assign the partitions to the members as they are now; what the protocol stops goes on at ``resume`` (s).

    Eager stops all. Cooperative stops the consumers that gain or lose a partition, KIP-848 the partitions that move.
    One shared queue has nothing to move: only an eager group stops.
    """
    if whole[SHARED]:
        if whole[HOW] == EAGER:
            parts[RESUME, 0] = max(parts[RESUME, 0], resume)
        return
    partitions = parts.shape[1]
    owner, before = places[OWNER, :partitions], places[BEFORE, :partitions]
    before[:] = owner
    count = members[0]
    assign(whole[ASSIGNOR], members[1:], count, owner)
    whole[ACTIVE] = group_by_owner(members[1:], count, owner, places[ORDER], places[START])
    for p in range(partitions):
        stops = whole[HOW] == EAGER or owner[p] != before[p]
        if not stops and whole[HOW] == COOPERATIVE:
            for other in range(partitions):
                if owner[other] != before[other] and (owner[other] == owner[p] or before[other] == owner[p]):
                    stops = True
        if stops:
            parts[RESUME, p] = max(parts[RESUME, p], resume)


@compiled
def _open(resume: float, s: int) -> float:
    """Share of second ``s`` that is left after a pause."""
    return 1.0 - min(max(resume - s, 0.0), 1.0)


@compiled
def _arrive(arrivals: float, seed: Any, s: int, parts: Floats, come: Floats, normals: Floats, whole: Ints) -> None:
    count = 0.0 if math.isnan(arrivals) else arrivals
    if count == 0.0:
        come[:] = 0.0
    elif len(come) == 1:
        come[0] = count
    else:
        word = mixed(seed + (np.uint64(s) + np.uint64(1)) * GOLDEN)
        split(count, word, parts[SHARE], whole[EVEN] == 1, normals, come)
    for p in range(len(come)):
        parts[WANT, p] = parts[WAITING, p] + come[p]


@compiled
def _share_out(s: int, parts: Floats, places: Ints, rate: float, active: int) -> None:
    """Each consumer's second, in equal shares among its partitions that have work for them (max-min fair)."""
    if active == 0:
        parts[GRANT] = 0.0
        return
    for m in range(active):
        begin, end = places[START, m], places[START, m + 1]
        total, most = 0.0, 0.0
        for k in range(begin, end):
            p = places[ORDER, k]
            work = _open(parts[RESUME, p], s)
            most = max(most, work)
            want = parts[WANT, p]
            if work < 1.0:
                want = min(want, rate * work)
            parts[GRANT, p] = want
            total += want
        left = rate * most
        if total <= left:
            continue
        # The smallest wishes first: what they leave is shared among the others.
        open_ones, level = end - begin, 0.0
        while True:
            level, full = left / open_ones, 0
            for k in range(begin, end):
                p = places[ORDER, k]
                if 0.0 <= parts[GRANT, p] <= level:
                    left -= parts[GRANT, p]
                    parts[GRANT, p] = -1.0 - parts[GRANT, p]  # settled
                    full += 1
            open_ones -= full
            if full == 0 or open_ones == 0:
                break
        for k in range(begin, end):
            p = places[ORDER, k]
            parts[GRANT, p] = -1.0 - parts[GRANT, p] if parts[GRANT, p] < 0.0 else level


@compiled
def _head(p: int, s: int, ring: Floats, parts: Floats, places: Ints) -> float:
    """When the oldest request of a partition arrived (s); moves the head to the second it belongs to."""
    window = ring.shape[0]
    head, rest = places[HEAD, p], parts[REST, p]
    while rest <= 0.0 and head < s:
        if ring[head % window, p] > 0.0:
            rest = ring[head % window, p]
        else:
            head += 1
    if rest <= 0.0:
        rest = ring[head % window, p]
    places[HEAD, p], parts[REST, p] = head, rest
    total = ring[head % window, p]
    return head + (1.0 - rest / total if total > 0.0 else 0.0)


@compiled
def _leave(
    p: int,
    s: int,
    grant: float,
    ring: Floats,
    parts: Floats,
    places: Ints,
    columns: Floats,
    bins: Floats,
    bounds: Floats,
    real: Floats,
    bits: Ints,
) -> None:
    """Take ``grant`` requests of a partition into service, evenly over second ``s``, the oldest first."""
    window = ring.shape[0]
    done, head, rest = 0.0, places[HEAD, p], parts[REST, p]
    while grant - done > 0.0 and head <= s:
        total = ring[head % window, p]
        if rest <= 0.0:
            rest = total
        if rest > 0.0:
            take = min(rest, grant - done)
            first = max(s + done / grant - (head + (total - rest) / total), 0.0)
            last = max(s + (done + take) / grant - (head + (total - rest + take) / total), 0.0)
            add(bins, bounds, first + real[TIME], last + real[TIME], take, bits)
            columns[LATE, head] += late_part(first, last, take, real[SLACK])
            done += take
            rest -= take
            # What rounding leaves of a second's arrivals is none.
            if rest > 1e-12 * total:
                break
        head += 1
        rest = 0.0
    places[HEAD, p], parts[REST, p] = head, rest


@compiled
def _draw_curves(s: int, arrivals: float, filled: float, come: Floats, curves: Floats, parts: Floats) -> None:
    window = curves.shape[1]
    old, new = s % window, (s + 1) % window
    gap = math.isnan(arrivals)
    for p in range(len(come)):
        more = filled * parts[SHARE, p] if gap else 0.0
        curves[ARRIVED, new, p] = curves[ARRIVED, old, p] + come[p] + more
        curves[SERVED, new, p] = curves[SERVED, old, p] + max(parts[GRANT, p], 0.0) + more


@compiled
def left_late(last: int, ring: Floats, parts: Floats, places: Ints, columns: Floats, bins: Floats, real: Floats) -> float:
    """Count what still waits at second ``last`` and will be late for certain; returns all that waits.

    The late ones are in the histogram's last bin: their latency has no end yet.
    """
    window, partitions = ring.shape
    unserved = 0.0
    for p in range(partitions):
        if parts[WAITING, p] <= 0.0:
            continue
        unserved += parts[WAITING, p]
        head, rest = places[HEAD, p], parts[REST, p]
        while head < last:
            total = ring[head % window, p]
            if rest <= 0.0:
                rest = total
            if rest > 0.0:
                late = late_part(last - head - (total - rest) / total, last - head - 1.0, rest, real[SLACK])
                columns[LATE, head] += late
                bins[0, bins.shape[1] - 2] += late
            head += 1
            rest = 0.0
    return unserved
