"""`make bench-controller`: what the controller costs, against its limits."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from simulations.lab.programs import Progress

OUT = Path("out/bench-controller.json")
SCALERS = 500


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure; without a limit it is only reported."""

    name: str
    value: float
    unit: str
    limit: float | None = None

    @property
    def ok(self) -> bool:
        return self.limit is None or self.value <= self.limit


@click.command()
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--no-lab", is_flag=True, help="Only what needs no servers: the decision and the start.")
@click.option("--out", default=OUT, show_default=True, type=click.Path(path_type=Path), help="Where the JSON is kept.")
def bench_controller(output: str, no_lab: bool, out: Path) -> None:
    """Measure sampling, history, a decision, start and memory of the controller.

    Starts a lab of its own, in a temporary folder, and ends it: about three minutes, and a quarter of an hour more
    where the servers have to be built first. Decisions are limited in CPU time, which other work on the machine does
    not lengthen; their wall time is reported beside it.

    \b
    Exit codes: 0 all limits hold; 1 one does not, or the lab cannot run (the message says why); 2 wrong usage.
    """
    terminal = Console(stderr=True)
    figures: list[Figure] = []

    last = ""

    def progress(doing: str) -> None:
        nonlocal last
        if doing != last:
            terminal.print(doing, style="dim")
        last = doing

    with tempfile.TemporaryDirectory(prefix="lagcast-bench-") as folder:
        for measure in (_alone,) if no_lab else (_alone, _on_servers):
            figures += measure(Path(folder), progress)
    rows = [{**asdict(figure), "ok": figure.ok} for figure in figures]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    if output == "json":
        click.echo(json.dumps(rows, indent=1))
    else:
        table = Table("FIGURE", "VALUE", "LIMIT", "OK")
        for f in figures:
            limit = "-" if f.limit is None else f"{f.limit:g} {f.unit}"
            table.add_row(f.name, f"{f.value:.3g} {f.unit}", limit, "yes" if f.ok else "NO")
        Console().print(table)
    sys.exit(0 if all(figure.ok for figure in figures) else 1)


def _alone(folder: Path, progress: Progress) -> Iterator[Figure]:
    from simulations.lab.bench_decision import bench_decision
    from simulations.lab.bench_many import bench_many
    from simulations.lab.bench_process import bench_start

    progress("start of the controller")
    start = bench_start(folder)
    yield Figure("start: process to ready, no server answering", start.seconds, "s", 4.0)
    yield Figure("start: of which imports", start.imports, "s")
    yield Figure("start: memory when ready", start.memory / 1e6, "MB", 300.0)
    progress("decisions")
    times = bench_decision()
    yield Figure("decision: CPU, median", float(np.median(times.cpu)) * 1e3, "ms", 0.5)
    yield Figure("decision: CPU, p99", float(np.percentile(times.cpu, 99)) * 1e3, "ms", 5.0)
    yield Figure("decision: wall, median", float(np.median(times.wall)) * 1e3, "ms")
    yield Figure("decision: wall, p99", float(np.percentile(times.wall, 99)) * 1e3, "ms")
    yield Figure("decision: ticks measured", len(times.cpu), "ticks")
    yield Figure("decision: of which with backlog", times.with_backlog, "ticks")
    progress(f"{SCALERS} scalers")
    many = bench_many(SCALERS, folder)
    yield Figure(
        f"{SCALERS} scalers: memory, without the clients of Kafka and Kubernetes", many.memory / 1e6, "MB", 600.0
    )
    yield Figure(f"{SCALERS} scalers: of which each", many.each / 1e6, "MB", 0.5)
    yield Figure("of which its plan and forecaster, as they are pickled", many.state / 1e6, "MB")
    yield Figure(f"{SCALERS} scalers: CPU of a tick", many.tick, "s", 5.0)
    yield Figure("1,000 decisions: CPU", many.decisions / SCALERS * 1000, "s", 1.0)
    yield Figure("update of a forecaster: CPU, median", many.update * 1e3, "ms", 0.1)
    yield Figure("update of a forecaster: CPU, mean", many.updates * 1e3, "ms")
    yield Figure("first fit on a week of 15 s steps: CPU", many.fit, "s", 2.0)
    yield Figure("refit: CPU", many.refit, "s", 2.0)
    yield Figure("memory of the process that fits", many.worker / 1e6, "MB", 350.0)


def _on_servers(folder: Path, progress: Progress) -> Iterator[Figure]:
    from simulations.lab.bench_observe import bench_history, bench_sampling
    from simulations.lab.bench_process import bench_memory
    from simulations.lab.errors import LabError
    from simulations.lab.lab import Lab

    try:
        lab = Lab.up(folder / "lab", progress=progress)
        try:
            progress("memory with ten scalers")
            yield Figure("memory with 10 scalers", bench_memory(lab, folder) / 1e6, "MB")
            progress("history of a week")
            yield Figure("history: a week in 5 min steps, 12 partitions", bench_history(lab.kafka.bootstrap), "s", 10.0)
            progress("sampling of 2,000 partitions")
            yield Figure(
                "sampling: 100 groups x 20 partitions, one pass", bench_sampling(lab.kafka.bootstrap), "s", 1.0
            )
        finally:
            lab.down()
    except (LabError, RuntimeError) as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    bench_controller(prog_name="bench-controller")
