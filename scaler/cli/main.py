"""`lagcast`: finds its commands in the entry point group ``lagcast.commands``; imports only the one asked for."""

from __future__ import annotations

import importlib
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import click

GROUP = "lagcast.commands"
OURS = ("scaler", "forecasting", "simulations")
LEFT_OUT = "simulations.lab"  # of the image


class Commands(click.Group):
    """A group whose commands are entry points; a command's module is imported when the command is looked at."""

    def _found(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=GROUP)}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self._found())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        point = self._found().get(cmd_name)
        if point is None:
            return None
        try:
            command = getattr(importlib.import_module(point.module), point.attr)
        except ModuleNotFoundError as missing:
            return _unavailable(cmd_name, _foreign(missing))
        if not isinstance(command, click.Command):
            raise TypeError(f"entry point {point.value!r} of lagcast.commands is not a click command")
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as missing:  # one that is imported only where it is used
            raise _needs(ctx.invoked_subcommand or "", _foreign(missing)) from missing


def _foreign(missing: ModuleNotFoundError) -> str:
    """The package that is not installed. One of our own is a fault, which is raised as it is."""
    if missing.name == LEFT_OUT:
        return LEFT_OUT
    package = (missing.name or "").partition(".")[0]
    if package in OURS:
        raise missing
    return package


def _needs(name: str, package: str) -> click.ClickException:
    return click.ClickException(
        f"`lagcast {name}` needs the Python module {package!r}, which is not installed;"
        " install lagcast with its extras, for example `pip install 'lagcast[simulations,lab]'`"
    )


def _unavailable(name: str, package: str) -> click.Command:
    """A command that says which extra it needs, so that `lagcast --help` works without the extras."""

    @click.command(
        name=name,
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
        short_help=f"(needs the Python module {package})",
    )
    def command() -> None:
        raise _needs(name, package)

    return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="lagcast", prog_name="lagcast")
def main() -> None:
    """Scales Kafka-fed inference services on Kubernetes before their load arrives.

    Data goes to stdout, logs and progress to stderr.

    \b
    Exit codes: 0 done; 1 an error that the message explains; 2 wrong usage or a wrong configuration file.
    """


def plugin() -> None:
    """`kubectl lagcast`: the same commands. kubectl finds this program, `kubectl-lagcast`, on PATH."""
    main(prog_name="kubectl lagcast")
