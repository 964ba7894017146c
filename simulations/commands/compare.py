"""`lagcast compare`: several policies over one load, each swept over its own parameter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from scaler.errors import ConfigError
from simulations.commands.inputs import Case, Inputs, input_options, read
from simulations.commands.shell import executor_options, options_of, progress, told
from simulations.commands.tables import OUTPUTS, as_csv, as_json, as_table, known, number, percent
from simulations.compare import (
    BoundWork,
    Job,
    Outcome,
    Work,
    by_policy,
    cheapest,
    coarse,
    frontier,
    highest,
    refined,
    run_all,
    sweep,
)
from simulations.executor import Executor, make_executor
from simulations.picture import BoundPoint, FrontierPoint, draw_frontier
from simulations.policies.catalog import entries, entry
from simulations.whole_file import make_ready, whole

SHARES = (0.99, 0.999)


@click.command()
@input_options
@click.option("--policy", "policies", multiple=True, help="A policy to compare; repeat it.  [default: all but aiad]")
@click.option("--policy-option", "options", multiple=True, metavar="POLICY.NAME=VALUE", help="Of one of them.")
@click.option("--out", default="out", show_default=True, type=click.Path(path_type=Path), help="Folder of the picture.")
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), help="Write all of it as one HTML file.")
@executor_options
@click.option("-o", "--output", type=click.Choice(OUTPUTS), default="table", show_default=True)
def compare(
    inputs: Inputs,
    policies: Sequence[str],
    options: Sequence[str],
    out: Path,
    report: Path | None,
    executor: str,
    workers: int | None,
    ray_address: str | None,
    output: str,
) -> None:
    """Run several policies over a load: GPU-hours against attainment.

    Each policy with a parameter of its own is swept over it and shown at its best in hindsight: the cheapest setting
    that reached 99 % and 99.9 %. Beside them the bound, the least that a clairvoyant schedule pays. The picture
    OUT/compare.png shows every run. What is simulated is said as for `lagcast simulate`.

    \b
    Exit codes: 0 done; 1 an error that the message explains; 2 wrong usage, configuration or load; 130 interrupted.
    """
    with told():
        ladders = _ladders(policies, options)
        picture = out / "compare.png"
        make_ready(picture, *([] if report is None else [report]))
        case = read(inputs)
        work = Work(case.setting, case.loads, case.declared)
        with make_executor(executor, workers, ray_address) as pool:
            outcomes = run_sweeps(work, ladders, pool)
            bound = _bound(case, pool)
        points = [_point(o) for o in outcomes]
        with whole(picture) as new:
            draw_frontier(points, bound, new, SHARES)
        if report is not None:
            _write(report, case, work, outcomes, points, bound)
        _show(case, outcomes, bound, output)
        click.echo(f"picture: {picture}", err=True)


def _ladders(policies: Sequence[str], options: Sequence[str]) -> list[tuple[Job, ...]]:
    names = list(dict.fromkeys(policies)) or [name for name, one in entries().items() if not one.needs_latency]
    for name in names:
        entry(name)
    given: dict[str, dict[str, str]] = {name: {} for name in names}
    for full, value in options_of(options).items():
        policy, dot, option = full.partition(".")
        if not dot or policy not in given:
            raise ConfigError(f"--policy-option {full}: write POLICY.NAME=VALUE, POLICY one of {', '.join(names)}")
        given[policy][option] = value
    return [sweep(name, given[name]) for name in names]


def run_sweeps(work: Work, ladders: Sequence[Sequence[Job]], executor: Executor) -> tuple[Outcome, ...]:
    """Every policy's sweep, the coarse part of all of them first; outcomes by policy, from cheap to safe."""
    # A policy that is not swept is the slow one: it goes first, so that nobody waits for it at the end.
    first = [job for ladder in sorted(ladders, key=len) for job in coarse(ladder)]
    with progress("first pass", len(first)) as show:
        outcomes = list(run_all(work, first, executor, _counted(show)))
    second = [job for ladder in ladders for job in refined(ladder, outcomes)]
    if second:
        with progress("second pass", len(second)) as show:
            outcomes += run_all(work, second, executor, _counted(show))
    order = {job: place for place, job in enumerate(job for ladder in ladders for job in ladder)}
    return tuple(sorted(outcomes, key=lambda o: order[o.job]))


def _counted(show: Any) -> Any:
    count = 0

    def done(place: int, result: object) -> None:
        nonlocal count
        count += 1
        show(count)

    return done


def _bound(case: Case, executor: Executor) -> tuple[BoundPoint, ...]:
    with progress("bound", len(SHARES)) as show:
        hours = executor.map(
            BoundWork(case.setting, case.loads), SHARES, name=lambda s: f"bound for {100 * s:g} %", done=_counted(show)
        )
    return tuple(BoundPoint(share, least) for share, least in zip(SHARES, hours, strict=True) if least is not None)


def _point(outcome: Outcome) -> FrontierPoint:
    job = outcome.job
    parameter = (entry(job.policy).parameter or "") if job.value is not None else ""
    return FrontierPoint(job.policy, outcome.attainment, outcome.gpu_hours, parameter, job.value)


def _write(
    path: Path,
    case: Case,
    work: Work,
    outcomes: Sequence[Outcome],
    points: Sequence[FrontierPoint],
    bound: Sequence[BoundPoint],
) -> None:
    """The report: each policy's run at its best for the declared share, else at its highest attainment."""
    from simulations.report import Report, data_hash, write_report
    from simulations.version import version

    chosen = [cheapest(group, case.share) or highest(group) for group in by_policy(outcomes).values()]
    jobs = [o.job for o in chosen if o is not None]
    runs = []
    with progress("runs of the report", len(jobs)) as show:
        for place, job in enumerate(jobs):
            runs.append(work.recorded(job, keep_decisions=True))
            show(place + 1)
    page = Report(
        title=f"{case.name}: {len(jobs)} policies",
        records=tuple(record for _, record in runs),
        measures=tuple(outcome.measures for outcome, _ in runs),
        data_hash=data_hash(case.loads),
        configuration=case.configuration,
        version=version(),
        seed=case.setting.seed,
        frontier=tuple(points),
        bound=tuple(bound),
    )
    write_report(page, path)
    click.echo(f"report: {path}", err=True)


def _show(case: Case, outcomes: Sequence[Outcome], bound: Sequence[BoundPoint], output: str) -> None:
    groups, least = by_policy(outcomes), {point.attainment: point.gpu_hours for point in bound}
    if output == "csv":
        as_csv([{**_figures(o), "on_frontier": o in frontier(groups[o.job.policy])} for o in outcomes])
    elif output == "json":
        policies = {name: _policy(group, least) for name, group in groups.items()}
        bounds = [{"share": p.attainment, "gpu_hours": known(p.gpu_hours)} for p in bound]
        as_json(
            {"case": case.name, "seed": case.setting.seed, "runs": len(outcomes), "bound": bounds, "policies": policies}
        )
    else:
        titles = ("POLICY", *(t for s in SHARES for t in (f"FOR {100 * s:g} %", "IN TIME", "GPU-HOURS", "x BOUND")))
        lines = [[name, *(text for s in SHARES for text in _best(group, s, least))] for name, group in groups.items()]
        if least:
            lines.append(["bound", *(t for s in SHARES for t in ("", percent(s), number(least.get(s)), "1.00"))])
        as_table(titles, lines)
        click.echo(f"{len(outcomes)} runs; each policy at its best in hindsight", err=True)


def _figures(outcome: Outcome) -> dict[str, Any]:
    changes = sum(m.changes for m in outcome.measures)
    return {
        "policy": outcome.job.policy,
        "options": dict(outcome.job.options),
        "value": outcome.job.value,
        "attainment": known(outcome.attainment),
        "gpu_hours": known(outcome.gpu_hours),
        "p99": known(max((m.p99 for m in outcome.measures if not math.isnan(m.p99)), default=math.nan)),
        "changes": changes,
    }


def _policy(group: Sequence[Outcome], least: Mapping[float, float]) -> dict[str, Any]:
    best: dict[str, Any] = {}
    for share in SHARES:
        found = cheapest(group, share)
        ratio = None if found is None or not least.get(share) else found.gpu_hours / least[share]
        best[f"{share:g}"] = None if found is None else {**_figures(found), "times_bound": ratio}
    edge = frontier(group)
    return {"best": best, "runs": [{**_figures(o), "on_frontier": o in edge} for o in group]}


def _best(group: Sequence[Outcome], share: float, least: Mapping[float, float]) -> tuple[str, str, str, str]:
    found = cheapest(group, share)
    if found is None:
        most = highest(group)
        return ("not reached", percent(None if most is None else most.attainment), "-", "-")
    options = " ".join(f"{name}={value}" for name, value in found.job.options)
    ratio = found.gpu_hours / least[share] if least.get(share) else None
    return (options or "as it is", percent(found.attainment), number(found.gpu_hours), number(ratio, ".2f"))
