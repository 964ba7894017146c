"""`lagcast explain`: one decision, stage by stage, from the running controller or from a journal."""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path
from typing import Any

import click
import requests

from scaler.cli.moment import MOMENT, Moment, clock_text
from scaler.cli.stages import show
from scaler.errors import LagcastError
from scaler.explain.encode import from_json, to_json
from scaler.explain.explanation import Explanation
from scaler.explain.facts import Facts
from scaler.explain.stages import explain as explained
from scaler.journal_read import read


@click.command()
@click.argument("name")
@click.option("-n", "--namespace", default="default", show_default=True, help="Of the PredictiveScaler.")
@click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="Where `lagcast run` listens.")
@click.option("--journal", type=click.Path(path_type=Path), help="Explain a row of this file instead.")
@click.option("--at", type=MOMENT, metavar="TIME", help="With --journal: the decision that held then; else the newest.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def explain(name: str, namespace: str, url: str, journal: Path | None, at: Moment | None, output: str) -> None:
    """Show how a decision about the scaler NAME came about, stage by stage, and what other rules would have said.

    TIME is a date and time ("2026-03-01T14:30", UTC unless it says otherwise), unix seconds, or how long before the
    newest row ("10m"). `lagcast run --journal FILE` and `lagcast simulate --journal FILE` write journals; rows of them
    that cannot be read are named on stderr and left out.

    \b
    Exit codes: 0 shown; 1 no answer, no such scaler, or no such row; 2 wrong usage.
    """
    if at is not None and journal is None:
        raise click.UsageError("--at: needs --journal FILE; the controller itself knows only its newest tick")
    found = _running(url, namespace, name) if journal is None else explained(_row(journal, namespace, name, at))
    if output == "json":
        click.echo(json.dumps(to_json(found), indent=1))
    else:
        show(found)


def _running(url: str, namespace: str, name: str) -> Explanation:
    """What the controller says now."""
    where = f"{url.rstrip('/')}/explain"
    try:
        answer = requests.get(where, params={"namespace": namespace, "name": name}, timeout=5)
        document: Any = answer.json() if answer.status_code in (200, 404) else None
        if answer.status_code == 404 and isinstance(document, dict) and "error" in document:
            raise click.ClickException(
                f"{document['error']} at {url}; `lagcast status` lists the scalers that have one"
            )
        answer.raise_for_status()
    except (requests.RequestException, ValueError) as error:
        raise click.ClickException(f"no explanation from {url}: {error}; is `lagcast run` listening there?") from error
    try:
        return from_json(document)
    except ValueError as error:
        raise click.ClickException(f"no explanation from {url}: {error}") from error


def _row(journal: Path, namespace: str, name: str, at: Moment | None) -> Facts:
    """The newest row, or the last one that is not after ``at``."""
    kept: deque[Facts] = deque(maxlen=None if at is not None and at.ago else 1)
    first: Facts | None = None
    try:
        for row in read(journal, lambda wrong: click.echo(wrong, err=True), namespace=namespace, name=name):
            first = first or row
            if at is None or at.ago or row.decision.time <= at.seconds:
                kept.append(row)
    except LagcastError as error:
        raise click.ClickException(str(error)) from error
    if first is None:
        raise click.ClickException(f"{journal}: no row of {namespace}/{name}")
    if at is not None and at.ago and kept:
        then = at.unix(kept[-1].decision.time)
        kept = deque((row for row in kept if row.decision.time <= then), maxlen=1)
    if not kept:
        raise click.ClickException(
            f"{journal}: no row of {namespace}/{name} so long ago; the first is of {clock_text(first.decision.time)}"
        )
    return kept[-1]
