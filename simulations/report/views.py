"""A report's records as plain data for the page's charts: numbers, names and times, for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaler.plan.decision import PoolDecision
from simulations.picture import hindsight_best, in_sweep, nines
from simulations.record import PoolRecord, Record, ServiceRecord
from simulations.report.columns import Envelope, Floats, Ints, decisions, envelope, longest, plain, runs, steps
from simulations.report.report import SHARES, Report
from simulations.report.tables import total

MOST_ROWS, FEWEST_ROWS, ALL_ROWS = 2000, 200, 24_000  # of a column; of the page, over its views
LEAST_REQUESTS, LEAST_SHARE = 1e-3, 1e-9  # of a latency distribution: less is arithmetic
MOST_GAPS = 200  # shaded; the longest
Json = dict[str, Any]


def page_data(report: Report) -> Json:
    """All that the page's script draws."""
    views = sum(len(record.services) for record in report.records)
    rows = max(FEWEST_ROWS, min(MOST_ROWS, ALL_ROWS // views))
    loads: list[tuple[Floats, Json]] = []
    runs_ = [_run(name, record, rows, loads) for name, record in zip(report.names, report.records, strict=True)]
    return {"rows": rows, "runs": runs_, "loads": [drawn for _, drawn in loads], "frontier": _frontier(report)}


def _run(name: str, record: Record, rows: int, loads: list[tuple[Floats, Json]]) -> Json:
    given = record.decisions
    services = [_service(record, number, rows, loads) for number in range(len(record.services))]
    pool = None
    if record.pool is not None:
        uid = record.pool.uid
        floors = [p for d in given or () for p in d.pools if p.uid == uid]
        pool = _pool(record.pool, floors, record.start, rows)
    return {"name": name, "start": record.start, "services": services, "pool": pool}


def _service(record: Record, number: int, rows: int, loads: list[tuple[Floats, Json]]) -> Json:
    one, promise = record.services[number], record.setting.services[number].service
    seconds = np.arange(len(one.arrived) + 1, dtype=np.float64)
    ticks = np.append(record.ticks, record.ticks[-1:] + record.setting.tick)
    return {
        "uid": one.uid,
        "within": promise.within,
        "seconds": len(one.arrived),
        "load": _load(one.arrived, seconds, rows, loads),
        "late": _lines(envelope(one.late, rows), seconds),
        "lag": _lines(envelope(one.time_lag, rows), seconds),
        "rate": _lines(envelope(one.rate, rows), ticks),
        "forecast": _forecast(one, record.ticks, rows),
        "ready": _steps(one.ready, rows),
        "pending": _steps(one.pending, rows),
        "asked": _steps(one.desired, rows, record.ticks),
        "decisions": _decisions(one, record, rows),
        "latency": _latency(one),
    }


def _load(arrived: Floats, seconds: Floats, rows: int, loads: list[tuple[Floats, Json]]) -> int:
    """Its place among the page's loads; runs on the same load share one."""
    for place, (known, _) in enumerate(loads):
        if np.array_equal(known, arrived, equal_nan=True):
            return place
    gaps = longest(runs(~np.isfinite(arrived)), MOST_GAPS)
    drawn = _lines(envelope(arrived, rows), seconds) | {"gaps": gaps.tolist()}
    loads.append((arrived, drawn))
    return len(loads) - 1


def _lines(column: Envelope, times: Floats) -> Json:
    """``times`` has one entry more than the column had values: where its last one ends."""
    drawn: Json = {"size": column.size, "t": _times(times[column.at]), "mean": plain(column.mean)}
    if column.size > 1:
        drawn |= {"low": plain(column.low), "high": plain(column.high)}
    return drawn


def _forecast(one: ServiceRecord, ticks: Floats, rows: int) -> Json | None:
    known = np.isfinite(one.forecast_at) & np.isfinite(one.forecast).all(axis=1)
    if not known.any():
        return None
    low, middle, high, highest = (envelope(np.where(known, one.forecast[:, q], np.nan), rows) for q in range(4))
    ahead = np.where(known, one.forecast_at, np.median(one.forecast_at[known]))
    times = np.append(ticks + ahead, ticks[-1] + ahead[-1])
    return {
        "t": _times(times[low.at]),
        "p05": plain(low.low),
        "p50": plain(middle.mean),
        "p95": plain(high.high),
        "p99": plain(highest.high),
    }


def _steps(values: Ints, rows: int, times: Floats | None = None) -> Json:
    at = steps(values, 2 * rows)
    return {"t": _times(at if times is None else times[at]), "v": plain(values[at])}


def _decisions(one: ServiceRecord, record: Record, rows: int) -> Json:
    at = decisions(one.desired, one.reasons, 3 * rows)
    given = [s for d in record.decisions or () for s in d.services if s.uid == one.uid]
    second = np.clip(record.ticks[at].astype(np.int64), 0, len(one.ready) - 1)
    texts = {text: number for number, text in enumerate(dict.fromkeys(one.reasons[i] for i in at))}
    told: Json = {
        "of": len(one.desired),
        "t": _times(record.ticks[at]),
        "reasons": list(texts),
        "reason": [texts[one.reasons[i]] for i in at],
        "desired": plain(one.desired[at]),
        "ready": plain(one.ready[second]),
        "pending": plain(one.pending[second]),
        "rate": plain(one.rate[at], 4),
        "backlog": plain(one.backlog[second], 4),
        "lag": plain(one.time_lag[second], 4),
        "ahead": plain(one.forecast_at[at], 4),
        "p50": plain(one.forecast[at, 1], 4),
        "p95": plain(one.forecast[at, 2], 4),
    }
    if len(given) == len(one.desired):
        numbers = [given[i].numbers for i in at]
        told |= {
            "service_rate": plain([n.service_rate for n in numbers], 4),
            "lead_time": plain([n.lead_time for n in numbers], 4),
            "forecast_replicas": plain([n.forecast_replicas for n in numbers]),
            "floor_replicas": plain([n.floor_replicas for n in numbers]),
        }
    return told


def _latency(one: ServiceRecord) -> Json:
    """The share of requests that took longer than each edge, between the edges that all and that none took longer."""
    counts = one.latency.requests
    whole = counts.sum()
    if whole <= 0:
        return {"edges": [], "slower": []}
    left = np.append(np.cumsum(counts[::-1])[::-1], 0.0)  # summed from the tail, which is small
    slower = np.where(left >= LEAST_REQUESTS, left / whole, 0.0)
    edges = one.latency.edges
    drawn = np.isfinite(edges) & (edges > 0)
    drawn[: int(np.argmax(slower < 1.0 - LEAST_SHARE)) - 1] = False
    drawn[int(np.argmax(slower == 0.0)) + 1 :] = False
    return {"edges": plain(edges[drawn]), "slower": plain(slower[drawn])}


def _pool(pool: PoolRecord, floors: Sequence[PoolDecision], start: float, rows: int) -> Json:
    drawn: Json = {
        "uid": pool.uid,
        "asked": _steps(pool.asked, rows),
        "ready": _steps(pool.ready, rows),
        "pending": _steps(np.maximum(pool.asked - pool.ready, 0), rows),
        "empty": _steps(pool.empty, rows),
        "floor": None,
    }
    written = [f for f in floors if f.floor is not None]
    if written:
        values = np.array([f.floor for f in written], dtype=np.int64)
        reasons = [" ".join(f.reasons) for f in written]
        at = decisions(values, reasons, rows)
        drawn["floor"] = {
            "t": _times(np.array([written[i].time - start for i in at])),
            "v": plain(values[at]),
            "reasons": [reasons[i] for i in at],
        }
    return drawn


def _frontier(report: Report) -> Json:
    points = [p for p in report.frontier if np.isfinite(p.attainment) and np.isfinite(p.gpu_hours)]
    best = [hindsight_best(points, share) for share in SHARES]
    here = [total(row) for row in report.measures]
    return {
        "sweeps": [
            {
                "policy": policy,
                "points": [
                    _point(p.attainment, p.gpu_hours)
                    | {"parameter": p.parameter, "value": p.value}
                    | {"best": [share for share, of in zip(SHARES, best, strict=True) if of.get(policy) is p]}
                    for p in sorted(points, key=in_sweep)
                    if p.policy == policy
                ],
            }
            for policy in dict.fromkeys(p.policy for p in points)
        ],
        "runs": [
            _point(m.attainment, m.gpu_hours) | {"name": name}
            for name, m in zip(report.names, here, strict=True)
            if np.isfinite(m.attainment) and np.isfinite(m.gpu_hours)
        ],
        "bound": [
            _point(b.attainment, b.gpu_hours)
            for b in sorted(report.bound, key=lambda b: b.attainment)
            if np.isfinite(b.attainment) and np.isfinite(b.gpu_hours)
        ],
        "shares": list(SHARES),
    }


def _point(attainment: float, gpu_hours: float) -> Json:
    return {"attainment": attainment, "nines": round(nines(attainment), 5), "gpu_hours": gpu_hours}


def _times(seconds: NDArray[Any]) -> list[float | int | None]:
    return plain(np.round(seconds.astype(np.float64), 0))
