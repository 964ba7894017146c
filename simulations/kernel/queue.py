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

from forecasting.compiled import compiled
from simulations.kernel.assignment import assign, group_by_owner
from simulations.kernel.draws import GOLDEN, mixed, split
from simulations.kernel.latency import MASS, add, bin_of, late_part
from simulations.kernel.pods import DIED, JOINED, NEVER
from simulations.setting import Protocol

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

EAGER, COOPERATIVE, KIP848 = 0, 1, 2
PROTOCOL = {Protocol.EAGER: EAGER, Protocol.COOPERATIVE: COOPERATIVE, Protocol.KIP848: KIP848}

# Rows of ``parts``, float64 [rows, partitions].
SHARE, PART, WAITING, REST, RESUME, WANT, GRANT, PHASE = range(8)
PART_ROWS = 8
# Rows of ``places``, int64 [rows, partitions + 1].
HEAD, OWNER, BEFORE, ORDER, START, QUEUED = range(6)
PLACE_ROWS = 6
# Rows of ``columns``, float64 [rows, seconds].
LATE, BACKLOG, TIME_LAG = range(3)
# ``real``, float64.
RATE, TIME, SLACK, PAUSE, PAUSED = range(5)
# ``whole``, int64.
SHARED, ASSIGNOR, HOW, EVEN, ACTIVE, REBALANCES, OLDEST, COMMITTED, DEAD, DUE = range(10)
# Rows of ``members``, int64 [rows, 1 + members]; the first column of the first row is their count.
WHO, OUT = range(2)
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
    members: Ints,  # numbers of the pods in the group, ascending, and when each is taken for dead; see change_members
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
    want, grant, waiting, rest = parts[WANT], parts[GRANT], parts[WAITING], parts[REST]
    head, queued = places[HEAD], places[QUEUED]
    at_once = bin_of(real[TIME])
    e = 0
    for s in range(first, last):
        if s - whole[OLDEST] >= window - 1:
            return s
        if s >= whole[DUE] or (e < count and events[e, AT] <= s):
            e = _happen(s, service, e, events, count, parts, places, members, real, whole)
        come = ring[s & (window - 1)]
        _arrive(arrivals[s], seed, s, parts, come, normals, whole)
        if stopped[s]:
            _nothing(grant)
        elif whole[SHARED]:
            alive = members[WHO, 0] - whole[DEAD]
            grant[0] = min(want[0], alive * real[RATE] * _open(parts[RESUME, 0], s))
        else:
            _share_out(s, parts, places, real, whole[ACTIVE])
        quick, slow = 0.0, 0
        for p in range(partitions):
            if want[p] - grant[p] < _NOTHING:
                grant[p] = want[p]
            if grant[p] == want[p] and waiting[p] == 0.0:
                quick += want[p]
                head[p] = s + 1
                rest[p] = 0.0
            else:
                queued[slow] = p
                slow += 1
        bins[MASS, at_once] += quick
        if real[SLACK] < 0.0:
            columns[LATE, s] += quick
        whole[OLDEST] = s + 1
        if slow > 0:
            _queue(s, slow, ring, parts, places, columns, bins, bounds, real, whole)
        _draw_curves(s, arrivals[s], filled[s], come, curves, parts)
    return last


@compiled
def _happen(
    s: int,
    service: int,
    e: int,
    events: Ints,
    count: int,
    parts: Floats,
    places: Ints,
    members: Ints,
    real: Floats,
    whole: Ints,
) -> int:
    """Let the group change by the events of second ``s``, from row ``e`` on; returns the first row after them."""
    changed = s >= whole[DUE] and _time_out(s, members, whole)
    while e < count and events[e, AT] <= s:
        # A call that goes on after the ring has grown has let the earlier ones happen before.
        if events[e, AT] == s and events[e, WHOSE] == service:
            known = change_members(members, events[e, NUMBER], events[e, SIGN], events[e, ASKED], s)
            changed = changed or known
        e += 1
    _note_dead(members, whole)
    if changed:
        whole[REBALANCES] += 1
        real[PAUSED] = max(real[PAUSED], s + real[PAUSE])
        rebalance(s + real[PAUSE], parts, places, members, whole)
    if whole[DEAD] > 0:
        _stop_dead(parts, places, members, real, whole)
    return e


@compiled
def _time_out(s: int, members: Ints, whole: Ints) -> bool:
    """Take the dead of second ``s`` out of the group; those that have started anew join it."""
    changed = False
    at = members[WHO, 0]
    while at >= 1:
        if members[OUT, at] < 0 and -members[OUT, at] <= s:
            members[OUT, at] = NEVER
            changed = True
        elif 0 <= members[OUT, at] <= s:
            _take_out(members, at)
            changed = True
        at -= 1
    return changed


@compiled
def _note_dead(members: Ints, whole: Ints) -> None:
    whole[DEAD], whole[DUE] = 0, NEVER
    for at in range(1, members[WHO, 0] + 1):
        if members[OUT, at] != NEVER:
            whole[DEAD] += 1
            whole[DUE] = min(whole[DUE], abs(members[OUT, at]))


@compiled
def _stop_dead(parts: Floats, places: Ints, members: Ints, real: Floats, whole: Ints) -> None:
    """What a dead consumer holds stands still until it is taken for gone."""
    if whole[SHARED]:
        return
    for at in range(1, members[WHO, 0] + 1):
        if members[OUT, at] != NEVER:
            out = float(abs(members[OUT, at]))
            real[PAUSED] = max(real[PAUSED], out)
            for p in range(parts.shape[1]):
                if places[OWNER, p] == members[WHO, at]:
                    parts[RESUME, p] = max(parts[RESUME, p], out)


@compiled
def change_members(members: Ints, number: int, sign: int, out: int, s: int) -> bool:
    """Let pod ``number`` into the group or out of it at second ``s``; returns whether the group knows of a change.

    One that died stays a member until second ``out``: OUT says when, NEVER of one that lives. Who starts anew before
    that waits for it: OUT is negative.
    """
    last = members[WHO, 0]
    at = 1
    while at <= last and members[WHO, at] != number:
        at += 1
    there = at <= last
    if sign == JOINED and there:
        members[OUT, at] = -abs(members[OUT, at])
        return False
    if sign == JOINED:
        while at > 1 and members[WHO, at - 1] > number:
            members[WHO, at], members[OUT, at] = members[WHO, at - 1], members[OUT, at - 1]
            at -= 1
        members[WHO, at], members[OUT, at] = number, NEVER
        members[WHO, 0] = last + 1
        return True
    if not there:
        return False
    if sign == DIED and out > s:
        members[OUT, at] = out
        return False
    if members[OUT, at] != NEVER:
        members[OUT, at] = abs(members[OUT, at])
        return False
    _take_out(members, at)
    return True


@compiled
def _take_out(members: Ints, at: int) -> None:
    last = members[WHO, 0]
    for k in range(at, last):
        members[WHO, k], members[OUT, k] = members[WHO, k + 1], members[OUT, k + 1]
    members[WHO, 0] = last - 1


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
    for p in range(partitions):
        before[p] = owner[p]
    count, who = members[WHO, 0], members[WHO, 1:]
    assign(whole[ASSIGNOR], who, count, owner)
    whole[ACTIVE] = group_by_owner(who, count, owner, places[ORDER], places[START])
    for p in range(partitions):
        stops = whole[HOW] == EAGER or owner[p] != before[p]
        if not stops and whole[HOW] == COOPERATIVE:
            for other in range(partitions):
                if owner[other] != before[other] and (owner[other] == owner[p] or before[other] == owner[p]):
                    stops = True
        if stops:
            parts[RESUME, p] = max(parts[RESUME, p], resume)


@compiled
def _nothing(row: Floats) -> None:
    for p in range(len(row)):
        row[p] = 0.0


@compiled
def _open(resume: float, s: int) -> float:
    """Share of second ``s`` that is left after a pause."""
    return 1.0 - min(max(resume - s, 0.0), 1.0)


@compiled
def _arrive(arrivals: float, seed: Any, s: int, parts: Floats, come: Floats, normals: Floats, whole: Ints) -> None:
    count = 0.0 if math.isnan(arrivals) else arrivals
    if count == 0.0:
        _nothing(come)
    elif len(come) == 1:
        come[0] = count
    else:
        word = mixed(seed + (np.uint64(s) + np.uint64(1)) * GOLDEN)
        split(count, word, parts[SHARE], parts[PART], whole[EVEN] == 1, normals, come)
    for p in range(len(come)):
        parts[WANT, p] = parts[WAITING, p] + come[p]


@compiled
def _share_out(s: int, parts: Floats, places: Ints, real: Floats, active: int) -> None:
    """Each consumer's second, in equal shares among its partitions that have work for them (max-min fair)."""
    rate, paused = real[RATE], s < real[PAUSED]
    if active == 0:
        _nothing(parts[GRANT])
        return
    for m in range(active):
        total, most = 0.0, 1.0
        if paused:
            most = 0.0
            for k in range(places[START, m], places[START, m + 1]):
                p = places[ORDER, k]
                work = _open(parts[RESUME, p], s)
                most = max(most, work)
                parts[GRANT, p] = min(parts[WANT, p], rate * work)
                total += parts[GRANT, p]
        else:
            for k in range(places[START, m], places[START, m + 1]):
                p = places[ORDER, k]
                parts[GRANT, p] = parts[WANT, p]
                total += parts[WANT, p]
        if total <= rate * most:
            continue
        if places[START, m + 1] - places[START, m] == 1:
            parts[GRANT, places[ORDER, places[START, m]]] = rate * most
        else:
            _level(rate * most, parts[GRANT], places[ORDER], places[START, m], places[START, m + 1])


@compiled
def _level(left: float, grant: Floats, order: Ints, begin: int, end: int) -> None:
    """Share ``left`` among wishes that are more: the smallest first, what they leave is shared among the others."""
    wishing, level = end - begin, 0.0
    while True:
        level, met = left / wishing, 0
        for k in range(begin, end):
            p = order[k]
            if 0.0 <= grant[p] <= level:
                left -= grant[p]
                grant[p] = -1.0 - grant[p]  # settled
                met += 1
        wishing -= met
        if met == 0 or wishing == 0:
            break
    for k in range(begin, end):
        p = order[k]
        grant[p] = -1.0 - grant[p] if grant[p] < 0.0 else level


@compiled
def _queue(
    s: int,
    slow: int,
    ring: Floats,
    parts: Floats,
    places: Ints,
    columns: Floats,
    bins: Floats,
    bounds: Floats,
    real: Floats,
    whole: Ints,
) -> None:
    """Partitions in which somebody waited or waits: take what is granted of each into service, the oldest first."""
    mask = ring.shape[0] - 1
    time, slack = real[TIME], real[SLACK]
    backlog, lag, oldest = 0.0, 0.0, s + 1
    for n in range(slow):
        p = places[QUEUED, n]
        want, grant = parts[WANT, p], parts[GRANT, p]
        head, rest, done = places[HEAD, p], parts[REST, p], 0.0
        begun = 0.0  # share of the grant
        while grant - done > 0.0 and head <= s:
            total = ring[head & mask, p]
            if rest <= 0.0:
                rest = total
            if rest > 0.0:
                # Shares, not rates: a millionth of a request must not become 0 times infinity.
                came = (total - rest) / total if rest < total else 0.0
                first = max(s - head + begun - came, 0.0)
                take = min(rest, grant - done)
                done += take
                rest -= take
                begun = done / grant
                came = (total - rest) / total if rest > 0.0 else 1.0
                final = max(s - head + begun - came, 0.0)
                add(bins, bounds, first + time, final + time, take)
                if max(first, final) > slack:
                    columns[LATE, head] += late_part(first, final, take, slack)
                # What rounding leaves of a second's arrivals is none.
                if rest > 1e-12 * total:
                    break
            head += 1
            rest = 0.0
        parts[WAITING, p] = want - grant
        if want <= grant:
            places[HEAD, p], parts[REST, p] = s + 1, 0.0
            continue
        # The oldest that waits is at the head: skip the seconds in which nothing came.
        while rest <= 0.0 and head < s:
            rest = ring[head & mask, p]
            head += rest <= 0.0
        if rest <= 0.0:
            rest = ring[head & mask, p]
        places[HEAD, p], parts[REST, p] = head, rest
        total = ring[head & mask, p]
        backlog += want - grant
        lag = max(lag, s + 1 - head - (1.0 - rest / total if total > 0.0 else 0.0))
        oldest = min(oldest, head)
    columns[BACKLOG, s], columns[TIME_LAG, s] = backlog, lag
    whole[OLDEST] = oldest


@compiled
def _draw_curves(s: int, arrivals: float, filled: float, come: Floats, curves: Floats, parts: Floats) -> None:
    mask = curves.shape[1] - 1
    before, now = s & mask, (s + 1) & mask
    for p in range(len(come)):
        curves[ARRIVED, now, p] = curves[ARRIVED, before, p] + come[p]
        curves[SERVED, now, p] = curves[SERVED, before, p] + parts[GRANT, p]
    if math.isnan(arrivals):
        for p in range(len(come)):
            curves[ARRIVED, now, p] += filled * parts[SHARE, p]
            curves[SERVED, now, p] += filled * parts[SHARE, p]


@compiled
def left_late(
    last: int, ring: Floats, parts: Floats, places: Ints, columns: Floats, bins: Floats, real: Floats
) -> tuple[float, float]:
    """Count what still waits at second ``last`` and will be late for certain.

    Returns all that waits, and what of it may still be in time: of that the run does not know what became. The late
    ones are in the histogram's last bin: their latency has no end yet.
    """
    window, partitions = ring.shape
    unserved = undecided = 0.0
    for p in range(partitions):
        if parts[WAITING, p] <= 0.0:
            continue
        unserved += parts[WAITING, p]
        head, rest = places[HEAD, p], parts[REST, p]
        while head < last:
            total = ring[head & (window - 1), p]
            if rest <= 0.0:
                rest = total
            if rest > 0.0:
                late = late_part(last - head - (total - rest) / total, last - head - 1.0, rest, real[SLACK])
                columns[LATE, head] += late
                bins[MASS, bins.shape[1] - 2] += late
                undecided += rest - late
            head += 1
            rest = 0.0
    return unserved, undecided
