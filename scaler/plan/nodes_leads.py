"""Lead times of nodes and of pods that have a node, as the compiled plan of nodes wants them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaler.plan.lead_time import USUAL, HeldUp
from scaler.plan.nodes_need import PoolSpec
from scaler.plan.settings import NodeSettings

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
        self.surely: list[float] = [1.0]  # s, above 0, of each service: 95 % of the pods take no longer

    def learn(self, leads: Sequence[Floats]) -> bool:
        """``leads``: of each service, ascending (s), not to be changed by anybody afterwards. False when they are the
        same."""
        if len(leads) == len(self._given) and all(a is b for a, b in zip(leads, self._given, strict=True)):
            return False
        self._given = list(leads)
        self.points = np.sort(np.concatenate(self._given))
        self.all = distribution(self.points, self._steps)
        self.each = np.array([distribution(one, self._steps) for one in self._given])
        self.surely = [max(quantile(one, 0.95), 1e-3) for one in self._given]
        return True


@dataclass(frozen=True, slots=True, eq=False)
class Ahead:
    """Times ahead, in steps of ``dt`` s."""

    dt: float
    pod: int  # a pod that is asked for at the next tick surely serves
    first: int  # a node that is ordered now may serve
    node: int  # a node that is ordered at the next tick surely serves
    idle: int  # a node that is empty now is gone
    end: int
    surely: float  # s: as ``node``


class Leads:
    """The lead times of a pool's nodes and pods, and what follows from them: made anew only when one changed."""

    def __init__(self, pool: PoolSpec, tick: float, settings: NodeSettings) -> None:
        """``tick`` in s."""
        self._pool, self._tick, self._settings = pool, tick, settings
        self._nodes = NodeLeadTimes(pool.lead_time, settings.lead_prior, settings.lead_samples)
        self.pods = PodLeadTimes(settings.pod_points)
        self._held_up = HeldUp()
        self._follow()

    def take_over(self, old: Leads) -> None:
        """Go on with the nodes' that ``old`` learned."""
        self._nodes, self._held_up = old._nodes, old._held_up
        self._follow()

    def learn_nodes(self, now: float, seconds: Sequence[float]) -> None:
        """See :meth:`NodeLeadTimes.learn`; ``now`` in unix s. A node counts for at most what it is overdue after, as
        where a cloud was out of GPUs for hours, whatever comes with it. Nodes that take longer by now are followed, by
        doubling.
        """
        if not seconds:
            return
        usual = max(quantile(self._nodes.points, USUAL), self._pool.lead_time)
        most = self._held_up.most(now, max(seconds), self._settings.overdue * usual)
        if self._nodes.learn([min(one, most) for one in seconds]):
            self._follow()

    def learn_pods(self, leads: Sequence[Floats]) -> None:
        """See :meth:`PodLeadTimes.learn`."""
        if self.pods.learn(leads):
            self._follow()

    def _follow(self) -> None:
        nodes, pods, pool = self._nodes.points, self.pods.points, self._pool
        self.node_surely = quantile(nodes, 0.95)  # s: 95 % of the nodes take no longer
        self.node_mean = float(nodes.mean())  # s
        self.nodes = quantiles(nodes, self._settings.node_points)
        pod_surely = quantile(pods, 0.95)
        surely = self.node_surely + pod_surely + self._tick
        # Without pods that wait for it, a node that came early stands empty: it is kept for what it was ordered for.
        idle = max(pool.idle, surely) if pool.enforced else pool.idle
        end = surely + idle
        dt = max(self._tick, end / self._settings.steps)

        def steps(seconds: float) -> int:
            return max(math.ceil(seconds / dt - 1e-9), 1)

        first = int((quantile(nodes, 0.05) + quantile(pods, 0.05)) / dt)
        self.ahead = Ahead(dt, steps(pod_surely + self._tick), first, steps(surely), steps(idle), steps(end), surely)
