"""Lead times of nodes and of pods that have a node, as the compiled plan of nodes wants them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class NodeLeadTimes:
    """How long a node takes from asked for to Ready (s): the last ``size`` nodes, and the declared value as ``prior``
    nodes that the first real ones replace one by one.
    """

    def __init__(self, declared: float, prior: int, size: int) -> None:
        """Raises ValueError for a declared lead time that is not above 0."""
        if not declared > 0:
            raise ValueError(f"a node's lead time is above 0 s, not {declared}")
        self._declared = declared
        self._prior = max(prior, 1)
        self._seen: deque[float] = deque(maxlen=max(size, 1))
        self._points: Floats = np.full(self._prior, declared)

    def learn(self, seconds: Iterable[float]) -> bool:
        """Take in nodes that became Ready; what cannot be is left out. False when there was nothing to learn."""
        added = [s for s in seconds if math.isfinite(s) and s >= 0]
        if not added:
            return False
        self._seen.extend(added)
        prior = [self._declared] * max(self._prior - len(self._seen), 0)
        self._points = np.sort(np.array([*self._seen, *prior]))
        return True

    @property
    def points(self) -> Floats:
        """What is known, ascending (s); at least one. Do not write."""
        return self._points


def quantile(points: Floats, q: float) -> float:
    """What a share ``q`` of ``points`` (ascending) does not exceed."""
    return float(points[min(max(math.ceil(q * len(points)) - 1, 0), len(points) - 1)])


def quantiles(points: Floats, most: int) -> Floats:
    """At most ``most`` of ``points`` (ascending, s), each standing for as many; at least a millisecond."""
    if len(points) > most:
        points = points[((np.arange(most) + 0.5) / most * len(points)).astype(np.int64)]
    return np.maximum(points, 1e-3)


def distribution(points: Floats, steps: int) -> Floats:
    """The distribution function of ``points`` (ascending, s) on an even grid: its step (s), then its values."""
    step = max(float(points[-1]), 1e-3) / (steps - 1)
    made: Floats = np.empty(steps + 2)
    made[0] = step
    made[1:] = np.searchsorted(points, np.arange(steps + 1) * step, side="right") / len(points)
    return made


class PodLeadTimes:
    """The pods' lead times of each service of a pool, and of all together; made anew only when one changed."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._given: list[Floats] = []
        self.points: Floats = np.ones(1)  # s, ascending, of all services
        self.all: Floats = distribution(self.points, steps)
        self.each: Floats = self.all[None]  # [S, steps + 2]

    def learn(self, leads: Sequence[Floats]) -> None:
        """``leads``: of each service, ascending (s), not to be changed by anybody afterwards."""
        if len(leads) == len(self._given) and all(a is b for a, b in zip(leads, self._given, strict=True)):
            return
        self._given = list(leads)
        self.points = np.sort(np.concatenate(self._given))
        self.all = distribution(self.points, self._steps)
        self.each = np.array([distribution(one, self._steps) for one in self._given])
