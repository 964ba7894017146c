"""`lagcast lab demo`: a spike that returns, on a real broker, a real API server and real consumers."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.live import Live
from rich.table import Table

from simulations.lab.cli import directory_option, lab_errors, lab_progress
from simulations.lab.lab import Lab
from simulations.lab.measure import Measured
from simulations.lab.scenario import Scenario, ScenarioSpec
from simulations.lab.state import default_directory
from simulations.picture import Day, draw_day

OURS = ScenarioSpec(name="demo-lagcast")
# KEDA as installed, its periods shrunk like everything else here: a tick of 2 s stands for one of 15.
PEER = replace(OURS, name="demo-keda", policy="keda_lag", options={"time_scale": "0.1333"})
BEFORE, AFTER = 30.0, 12.0  # s of calm shown before a spike, and behind it
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """One policy's spike."""

    spec: ScenarioSpec
    begins: float  # unix s
    rows: Sequence[Row]
    requests: Measured


@click.command()
@directory_option
@click.option("--out", default="out", show_default=True, type=click.Path(path_type=Path), help="Folder of the picture.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def demo(directory: Path | None, out: Path, output: str) -> None:
    """The same spike under Lagcast and under KEDA's lag rule, on the real servers, in compressed time.

    Starts the lab where it does not run yet, and leaves it running; `lagcast lab down` ends it. Takes about five
    minutes, and a quarter of an hour more where the servers have to be built first.

    \b
    Exit codes: 0 done; 1 failed, the message says what to do; 2 wrong use; 130 interrupted.
    """
    terminal = Console(stderr=True)
    with lab_errors():
        with lab_progress() as progress:
            lab = Lab.up(directory or default_directory(), progress=progress)
        with tempfile.TemporaryDirectory(prefix="lagcast-demo-") as folder:
            seen = [watch_spike(lab, Path(folder), fresh(spec), terminal) for spec in (OURS, PEER)]
    out.mkdir(parents=True, exist_ok=True)
    picture = out / "lab-demo.png"
    draw_day(as_day(seen[0]), picture)
    if output == "json":
        click.echo(json.dumps({"picture": str(picture), "runs": [as_dict(s) for s in seen]}, indent=1))
        return
    table = Table("POLICY", "READY AS THE SPIKE BEGAN", "IN TIME", "P99", "LONGEST TIME LAG")
    for s in seen:
        row = as_dict(s)
        table.add_row(
            str(s.spec.policy),
            str(row["ready_as_it_began"]),
            "-" if s.requests.attainment is None else f"{s.requests.attainment:.2%}",
            "-" if s.requests.latency_p99 is None else f"{s.requests.latency_p99:.2f} s",
            f"{s.requests.longest_time_lag:.1f} s",
        )
    Console().print(table)
    click.echo(f"picture: {picture}")


def fresh(spec: ScenarioSpec) -> ScenarioSpec:
    """The same service under a name, and so a topic, of its own."""
    return replace(spec, name=f"{spec.name}-{int(time.time())}")


def watch_spike(lab: Lab, folder: Path, spec: ScenarioSpec, terminal: Console) -> Seen:
    """Run one service until its spike is over."""
    assert spec.spike is not None  # noqa: S101 - both specs above have one
    with Scenario(lab, folder, spec) as running, Live(console=terminal, refresh_per_second=4) as live:
        running.send()
        begins = running.next_spike()
        if begins - time.time() < BEFORE:
            begins += spec.spike.every
        rows: list[Row] = []
        for row in running.watch(begins + spec.spike.length + AFTER, every=spec.tick):
            rows.append(row)
            live.update(progress_table(rows[-8:], begins, str(spec.policy)))
        running.end("controller")
        return Seen(spec, begins, rows, running.measured(begins, begins + spec.spike.length))


def progress_table(rows: Sequence[Row], begins: float, policy: str) -> Table:
    """The newest ticks, timed from the spike."""
    table = Table("SPIKE", "ARRIVALS/S", "FORECAST 95 %", "READY", "DESIRED", "BACKLOG", "REASONS", title=policy)
    for row in rows:
        n = row["numbers"]
        forecast = n["forecast"] or {}
        table.add_row(
            f"{row['looked'] - begins:+.0f} s",
            *(_text(v) for v in (n["arrival_rate"], forecast.get("p95"), n["ready"], row["desired"], n["backlog"])),
            ", ".join(row["reasons"]),
        )
    return table


def as_dict(seen: Seen) -> dict[str, Any]:
    """One policy's spike as plain data."""
    ready = [r["numbers"]["ready"] for r in seen.rows if r["looked"] <= seen.begins]
    return {
        "policy": seen.spec.policy,
        "ready_as_it_began": ready[-1] if ready else None,
        "requests": seen.requests.requests,
        "attainment": seen.requests.attainment,
        "latency_p99_seconds": seen.requests.latency_p99,
        "longest_time_lag_seconds": seen.requests.longest_time_lag,
    }


def as_day(seen: Seen) -> Day:
    """The controller's own numbers, timed from the spike."""
    rows = [r for r in seen.rows if r["looked"] >= seen.begins - BEFORE]
    times = np.array([r["time"] - seen.begins for r in rows])
    numbers = [r["numbers"] for r in rows]

    def column(values: Sequence[float | None]) -> NDArray[np.float64]:
        return np.array([np.nan if v is None else v for v in values], dtype=np.float64)

    def forecast(field: str) -> NDArray[np.float64]:
        return column([n["forecast"] and n["forecast"][field] for n in numbers])

    return Day(
        unit="s from the spike",
        times=times,
        arrivals=column([n["arrival_rate"] for n in numbers]),
        forecast_at=times + forecast("at"),
        forecast_low=forecast("p05"),
        forecast_high=forecast("p95"),
        asked=column([r["desired"] for r in rows]),
        ready=column([n["ready"] for n in numbers]),
        time_lag=column([n["time_lag"] for n in numbers]),
        within=seen.spec.within,
    )


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
