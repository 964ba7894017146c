"""Outcomes as rows, and rows as a table, JSON or CSV on stdout."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import click

from simulations.compare import Outcome
from simulations.table import Table

OUTPUTS = ("table", "json", "csv")
NEVER = "never"
Row = Mapping[str, Any]


def rows(outcome: Outcome) -> list[dict[str, Any]]:
    """One for each service: every measure under its name; None for what is not known, ``never`` for no end."""
    made: list[dict[str, Any]] = []
    for measures in outcome.measures:
        figures = asdict(measures)
        figures.update({f"elasticity_{name}": value for name, value in figures.pop("elasticity").items()})
        figures = {name: known(value) for name, value in figures.items()}
        made.append({"policy": outcome.job.policy, "options": dict(outcome.job.options), **figures})
    return made


def known(value: Any) -> Any:
    """None for a number that is not there, ``never`` for an infinite one: JSON has neither.

    A latency is infinite when so many requests were never served.
    """
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return None if math.isnan(value) else NEVER


def as_json(document: Any) -> None:
    """On stdout."""
    click.echo(json.dumps(document, indent=1, allow_nan=False))


def as_csv(table: Sequence[Row]) -> None:
    """On stdout, with a header; options as name=value, joined by a blank."""
    text = io.StringIO()
    names = list(dict.fromkeys(name for row in table for name in row))
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for row in table:
        writer.writerow({name: _plain(value) for name, value in row.items()})
    click.echo(text.getvalue(), nl=False)


def _plain(value: Any) -> Any:
    return " ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, Mapping) else value


def as_table(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """On stdout."""
    from rich.console import Console
    from rich.table import Table as Shown

    shown = Shown(*titles)
    for line in lines:
        shown.add_row(*line)
    console = Console()
    # A table that goes to a file is not cut to a terminal's width.
    console.print(shown) if console.is_terminal else Console(width=200).print(shown)


def show(made: Sequence[Table], output: str) -> None:
    """Named tables, as ``output`` says."""
    if output == "json":
        as_json([{"name": t.name, "titles": t.titles, "lines": t.lines} for t in made])
    else:
        as_tables(made)


def as_tables(made: Sequence[Table]) -> None:
    """On stdout, each under its name and what it tells."""
    for table in made:
        click.echo(f"\n{table.name}: {table.about}")
        as_table(table.titles, table.lines)


def percent(share: float | None, digits: int = 2) -> str:
    """Rounded down, so that nothing looks attained that was not."""
    if share is None or not math.isfinite(share):
        return "-"
    scale = 10**digits
    return f"{math.floor(100 * share * scale + 1e-6) / scale:.{digits}f}%"


def number(value: float | None, spec: str = ".1f") -> str:
    """``-`` for what is not known, ``never`` for what has no end."""
    if value is None or math.isnan(value):
        return "-"
    return NEVER if math.isinf(value) else format(value, spec)
