"""`lagcast demo`: the controller's own loop over an in-process broker and cluster, on an accelerated clock."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import yaml
from numpy.typing import NDArray
from rich.console import Console
from rich.live import Live
from rich.table import Table

from forecasting.series import Series
from scaler.act.apply import Actor
from scaler.act.finalizer import NoFinalizers
from scaler.api.predictive_scaler import PredictiveScaler
from scaler.controller import Controller, MakePolicy, Row
from scaler.observe.gather import Gatherer
from scaler.observe.histories import Histories
from scaler.observe.watched import PrometheusServer, watched
from scaler.policies import find_policy
from scaler.standins.autoscalers import FakeFloors
from scaler.telemetry import Telemetry
from simulations.traces import Pattern, Spike, arrivals_per_second
from simulations.world import World, WorldSpec

log = logging.getLogger(__name__)

TICK = 60.0  # s
HOUR, DAY = 3600.0, 86400.0
DAYS_BEFORE = 7
BEFORE = ("rate_and_lag",)  # the strong rule without foresight, at the settings one would start with
RESOURCE = """
apiVersion: lagcast.io/v1alpha1
kind: PredictiveScaler
metadata: {name: chat, namespace: demo}
spec:
  target: {apiVersion: apps/v1, kind: Deployment, name: chat}
  kafka: {bootstrapServers: "stand-in:9092", topic: prompts, consumerGroup: chat}
  objective: {within: 30s, share: "99%"}
  replicas: {min: 2, max: 64, serviceRate: "2", serviceTime: 500ms, leadTime: 2m, scaleInHold: 5m}
  mode: Enforce
"""
SPEC = WorldSpec(partitions=96, service_rate=2.0, service_time=0.5, lead_time=(60.0, 150.0), replicas=8, seed=0)
# A working day's cycle, and every day at 13:00 a quarter of an hour of four times the load.
PATTERN = Pattern(
    mean=12.0, period=DAY, amplitude=0.5, spike=Spike(every=DAY, at=13 * HOUR, length=900.0, height=4.0), noise=0.08
)


class Inline(Executor):
    """Runs what it is given at once, so that an accelerated run is the same every time."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - handed to whoever asks for the result
            done.set_exception(error)
        return done


@dataclass(frozen=True, slots=True)
class Run:
    """One policy's day."""

    policy: str
    rows: Sequence[Row]
    world: World
    attainment: float
    replica_hours: float
    longest_time_lag: float
    changes: int


@click.command()
@click.option("--seed", default=1, show_default=True, help="Of load, lead times and sample paths.")
@click.option("--hours", default=24.0, show_default=True, help="How much of the day to run.")
@click.option("--out", default="out", show_default=True, type=click.Path(path_type=Path), help="Folder of the picture.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def demo(seed: int, hours: float, out: Path, output: str) -> None:
    """A day of load with a spike that returns: Lagcast beside the rules that wait for lag.

    The same controller and plan as in a cluster, over stand-ins for the broker and the API server.

    \b
    Exit codes: 0 done; 2 wrong usage.
    """
    logging.basicConfig(level="WARNING")
    if not 1 <= hours <= 24:
        raise click.UsageError("--hours must be between 1 and 24")
    import matplotlib  # noqa: F401 - where it is missing, that is said before the day is run

    past, load = make_load(seed, hours)
    terminal = Console(stderr=True)
    runs = [run("lagcast", past, load, terminal)]
    for policy in BEFORE:
        with terminal.status(f"the same day under {policy}"):
            runs.append(run(policy, past, load, None))
    picture = draw(runs[0], out)
    if output == "json":
        click.echo(json.dumps({"picture": str(picture), "runs": [summary(r) for r in runs]}, indent=1))
        return
    Console().print(compare(runs))
    click.echo(verdict(runs))
    click.echo(f"picture: {picture}")


def make_load(seed: int, hours: float) -> tuple[Series, NDArray[np.float64]]:
    """A week that the topic remembers, and the arrivals of each second of the day that follows."""
    whole = PATTERN.make((DAYS_BEFORE + 1) * DAY, 60.0, seed)
    split = DAYS_BEFORE * 1440
    start = 1_767_571_200.0  # a Monday, 00:00 UTC
    past = Series(start, 60.0, whole.rates[:split])
    day = Series(past.end, 60.0, whole.rates[split : split + int(hours * 60)])
    return past, arrivals_per_second(day, np.random.default_rng(seed))


def run(policy: str, past: Series, load: NDArray[np.float64], terminal: Console | None) -> Run:
    """One day under one policy; a live table on ``terminal``."""
    resource = PredictiveScaler.model_validate(yaml.safe_load(RESOURCE))
    wanted = watched(resource)
    world = World(SPEC, past, load, wanted.topic, wanted.target)
    make_policy: MakePolicy = find_policy(policy, {})
    pool = Inline()
    controller = Controller(
        Gatherer(lambda _: world.broker, _no_latency, world.cluster, pool, Histories(pool), deadline=60.0),
        Actor(world.cluster, world.cluster, world.cluster, FakeFloors(), NoFinalizers()),
        make_policy,
        Telemetry(),
        world,
        TICK,
    )
    controller.configure([resource])
    rows: list[Row] = []
    stop = threading.Event()
    view: AbstractContextManager[Live | None] = (
        Live(console=terminal, refresh_per_second=8) if terminal is not None else nullcontext()
    )
    with view as live:

        def look() -> None:
            rows.extend(controller.rows.values())
            if live is not None and rows:
                live.update(progress(rows[-8:], world.start))

        controller.run(stop, before_tick=look)
    result = world.result(resource.spec.objective.within)
    return Run(
        policy,
        rows,
        world,
        result.attainment,
        world.paid_replica_hours,
        result.longest_time_lag,
        len(world.cluster.written),
    )


def _no_latency(server: PrometheusServer) -> Any:
    raise ValueError(f"the demo has no Prometheus, but {server} was asked for")


def progress(rows: Sequence[Row], start: float) -> Table:
    """The newest ticks."""
    table = Table("TIME", "ARRIVALS/S", "FORECAST 95 %", "READY", "DESIRED", "TIME LAG", "REASONS")
    for row in rows:
        n = row.decision.numbers
        minutes = (row.decision.time - start) / 60
        table.add_row(
            f"{int(minutes // 60):02d}:{int(minutes % 60):02d}",
            _text(n.arrival_rate, ".1f"),
            _text(None if n.forecast is None else n.forecast.p95, ".1f"),
            _text(n.ready, "d"),
            _text(row.decision.desired, "d"),
            _text(n.time_lag, ".0f"),
            ", ".join(row.decision.reasons),
        )
    return table


def compare(runs: Sequence[Run]) -> Table:
    """Each policy's day on a line."""
    table = Table("POLICY", "IN TIME", "REPLICA-HOURS", "LONGEST TIME LAG", "CHANGES")
    for r in runs:
        table.add_row(
            r.policy, f"{r.attainment:.2%}", f"{r.replica_hours:.1f}", f"{r.longest_time_lag:.0f} s", str(r.changes)
        )
    return table


def verdict(runs: Sequence[Run]) -> str:
    """Before and after in one line."""
    after, before = runs[0], runs[1]
    return (
        f"before ({before.policy}): {before.attainment:.2%} in time for {before.replica_hours:.0f} replica-hours; "
        f"after (lagcast): {after.attainment:.2%} for {after.replica_hours:.0f}"
    )


def summary(r: Run) -> Mapping[str, Any]:
    """The same as plain data."""
    return {
        "policy": r.policy,
        "attainment": r.attainment,
        "replica_hours": r.replica_hours,
        "longest_time_lag_seconds": r.longest_time_lag,
        "changes": r.changes,
    }


def draw(r: Run, folder: Path) -> Path:
    """The day as a picture; returns the file."""
    from simulations.picture import Day, draw_day

    numbers = [row.decision.numbers for row in r.rows]
    forecasts = [n.forecast for n in numbers]
    hours = _column([row.decision.time - r.world.start for row in r.rows]) / HOUR
    day = Day(
        unit="hour",
        times=hours,
        arrivals=_column([n.arrival_rate for n in numbers]),
        forecast_at=hours + _column([None if f is None else f.at for f in forecasts]) / HOUR,
        forecast_low=_column([None if f is None else f.p05 for f in forecasts]),
        forecast_high=_column([None if f is None else f.p95 for f in forecasts]),
        asked=_column([row.decision.desired for row in r.rows]),
        ready=_column([n.ready for n in numbers]),
        time_lag=r.world.time_lag(np.array([row.decision.time for row in r.rows])),
        within=PredictiveScaler.model_validate(yaml.safe_load(RESOURCE)).spec.objective.within,
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "demo.png"
    draw_day(day, path)
    return path


def _column(values: Sequence[float | None]) -> NDArray[np.float64]:
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)


def _text(value: float | None, spec: str) -> str:
    return "-" if value is None else format(value, spec)
