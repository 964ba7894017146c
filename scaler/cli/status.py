"""`lagcast status`: what the running controller decided last, and why."""

from __future__ import annotations

import json
from typing import Any

import click
import requests
from rich.console import Console
from rich.table import Table


@click.command()
@click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="Where `lagcast run` listens.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def status(url: str, output: str) -> None:
    """Show every scaler's newest decision.

    \b
    Exit codes: 0 shown; 1 the controller did not answer.
    """
    try:
        answer = requests.get(f"{url.rstrip('/')}/status", timeout=5)
        answer.raise_for_status()
        rows: list[dict[str, Any]] = answer.json()
    except (requests.RequestException, ValueError) as error:
        raise click.ClickException(f"no status from {url}: {error}; is `lagcast run` listening there?") from error
    if output == "json":
        click.echo(json.dumps(rows, indent=1))
        return
    try:
        table = _table(rows)
    except (KeyError, TypeError, AttributeError) as error:
        raise click.ClickException(f"no status from {url}: its answer is not that of `lagcast run`") from error
    Console().print(table)


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table("SCALER", "TARGET", "MODE", "CURRENT", "DESIRED", "READY", "REASONS", "SUMMARY", "INPUTS")
    for row in rows:
        numbers = row["numbers"]
        wrong = [f"{k} {v['status']}: {v['detail']}" for k, v in row["inputs"].items() if v["status"] != "fresh"]
        table.add_row(
            f"{row['namespace']}/{row['name']}",
            row["target"],
            row["mode"],
            *(_text(v) for v in (row["current"], row["desired"], numbers["ready"])),
            ", ".join([*row["reasons"], row["outcome"]["reason"]]),
            row["summary"],
            "; ".join(wrong) or "fresh",
        )
    return table


def _text(value: object) -> str:
    return "-" if value is None else str(value)
