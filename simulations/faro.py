"""`python -m simulations.faro`: Faro's evaluation (EuroSys 2025), beside what that paper's artifact reports.

Ten services share 32 or 36 replicas for six hours; ``faro_run.py`` says how the setting is read.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from simulations.commands.shell import executor_options, options_of, progress, told
from simulations.errors import BadSetting
from simulations.executor import make_executor
from simulations.faro_input import Published, faro_folder, published_mean, read_published
from simulations.faro_run import READINGS, SEEDS, TOTALS, FaroResult, FaroRun, run_faro
from simulations.faro_tables import evaluation
from simulations.results_page import command_of, page_ready, repeated, section, write_section
from simulations.version import version

WIDTH = 140  # of the table where stdout is no terminal
SECTION, TITLE = "faro", "Faro's evaluation"


@dataclass(frozen=True, slots=True)
class Cell:
    """All seeds of one policy, total and reading. Misses are shares of requests."""

    policy: str
    total: int
    reading: str
    runs: tuple[FaroResult, ...]
    published: float | None  # mean over the published simulated runs of the same seeds

    @property
    def missed(self) -> tuple[float, float, float]:
        """(mean, least, most) over the seeds."""
        shares = [run.missed for run in self.runs]
        return fmean(shares), min(shares), max(shares)

    @property
    def difference(self) -> float | None:
        """Ours over the published, less 1."""
        return None if self.published is None else self.missed[0] / self.published - 1


@click.command()
@click.option("--policy", "policies", multiple=True, default=["aiad"], show_default=True, help="Of the catalog.")
@click.option("--policy-option", "pairs", multiple=True, metavar="NAME=VALUE", help="Of every policy named.")
@click.option(
    "--total",
    "totals",
    type=click.IntRange(min=10),
    multiple=True,
    default=TOTALS,
    show_default=True,
    help="Replicas that the services share.",
)
@click.option(
    "--seed", "seeds", type=click.IntRange(min=0), multiple=True, default=SEEDS, show_default=True, help="Of arrivals."
)
@click.option(
    "--reading",
    "readings",
    type=click.Choice(list(READINGS)),
    multiple=True,
    default=["chosen"],
    show_default=True,
    help="How the published setting is understood.",
)
@click.option("--sensitivity", is_flag=True, help="All readings, one below the other.")
@click.option(
    "--write", type=click.Path(path_type=Path, dir_okay=False), help="Write the results as this page's section."
)
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@executor_options
def faro(
    policies: Sequence[str],
    pairs: Sequence[str],
    totals: Sequence[int],
    seeds: Sequence[int],
    readings: Sequence[str],
    sensitivity: bool,
    write: Path | None,
    output: str,
    executor: str,
    workers: int | None,
    ray_address: str | None,
) -> None:
    """Faro's benchmark: ten services on a fixed number of replicas, request by request.

    \b
    Exit codes: 0 done; 1 a run failed; 2 wrong usage, or the benchmark's files cannot be read; 130 interrupted.
    """
    logging.basicConfig(level="WARNING")
    with told():
        named = tuple(READINGS) if sensitivity else readings
        options = tuple(options_of(pairs).items())
        if write is not None:
            if tuple(named) != ("chosen",):
                raise BadSetting("--write: the page holds the reading 'chosen' alone; leave --reading out")
            page_ready(write, SECTION)
        jobs = [FaroRun(p, t, s, r, options) for p in policies for t in totals for r in named for s in seeds]
        published = read_published(faro_folder() / "published_results.csv")
        with make_executor(executor, workers, ray_address) as pool, progress("faro", len(jobs)) as tell:
            done: list[int] = []

            def count(place: int, result: FaroResult) -> None:
                done.append(place)
                tell(len(done))

            results = pool.map(run_faro, jobs, name=lambda job: job.name, done=count)
        cells = cells_of(results, published)
        if write is not None:
            text = section(TITLE, _command(policies, pairs, totals, seeds, write), version(), _about(seeds),
                           [evaluation(results, published)])  # fmt: skip
            write_section(write, SECTION, text)
        if output == "json":
            click.echo(json.dumps([plain(cell) for cell in cells], indent=1))
        else:
            Console(width=None if sys.stdout.isatty() else WIDTH).print(table(cells))
            for reading in named:
                click.echo(f"{reading}: {READINGS[reading].why}")


def _command(
    policies: Sequence[str], pairs: Sequence[str], totals: Sequence[int], seeds: Sequence[int], write: Path
) -> str:
    """The command that makes these results, without where this machine keeps things."""
    given: dict[str, Sequence[str]] = {"--policy": policies, "--policy-option": pairs}
    if tuple(totals) != TOTALS:
        given["--total"] = [str(total) for total in totals]
    if tuple(seeds) != SEEDS:
        given["--seed"] = [str(seed) for seed in seeds]
    return command_of("faro", repeated(given), write)


def _about(seeds: Sequence[int]) -> str:
    return (
        f"Ten services share 32 or 36 replicas for six hours; {len(seeds)} seed{'' if len(seeds) == 1 else 's'} of "
        "arrivals, see [benchmarks.md](benchmarks.md)."
    )


def cells_of(results: Sequence[FaroResult], published: tuple[Published, ...]) -> list[Cell]:
    """Runs that differ in their seed only, together; in the order in which they were asked for."""
    groups: dict[tuple[str, int, str], list[FaroResult]] = {}
    for result in results:
        groups.setdefault((result.run.policy, result.run.total, result.run.reading), []).append(result)
    cells = []
    for (policy, total, reading), runs in groups.items():
        seeds = {run.run.seed for run in runs}
        cells.append(Cell(policy, total, reading, tuple(runs), published_mean(published, policy, total, seeds)))
    return cells


def table(cells: Sequence[Cell]) -> Table:
    """A line for each cell."""
    shown = Table()
    heads = ("POLICY", "TOTAL", "READING", "MISSED", "LEAST..MOST", "PUBLISHED", "DIFF.")
    for head in (*heads, "BY JOB", "REFUSED", "MEAN", "P99", "REPLICAS"):
        shown.add_column(head, no_wrap=True)
    for cell in cells:
        mean, least, most = cell.missed
        shown.add_row(
            cell.policy,
            str(cell.total),
            cell.reading,
            f"{mean:.2%}",
            f"{least:.2%}..{most:.2%}",
            "-" if cell.published is None else f"{cell.published:.2%}",
            "-" if cell.difference is None else f"{cell.difference:+.0%}",
            f"{fmean(r.missed_by_job for r in cell.runs):.2%}",
            f"{fmean(r.refused for r in cell.runs):.2%}",
            f"{1000 * fmean(r.mean for r in cell.runs):.0f} ms",
            f"{1000 * fmean(r.p99 for r in cell.runs):.0f} ms",
            f"{fmean(r.replicas for r in cell.runs):.1f}",
        )
    return shown


def plain(cell: Cell) -> Mapping[str, Any]:
    """The same as plain data, with each seed's run; latency in s."""
    mean, least, most = cell.missed
    runs = [{"seed": r.run.seed, **{k: v for k, v in asdict(r).items() if k != "run"}} for r in cell.runs]
    return {
        "policy": cell.policy,
        "total": cell.total,
        "reading": cell.reading,
        "missed": {"mean": mean, "least": least, "most": most},
        "published": cell.published,
        "difference": cell.difference,
        "runs": runs,
    }


if __name__ == "__main__":
    faro()
