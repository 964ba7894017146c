"""`python -m simulations.bench_requests`: how many requests/s the request-level kernel follows, on one core.

Median over several runs, after compilation. Both clocks are shown: processor time is what the kernel takes, wall time
what one waits for on this machine beside everything else that runs on it.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from scaler.plan.service import Service
from simulations.commands.shell import progress, told
from simulations.request_level.setting import Discipline, RequestService
from simulations.request_level.station import Station
from simulations.service_times import ByBatch, Exponential, ServiceTime
from simulations.setting import Partitioned

AIM = 3e6  # requests/s
WIDTH = 120  # of the table where stdout is no terminal
LOAD = 0.8  # of what the replicas can serve
SIZES = (250_000, 1_000_000, 4_000_000)  # requests: the cost of each stays the same

DECLARED = Service(
    uid="bench",
    within=1.0,
    share=0.99,
    min_replicas=1,
    max_replicas=1000,
    service_rate=1.0,
    service_time=1.0,
    lead_time=0.0,
    tick=15.0,
    step=60.0,
    scale_in_hold=300.0,
)


@dataclass(frozen=True, slots=True)
class Case:
    """A station and how many requests go through it. ``rate``: requests/s that one replica serves."""

    name: str
    setting: RequestService
    rate: float
    requests: int


@dataclass(frozen=True, slots=True)
class Timing:
    """Median over the runs, in requests/s, and the slowest run's."""

    name: str
    requests: int
    by_processor: float
    by_wall: float
    slowest: float  # by processor time
    runs: int


def cases(requests: int) -> list[Case]:
    """Three sizes of the plain case, then each way of serving, then more replicas."""
    one, unit = Exponential(1.0), 1.0
    batches = ByBatch(np.array([1.0, 16.0]), np.array([1.0, 2.0]), batch=16)

    def case(
        name: str, replicas: int, time: ServiceTime = one, rate: float = unit, n: int = requests, **true: object
    ) -> Case:
        return Case(name, RequestService(DECLARED, time, replicas=replicas, **true), rate, n)  # type: ignore[arg-type]

    return [
        *(case(f"16 replicas, {n:,} requests", 16, n=n) for n in SIZES),
        case("16 serial replicas of 4 slots, queue of 50", 16, slots=4, discipline=Discipline.SERIAL, queue_bound=50),
        case("16 sharing replicas of 4 slots, queue of 50", 16, slots=4, discipline=Discipline.SHARING, queue_bound=50),
        case("16 replicas, batches of up to 16", 16, batches, 8.0),
        case("16 replicas, 64 partitions", 16, queue=Partitioned(64)),
        case("1 replica", 1),
        case("64 replicas", 64),
        case("128 replicas", 128),
    ]


def measure(one: Case, runs: int) -> Timing:
    """Time the kernel alone: requests are drawn before the clock starts."""
    rng = np.random.default_rng(1)
    arrivals = np.cumsum(rng.exponential(1 / (LOAD * one.rate * one.setting.replicas), one.requests))
    taken: list[tuple[float, float]] = []
    for _ in range(runs):
        station = Station(one.setting, arrivals, np.random.default_rng(2))
        processor, wall = time.process_time(), time.perf_counter()
        station.advance(math.inf)
        taken.append((time.process_time() - processor, time.perf_counter() - wall))
    by_processor, by_wall = (median(times) for times in zip(*taken, strict=True))
    slowest = max(processor for processor, _ in taken)
    n = one.requests
    return Timing(one.name, n, n / by_processor, n / by_wall, n / slowest, runs)


@click.command()
@click.option("--requests", type=click.IntRange(min=1000), default=SIZES[1], show_default=True, help="Of most cases.")
@click.option("--runs", type=click.IntRange(min=1), default=5, show_default=True, help="Of each case.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def bench(requests: int, runs: int, output: str) -> None:
    """How many requests/s the request-level kernel follows.

    \b
    Exit codes: 0 done; 2 wrong usage; 130 interrupted.
    """
    with told():
        wanted = cases(requests)
        measure(Case("compiled first", wanted[0].setting, 1.0, 1000), 1)
        timings: list[Timing] = []
        with progress("bench", len(wanted)) as tell:
            for one in wanted:
                timings.append(measure(one, runs))
                tell(len(timings))
        if output == "json":
            click.echo(json.dumps([plain(t) for t in timings], indent=1))
        else:
            Console(width=None if sys.stdout.isatty() else WIDTH).print(table(timings))


def plain(timing: Timing) -> Mapping[str, object]:
    """Plain data, with what is aimed at."""
    return {**asdict(timing), "aim": AIM}


def table(timings: Sequence[Timing]) -> Table:
    """A line for each case, in millions of requests/s."""
    shown = Table("CASE", "REQUESTS", "M/S (PROCESSOR)", "SLOWEST RUN", "M/S (WALL)", title=f"aim: {AIM / 1e6:g} M/s")
    for t in timings:
        speeds = (f"{speed / 1e6:.2f}" for speed in (t.by_processor, t.slowest, t.by_wall))
        shown.add_row(t.name, f"{t.requests:,}", *speeds)
    return shown


if __name__ == "__main__":
    bench()
