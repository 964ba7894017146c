"""The scenarios that policies are measured in (docs/benchmarks.md): pods, pods on GPU nodes, services on one pool.

One day of a trace is scored; what came before it is the history that the policy is handed. The load is scaled such
that its day's mean is 40 replicas' work.
"""

# ruff: noqa: RUF009 - a Between is immutable

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from forecasting.errors import BadSeries
from forecasting.series import Series
from scaler.plan.nodes_need import PoolSpec
from scaler.plan.service import Service
from simulations.errors import BadSetting
from simulations.history_load import split_load
from simulations.setting import Between, Load, NodePool, Rebalance, ScaleIn, ServiceSetting, Setting, Shared
from simulations.traces import find_trace, rates_at, read_trace, scaled

Scenario = Literal["pods", "nodes", "pool"]
Made = tuple[Setting, tuple[Load, ...]]

DAY = 86_400.0
_A_REPLICA = 12  # partitions
POOL = "gpus"
POOL_TRACES = ("azfunc_diurnal", "azfunc_bursty", "servegen_llm_large")
# Second 0 of a trace is taken as this time: a Monday, 00:00 UTC, a multiple of every step.
EPOCH = 1_767_571_200.0


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a scenario holds fixed. The defaults are those of the reference cells."""

    mean: float = 80.0  # requests/s over the scored day
    service_rate: float = 2.0  # requests/s of a replica
    service_time: float = 0.2  # s
    within: float = 10.0  # s, the objective
    share: float = 0.99
    tick: float = 15.0  # s
    pause: float = 0.5  # s that a change of membership stops the group
    commit_interval: float = 1.0  # s
    lead_time: Between = Between(60.0, 150.0)  # of a pod
    node_size: int = 8
    node_lead_time: Between = Between(240.0, 420.0)
    idle: float = 600.0  # s after which an empty node goes
    min_replicas: int | None = None  # None: 1, and 0 for a trace that is silent most of the time
    peak_factor: float = 1.5  # the most replicas, in those that the day's highest step needs
    history: float = 7 * DAY  # s, or as much as the trace has
    scale_in_hold: float = 60.0  # s, the resource's default
    step: float = 15.0  # s, of the forecast; the resource's default
    max_nodes: int | None = None
    scale_in: ScaleIn = ScaleIn.EMPTIEST  # as the reference cells have it: kinder to the peers than a ReplicaSet is

    def slower(self, factor: float) -> Parameters:
        """The same with the lead times of pods and nodes times ``factor``."""
        return replace(
            self,
            lead_time=Between(self.lead_time.low * factor, self.lead_time.high * factor),
            node_lead_time=Between(self.node_lead_time.low * factor, self.node_lead_time.high * factor),
        )


DEFAULTS = Parameters()


@dataclass(frozen=True, slots=True)
class Cell:
    """One scored day. ``day`` counts from 0; ``seed`` is that of arrivals and lead times.

    ``scaled_by``: the day whose mean and peak set the scale and the most replicas; None is the scored day. A policy
    that is tuned on the days before runs them at the scored day's scale.
    """

    scenario: Scenario
    trace: str
    day: int
    seed: int = 0
    scaled_by: int | None = None

    @property
    def name(self) -> str:
        """As in tables and files, such as ``pods/azfunc_diurnal/9/0``."""
        return f"{self.scenario}/{self.trace}/{self.day}/{self.seed}"

    def before(self, days: int) -> Cell:
        """The same, ``days`` earlier, at this cell's scale."""
        return replace(self, day=self.day - days, scaled_by=self.day if self.scaled_by is None else self.scaled_by)


_DAYS = {
    "azfunc_diurnal": 9,
    "azfunc_bursty": 9,
    "azfunc_sparse": 9,
    "servegen_llm_large": 9,
    "worldcup98": 60,
    "twitter_aapl": 30,
}
SILENT_TRACES = frozenset({"azfunc_sparse"})


def cells(seeds: Sequence[int] = (0, 1, 2)) -> tuple[Cell, ...]:
    """The benchmark's cells: six days under ``pods`` and ``nodes``, and the shared ``pool``; one for each seed."""
    single: tuple[Scenario, ...] = ("pods", "nodes")
    alone = [Cell(how, trace, day, seed) for how in single for trace, day in _DAYS.items() for seed in seeds]
    return (*alone, *(Cell("pool", "+".join(POOL_TRACES), 9, seed) for seed in seeds))


def make(cell: Cell, parameters: Parameters = DEFAULTS) -> Made:
    """The cell's setting and loads. Raises BadSeries for a trace that is not there or does not reach so far."""
    if cell.scenario == "pods":
        return pods(cell.trace, cell.day, cell.seed, parameters, cell.scaled_by)
    if cell.scenario == "nodes":
        return nodes(cell.trace, cell.day, cell.seed, parameters, cell.scaled_by)
    if cell.scenario == "pool":
        return pool(cell.day, cell.seed, parameters, cell.scaled_by, tuple(cell.trace.split("+")))
    raise BadSetting(f"scenario: found {cell.scenario}; allowed: pods, nodes, pool")


def pods(trace: str, day: int, seed: int = 0, parameters: Parameters = DEFAULTS, scaled_by: int | None = None) -> Made:
    """One service whose pods need no node: they serve after their lead time, and are what is paid for."""
    one, load = _service(trace, day, seed, parameters, scaled_by)
    return Setting((one,), None, parameters.tick, seed), (load,)


def nodes(trace: str, day: int, seed: int = 0, parameters: Parameters = DEFAULTS, scaled_by: int | None = None) -> Made:
    """One service on GPU nodes that come for pods that do not fit; nodes are what is paid for."""
    one, load = _service(trace, day, seed, parameters, scaled_by, on_nodes=True)
    return Setting((one,), _pool(parameters), parameters.tick, seed), (load,)


def pool(
    day: int,
    seed: int = 0,
    parameters: Parameters = DEFAULTS,
    scaled_by: int | None = None,
    traces: Sequence[str] = POOL_TRACES,
) -> Made:
    """Several services, each at the same mean, on one pool of GPU nodes."""
    # Each service has a seed of its own, or equal rates would draw equal arrivals.
    made = [
        _service(trace, day, 1000 * k + seed, parameters, scaled_by, on_nodes=True) for k, trace in enumerate(traces)
    ]
    setting = Setting(tuple(one for one, _ in made), _pool(parameters), parameters.tick, seed)
    return setting, tuple(load for _, load in made)


def _pool(p: Parameters) -> NodePool:
    return NodePool(POOL, p.node_size, p.node_lead_time, p.idle, max_nodes=p.max_nodes, scale_in=p.scale_in)


def _service(
    trace: str, day: int, seed: int, p: Parameters, scaled_by: int | None, on_nodes: bool = False
) -> tuple[ServiceSetting, Load]:
    path = find_trace(trace)
    read = read_trace(path)
    series = Series(EPOCH + read.start, read.step, read.rates)
    at, name = EPOCH + day * DAY, path.name.partition("__")[0]
    measured = _day(series, name, day if scaled_by is None else scaled_by)
    if not np.nansum(measured) > 0:
        raise BadSeries(f"{path}: no request on the day that sets the scale; choose another day")
    series = scaled(series, scale=p.mean / float(np.nanmean(measured)))
    peak = p.mean / float(np.nanmean(measured)) * float(np.nanmax(measured))
    most = max(math.ceil(p.peak_factor * peak / p.service_rate), 1)
    _day(series, name, day)
    load = split_load(series, at, np.random.default_rng(seed), seconds=DAY, past=p.history)
    least = p.min_replicas if p.min_replicas is not None else int(name not in SILENT_TRACES)
    service = Service(
        uid=name,
        within=p.within,
        share=p.share,
        min_replicas=least,
        max_replicas=most,
        service_rate=p.service_rate,
        service_time=p.service_time,
        lead_time=p.lead_time.high + (p.node_lead_time.high if on_nodes else 0.0),  # what a careful user declares
        tick=p.tick,
        step=p.step,
        scale_in_hold=p.scale_in_hold,
        pool=PoolSpec(POOL, p.node_size, p.node_lead_time.high, p.idle, p.max_nodes) if on_nodes else None,
    )
    setting = ServiceSetting(
        service=service,
        rate=p.service_rate,
        time=p.service_time,
        queue=Shared(partitions=_A_REPLICA * most),  # so many that their split does not bind: the queue is shared
        lead_time=p.lead_time,
        rebalance=Rebalance(pause=p.pause),
        commit_interval=p.commit_interval,
        replicas=_need(series, at, p.service_rate, least, most),
    )
    return setting, load


def _day(series: Series, name: str, day: int) -> NDArray[np.float64]:
    """The rates of one day's steps. Raises BadSeries when the trace does not hold the whole day."""
    first = round((EPOCH + day * DAY - series.start) / series.step)
    last = first + round(DAY / series.step)
    if first < 0 or last > len(series.rates):
        whole = math.ceil((series.start - EPOCH) / DAY), math.floor((series.end - EPOCH) / DAY) - 1
        raise BadSeries(f"trace {name}: found day {day}; allowed: {whole[0]} to {whole[1]}, counted from 0")
    return series.rates[first:last]


def _need(series: Series, at: float, rate: float, least: int, most: int) -> int:
    """Replicas for the mean of the five minutes before ``at``; where nothing is known of them, for the day's begin."""
    known = rates_at(series, at - 300.0 + 0.5 + np.arange(300.0))
    known = known[np.isfinite(known)]
    if not len(known):
        known = rates_at(series, at + 0.5 + np.arange(300.0))
        known = known[np.isfinite(known)]
    return min(max(math.ceil(float(known.mean()) / rate) if len(known) else least, least), most)
