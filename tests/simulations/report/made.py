"""Runs made by hand: plausible columns of any length, from a seed."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from scaler.plan.decision import Forecast, GroupDecision, Numbers, PoolDecision, ServiceDecision
from scaler.plan.reasons import Reason
from scaler.plan.service import Service
from simulations.measures import Elasticity, Measures
from simulations.picture import BoundPoint, FrontierPoint
from simulations.record import LatencyHistogram, PoolRecord, Record, ServiceRecord
from simulations.report import Report
from simulations.setting import Between, NodePool, ServiceSetting, Setting, Shared

START = 1_767_571_200.0  # a Monday, 00:00 UTC
TICK, RATE, LEAD = 15, 2.0, 90


def service(uid: str) -> ServiceSetting:
    declared = Service(uid, 10.0, 0.99, 1, 200, RATE, 0.2, float(LEAD), float(TICK), 60.0, 300.0)
    return ServiceSetting(declared, RATE, 0.2, Shared(16), Between(60, 150), replicas=4, weight=1)


def service_record(uid: str, seconds: int, factor: float, seed: int, gap: bool) -> ServiceRecord:
    """``factor``: how much more is asked for than the rate needs."""
    rng = np.random.default_rng(seed)
    time = np.arange(seconds)
    mean = 40 * (1 + 0.6 * np.sin(2 * np.pi * time / 86400)) + 30 * ((time // 60) % 360 > 350)
    arrived = rng.poisson(mean).astype(float)
    ticks = np.arange(0, seconds, TICK)
    rate = np.array([arrived[max(0, t - 60) : max(t, 1)].mean() for t in ticks])
    padded = np.concatenate((np.full(39, rate[:20].max()), rate))
    held = np.lib.stride_tricks.sliding_window_view(padded, 40).max(axis=1)  # ten minutes
    desired = np.maximum(np.ceil(factor * held / RATE), 1).astype(np.int64)
    by_second = np.repeat(desired, TICK)[:seconds]
    ready = np.concatenate((np.full(LEAD, by_second[0]), by_second))[:seconds]
    ready = np.minimum(ready, by_second)
    net = np.cumsum(arrived - RATE * ready)
    backlog = net - np.minimum.accumulate(np.minimum(net, 0.0))
    lag = backlog / np.maximum(RATE * ready, 1e-9)
    late = np.where(lag > 10, arrived, 0.0)
    forecast_at = np.full(len(ticks), float(LEAD))
    ahead = mean[np.minimum(ticks + LEAD, seconds - 1)]
    forecast = np.stack([ahead * f for f in (0.8, 1.0, 1.25, 1.4)], axis=1)
    first = min(20, len(ticks) // 4)
    forecast_at[:first], forecast[:first] = np.nan, np.nan
    rate[0] = np.nan
    if gap:
        hole = slice(seconds // 3, seconds // 3 + seconds // 20)
        arrived[hole], late[hole] = np.nan, 0.0
        rate[(ticks >= hole.start) & (ticks < hole.stop)] = np.nan
    reasons = tuple(
        f"{Reason.FORECAST} {Reason.APPLIED}" if i and desired[i] != desired[i - 1] else f"{Reason.STEADY}"
        for i in range(len(ticks))
    )
    edges = np.concatenate(([0.0], np.geomspace(0.01, 1000, 60), [math.inf]))
    requests = np.histogram(lag + 0.2 * rng.lognormal(0, 0.5, seconds), edges, weights=np.nan_to_num(arrived))[0]
    return ServiceRecord(
        uid,
        arrived,
        late,
        backlog,
        lag,
        ready,
        by_second - ready,
        desired,
        rate,
        forecast_at,
        forecast,
        reasons,
        LatencyHistogram(edges, requests.astype(float)),
        int(np.count_nonzero(np.diff(desired))),
        7,
        float(backlog[-1]),
    )


def record(
    policy: str,
    uids: tuple[str, ...] = ("chat",),
    seconds: int = 6 * 3600,
    factor: float = 1.2,
    seed: int = 0,
    gap: bool = True,
    nodes: bool = True,
    kept: bool = True,
) -> Record:
    """``kept``: with the decisions themselves, as far as the page reads them."""
    services = tuple(service_record(uid, seconds, factor, seed + i, gap) for i, uid in enumerate(uids))
    pool = NodePool("gpu", 8, Between(240, 420)) if nodes else None
    setting = Setting(tuple(service(u) for u in uids), pool, float(TICK), seed)
    ticks = np.arange(0, seconds, TICK, dtype=np.float64)
    nodes_record = None
    if nodes:
        asked = -(-np.sum([s.ready + s.pending for s in services], axis=0) // 8)
        ready = np.minimum(asked, np.concatenate((np.full(300, asked[0]), asked))[:seconds])
        nodes_record = PoolRecord("gpu", asked, ready, np.minimum(ready, asked % 2))
    decisions = tuple(_decision(services, i, t, nodes) for i, t in enumerate(ticks)) if kept else None
    return Record(setting, policy, START, ticks, services, nodes_record, decisions)


def _decision(services: tuple[ServiceRecord, ...], i: int, tick: float, nodes: bool) -> GroupDecision:
    made = []
    for s in services:
        known = math.isfinite(s.forecast_at[i])
        forecast = Forecast(s.forecast_at[i], *s.forecast[i], "made") if known else None
        numbers = Numbers(service_rate=RATE, lead_time=float(LEAD), forecast=forecast, floor_replicas=3)
        reasons = tuple(Reason(code) for code in s.reasons[i].split())
        made.append(ServiceDecision(s.uid, START + tick, None, int(s.desired[i]), reasons, numbers))
    pools = (PoolDecision("gpu", START + tick, 2 + i // 400, (Reason.FORECAST,)),) if nodes else ()
    return GroupDecision(tuple(made), pools)


def measures(record: Record) -> tuple[Measures, ...]:
    rows = []
    for s in record.services:
        requests, late = float(np.nansum(s.arrived)), float(np.nansum(s.late))
        hours = float(np.sum(s.ready + s.pending)) / 3600
        rows.append(
            Measures(
                s.uid,
                requests,
                late,
                1 - late / requests if requests else math.nan,
                hours,
                hours,
                hours * 2.5,
                0.21,
                0.9,
                4.2,
                21.0,
                float(np.max(s.time_lag)),
                s.changes,
                s.rebalances,
                float(np.sum(s.pending)) / 3600,
                Elasticity(0.01, 0.3, 0.02, 0.9, 0.1),
            )
        )
    return tuple(rows)


def report(*records: Record, title: str = "A day of chat", frontier: bool = True) -> Report:
    hours = measures(records[0])[0].gpu_hours
    points = tuple(
        FrontierPoint(
            name, 1 - 10 ** -(1 + k / 3 + shift), hours * (0.7 + 0.12 * k + shift / 4), "target", 1.4 - k / 10
        )
        for name, shift in (("hpa_rate", 0.0), ("keda_lag", 0.2), ("lagcast", 0.5))
        for k in range(8)
    )
    return Report(
        title=title,
        records=records,
        measures=tuple(measures(r) for r in records),
        data_hash="5e" * 32,
        configuration="policy: lagcast\ntick: 15s\n",
        version="0.1.0",
        seed=7,
        frontier=(*points, FrontierPoint("static", 1.0, hours * 2)) if frontier else (),
        bound=(BoundPoint(0.99, hours * 0.6), BoundPoint(0.999, hours * 0.66)) if frontier else (),
    )


def without_data(of: Record) -> Record:
    """The same run, of which nothing was seen."""
    blank = []
    for s in of.services:
        nothing, none = np.full(len(s.arrived), np.nan), np.full(len(s.desired), np.nan)
        latency = LatencyHistogram(s.latency.edges, np.zeros_like(s.latency.requests))
        bare = replace(s, arrived=nothing, rate=none, forecast_at=none, forecast=np.full((len(none), 4), np.nan))
        blank.append(replace(bare, late=np.zeros(len(nothing)), latency=latency))
    return replace(of, services=tuple(blank), decisions=None)
