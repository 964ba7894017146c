"""`lagcast status`: what the running controller decided last for scalers and pools, and why."""

from __future__ import annotations

import json
import threading
from typing import Any

import click
import requests
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table

from scaler.api.gpu_node_pool import POOL_KIND
from scaler.api.predictive_scaler import KIND
from scaler.cli.stages import WIDE
from scaler.cli.units import DURATION
from scaler.clock import Clock, SystemClock


@click.command()
@click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="Where `lagcast run` listens.")
@click.option("-w", "--watch", is_flag=True, help="Go on showing it until Ctrl-C.")
@click.option(
    "--every", type=DURATION, default="2s", show_default=True, help="With --watch: from one look to the next."
)
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def status(url: str, watch: bool, every: float, output: str) -> None:
    """Show the newest decision for every scaler and pool of GPU nodes, and whether the replica that is asked leads.

    As JSON it is one list; `kind` tells the scalers (PredictiveScaler) from the pools (GpuNodePool).

    With --watch, a terminal shows one table that is kept up to date; elsewhere each look is a table, or a line of JSON.
    While the controller does not answer, that is said on stderr, and it is asked again.

    \b
    Exit codes: 0 shown, or watched until Ctrl-C; 1 the controller did not answer.
    """
    if watch:
        _watch(url, output, every, SystemClock())
        return
    rows = _ask(url)
    if output == "json":
        click.echo(json.dumps(rows, indent=1))
    else:
        _console().print(_shown(url, rows, _standby(url)))


def _watch(url: str, output: str, every: float, clock: Clock) -> None:
    """Until an interrupt."""
    never = threading.Event()
    console = _console()
    live = Live(console=console, auto_refresh=False) if output == "table" and console.is_terminal else None
    try:
        if live is not None:
            live.start()
        while True:
            try:
                rows = _ask(url)
                shown = None if output == "json" else _shown(url, rows, _standby(url))
            except click.ClickException as error:
                click.echo(error.message, err=True)
            else:
                if shown is None:
                    click.echo(json.dumps(rows))
                elif live is not None:
                    live.update(shown, refresh=True)
                else:
                    console.print(shown)
            clock.wait(every, never)
    except KeyboardInterrupt:
        pass
    finally:
        if live is not None:
            live.stop()


def _console() -> Console:
    """As wide as the terminal; in a pipe or a file wide enough for whole names."""
    console = Console()
    return console if console.is_terminal or console.width >= WIDE else Console(width=WIDE)


def _ask(url: str) -> list[dict[str, Any]]:
    """Scalers first. A controller of a version before pools were served has none."""
    try:
        found = []
        for path, kind in (("status", KIND), ("pools", POOL_KIND)):
            answer = requests.get(f"{url.rstrip('/')}/{path}", timeout=5)
            if answer.status_code == 404 and kind == POOL_KIND:
                continue
            answer.raise_for_status()
            found += [{"kind": kind, **row} for row in answer.json()]
    except (requests.RequestException, ValueError, TypeError) as error:
        raise click.ClickException(f"no status from {url}: {error}; is `lagcast run` listening there?") from error
    return found


def _standby(url: str) -> str | None:
    """What is to be said of a replica that does not lead; None of one that does."""
    try:
        leader = requests.get(f"{url.rstrip('/')}/leader", timeout=5).json()
        if leader["leads"]:
            return None
        return f"standby: {leader['holder'] or 'nobody'} leads; this replica ({leader['identity']}) changes nothing"
    except (requests.RequestException, ValueError, KeyError, TypeError):
        return None  # the rows say as much


def _shown(url: str, rows: list[dict[str, Any]], caption: str | None) -> RenderableType:
    try:
        tables = [_scalers([row for row in rows if row["kind"] == KIND])]
        if pools := [row for row in rows if row["kind"] == POOL_KIND]:
            tables.append(_pools(pools))
    except (KeyError, TypeError, AttributeError) as error:
        raise click.ClickException(f"no status from {url}: its answer is not that of `lagcast run`") from error
    tables[-1].caption = caption
    return Group(*tables)


def _scalers(rows: list[dict[str, Any]]) -> Table:
    table = Table("SCALER", "TARGET", "MODE", "CURRENT", "DESIRED", "READY", "REASONS", "SUMMARY", "INPUTS")
    for row in rows:
        table.add_row(
            f"{row['namespace']}/{row['name']}",
            row["target"],
            row["mode"],
            *(_text(v) for v in (row["current"], row["desired"], row["numbers"]["ready"])),
            ", ".join([*row["reasons"], row["outcome"]["reason"]]),
            row["summary"],
            _wrong(row),
        )
    return table


def _pools(rows: list[dict[str, Any]]) -> Table:
    names = ("POOL", "PROVIDER", "MODE", "MIN", "MAX", "CURRENT", "DESIRED", "READY", "PENDING", "EMPTY")
    table = Table(*names, "REASONS", "DETAIL", "INPUTS")
    for row in rows:
        counts = ("min", "max", "current", "desired", "ready", "pending", "empty")
        table.add_row(
            row["name"],
            row["provider"],
            row["mode"],
            *(_text(row[name]) for name in counts),
            ", ".join([*row["reasons"], row["outcome"]["reason"]]),
            row["outcome"]["detail"],
            _wrong(row),
        )
    return table


def _wrong(row: dict[str, Any]) -> str:
    """What cannot be read of the inputs."""
    wrong = [f"{k} {v['status']}: {v['detail']}" for k, v in row["inputs"].items() if v["status"] != "fresh"]
    return "; ".join(wrong) or "fresh"


def _text(value: object) -> str:
    return "-" if value is None else str(value)
