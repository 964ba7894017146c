"""Pools, needs and a small pool that obeys, for the tests of the plan of nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from scaler.plan.nodes import NodePlanner
from scaler.plan.nodes_need import PoolPlan, PoolSpec, ServiceNeed
from scaler.plan.observation import Freshness, PoolObservation, PoolState, Reading
from scaler.plan.paths import Futures

TICK = 15.0
SIZE = 8
POD, NODE = 100.0, 400.0  # s, lead times
POOL = PoolSpec("gpus", SIZE, NODE, idle=600.0)
NOW = 1_000_000.0


def steady(rate: float, seconds: float = 1500.0, paths: int = 20) -> np.ndarray:
    """The same rate on every path, in steps of 15 s."""
    return np.full((paths, int(seconds / 15)), rate)


def jump(before: float, after: float, at: float, seconds: float = 1500.0, paths: int = 20) -> np.ndarray:
    """One rate until ``at`` s ahead, another from there on."""
    made = steady(before, seconds, paths)
    made[:, int(at / 15) :] = after
    return made


def futures(
    paths: np.ndarray, step: float = 15.0, age: float = 0.0, farther: Callable[[], Futures | None] | None = None
) -> Futures:
    """Of these rates, in the order of memory that compiled loops want."""
    return Futures(np.ascontiguousarray(paths, dtype=np.float64), step, age, farther)


def need(paths: np.ndarray, replicas: int, **changes: Any) -> ServiceNeed:
    """A service of 1 request/s a replica, all replicas ready, at the level of its paths' begin."""
    one = ServiceNeed(
        uid="one",
        futures=futures(paths),
        backlog=0.0,
        level=float(np.median(paths[:, 0])),
        rate=1.0,
        slack=10.0,
        price=20.0,
        share=0.99,
        ready=replicas,
        pending_since=(),
        current=replicas,
        floor=0,
        least=1,
        promised=1,
        most=200,
        leads=np.full(5, POD),
    )
    return replace(one, **changes)


def seen(
    ready: int, pending: Sequence[float] = (), empty: int = 0, floor: int = 0, now: float = NOW
) -> PoolObservation:
    """A fresh state; ``pending`` are ages (s)."""
    return PoolObservation(
        POOL.uid, Reading(PoolState(ready, tuple(now - age for age in pending), empty, floor), now, Freshness.FRESH)
    )


def decide(
    ready: int, *needs: ServiceNeed, pool: PoolSpec = POOL, pending: Sequence[float] = (), empty: int = 0
) -> PoolPlan:
    """The first tick of a new planner."""
    return NodePlanner(pool, TICK).step(NOW, seen(ready, pending, empty), needs)


@dataclass
class Obeying:
    """Nodes and pods of one service that do what the plan says, after fixed lead times; ``nodes`` holds when each is
    Ready, ``pods`` when each serves (unix s; None: it waits for a node)."""

    now: float = NOW
    nodes: list[tuple[float, float]] = field(default_factory=list)  # asked for, Ready
    pods: list[tuple[float, float | None]] = field(default_factory=list)  # created, serves

    def observation(self, slow: bool = False) -> PoolObservation:
        """``slow``: nodes that are on their way are not told of."""
        up = sum(ready <= self.now for _, ready in self.nodes)
        pending = [] if slow else [self.now - asked for asked, ready in self.nodes if ready > self.now]
        empty = max(up - -(-sum(s is not None for _, s in self.pods) // SIZE), 0)
        return seen(up, pending, empty, now=self.now)

    def need(self, paths: np.ndarray, **changes: Any) -> ServiceNeed:
        ready = sum(s is not None and s <= self.now for _, s in self.pods)
        pending = tuple(c for c, s in self.pods if s is None or s > self.now)
        return need(paths, len(self.pods), ready=ready, pending_since=pending, **changes)

    def obey(self, plan: PoolPlan) -> None:
        (count,) = plan.replicas
        while len(self.pods) < count:
            self.pods.append((self.now, None))
        del self.pods[count:]
        assert plan.floor is not None
        for _ in range(max(plan.floor, -(-count // SIZE)) - len(self.nodes)):
            self.nodes.append((self.now, self.now + NODE))
        self.now += TICK
        room = SIZE * sum(ready <= self.now for _, ready in self.nodes) - sum(s is not None for _, s in self.pods)
        for k, (created, serves) in enumerate(self.pods):
            if serves is None and room > 0:
                self.pods[k] = (created, self.now + POD)
                room -= 1
