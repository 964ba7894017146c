"""`make bench-controller`: what the controller and the simulator cost, against their limits."""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
from rich.console import Console

from simulations.commands.shell import told
from simulations.commands.tables import as_json, show
from simulations.lab.programs import Progress
from simulations.results_page import command_of, page_ready, section, write_section
from simulations.table import Table
from simulations.version import version

OUT = Path("out/bench-controller.json")
SECTION = "speed"
SCALERS, DECIDED = 500, 1000


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
@click.option(
    "--write", type=click.Path(path_type=Path, dir_okay=False), help="Write the table as this page's section."
)
def bench_controller(output: str, no_lab: bool, out: Path, write: Path | None) -> None:
    """Measure sampling, history, a decision, start and memory of the controller, and 14 simulated days.

    Starts a lab of its own, in a temporary folder, and ends it: about six minutes, and a quarter of an hour more
    where the servers have to be built first. Decisions are limited in CPU time, which other work on the machine
    lengthens less; their wall time is reported beside it. The simulated days are of a recorded trace (LAGCAST_TRACES).

    \b
    Exit codes: 0 all limits hold; 1 one does not, or the lab cannot run (the message says why); 2 wrong usage, or no
    such trace.
    """
    terminal = Console(stderr=True)
    figures: list[Figure] = []

    last = ""

    def progress(doing: str) -> None:
        nonlocal last
        if doing != last:
            terminal.print(doing, style="dim")
        last = doing

    with told(), tempfile.TemporaryDirectory(prefix="lagcast-bench-") as folder:
        if write is not None:
            page_ready(write, SECTION)
        for measure in (_simulated, _alone) if no_lab else (_simulated, _alone, _on_servers):
            figures += measure(Path(folder), progress)
        rows = [{**asdict(figure), "ok": figure.ok} for figure in figures]
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        table = speed_table(figures)
        if write is not None:
            command = command_of("lab.bench_controller", ["--no-lab"] if no_lab else [], write)
            about = f"On {cpu()}, {os.cpu_count()} cores; one core decides. CPU seconds, where a line says so."
            write_section(write, SECTION, section("Speed and memory", command, version(), about, [table]))
        if output == "json":
            as_json(rows)
        else:
            show([table], output)
    sys.exit(0 if all(figure.ok for figure in figures) else 1)


def speed_table(figures: Sequence[Figure]) -> Table:
    """A line for each figure."""
    lines = tuple(
        (
            f.name,
            f"{f.value:.3g} {f.unit}",
            "-" if f.limit is None else f"{f.limit:g} {f.unit}",
            "yes" if f.ok else "NO",
        )
        for f in figures
    )
    return Table("speed", "Each figure, and its limit where it has one.", ("FIGURE", "VALUE", "LIMIT", "OK"), lines)


def cpu() -> str:
    """The processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def _simulated(folder: Path, progress: Progress) -> Iterator[Figure]:
    from simulations.lab.bench_simulation import DAYS, TRACE, bench_simulation

    progress(f"{DAYS} simulated days")
    found = bench_simulation()
    yield Figure(f"{DAYS} days of {TRACE} on GPU nodes in the simulator, refits and all", found.wall, "s", 90.0)
    yield Figure("of which CPU", found.cpu, "s")
    yield Figure("decision of a service on a pool of nodes: CPU, median", found.step * 1e3, "ms", 0.5)
    yield Figure("decision of a service on a pool of nodes: ticks measured", found.steps, "ticks")


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
    progress(f"{DECIDED} scalers")
    yield Figure(f"{DECIDED} scalers: CPU of their decisions", bench_many(DECIDED, folder).decisions, "s", 1.0)
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
