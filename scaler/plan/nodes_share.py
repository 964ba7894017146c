"""Who gets a pool's GPUs, by what another one is worth to each service."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from forecasting.compiled import compiled
from scaler.plan.nodes_steps import Steps
from scaler.plan.observation import PoolState

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Late = Callable[[int, Sequence[int]], Sequence[float]]  # price (GPU-seconds) of a service's late work, by its pods
# Of a service: GPU-seconds that each of its pods saves, for each of its GPUs; what one more is taken to save, and what
# one that it has is.
Steady = Callable[[int, Floats], tuple[Floats, Floats]]

_TIE = 1e-6  # GPU-seconds: decides only between pods that are worth the same


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """What one service may have, and what its pods are worth besides the lateness that they save."""

    gpus: int  # of a pod
    least: int  # guaranteed
    floor: int  # that the present needs
    most: int
    weight: float
    lead: float  # s a pod takes to serve: what moving a GPU to it costs
    peak: Floats  # [N] GPUs: the most that each path needs
    now: int  # pods that have a node
    present: float = 2.0  # leads that a GPU is worth which the present needs, besides: to be replaced takes that
    steps: Steps | None = None  # None: each pod gives more


class Shares:
    """Divides GPUs among claims, in order. What a pod is worth, in GPU-seconds for each of its GPUs: the lateness it
    saves and, when the present needs it, ``present`` leads, both weighted; and a little for each path that needs it
    before long.

    Often no single pod saves anything, as everything stays late until enough of them are there. So the lateness is
    taken along its lower convex hull, where each of those pods has its part in what they save together. But pods that
    only together give more than fewer do come and go together.
    """

    def __init__(self, claims: Sequence[Claim], late: Late, steady: Steady | None = None) -> None:
        """``steady`` makes of what each pod saves now, the present's need of it included, what it is taken to save."""
        self.claims = claims
        self._late = late
        self._steady = steady
        self._lates: list[dict[int, float]] = [{} for _ in claims]
        self._worths: dict[int, tuple[list[float], list[float]]] = {}  # of one more pod, and of one that is given up

    def late(self, service: int, counts: Sequence[int]) -> list[float]:
        """Price of a service's late work with each of ``counts`` pods, ascending."""
        known = self._lates[service]
        new = [n for n in counts if n not in known]
        if new:
            known.update(zip(new, self._late(service, new), strict=True))
        return [known[n] for n in counts]

    def divide(
        self, total: int, counts: Sequence[int], move: bool, most: Sequence[int] | None = None
    ) -> tuple[int, ...]:
        """Pods of each service that take ``total`` GPUs, or as near below it as may be; from ``counts`` on.

        First the guaranteed ones, even above ``total``. What lacks is taken where it is worth least, what is left goes
        where it is worth most. ``move``: a GPU also changes hands, when that is worth more than the time in which it
        serves nobody, so that two services that want the last one do not take turns. ``most`` of each service is less
        than its claim's, where it asks for less.
        """
        claims = self.claims
        tops = [c.most for c in claims] if most is None else most
        if len(claims) == 1:
            (one,) = claims
            return (max(min(total // one.gpus, tops[0]), one.least),)
        given = [max(min(n, top), c.least) for n, top, c in zip(counts, tops, claims, strict=True)]
        free = total - sum(n * c.gpus for n, c in zip(given, claims, strict=True))
        while free < 0:
            last = [self._last(s, given[s], -free) for s, c in enumerate(claims) if given[s] > c.least]
            if not last:
                break
            _, s, number = min(last, key=itemgetter(0))
            given[s] -= number
            free += number * claims[s].gpus
        while free > 0:
            fits = [s for s, c in enumerate(claims) if given[s] < tops[s] and c.gpus <= free]
            if not fits:
                break
            _, s, number = max([self._next(s, given[s], tops[s], free) for s in fits], key=itemgetter(0))
            given[s] += number
            free -= number * claims[s].gpus
        for _ in range(2 * total if move else 0):
            best = self._best_move(given, free, tops)
            if best is None:
                break
            gives, number, gets, more = best
            given[gives] -= number
            given[gets] += more
            free += number * claims[gives].gpus - more * claims[gets].gpus
        return tuple(given)

    def _last(self, s: int, count: int, lacking: int) -> tuple[float, int, int]:
        """What each of a service's last pods is worth that go together where so many GPUs lack, whose they are, and
        their number."""
        claim = self.claims[s]
        number = 1 if claim.steps is None else claim.steps.down[count]
        number = min(number, -(-lacking // claim.gpus), count - claim.least)
        return sum([self._worth(s, count - i) for i in range(number)]) / number, s, number

    def _next(self, s: int, count: int, top: int, free: int) -> tuple[float, int, int]:
        """What each of the next pods is worth that a service gets together, whose they are, and their number; a single
        one where they do not fit."""
        claim = self.claims[s]
        number = 1 if claim.steps is None else claim.steps.up[count]
        if number > min(top - count, free // claim.gpus):
            number = 1
        return sum([self._worth(s, count + 1 + i) for i in range(number)]) / number, s, number

    def _best_move(self, given: list[int], free: int, tops: Sequence[int]) -> tuple[int, int, int, int] | None:
        """Who gives how many pods, and who gets how many; None when no move is worth its price."""
        claims, most, best = self.claims, 0.0, None
        for gets, b in enumerate(claims):
            if given[gets] >= tops[gets]:
                continue
            one = self._lot(gets, given[gets], tops[gets])
            first = self._gain(gets, given[gets], one)
            if first <= 0.0:
                continue
            for gives, a in enumerate(claims):
                number, more, gain = math.ceil((one * b.gpus - free) / a.gpus), one, first
                had = given[gives]
                if gives == gets or number < 1 or had - number < a.least:
                    continue
                if a.steps is not None and given[gets] + one < tops[gets]:
                    # Of pods that only together give more, the others are worth nothing once one is gone.
                    room = (had - max(int(a.steps.useful[had - number]), a.least)) * a.gpus + free
                    if room >= (one + 1) * b.gpus:
                        more, gain = self._filling(gets, given[gets], tops[gets], one, first, room)
                if gain <= most:
                    continue
                net = gain - a.gpus * sum(self._of(gives)[1][had - number : had][::-1])
                if net > most:
                    number = math.ceil((more * b.gpus - free) / a.gpus)
                    most, best = net, (gives, number, gets, more)
        return best

    def _lot(self, s: int, count: int, top: int) -> int:
        """Pods that a service has to get together above ``count``."""
        steps = self.claims[s].steps
        return min(1 if steps is None else steps.up[count], top - count)

    def _gain(self, s: int, count: int, more: int) -> float:
        """What so many pods above ``count`` are worth, less the time in which they serve nobody."""
        claim = self.claims[s]
        return claim.gpus * (sum(self._of(s)[0][count : count + more]) - more * claim.lead)

    def _filling(self, s: int, count: int, top: int, more: int, gain: float, room: int) -> tuple[int, float]:
        """Pods above ``count``, and their gain: ``more`` with ``gain``, and what besides fits into ``room`` (GPUs) and
        is worth its move."""
        lot = self._lot(s, count + more, top)
        while lot > 0 and (more + lot) * self.claims[s].gpus <= room:
            adds = self._gain(s, count + more, lot)
            if adds <= 0.0:
                break
            more, gain = more + lot, gain + adds
            lot = self._lot(s, count + more, top)
        return more, gain

    def _worth(self, s: int, count: int) -> float:
        """Of a service's pod number ``count``, from 1, that it gets."""
        return self._of(s)[0][count - 1]

    def _of(self, s: int) -> tuple[list[float], list[float]]:
        if s not in self._worths:
            claim = self.claims[s]
            points, saved, steps = _near(claim), np.empty(claim.most), claim.steps
            if steps is not None:
                points = sorted({int(steps.useful[n]) for n in points})
            present, even = claim.present * claim.lead, _TIE * (float(claim.peak.sum()) / len(claim.peak))
            lates = np.array(self.late(s, points), np.float64)
            _saved(np.array(points), lates, claim.gpus, claim.floor, present, saved)
            peak, made = np.sort(claim.peak), []
            more, kept = (saved, saved) if self._steady is None else self._steady(s, saved)
            for one in (more,) if kept is more else (more, kept):
                worths = np.empty(claim.most)
                _worths(one, claim.gpus, claim.weight, peak, even, worths)
                made.append((worths if steps is None else steps.lumped(worths)).tolist())
            self._worths[s] = made[0], made[-1]
        return self._worths[s]


def nothing_late(service: int, counts: Sequence[int]) -> list[float]:
    """Where pods change no lateness."""
    return [0.0] * len(counts)


def _near(claim: Claim) -> list[int]:
    """Counts to look at, ascending: those that there are, and ever farther ones to either side."""
    least, now, most, step = claim.least, claim.now, claim.most, 1
    near = {least, min(max(now, least), most), most}
    while step <= most:
        if least < now - step < most:
            near.add(now - step)
        if least < now + step < most:
            near.add(now + step)
        step *= 2
    return sorted(near)


@compiled
def _saved(points: Ints, lates: Floats, gpus: int, floor: int, present: float, out: Floats) -> None:
    """Fill ``out`` [most] with what each pod saves for each of its ``gpus`` (GPU-seconds), and ``present`` besides up
    to the ``floor``."""
    lowest = hull(points, lates, np.arange(len(out) + 1))
    for n in range(len(out)):
        out[n] = (lowest[n] - lowest[n + 1]) / gpus + (present if n < floor else 0.0)


@compiled
def _worths(saved: Floats, gpus: int, weight: float, peak: Floats, even: float, out: Floats) -> None:
    """Fill ``out`` [most] with what each pod is worth: ``saved``, weighted; a little for each path that needs it, by
    their ``peak`` (ascending), and ``even``."""
    below = 0
    for n in range(len(saved)):
        while below < len(peak) and peak[below] <= n * gpus:
            below += 1
        out[n] = weight * saved[n] + (1.0 - below / len(peak)) + even / ((n + 1) * gpus)


@compiled
def hull(points: Ints, values: Floats, at: Ints) -> Floats:
    """The lower convex hull of ``values`` at ``points``, read at ``at`` (both ascending); level outside of them."""
    kept, count = np.empty(len(points), np.int64), 0
    for i in range(len(points)):
        while count >= 2:
            a, b = kept[count - 2], kept[count - 1]
            slope = (values[i] - values[a]) / (points[i] - points[a])
            if values[b] < values[a] + slope * (points[b] - points[a]):
                break
            count -= 1
        kept[count] = i
        count += 1
    read, k = np.empty(len(at)), 0
    for i in range(len(at)):
        while k < count - 1 and points[kept[k + 1]] <= at[i]:
            k += 1
        a, b = kept[k], kept[min(k + 1, count - 1)]
        read[i] = values[a]
        if points[a] < at[i] < points[b]:
            read[i] += (values[b] - values[a]) / (points[b] - points[a]) * (at[i] - points[a])
    return read


def nodes_to_keep(
    shares: Shares,
    counts: Sequence[int],
    state: PoolState,
    least: int,
    size: int,
    window: float,
    peak: Floats,
    tolerated: Sequence[float],
) -> int:
    """How many of the nodes of ``size`` GPUs that are Ready stay filled, or are filled again, at least ``least``;
    ``counts`` are today's pods.

    Least of lateness until a pod could be had back, and of ``window`` s of each kept node that no path needs (``peak``
    [N], GPUs of all services) before an empty one would be gone. None that holds pods is given up where more work than
    ``tolerated`` (its price, of each service) would be late, and more than with all of those.
    """
    ready = state.ready
    kept, cheapest, saved, peaks = ready, 0.0, 0.0, np.sort(peak).tolist()
    all_late: list[float] = []
    for nodes in range(ready, max(min(least, ready), 0) - 1, -1):
        counts = shares.divide(nodes * size, counts, move=False)
        lates = [shares.late(s, [n])[0] for s, n in enumerate(counts)]
        cost = sum(lates)
        if nodes >= state.occupied:
            all_late = lates
        if nodes == ready:
            cheapest = cost
            continue
        saved += size * window * bisect_right(peaks, nodes * size) / len(peaks)
        safe = all(late <= max(t, a) for late, t, a in zip(lates, tolerated, all_late, strict=True))
        if not safe or cost > cheapest + saved:
            break
        if cost - saved < cheapest:
            kept, cheapest = nodes, cost - saved
    return kept
