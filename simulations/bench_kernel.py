"""How long a simulated run takes, and where the time goes: ``make bench-kernel``.

Three lengths and three numbers of partitions at 1 s steps under an HPA on the arrival rate, in the time of one core
(CPU time; each figure is the median of several runs after compilation). The goal is 14 days with 16 partitions in 3 s.
"""

from __future__ import annotations

import cProfile
import json
import pstats
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np

from scaler.plan.service import Service
from simulations.policies.catalog import entry
from simulations.record import Record
from simulations.run import simulate
from simulations.setting import Between, Load, Partitioned, ServiceSetting, Setting

DAY = 86_400
DAYS = (3.5, 7.0, 14.0)
PARTITIONS = (4, 16, 64)
GOAL = (14.0, 16, 3.0)  # days, partitions, s
MEAN, RATE = 20.0, 2.0  # requests/s: of the load, and of a replica with 16 partitions
TICK = 15.0
PARTS = {
    "queues": ("service_queue.py", "run"),
    "pods and nodes": ("fleet.py", "run"),
    "observe": ("cluster.py", "observe"),
    "policy": ("peers.py", "step"),
    "apply": ("cluster.py", "apply"),
}


@dataclass(frozen=True, slots=True)
class Timed:
    """One size: seconds of CPU in each run, sorted."""

    days: float
    partitions: int
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle run (s)."""
        return statistics.median(self.seconds)

    @property
    def tick(self) -> float:
        """Microseconds a tick."""
        return self.median / (self.days * DAY / TICK) * 1e6


def run(days: float, partitions: int) -> Callable[[], Record]:
    """A run of that size, ready to go: a daily cycle of Poisson arrivals, as many replicas as partitions at most."""
    seconds = np.arange(int(days * DAY))
    rates = MEAN * (1.0 + 0.5 * np.sin(seconds * 2 * np.pi / DAY))
    load = Load(1_767_571_200.0, np.random.default_rng(0).poisson(rates).astype(np.float64))
    rate = RATE * 16 / partitions
    service = Service("bench", 10.0, 0.99, 1, partitions, rate, 0.2, 150.0, TICK, 60.0, 300.0)
    one = ServiceSetting(service, rate, 0.2, Partitioned(partitions), Between(60.0, 150.0), replicas=partitions // 2)
    make = entry("hpa_rate").make({"utilization": "0.7"})
    return lambda: simulate(Setting((one,), tick=TICK), [load], make([service]), name="hpa_rate")


def timed(days: float, partitions: int, runs: int) -> Timed:
    """Measure one size."""
    go, taken = run(days, partitions), []
    for _ in range(runs):
        began = time.process_time()
        go()
        taken.append(time.process_time() - began)
    return Timed(days, partitions, tuple(sorted(taken)))


def profile(days: float, partitions: int) -> dict[str, float]:
    """Share of the time in each part of a tick, as a profiler sees it (it makes Python look slower than it is)."""
    go, profiler = run(days, partitions), cProfile.Profile()
    profiler.runcall(go)
    stats = pstats.Stats(profiler).stats  # type: ignore[attr-defined]
    total = max(row[3] for row in stats.values())
    shares = {}
    for part, (file, name) in PARTS.items():
        spent = sum(row[3] for (path, _, what), row in stats.items() if Path(path).name == file and what == name)
        shares[part] = spent / total
    return shares


@click.command()
@click.option("--runs", default=5, show_default=True, type=click.IntRange(min=1), help="Runs of each size.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def main(runs: int, output: str) -> None:
    """Measure the simulator's kernel.

    \b
    Exit codes: 0 done; 2 wrong usage.
    """
    from rich.console import Console
    from rich.table import Table

    for partitions in PARTITIONS:
        run(0.01, partitions)()
    sizes = list(dict.fromkeys([*((days, GOAL[1]) for days in DAYS), *((DAYS[1], p) for p in PARTITIONS)]))
    done = []
    for days, partitions in sizes:
        done.append(timed(days, partitions, runs))
        click.echo(f"{days} days, {partitions} partitions: {done[-1].median:.2f} s", err=True)
    shares = profile(DAYS[0], GOAL[1])
    goal = next(one for one in done if (one.days, one.partitions) == GOAL[:2])
    if output == "json":
        rows = [{**asdict(one), "median": one.median, "microseconds_a_tick": one.tick} for one in done]
        click.echo(json.dumps({"sizes": rows, "shares": shares, "goal": GOAL[2], "median": goal.median}, indent=1))
        return
    table = Table("days", "partitions", "median s", "fastest", "slowest", "µs a tick")
    for one in done:
        low, high = one.seconds[0], one.seconds[-1]
        table.add_row(
            f"{one.days:g}", str(one.partitions), f"{one.median:.2f}", f"{low:.2f}", f"{high:.2f}", f"{one.tick:.1f}"
        )
    console = Console()
    console.print(table)
    console.print("under a profiler: " + ", ".join(f"{part} {share:.0%}" for part, share in shares.items()))
    verdict = "reached" if goal.median < GOAL[2] else "missed"
    console.print(
        f"goal: {GOAL[0]:g} days with {GOAL[1]} partitions under {GOAL[2]:g} s: {verdict}, {goal.median:.2f} s"
    )


if __name__ == "__main__":
    main()
