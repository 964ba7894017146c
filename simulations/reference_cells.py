"""The reference cells: what an independent model measured of the peers, repeated here (docs/benchmarks.md).

``python -m simulations.reference_cells`` runs every peer of every cell at the cell's own parameter and prints what both
models say. A cell agrees when cost and bound are within 5 % and attainment is within half a percent point.

The load is the reference's, draw for draw. The lead times cannot be: a jump that meets a slow node moves a day's
attainment by more than half a point. So a cell runs over several seeds of the lead times, and their means are compared;
the table shows the range, too. The reference lets a scale-in empty one node at a time, so the cells run with deletion
costs that do the same.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any

import click

from forecasting.errors import BadSeries
from simulations.bound import bounds
from simulations.errors import SimulationError
from simulations.measures import measure
from simulations.policies.catalog import entry
from simulations.run import simulate
from simulations.scenarios import Made, nodes, pods
from simulations.traces import traces_folder

FILE = "reference_cells.json"
SHARE, POINTS = 0.05, 0.005  # of cost and bound; of attainment


@dataclass(frozen=True, slots=True)
class Peer:
    """One peer in one cell, as the reference has it. ``cost`` is in multiples of the bound."""

    trace: str
    day: int
    scenario: str
    bound: float  # replica-hours
    peer: str
    parameter: float
    attainment: float
    cost: float

    @property
    def name(self) -> str:
        """As in a table."""
        return f"{self.scenario}/{self.trace}/{self.day}/{self.peer}"


@dataclass(frozen=True, slots=True)
class Compared:
    """A peer in the reference and here: one attainment and as many replica-hours for each seed of the lead times."""

    reference: Peer
    attainments: tuple[float, ...]
    replica_hours: tuple[float, ...]
    bound: float  # replica-hours

    @property
    def attainment(self) -> float:
        """The mean over the seeds."""
        return fmean(self.attainments)

    @property
    def cost(self) -> float:
        """The mean in multiples of the reference's bound, so that it is the hours that are compared."""
        return fmean(self.replica_hours) / self.reference.bound

    @property
    def agrees(self) -> bool:
        """Whether all figures are as near as they must be."""
        hours = abs(self.cost / self.reference.cost - 1) <= SHARE
        bound = abs(self.bound / self.reference.bound - 1) <= SHARE
        return hours and bound and abs(self.attainment - self.reference.attainment) <= POINTS


def read(path: Path) -> tuple[Peer, ...]:
    """The peers of all cells of a reference file. Raises BadSeries for one that is not such a file."""
    try:
        document = json.loads(path.read_text())
        return tuple(
            Peer(
                trace=cell["trace"],
                day=int(cell["day"]),
                scenario=cell["scenario"],
                bound=float(cell["bound_replica_hours"]),
                peer=peer["peer"],
                parameter=float(peer["parameter"]),
                attainment=float(peer["attainment"]),
                cost=float(peer["cost"]),
            )
            for cell in document["cells"]
            for peer in cell["peers"]
        )
    except OSError as error:
        raise BadSeries(f"{path}: {error.strerror}; set LAGCAST_TRACES to the folder that holds it") from None
    except (ValueError, TypeError, KeyError) as error:
        raise BadSeries(f"{path}: not a file of reference cells: {error}") from None


def made(trace: str, day: int, scenario: str) -> Made:
    """The cell's setting and load, with the seed of the reference."""
    return (pods if scenario == "pods" else nodes)(trace, day, 0)


def compare(reference: Peer, cell: Made, bound: float, seeds: int) -> Compared:
    """Run the peer at the reference's parameter, under ``seeds`` seeds of the lead times."""
    setting, loads = cell
    known = entry(reference.peer)
    make = known.make({str(known.parameter): str(reference.parameter)})
    attainments, hours = [], []
    for seed in range(seeds):
        policy = make([s.service for s in setting.services])
        record = simulate(replace(setting, seed=seed), loads, policy, name=reference.peer)
        (row,) = measure(record)
        attainments.append(row.attainment)
        hours.append(row.gpu_hours)
    return Compared(reference, tuple(attainments), tuple(hours), bound)


def compare_all(peers: Sequence[Peer], seeds: int) -> Iterator[Compared]:
    """Each peer in turn; a cell's setting and bound are made once."""
    for key, group in groupby(peers, key=lambda peer: (peer.trace, peer.day, peer.scenario)):
        cell = made(*key)
        (bound,) = bounds(*cell)
        for peer in group:
            yield compare(peer, cell, bound.replica_hours, seeds)


def row(compared: Compared) -> dict[str, Any]:
    """What is printed of a peer, as JSON."""
    figures = {"attainment": compared.attainment, "cost": compared.cost, "agrees": compared.agrees}
    return {**asdict(compared), **figures}


@click.command()
@click.option("--seeds", default=8, show_default=True, type=click.IntRange(min=1), help="Seeds of the lead times.")
@click.option("--only", default="", help="Cells whose name contains this, such as pods/azfunc.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def main(seeds: int, only: str, output: str) -> None:
    """Repeat the reference cells.

    \b
    Exit codes: 0 all agree; 1 a cell does not, or the traces are not there; 2 wrong usage.
    """
    from rich.console import Console
    from rich.table import Table

    done: list[Compared] = []
    try:
        peers = [peer for peer in read(traces_folder() / FILE) if only in peer.name]
        for compared in compare_all(peers, seeds):
            done.append(compared)
            click.echo(f"{len(done)}/{len(peers)} {compared.reference.name}", err=True)
    except (BadSeries, SimulationError) as error:
        raise click.ClickException(str(error)) from None
    if output == "json":
        click.echo(json.dumps([row(compared) for compared in done], indent=1))
    else:
        heads = ("cell", "parameter", "cost", "reference", "attainment", "range", "reference", "bound", "reference")
        table = Table(*heads, "agrees")
        for compared in done:
            there = compared.reference
            table.add_row(
                there.name,
                f"{there.parameter:g}",
                f"{compared.cost:.3f}",
                f"{there.cost:.3f}",
                f"{compared.attainment:.3%}",
                f"{min(compared.attainments):.2%}-{max(compared.attainments):.2%}",
                f"{there.attainment:.3%}",
                f"{compared.bound:.1f}",
                f"{there.bound:.1f}",
                "yes" if compared.agrees else "NO",
            )
        Console(width=150).print(table)
    sys.exit(0 if all(compared.agrees for compared in done) else 1)


if __name__ == "__main__":
    main()
