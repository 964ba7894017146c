"""`lagcast report`: what following the recommendations would have cost and missed, from a journal."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from scaler.cli.moment import MOMENT, Moment, clock_text
from scaler.errors import LagcastError
from scaler.explain.facts import Facts
from scaler.explain.following import Course, Report, reports
from scaler.journal_read import newest, read


@click.command()
@click.argument("name", required=False)
@click.option("-n", "--namespace", help="Of the PredictiveScaler.  [default: all]")
@click.option("--journal", required=True, type=click.Path(path_type=Path), help="What `lagcast run --journal` wrote.")
@click.option("--since", type=MOMENT, metavar="TIME", help="Leave out what was before.")
@click.option("--until", type=MOMENT, metavar="TIME", help="Leave out what came after.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def report(
    name: str | None, namespace: str | None, journal: Path, since: Moment | None, until: Moment | None, output: str
) -> None:
    """Show what following every recommendation would have cost and missed, against what happened.

    For the scaler NAME, or for all. "followed" is a queue beside the real one: the real arrivals, served by the counts
    that were asked for, new replicas from their lead time on, one queue for all partitions and no rebalances, so it is
    the least that would have been late. TIME is a date and time, unix seconds, or how long before the newest row
    ("7d"). Rows that cannot be read are named on stderr and left out.

    \b
    Exit codes: 0 shown; 1 no journal, or no row of it fits; 2 wrong usage.
    """

    def broken(wrong: str) -> None:
        click.echo(wrong, err=True)

    try:
        last = newest(journal) if (since is not None and since.ago) or (until is not None and until.ago) else 0.0
        span = (
            -math.inf if since is None else since.unix(last),
            math.inf if until is None else until.unix(last),
        )
        found = reports(_inside(read(journal, broken, namespace=namespace, name=name), *span))
    except LagcastError as error:
        raise click.ClickException(str(error)) from error
    if not found:
        who = "" if name is None else f" of {name}"
        raise click.ClickException(f"{journal}: no row{who} fits")
    if output == "json":
        click.echo(json.dumps([_plain(one) for one in found], indent=1))
    else:
        _show(found)


def _inside(rows: Iterable[Facts], since: float, until: float) -> Iterator[Facts]:
    return (row for row in rows if since <= row.decision.time <= until)


def _plain(one: Report) -> dict[str, Any]:
    document = asdict(one) | {"grain": one.grain}
    for side in ("as_it_ran", "followed"):
        document[side]["attainment"] = getattr(one, side).attainment
    return document


def _show(found: Iterable[Report]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "SCALER",
        "COURSE",
        "REPLICA-HOURS",
        "REQUESTS",
        "IN TIME",
        "BELOW NEED",
        "ABOVE NEED",
        "CHANGES",
        show_lines=True,
    )
    said = []
    for one in found:
        both = [("as it ran", one.as_it_ran), ("followed", one.followed)]
        cells = zip(*(_cells(which, course) for which, course in both), strict=True)
        table.add_row(f"{one.namespace}/{one.name}\n{one.mode}", *("\n".join(cell) for cell in cells))
        span = f"{one.hours:.1f} h known from {clock_text(one.start)} to {clock_text(one.end)}"
        said.append(f"{one.namespace}/{one.name}: {span}, a row each {one.grain:.0f} s in the mean")
    console = Console()
    console.print(table) if console.is_terminal else Console(width=160).print(table)
    for line in said:
        click.echo(line, err=True)


def _cells(which: str, course: Course) -> tuple[str, ...]:
    return (
        which,
        f"{course.replica_hours:.1f}",
        f"{course.due:.0f}",
        _attained(course.attainment),
        _part(course.below),
        _part(course.above),
        str(course.changes),
    )


def _attained(share: float | None) -> str:
    """Rounded down, so that nothing looks attained that was not."""
    return "-" if share is None else f"{math.floor(100_000 * share + 1e-6) / 1000:.3f}%"


def _part(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}%"
