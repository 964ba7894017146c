"""The page's tables: figures as text, with the number to sort by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulations.measures import Elasticity, Measures
from simulations.picture import hindsight_best
from simulations.record import Floats, Record
from simulations.report.report import SHARES, Report

STRETCH = 600  # s
ALL = "all services"
_NONE = Elasticity(math.nan, math.nan, math.nan, math.nan, math.nan)


@dataclass(frozen=True, slots=True)
class Column:
    """``about``: what the figure is, in a sentence, with its unit."""

    title: str
    about: str


@dataclass(frozen=True, slots=True)
class Cell:
    """``key``: what to sort by; None for text, and for what is not known."""

    text: str
    key: float | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells, the first two of which name the row."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]


MEASURES = (
    Column("policy", "what decided"),
    Column("service", "which service"),
    Column("attainment", "share of requests that left within the objective"),
    Column("objective", "the share that was declared, and within what time"),
    Column("GPU-hours", "paid from the request, not from ready"),
    Column("replica-hours", "paid from the request, not from ready"),
    Column("cost", "GPU-hours times the price of one"),
    Column("requests", "all that arrived"),
    Column("late", "requests that did not leave within the objective"),
    Column("p50, s", "latency that this share of requests did not exceed"),
    Column("p95, s", "latency that this share of requests did not exceed"),
    Column("p99, s", "latency that this share of requests did not exceed"),
    Column("p99.9, s", "latency that this share of requests did not exceed"),
    Column("longest time lag, s", "greatest age of the oldest request that waited"),
    Column("changes", "decisions that changed the count"),
    Column("rebalances", "changes of the group's membership"),
    Column("pending replica-hours", "replica-hours that were paid for and not ready"),
    Column("under", "mean replicas lacking over the replicas needed"),
    Column("over", "mean replicas idle over the replicas needed"),
    Column("time under", "share of the time in which replicas lacked"),
    Column("time over", "share of the time in which replicas idled"),
    Column("instability", "share of the time in which demand and supply did not move the same way"),
    Column("worst 10 min", "share of all late requests that arrived in the ten minutes with most of them"),
)
FRONTIER = (
    Column("policy", "what decided"),
    Column("for", "the share of requests to reach"),
    Column("parameter", "the value with the least GPU-hours that reached it, chosen in hindsight"),
    Column("attainment", "share of requests that left within the objective"),
    Column("GPU-hours", "paid from the request, not from ready"),
    Column("times the bound", "GPU-hours over the bound's for the same share"),
)


def measures_table(report: Report) -> Table:
    """A row for each run and service, and one for all services of a run that has several."""
    rows = []
    for name, record, measures in zip(report.names, report.records, report.measures, strict=True):
        for number, one in enumerate(measures):
            promise = record.setting.services[number].service
            worst = worst_stretch(record.services[number].late)
            rows.append(_measures(name, one, f"{_share(promise.share)} in {_figure(promise.within)} s", worst))
        if len(measures) > 1:
            rows.append(_measures(name, total(measures), "", worst_stretch(_late(record))))
    return Table(MEASURES, tuple(rows))


def frontier_table(report: Report) -> Table | None:
    """Each policy's hindsight best and the bound for each of ``SHARES``; None without a frontier."""
    if not report.frontier:
        return None
    rows = []
    for share in SHARES:
        best = hindsight_best(report.frontier, share)
        reach = [b.gpu_hours for b in report.bound if math.isclose(b.attainment, share, abs_tol=1e-9)]
        bound = reach[0] if reach else math.nan
        aim = Cell(_share(share), share)
        if reach:
            rows.append((Cell("bound"), aim, Cell("–"), _percent(share), _number(bound), _number(1.0)))
        for policy in dict.fromkeys(p.policy for p in report.frontier):
            point = best.get(policy)
            if point is None:
                most = [p.attainment for p in report.frontier if p.policy == policy and math.isfinite(p.attainment)]
                text = f"not reached; at most {_percent(max(most)).text}" if most else "not reached"
                rows.append((Cell(policy), aim, Cell("–"), Cell(text), Cell("–"), Cell("–")))
                continue
            value = Cell("–") if point.value is None else Cell(f"{point.parameter} {point.value:.4g}", point.value)
            ratio = _number(point.gpu_hours / bound) if bound > 0 else Cell("–")
            rows.append((Cell(policy), aim, value, _percent(point.attainment), _number(point.gpu_hours), ratio))
    return Table(FRONTIER, tuple(rows))


def total(measures: Sequence[Measures]) -> Measures:
    """All services of one run; what cannot be added up, as latency quantiles, is NaN."""
    if len(measures) == 1:
        return measures[0]
    requests, late = sum(m.requests for m in measures), sum(m.late for m in measures)
    return Measures(
        uid=ALL,
        requests=requests,
        late=late,
        attainment=1.0 - late / requests if requests > 0 else math.nan,
        replica_hours=sum(m.replica_hours for m in measures),
        gpu_hours=sum(m.gpu_hours for m in measures),
        cost=sum(m.cost for m in measures),
        p50=math.nan,
        p95=math.nan,
        p99=math.nan,
        p999=math.nan,
        longest_time_lag=max(m.longest_time_lag for m in measures),
        changes=sum(m.changes for m in measures),
        rebalances=sum(m.rebalances for m in measures),
        pending_replica_hours=sum(m.pending_replica_hours for m in measures),
        elasticity=_NONE,
    )


def worst_stretch(late: Floats, seconds: int = STRETCH) -> float:
    """The largest share of all late requests that arrived within ``seconds`` on end; NaN when none was late."""
    known = np.nan_to_num(late)
    sums = np.concatenate(([0.0], np.cumsum(known)))
    if sums[-1] <= 0:
        return math.nan
    width = min(seconds, len(known))
    return float(np.max(sums[width:] - sums[:-width]) / sums[-1])


def _late(record: Record) -> Floats:
    late: Floats = np.sum([np.nan_to_num(s.late) for s in record.services], axis=0)
    return late


def _measures(name: str, m: Measures, objective: str, worst: float) -> tuple[Cell, ...]:
    e = m.elasticity
    return (
        Cell(name),
        Cell(m.uid),
        _percent(m.attainment),
        Cell(objective or "–"),
        *(_number(v) for v in (m.gpu_hours, m.replica_hours, m.cost, m.requests, m.late)),
        *(_number(v) for v in (m.p50, m.p95, m.p99, m.p999, m.longest_time_lag)),
        _number(m.changes),
        _number(m.rebalances),
        _number(m.pending_replica_hours),
        *(_percent(v, 1) for v in (e.under, e.over, e.time_under, e.time_over, e.instability, worst)),
    )


def _number(value: float) -> Cell:
    return Cell(_figure(value), value) if math.isfinite(value) else Cell("–")


def _percent(value: float, digits: int = 3) -> Cell:
    if not math.isfinite(value):
        return Cell("–")
    # Rounded down, so that nothing looks attained that was not.
    scale = 10**digits
    return Cell(f"{math.floor(100 * value * scale + 1e-6) / scale:.{digits}f} %", value)


def _share(value: float) -> str:
    return f"{100 * value:.6g} %"


def _figure(value: float) -> str:
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"
