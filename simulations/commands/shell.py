"""What the commands share: errors as one line and an exit code, a progress bar on stderr, options that repeat."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from forecasting.errors import BadSeries
from scaler.errors import ConfigError, LagcastError
from simulations.errors import BadSetting, SimulationError
from simulations.executor import KINDS

F = TypeVar("F", bound=Callable[..., Any])
USAGE = 2


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Errors as one line: 2 where what was given is wrong, 1 for the rest, 130 for an interrupt."""
    try:
        yield
    except (ConfigError, BadSetting, BadSeries) as error:
        click.echo(str(error), err=True)
        raise click.exceptions.Exit(USAGE) from None
    except (SimulationError, LagcastError) as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename or 'file'}: {error.strerror or error}") from None
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        raise click.exceptions.Exit(130) from None


@contextlib.contextmanager
def progress(what: str, total: float) -> Iterator[Callable[[float], None]]:
    """A bar on stderr; call with how much is done. Where stderr is no terminal, a line each tenth."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if not console.is_terminal:
        told_of = 0

        def say(done: float) -> None:
            nonlocal told_of
            tenth = math.floor(10 * done / total) if total else 10
            if tenth > told_of:
                told_of = tenth
                click.echo(f"{what}: {10 * tenth} %", err=True)

        yield say
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)


def executor_options(command: F) -> F:
    """Where runs are made."""
    for option in (
        click.option(
            "--ray-address", metavar="ADDRESS", help="A Ray cluster that runs.  [default: one of this machine]"
        ),
        click.option(
            "--workers",
            type=click.IntRange(min=1),
            help="Runs side by side.  [default: one a core; a cluster at --ray-address uses all of its own]",
        ),
        click.option(
            "--executor", type=click.Choice(KINDS), default="local", show_default=True, help="Where runs are made."
        ),
    ):
        command = option(command)
    return command


def results_options(command: F) -> F:
    """Where a benchmark's results are kept and shown, and where its runs are made."""
    for option in (
        click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True),
        executor_options,
        click.option(
            "--write", type=click.Path(path_type=Path, dir_okay=False), help="Write the tables as this page's section."
        ),
        click.option(
            "--out", default="out/bench", show_default=True, type=click.Path(path_type=Path), help="Folder of results."
        ),
    ):
        command = option(command)
    return command


def options_of(pairs: Sequence[str]) -> dict[str, str]:
    """``NAME=VALUE`` pairs. Raises ConfigError."""
    parsed: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ConfigError(f"--policy-option {pair!r}: write NAME=VALUE")
        if name in parsed:
            raise ConfigError(f"--policy-option {name}: found twice; allowed: once")
        parsed[name] = value
    return parsed


class DurationRange(click.ParamType[tuple[float, float]]):
    """ "60s..150s", or one duration for both ends: seconds."""

    name = "duration..duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        from scaler.api.quantities import parse_duration

        if isinstance(value, tuple):
            return value
        low, _, high = str(value).partition("..")
        try:
            ends = parse_duration(low), parse_duration(high or low)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if ends[0] > ends[1]:
            self.fail(f"found {value}; allowed: LOW..HIGH with LOW at most HIGH", param, ctx)
        return ends


DURATIONS = DurationRange()
