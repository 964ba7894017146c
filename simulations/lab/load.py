"""`lagcast lab load`: replay a trace, or a load made from a seed, into a topic of the lab."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any, Literal, TypeVar

import click
from confluent_kafka import KafkaException
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from forecasting.errors import BadSeries
from forecasting.series import Series
from scaler.api.quantities import parse_duration
from simulations.lab import state
from simulations.lab.errors import LabError
from simulations.lab.keys import Keys
from simulations.lab.load_run import LoadRun, Sent
from simulations.traces import (
    Gaps,
    Pattern,
    Spike,
    Values,
    compressed,
    find_trace,
    read_trace,
    scaled,
    without_gaps,
)

__all__ = ["Keys", "LoadRun", "Sent", "load"]

Command = TypeVar("Command", bound=Callable[..., Any])
INTERRUPTED = 130
SLACK = 600.0  # s; writing the past takes time, in which the load goes on
STEPS_A_PERIOD = 288  # of a made load: 5 minutes of a day


class _Duration(click.ParamType[float]):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return float(value) if isinstance(value, float) else parse_duration(value)
        except ValueError as wrong:
            self.fail(str(wrong), param, ctx)


DURATION = _Duration()


def _made(command: Command) -> Command:
    """Options of a load that is made from a seed."""
    for option in reversed(
        [
            click.option("--period", type=DURATION, default="1d", show_default=True, help="Of the cycle."),
            click.option(
                "--amplitude", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="Of the cycle."
            ),
            click.option(
                "--noise", type=click.FloatRange(0), default=0.0, show_default=True, help="Spread of the rate."
            ),
            click.option("--step", type=DURATION, help="Of the made load.  [default: 1/288 of the shortest cycle]"),
            click.option("--spike-every", type=DURATION, help="A spike returns after this time."),
            click.option("--spike-at", type=DURATION, default="0s", show_default=True, help="Its start in that time."),
            click.option("--spike-length", type=DURATION, default="10m", show_default=True),
            click.option(
                "--spike-height", type=click.FloatRange(0), default=5.0, show_default=True, help="Times the base."
            ),
        ]
    ):
        command = option(command)
    return command


@click.command()
@click.option("--topic", required=True, help="Where to; made when it is missing and --partitions is given.")
@click.option("--partitions", type=click.IntRange(1, 100_000), help="Number of partitions of the topic.")
@click.option("--bootstrap", metavar="HOST:PORT", help="Broker.  [default: the running lab's]")
@click.option("--dir", "directory", type=click.Path(path_type=Path, file_okay=False), help="Folder of the lab's state.")
@click.option(
    "--trace", metavar="NAME|FILE", help="A trace file, or one of LAGCAST_TRACES.  [default: made from the seed]"
)
@click.option(
    "--values", type=click.Choice(["counts", "rates"]), help="What the trace's values are.  [default: counts]"
)
@click.option("--gaps", type=click.Choice(["refuse", "silent", "interpolate"]), default="refuse", show_default=True)
@click.option(
    "--offset", type=DURATION, default="0s", show_default=True, help="Begin this far into the load (its own time)."
)
@click.option(
    "--mean",
    type=click.FloatRange(0, min_open=True),
    help="Mean rate in requests/s, as sent; of a made load, without its spikes.",
)
@click.option("--scale", type=click.FloatRange(0, min_open=True), help="Multiply the rates.")
@click.option(
    "--speed",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="Pass the load's own time this much faster; the rates per second stay.",
)
@click.option("--past", type=DURATION, help="First write this much of the load as the past (real time).")
@click.option(
    "--duration",
    type=DURATION,
    help="Then send this long (real time); 0s: the past only.  [default: to the load's end]",
)
@click.option(
    "--keys", type=click.IntRange(1, 10_000_000), default=1024, show_default=True, help="How many different keys."
)
@click.option("--zipf", type=click.FloatRange(0), default=0.0, show_default=True, help="Exponent that skews the keys.")
@click.option("--hot", type=click.FloatRange(0, 1), default=0.0, show_default=True, help="Share of one hot key.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of arrivals, keys and a made load.")
@_made
@click.option("-o", "output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def load(
    topic: str,
    partitions: int | None,
    bootstrap: str | None,
    directory: Path | None,
    trace: str | None,
    values: Values | None,
    gaps: Gaps,
    offset: float,
    mean: float | None,
    scale: float | None,
    speed: float,
    past: float | None,
    duration: float | None,
    keys: int,
    zipf: float,
    hot: float,
    seed: int,
    output: Literal["table", "json"],
    **made: Any,
) -> None:
    """Send a load into a topic, each message when it is due.

    The load is a trace, or made from a seed: a cycle, with --spike-every a spike that returns, and noise. Ctrl-C
    stops it, waits until the broker has everything, and reports.

    \b
    A day's cycle with a spike, 200 times as fast, an hour of it in the past:
      lagcast lab load --topic chat --partitions 12 --mean 20 --speed 200 --spike-every 1d --spike-at 12h --past 1h

    Exit codes: 0 sent; 1 failed; 2 wrong use; 130 interrupted, after the report.
    """
    if mean is not None and scale is not None:
        raise click.UsageError("give either --mean or --scale")
    try:
        skew = Keys(keys, zipf, hot)
        needed = offset + ((past or 0.0) + (duration or 0.0) + SLACK) * speed
        series = _series(trace, values, made, mean, seed, needed if duration is not None else None)
        # A made load has its mean from its pattern: over what is left of it, the mean would hang on its length.
        series = _shaped(series, gaps, offset, speed, mean if trace else None, scale)
        server = bootstrap or _lab_bootstrap(directory)
        total = series.end - series.start
        if duration is not None:
            total = min(total, (past or 0.0) + duration)
        with _bar(total) as progress, _interruptible() as stop:
            run = LoadRun(server, topic, series, partitions=partitions, keys=skew, seed=seed, progress=progress)
            parts = _run(run, past, duration, stop)
    except (BadSeries, LabError, ValueError) as wrong:
        raise click.ClickException(str(wrong)) from wrong
    except KafkaException as refused:
        raise click.ClickException(f"Kafka, topic {topic}: {refused.args[0].str()}") from refused
    _report(parts, output)
    if stop.is_set():
        raise SystemExit(INTERRUPTED)
    if any(sent.failed for sent in parts.values()):
        raise SystemExit(1)


def _series(
    trace: str | None, values: Values | None, made: dict[str, Any], mean: float | None, seed: int, seconds: float | None
) -> Series:
    """The load in its own time; a made one is as long as is needed, or two of its longest cycles."""
    if trace is not None:
        return read_trace(find_trace(trace), values)
    if mean is None:
        raise click.UsageError("a made load needs its --mean")
    every = made["spike_every"]
    spike = None
    if every:
        spike = Spike(every, made["spike_at"], made["spike_length"], made["spike_height"])
    pattern = Pattern(mean, made["period"], made["amplitude"], spike, made["noise"])
    shortest = min(made["period"], every or made["period"])
    step = made["step"] or (
        min(shortest / STEPS_A_PERIOD, made["spike_length"] / 4) if spike else shortest / STEPS_A_PERIOD
    )
    return pattern.make(seconds or 2 * max(made["period"], every or 0.0), step, seed)


def _shaped(series: Series, gaps: Gaps, offset: float, speed: float, mean: float | None, scale: float | None) -> Series:
    """From ``offset`` on, scaled over what is left, in the time in which it is sent."""
    skipped = int(offset // series.step)
    if skipped >= len(series.rates):
        raise BadSeries(f"the load is {series.end - series.start:g} s long; it cannot begin at {offset:g} s")
    series = without_gaps(Series(series.start + skipped * series.step, series.step, series.rates[skipped:]), gaps)
    if mean is not None or scale is not None:
        series = scaled(series, mean=mean, scale=scale)
    return compressed(series, speed)


def _run(run: LoadRun, past: float | None, duration: float | None, stop: threading.Event) -> dict[str, Sent]:
    parts = {}
    if past:
        parts["past"] = run.write_past(past, stop)
    if duration != 0 and not stop.is_set():
        parts["live"] = run.run(stop, duration)
    return parts


def _lab_bootstrap(directory: Path | None) -> str:
    found = state.load(directory or state.default_directory()).endpoints.get("kafka", {}).get("bootstrap")
    if found is None:
        raise LabError("the lab runs without Kafka: `lagcast lab up --only kafka`, or give --bootstrap")
    return found


@contextmanager
def _bar(seconds: float) -> Iterator[Callable[[float], None]]:
    """Progress on stderr; nothing where stderr is no terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("sending"), BarColumn(), TextColumn("{task.completed:.0f} of {task.total:.0f} s"))
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("load", total=seconds)
        yield lambda sent: bar.update(task, completed=min(sent, seconds))


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set; a second Ctrl-C ends at once, as always."""
    stop = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def end(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    for number in before:
        signal.signal(number, end)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _report(parts: dict[str, Sent], output: Literal["table", "json"]) -> None:
    if output == "json":
        click.echo(json.dumps({name: asdict(sent) for name, sent in parts.items()}, indent=2))
        return
    table = Table(box=None)
    for heading in ("part", "messages", "failed", "seconds", "msg/s", "late p50", "late p99", "late max", "over 20 ms"):
        table.add_column(heading, justify="left" if heading == "part" else "right")
    for name, sent in parts.items():
        lateness = [_milliseconds(v) for v in (sent.late_p50, sent.late_p99, sent.late_max)]
        rate = "-" if sent.rate is None else f"{sent.rate:.1f}"
        live = "-" if sent.late_max is None else str(sent.late)
        table.add_row(name, str(sent.messages), str(sent.failed), f"{sent.seconds:.1f}", rate, *lateness, live)
    Console(width=120).print(table)


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.1f} ms"
