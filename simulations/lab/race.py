"""`lagcast lab race`: the same load on the same broker under real KEDA with the real HPA, and under Lagcast."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from simulations.lab.cli import PARTS, directory_option, lab_errors, lab_progress
from simulations.lab.lab import Lab
from simulations.lab.race_run import LAG_THRESHOLD, SPEC, Contestant, KedaLeg, Leg, run_keda, run_lagcast
from simulations.lab.state import default_directory

HOURS = 0.2  # part by which the simulated KEDA's replica-hours may differ from the real one's, in the mean
POINTS = 10.0  # percentage points by which its requests in time may
COLOURS = {Contestant.KEDA: "tab:red", Contestant.SIMULATED: "tab:orange", Contestant.LAGCAST: "tab:blue"}


@dataclass(frozen=True, slots=True, eq=False)
class Race:
    """All legs, in the order in which they were run."""

    threshold: int
    keda: list[KedaLeg] = field(default_factory=list)
    lagcast: list[Leg] = field(default_factory=list)

    def legs(self, who: Contestant) -> list[Leg]:
        """One contestant's, by repeat."""
        match who:
            case Contestant.KEDA:
                return [leg.real for leg in self.keda]
            case Contestant.SIMULATED:
                return [leg.simulated for leg in self.keda]
            case Contestant.LAGCAST:
                return list(self.lagcast)


@click.command()
@directory_option
@click.option("--repeats", type=click.IntRange(1, 20), default=3, show_default=True, help="Legs of each contestant.")
@click.option("--spikes", type=click.IntRange(1, 10), default=2, show_default=True, help="Spikes in a leg, 2 min each.")
@click.option(
    "--lag-threshold",
    type=click.IntRange(1),
    default=LAG_THRESHOLD,
    show_default=True,
    help="KEDA's lagThreshold: messages a replica.",
)
@click.option("--out", default="out", show_default=True, type=click.Path(path_type=Path), help="Folder of the picture.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def race(directory: Path | None, repeats: int, spikes: int, lag_threshold: int, out: Path, output: str) -> None:
    """Real KEDA and Lagcast, one after the other, several times, under the same load on the same servers.

    In compressed time: the HPA's 15 s are 2 s here, and all of KEDA's periods are shortened alike. Beside each of
    KEDA's legs stands the simulated KEDA on that leg's own requests. Writes race.png and race.json. Takes about six
    minutes a leg, and at the first time 15 minutes more to build KEDA.

    \b
    Exit codes: 0 done; 1 failed, or the simulated KEDA is too far from the real one (20 % in replica-hours, 10 points
    in requests in time), the message says which; 2 wrong use; 130 interrupted.
    """
    out.mkdir(parents=True, exist_ok=True)
    assert SPEC.spike is not None  # noqa: S101 - the load has one
    seconds = round(spikes * SPEC.spike.every)
    whole = Race(lag_threshold)
    with lab_errors(), lab_progress() as progress:
        lab = Lab.up(directory or default_directory(), PARTS, progress)
        with tempfile.TemporaryDirectory(prefix="lagcast-race-") as folder:
            for repeat in range(1, repeats + 1):
                progress(f"leg {2 * repeat - 1} of {2 * repeats}: {Contestant.KEDA}")
                whole.keda.append(run_keda(lab, Path(folder), seconds, lag_threshold))
                progress(f"leg {2 * repeat} of {2 * repeats}: {Contestant.LAGCAST}")
                whole.lagcast.append(run_lagcast(lab, Path(folder), seconds))
                write(whole, out)  # so far: a race is long, and what was run stays
    if output == "json":
        click.echo(json.dumps(as_dict(whole), indent=1))
    else:
        Console().print(as_table(whole))
        click.echo(said_of_simulation(whole))
        click.echo(f"picture: {out / 'race.png'}, data: {out / 'race.json'}")
    if too_far(whole):
        raise click.ClickException(
            f"the simulated KEDA is not the real one: allowed are {100 * HOURS:g} % in replica-hours and {POINTS:g}"
            f" points in requests in time, in the mean; {said_of_simulation(whole)}"
        )


def write(whole: Race, out: Path) -> None:
    """Picture and data into the folder ``out``."""
    draw(whole, out / "race.png")
    (out / "race.json").write_text(json.dumps(as_dict(whole), indent=1) + "\n", encoding="utf-8")


def as_dict(whole: Race) -> dict[str, Any]:
    """Plain data."""
    return {
        "lag_threshold": whole.threshold,
        "within_seconds": SPEC.within,
        "legs": [leg.as_dict() for who in Contestant for leg in whole.legs(who)],
        "simulated_keda_difference": [leg.difference for leg in whole.keda],
    }


def as_table(whole: Race) -> Table:
    """One row a contestant: the mean over the repeats, and in brackets the least and the most."""
    table = Table("WHO SCALES", f"WITHIN {SPEC.within:g} s", "P99 s", "REPLICA-HOURS", "CHANGES")
    for who in Contestant:
        legs = whole.legs(who)
        table.add_row(
            who.value,
            _spread([100 * leg.attainment for leg in legs], "{:.2f}", " %"),
            _spread([leg.p99 for leg in legs], "{:.2f}"),
            _spread([leg.replica_hours for leg in legs], "{:.3f}"),
            _spread([leg.changes for leg in legs], "{:.0f}"),
        )
    return table


def said_of_simulation(whole: Race) -> str:
    """How near the simulated KEDA is to the real one, in a line."""
    hours, points = _apart(whole)
    replicas = [100 * leg.difference for leg in whole.keda]
    return (
        f"simulated KEDA against the real one: replicas differ by {_spread(replicas, '{:.1f}', ' %')} of their mean,"
        f" replica-hours by {_spread([100 * h for h in hours], '{:+.1f}', ' %')},"
        f" requests in time by {_spread(points, '{:+.1f}', ' points')}"
    )


def too_far(whole: Race) -> bool:
    """Whether the simulated KEDA is further from the real one, in the mean over the repeats, than can be believed."""
    hours, points = (abs(float(np.mean(apart))) for apart in _apart(whole))
    return not (hours <= HOURS and points <= POINTS)  # what is no number is too far, too


def _apart(whole: Race) -> tuple[list[float], list[float]]:
    """Simulated less real by repeat: part of the replica-hours, percentage points of the requests in time."""
    pairs = [(leg.real, leg.simulated) for leg in whole.keda]
    hours = [s.replica_hours / r.replica_hours - 1.0 for r, s in pairs]
    return hours, [100 * (s.attainment - r.attainment) for r, s in pairs]


def draw(whole: Race, path: Path) -> None:
    """Write load, replicas and lag of every leg, one over the other, to ``path`` as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8), layout="constrained")
    load, replicas, lag = figure.subplots(3, 1, sharex=True, height_ratios=[2, 3, 3])
    for who in Contestant:
        for number, leg in enumerate(whole.legs(who)):
            at = np.arange(len(leg.replicas)) - leg.begins
            look = {"color": COLOURS[who], "linewidth": 1.2, "alpha": 0.8, "label": who.value if number == 0 else None}
            if who is not Contestant.SIMULATED:
                load.plot(at, leg.arrivals, **look)
                lag.plot(at, leg.lag, **look)
            replicas.step(at, leg.replicas, where="post", **look)
    load.set_ylabel("requests/s")
    replicas.set_ylabel("replicas asked for")
    lag.set_ylabel("unfinished requests")
    lag.set_xlabel("s from the first spike")
    for axes in (load, replicas, lag):
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(loc="upper left", frameon=False)
    figure.savefig(path, dpi=110)


def _spread(values: Sequence[float], form: str, unit: str = "") -> str:
    known = [value for value in values if not np.isnan(value)]
    if not known:
        return "-"
    mean, least, most = (form.format(value) for value in (np.mean(known), min(known), max(known)))
    return mean + unit if least == most else f"{mean}{unit} ({least} to {most})"
