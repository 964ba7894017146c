"""One service, as the plan sees it: the resource's spec with units resolved to seconds and requests/s."""

from __future__ import annotations

from dataclasses import dataclass

from scaler.plan.fallback import FallbackRule
from scaler.plan.nodes_need import PoolSpec
from scaler.plan.schedule import Window


@dataclass(frozen=True, slots=True)
class Service:
    """What the user declared about one service. Durations in seconds, rates in requests/s, shares in [0, 1]."""

    uid: str
    within: float  # objective: a request is to leave within this time of its arrival
    share: float  # objective: this share of requests
    min_replicas: int
    max_replicas: int
    service_rate: float  # requests/s one replica serves: the start value, until it is learned
    service_time: float  # s one request takes in a replica, at light load
    lead_time: float  # s from patch to serving: the start value, until it is learned
    tick: float  # s between decisions
    step: float  # s, the forecaster's step
    scale_in_hold: float  # s a lower count must have been the answer before it is taken
    max_scale_out: int | None = None  # replicas a tick; None: no limit
    max_scale_in: int | None = None  # replicas a tick; None: no limit
    concurrency: float | None = None  # requests one replica serves at a time; None: not declared
    pool: PoolSpec | None = None  # of GPU nodes that its pods stand on, planned along with it
    gpus: int = 1  # of a replica
    weight: float = 1.0  # of its lateness against other services' where the pool is full
    schedule: tuple[Window, ...] = ()  # narrower limits at some times
    paused: bool = False  # its count is held: on a pool, its pods are taken as they stand
    fallback: FallbackRule | None = None  # what to raise the count to while the load is not known; None: hold it

    @property
    def node_lead_time(self) -> float:
        """s of the lead time that is a node's, as its pool declares it; 0 where there is none."""
        return 0.0 if self.pool is None else self.pool.lead_time

    @property
    def pod_lead_time(self) -> float:
        """s of the lead time that is left where a node has room, as declared."""
        return self.lead_time - self.node_lead_time

    def surely_after(self, pod: float) -> float:
        """s after which a replica that is asked for at the next tick serves, where a pod with room takes ``pod`` s."""
        return pod + self.node_lead_time + self.tick
