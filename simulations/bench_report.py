"""A cell of the benchmark as a page: every policy's run at its best, the frontier, the bound."""

from __future__ import annotations

from pathlib import Path

from simulations.bench import LAGCAST, REACTIVE, CellResult
from simulations.compare import Job, Work, cheapest, highest
from simulations.picture import BoundPoint, FrontierPoint
from simulations.policies.catalog import entry
from simulations.report import Report, data_hash, write_report
from simulations.scenarios import Parameters, make
from simulations.version import version


def write_cell(result: CellResult, parameters: Parameters, path: Path) -> None:
    """Run each policy once more, with its decisions, and write the page. Raises OSError."""
    setting, loads = make(result.cell, parameters)
    work = Work(setting, loads)
    best = [cheapest(sweep, parameters.share) or highest(sweep) for sweep in result.sweeps.values()]
    jobs = [Job(LAGCAST), Job(REACTIVE), *(o.job for o in best if o is not None)]
    runs = [work.recorded(job, keep_decisions=True) for job in jobs]
    swept = [result.lagcast, result.reactive, *(o for sweep in result.sweeps.values() for o in sweep)]
    points = [
        FrontierPoint(o.job.policy, o.attainment, o.gpu_hours, entry(o.job.policy).parameter or "", o.job.value)
        for o in swept
    ]
    write_report(
        Report(
            title=f"benchmark: {result.cell.name}",
            records=tuple(record for _, record in runs),
            measures=tuple(outcome.measures for outcome, _ in runs),
            data_hash=data_hash(loads),
            configuration=f"{result.cell!r}\n{parameters!r}\n{setting!r}",
            version=version(),
            seed=result.cell.seed,
            frontier=tuple(points),
            bound=() if result.bound is None else (BoundPoint(parameters.share, result.bound),),
        ),
        path,
    )
