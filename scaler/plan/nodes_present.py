"""What the present needs of a pool, and has needed of late."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

from scaler.plan.guard import HeldNeed
from scaler.plan.nodes_need import ServiceNeed

Floats = NDArray[np.float64]

_TELL = 4  # ticks, at least, that tell that a load is another
_RARE = 0.1  # of what was needed, that much was less, and more: to be beyond it for long is no noise
_FLAT = 256  # steps of the table's inverse: what r replicas can give bends slowly


class PresentNeeds:
    """In GPUs: the mean level of the last minute, and the largest needs of the last lead times."""

    def __init__(self) -> None:
        self._levels: deque[tuple[float, float]] = deque()  # unix s
        self._now, self._later = HeldNeed(), HeldNeed()

    def level(self, now: float, level: float, lately: float) -> float:
        """Take in the level of ``now`` (unix s), and return the mean of the last ``lately`` s."""
        levels = self._levels
        if levels and levels[-1][0] > now:  # the clock was set back
            levels.clear()
        while levels and levels[0][0] <= now - lately:
            levels.popleft()
        levels.append((now, level))
        return sum([past for _, past in levels]) / len(levels)

    def largest(self, now: float, stays: float, orders: float, hold: float) -> tuple[float, float]:
        """Take in what has to stay at ``now`` (unix s), and what orders have to be for; of both the largest in ``hold``
        s."""
        return self._now.largest(now, stays, hold), self._later.largest(now, orders, hold)


class Inverses:
    """GPUs by what they give, of each service; made anew when its table, which nobody writes to, is another."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[Floats, int, Floats]] = {}  # by uid: table, GPUs of a replica, inverse

    def of(self, need: ServiceNeed) -> Floats:
        """GPUs that give i / (len - 1) of what the most replicas give."""
        if need.table is None:
            return np.array([0.0, float(need.most * need.gpus)])
        known = self._made.get(need.uid)
        if known is None or known[0] is not need.table or known[1] != need.gpus:
            given, first = np.unique(need.table, return_index=True)
            inverse: Floats = np.interp(np.linspace(0.0, given[-1], _FLAT + 1), given, first) * need.gpus
            known = self._made[need.uid] = need.table, need.gpus, inverse
        return known[2]


def read(inverse: Floats, share: float) -> float:
    """GPUs that give ``share`` of what the most replicas give, from 0 to 1; linear between the points."""
    place = share * (len(inverse) - 1)
    low = int(place)
    if low >= len(inverse) - 1:
        return float(inverse[-1])
    below, above = float(inverse[low]), float(inverse[low + 1])
    return (above - below) * (place - low) + below


class Steadied:
    """What services lately needed, and what another pod was worth to them: what passes sooner is noise, for which no
    GPU is to change hands.
    """

    def __init__(self) -> None:
        self._floors: dict[str, deque[tuple[float, int]]] = {}  # unix s, pods
        self._saved: dict[str, tuple[float, Floats]] = {}  # unix s, GPU-seconds by pod

    def take_in(self, now: float, uid: str, floor: int, lately: float, last: float) -> None:
        """The ``floor`` (pods) of ``now`` (unix s); those of the last ``lately`` s are remembered, until all of the
        ``last`` s are below or above next to all before: then the load is another."""
        floors = self._floors.setdefault(uid, deque())
        if floors and floors[-1][0] > now:  # the clock was set back
            floors.clear()
        away = now - last - floors[-1][0] if floors else 0.0
        if away > 0.0:  # so long nothing was known, and nothing grew older
            self._floors[uid] = floors = deque([(then + away, floor) for then, floor in floors])
        while floors and floors[0][0] <= now - lately:
            floors.popleft()
        floors.append((now, floor))
        known, new = [floor for _, floor in floors], max(sum([then > now - last for then, _ in floors]), _TELL)
        before, after = sorted(known[:-new]), known[-new:]
        rare = int(_RARE * len(before))
        if len(before) >= new and (max(after) < before[rare] or min(after) > before[-1 - rare]):
            for _ in before:
                floors.popleft()

    def pass_over(self, now: float, uid: str, stands: int) -> None:
        """What is needed at ``now`` (unix s) is not known: nothing grows older. It is taken to be what it has been, and
        no less than the pods that stand (``stands``): nobody knows that they are not needed.
        """
        floors = self._floors.setdefault(uid, deque())
        if not floors:
            floors.append((now, stands))
        times = [then + now - floors[-1][0] for then, _ in floors]
        known = [floor for _, floor in floors]
        floors.clear()
        floors.extend(zip(times, [*known[1:], max(known[0], stands)], strict=True))

    def needed(self, uid: str, most: int) -> Floats:
        """The share of the remembered time in which each of a service's ``most`` pods was needed."""
        floors = np.minimum(np.array([floor for _, floor in self._floors[uid]]), most)
        reached = np.bincount(floors, minlength=most + 1)[::-1].cumsum()[::-1]
        shares: Floats = reached[1:] / len(floors)
        return shares

    def saved(self, now: float, uid: str, saved: Floats, hold: float) -> Floats:
        """Take in what each pod saves at ``now`` (unix s), GPU-seconds for each of its GPUs; the mean in which a past
        one counts by its age over ``hold`` s.
        """
        then, mean = self._saved.get(uid, (now, saved))
        if now >= then and len(mean) == len(saved):
            keep = math.exp(-(now - then) / hold)
            saved = keep * mean + (1.0 - keep) * saved
        self._saved[uid] = now, saved
        return saved
