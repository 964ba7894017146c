"""What a run comes to: one row of figures for each service.

Seconds in a gap of the load are left out of everything: nothing is known of them. So are requests that at the end still
waited and were not yet too old: nobody knows whether they left within the objective.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulations.record import LatencyHistogram, Record, ServiceRecord
from simulations.setting import ServiceSetting

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HOUR = 3600.0
MINUTE = 60
# What floating point adds to a whole number of replicas is not worth one.
_ROUNDING = 1e-9


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
    requests: float  # that arrived, without those whose lateness the end of the run left open
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


def measure(record: Record) -> tuple[Measures, ...]:
    """The figures of each service of a run, in order.

    With nodes, a service pays each second for the part of the nodes that is its part of the GPUs asked for by pods;
    while no pod asks for any, all services pay alike.
    """
    pool = record.setting.pool
    shares = _parts_of_pool(record) if pool is not None else None
    price = pool.price if pool is not None else 1.0
    rows = []
    for k, (service, setting) in enumerate(zip(record.services, record.setting.services, strict=True)):
        known = ~np.isnan(service.arrived)
        paid = (service.ready + service.pending)[known]
        replica_hours = float(paid.sum()) / HOUR
        gpu_hours = replica_hours * setting.weight
        if pool is not None and shares is not None and record.pool is not None:
            gpu_hours = float((record.pool.asked * shares[k])[known].sum()) * pool.size / HOUR
        requests, late = max(service.requests - service.undecided, 0.0), float(service.late.sum())
        p50, p95, p99, p999 = (quantile(service.latency, share) for share in (0.5, 0.95, 0.99, 0.999))
        # A subtraction's rounding is no request.
        requests = requests if requests > _ROUNDING * service.requests else 0.0
        rows.append(
            Measures(
                uid=service.uid,
                requests=requests,
                late=late,
                attainment=1.0 - late / requests if requests > 0 else math.nan,
                replica_hours=replica_hours,
                gpu_hours=gpu_hours,
                cost=gpu_hours * price,
                p50=p50,
                p95=p95,
                p99=p99,
                p999=p999,
                longest_time_lag=float(service.time_lag[known].max(initial=0.0)) if known.any() else math.nan,
                changes=service.changes,
                rebalances=service.rebalances,
                pending_replica_hours=float(service.pending[known].sum()) / HOUR,
                elasticity=elasticity(service, setting),
            )
        )
    return tuple(rows)


def node_hours(record: Record) -> float:
    """Hours of nodes, each paid from being asked for until it is removed; 0 without a pool.

    Of a second in a gap of some services' loads only the other services' part counts, so that all services' GPU-hours
    are these hours times a node's GPUs.
    """
    if record.pool is None:
        return 0.0
    known = np.array([~np.isnan(s.arrived) for s in record.services])
    return float((record.pool.asked * (_parts_of_pool(record) * known).sum(axis=0)).sum()) / HOUR


def _parts_of_pool(record: Record) -> Floats:
    """Each service's part of the nodes, shape [services, seconds]."""
    weights = [s.weight for s in record.setting.services]
    asked = np.array([w * (s.ready + s.pending) for w, s in zip(weights, record.services, strict=True)], np.float64)
    total = asked.sum(axis=0)
    return np.where(total > 0, asked / np.maximum(total, 1.0), 1.0 / len(asked))


def quantile(latency: LatencyHistogram, share: float) -> float:
    """The latency (s) that ``share`` of the requests stay within; infinite among those never served, NaN without any.

    Within a bin requests are taken as spread evenly: the error is at most the bin's width, 1.6 %.
    """
    total = np.cumsum(latency.requests)
    if not total[-1] > 0:
        return math.nan
    wanted = share * total[-1]
    k = min(int(np.searchsorted(total, wanted)), len(total) - 1)
    inside = latency.requests[k]
    before = total[k] - inside
    low, high = latency.edges[k], latency.edges[k + 1]
    if math.isinf(high):
        return math.inf
    return float(low + (high - low) * (wanted - before) / inside) if inside > 0 else float(low)


def demand(arrived: Floats, rate: float) -> Floats:
    """Replicas needed, second by second: the fewest that serve each minute's mean arrivals at ``rate`` requests/s each.

    A minute counts from the run's begin, its mean is over what is known of it; NaN where nothing is.
    """
    needed = np.full(len(arrived), np.nan)
    for begin in range(0, len(arrived), MINUTE):
        minute = arrived[begin : begin + MINUTE]
        known = minute[~np.isnan(minute)]
        if len(known):
            needed[begin : begin + MINUTE] = math.ceil(float(known.mean()) / rate - _ROUNDING)
    return needed


def elasticity(service: ServiceRecord, setting: ServiceSetting) -> Elasticity:
    """Supply (serving replicas) against demand, over the seconds that are known.

    Lacking and idle replicas are divided by the demand of their second, or by 1 where there is none. For the
    instability both are compared from one minute's last second to the next one's, where both minutes are known.
    """
    needed = demand(service.arrived, setting.rate)
    known = ~np.isnan(service.arrived)
    if not known.any():
        return Elasticity(math.nan, math.nan, math.nan, math.nan, math.nan)
    lack = (needed - service.ready)[known]
    base = np.maximum(needed[known], 1.0)
    marks = np.arange(MINUTE - 1, len(needed), MINUTE)
    change = np.diff(needed[marks])
    moves = (np.sign(change) != np.sign(np.diff(service.ready[marks])))[~np.isnan(change)]
    return Elasticity(
        under=float((np.maximum(lack, 0.0) / base).mean()),
        over=float((np.maximum(-lack, 0.0) / base).mean()),
        time_under=float((lack > 0).mean()),
        time_over=float((lack < 0).mean()),
        instability=float(moves.mean()) if len(moves) else 0.0,
    )
