"""Settings, loads and scripted policies that the kernel's tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from scaler.plan.decision import GroupDecision, Numbers, PoolDecision, ServiceDecision
from scaler.plan.observation import GroupObservation
from scaler.plan.reasons import Reason
from scaler.plan.service import Service
from simulations.cluster import Cluster
from simulations.setting import Between, Load, NodePool, Partitioned, Rebalance, ServiceSetting, Setting, Shared

START = 1_000_000.0
AT_ONCE = Between(0.0, 0.0)


def service(uid: str = "chat", within: float = 10.0, most: int = 64) -> Service:
    """What is declared."""
    return Service(
        uid=uid,
        within=within,
        share=0.99,
        min_replicas=0,
        max_replicas=most,
        service_rate=1.0,
        service_time=0.0,
        lead_time=60.0,
        tick=15.0,
        step=60.0,
        scale_in_hold=300.0,
    )


def one(
    queue: Partitioned | Shared | None = None,
    *,
    rate: float = 10.0,
    time: float = 0.0,
    within: float = 10.0,
    lead_time: Between = AT_ONCE,
    rebalance: Rebalance = Rebalance(pause=0.0),  # noqa: B008 - immutable
    commit_interval: float = 0.0,
    scrape_delay: float = 0.0,
    replicas: int = 1,
    weight: int = 1,
    uid: str = "chat",
) -> ServiceSetting:
    """What is true; without a pause, a commit interval and a lead time unless they are given."""
    declared = service(uid, within)
    where = queue or Shared()
    return ServiceSetting(
        declared, rate, time, where, lead_time, rebalance, commit_interval, scrape_delay, replicas, weight
    )


def setting_of(
    services: Sequence[ServiceSetting], pool: NodePool | None = None, *, tick: float = 15.0, **more: Any
) -> Setting:
    """A run whose services are told its tick."""
    told = tuple(replace(s, service=replace(s.service, tick=tick)) for s in services)
    return Setting(told, pool, tick, **more)


def load(arrivals: Sequence[float] | np.ndarray) -> Load:
    """A load without history."""
    return Load(START, np.array(arrivals, dtype=np.float64))


class Scripted:
    """Counts by tick, and floors of the pool; the last one holds on."""

    def __init__(self, counts: Iterable[int], floors: Iterable[int | None] = (None,), vacate: bool = False) -> None:
        self._counts, self._floors, self._vacate = list(counts), list(floors), vacate
        self.seen: list[GroupObservation] = []

    def step(self, now: float, observed: GroupObservation) -> GroupDecision:
        count = self._counts[min(len(self.seen), len(self._counts) - 1)]
        floor = self._floors[min(len(self.seen), len(self._floors) - 1)]
        self.seen.append(observed)
        services = tuple(decided(now, s.uid, count) for s in observed.services)
        pools = tuple(PoolDecision(p.uid, now, floor, (Reason.STEADY,), self._vacate) for p in observed.pools)
        return GroupDecision(services, pools)

    def snapshot(self) -> bytes:
        return b""

    def restore(self, saved: bytes) -> None:
        raise ValueError(saved)


def decided(now: float, uid: str, count: int | None) -> ServiceDecision:
    """A bare decision."""
    return ServiceDecision(uid, now, None, count, (Reason.STEADY,), Numbers())


def drive(cluster: Cluster, policy: Scripted, look: Callable[[Cluster], None] = lambda cluster: None) -> Cluster:
    """Run to the end; ``look`` after each tick."""
    while not cluster.done:
        cluster.apply(policy.step(cluster.now, cluster.observe()))
        cluster.advance()
        look(cluster)
    return cluster
