"""`lagcast validate`: what the API server would say to the objects of a file, without one."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from scaler.api.config import Checked, check
from scaler.api.gpu_node_pool import GpuNodePool


@click.command()
@click.argument("paths", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def validate(paths: tuple[Path, ...], output: str) -> None:
    """Check PredictiveScalers and GpuNodePools in YAML files as the API server would.

    Every fault is one line: file, object, field, what was found, what is allowed. Objects of other kinds are passed
    over. What is right and yet not carried out by this version is said, too, and is no fault.

    \b
    Exit codes: 0 all are right; 2 at least one is wrong, or wrong usage.
    """
    checked = [(path, check(path)) for path in paths]
    wrong = any(one.faults for _, one in checked)
    if output == "json":
        click.echo(json.dumps([_as_dict(path, one) for path, one in checked], indent=1))
    else:
        for path, one in checked:
            for line in _lines(path, one):
                click.echo(line)
    sys.exit(2 if wrong else 0)


def _lines(path: Path, checked: Checked) -> list[str]:
    lines = [f"{path}: {fault}" for fault in checked.faults]
    lines += [f"{path}: {one}: note: {note}" for one, note in _notes(checked)]
    if not checked.faults:
        count = len(checked.resources)
        others = f", {checked.others} of other kinds passed over" if checked.others else ""
        lines.append(f"{path}: {count} {'object is' if count == 1 else 'objects are'} right{others}")
    return lines


def _notes(checked: Checked) -> list[tuple[GpuNodePool, str]]:
    """What is right, and yet not carried out by this version."""
    pools = [one for one in checked.resources if isinstance(one, GpuNodePool)]
    return [(pool, pool.not_carried_out) for pool in pools if pool.not_carried_out]


def _as_dict(path: Path, checked: Checked) -> dict[str, Any]:
    return {
        "file": str(path),
        "right": [str(one) for one in checked.resources],
        "faults": [{"object": fault.object or None, "message": fault.text} for fault in checked.faults],
        "notes": [{"object": str(one), "message": note} for one, note in _notes(checked)],
        "others": checked.others,
    }
