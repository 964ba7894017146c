"""What a run comes to: one row of figures for each service."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Elasticity:
    """The SPEC cloud group's elasticity metrics (Herbst et al., "Ready for Rain?", SPEC RG 2016), in replicas needed.

    ``under`` and ``over``: mean lacking or idle replicas over the replicas needed; ``time_under`` and ``time_over``:
    shares of the time in which some lacked or idled; ``instability``: share of the time in which demand and supply do
    not move the same way.
    """

    under: float
    over: float
    time_under: float
    time_over: float
    instability: float


@dataclass(frozen=True, slots=True)
class Measures:
    """One service's run. Hours are of replicas or GPUs, paid from the request; a figure without requests is NaN."""

    uid: str
    requests: float
    late: float
    attainment: float  # share of requests that left within the objective
    replica_hours: float
    gpu_hours: float  # with nodes: this service's part of the nodes paid for; without: replica-hours x GPUs a replica
    cost: float  # gpu_hours x price
    p50: float  # s, latency
    p95: float
    p99: float
    p999: float
    longest_time_lag: float  # s
    changes: int
    rebalances: int
    pending_replica_hours: float
    elasticity: Elasticity
