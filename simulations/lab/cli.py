"""`lagcast lab`: the commands."""

from __future__ import annotations

import contextlib
import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from simulations.lab.state import default_directory

if TYPE_CHECKING:
    from simulations.lab.programs import Progress

# As in lab.py, which is not imported for a help text.
DEFAULT = ("kafka", "kubernetes", "kwok", "prometheus")
PARTS = (*DEFAULT, "keda", "karpenter", "cluster-api")
FAILED = 1
NOT_SERVING = 3

directory_option = click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Folder of the lab's state, data and logs.  [default: lagcast/lab in the user's state folder]",
)


LAZY = {  # have heavy imports of their own
    "load": "simulations.lab.load:load",
    "demo": "simulations.lab.demo:demo",
    "race": "simulations.lab.race:race",
}


class _LabGroup(click.Group):
    """The group; some commands are loaded when asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *LAZY})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in LAZY:
            return super().get_command(ctx, cmd_name)
        module, _, name = LAZY[cmd_name].partition(":")
        try:
            command: click.Command = getattr(importlib.import_module(module), name)
        except ImportError as error:
            missing = str(error)

            @click.command(cmd_name, help="Not available: a package is missing.")
            def refuse() -> None:
                raise click.ClickException(
                    f"`lagcast lab {cmd_name}` cannot be loaded ({missing}): install lagcast[lab,simulations]"
                )

            return refuse
        return command


@click.group(cls=_LabGroup)
def lab() -> None:
    """Real servers on this machine's loopback: Kafka, Kubernetes, GPU nodes, Prometheus.

    Needs Java 17 and Prometheus; and for the first start, which builds the servers once, Maven, Go and the network.

    Exit codes: 0 done; 1 failed, the message says what to do; 2 wrong use; 3 (status) something does not serve;
    130 interrupted.
    """


@lab.command()
@directory_option
@click.option(
    "--only", "parts", metavar="PART,...", help=f"Parts to start: {', '.join(PARTS)}.  [default: the first four]"
)
def up(directory: Path | None, parts: str | None) -> None:
    """Start the lab; what serves already is left alone, what died is started again.

    The first start builds the servers (about 15 minutes on two cores) and keeps them in the user's cache folder. After
    an error or Ctrl-C the servers that this command started are ended.

    Exit codes: 0 all serves; 1 failed; 2 wrong use; 130 interrupted.
    """
    from simulations.lab.lab import Lab

    with lab_errors(), lab_progress() as progress:
        running = Lab.up(directory or default_directory(), _parts(parts), progress)
    _print_endpoints(running)


@lab.command()
@directory_option
@click.option("--delete", is_flag=True, help="Delete the folder too: data, logs, keys.")
def down(directory: Path | None, *, delete: bool) -> None:
    """End every server of the lab. Its data stay for the next `up`.

    Exit codes: 0 nothing of the lab runs any more; 1 failed.
    """
    from simulations.lab.lab import Lab, delete_folder
    from simulations.lab.state import FILE

    directory = directory or default_directory()
    with lab_errors():
        if not (directory / FILE).exists():
            click.echo(f"no lab in {directory}", err=True)
            return
        running = Lab.open(directory)
        ended = running.down()
        click.echo(f"{ended} server{'' if ended == 1 else 's'} ended", err=True)
        if delete:
            delete_folder(running)


@lab.command()
@directory_option
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def status(directory: Path | None, output: str) -> None:
    """Say what runs, and where it listens.

    Exit codes: 0 all servers of the lab serve; 1 failed; 3 some do not, or there is no lab.
    """
    from simulations.lab.errors import NotUp
    from simulations.lab.lab import Lab

    with lab_errors():
        try:
            running = Lab.open(directory or default_directory())
        except NotUp as error:
            if output == "json":
                click.echo(json.dumps({"servers": [], "endpoints": {}}))
            click.echo(str(error), err=True)
            raise click.exceptions.Exit(NOT_SERVING) from None
        lines = running.status()
        if output == "json":
            servers = [
                {name: getattr(line, name) for name in ("part", "server", "condition", "pid", "detail", "log")}
                for line in lines
            ]
            click.echo(json.dumps({"servers": servers, "endpoints": running.all_endpoints()}, indent=2))
        else:
            _print_table(lines)
            _print_endpoints(running)
    if not lines or any(line.condition != "serving" for line in lines):
        raise click.exceptions.Exit(NOT_SERVING)


def _parts(text: str | None) -> tuple[str, ...]:
    if text is None:
        return DEFAULT
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    unknown = [name for name in names if name not in PARTS]
    if unknown or not names:
        raise click.BadParameter(f"{text!r}: the parts are {', '.join(PARTS)}", param_hint="--only")
    return names


@contextlib.contextmanager
def lab_errors() -> Iterator[None]:
    """Errors of the lab as one line and exit code 1; an interrupt as 130."""
    from simulations.lab.errors import LabError

    try:
        yield
    except LabError as error:
        raise click.ClickException(str(error)) from None
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        raise click.exceptions.Exit(130) from None


@contextlib.contextmanager
def lab_progress() -> Iterator[Progress]:
    """What is being done, with the time it takes, on stderr: a moving line on a terminal, else a line a step."""
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    last = ""
    if not console.is_terminal:

        def say(doing: str) -> None:
            nonlocal last
            if doing != last:
                click.echo(doing, err=True)
            last = doing

        yield say
        return
    with Bar(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console) as bar:
        task: TaskID | None = None

        def show(doing: str) -> None:
            nonlocal last, task
            if doing == last:
                return
            if task is not None:
                bar.remove_task(task)
            task, last = bar.add_task(doing, total=None), doing

        yield show


def _print_table(lines: list[Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("part", "server", "condition", "pid", "detail")
    for line in lines:
        table.add_row(line.part, line.server, line.condition, str(line.pid or "-"), line.detail)
    Console().print(table)


def _print_endpoints(running: Any) -> None:
    for part, values in running.all_endpoints().items():
        for name, value in values.items():
            click.echo(f"{part}.{name} = {value}")
