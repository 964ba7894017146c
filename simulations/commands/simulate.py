"""`lagcast simulate`: one policy, one load."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from scaler.cli.units import DURATION
from scaler.journal import JournalFile, line
from simulations.commands.inputs import Case, Inputs, input_options, read
from simulations.commands.shell import options_of, progress, told
from simulations.commands.tables import OUTPUTS, as_csv, as_json, as_table, number, percent, rows
from simulations.compare import Job, Outcome, Work
from simulations.compare import options_of as sorted_options
from simulations.journal import SimulatedJournal
from simulations.record import Record
from simulations.whole_file import make_ready, whole


@click.command()
@input_options
@click.option("--policy", default="lagcast", show_default=True, help="What decides; `lagcast compare` lists them.")
@click.option("--policy-option", "options", multiple=True, metavar="NAME=VALUE", help="For policies that take any.")
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), help="Write the run as one HTML file.")
@click.option(
    "--journal", type=click.Path(path_type=Path, dir_okay=False), help="Write its decisions, for `lagcast explain`."
)
@click.option("--journal-every", type=DURATION, default="1m", show_default=True, help="At least so often, and changes.")
@click.option("-o", "--output", type=click.Choice(OUTPUTS), default="table", show_default=True)
def simulate(
    inputs: Inputs,
    policy: str,
    options: Sequence[str],
    report: Path | None,
    journal: Path | None,
    journal_every: float,
    output: str,
) -> None:
    """Run one policy over a load, in a simulated cluster.

    The load is a FILE (a trace as CSV, Prometheus range data, a log of requests, a generator's specification), the
    topic's own history (--from-kafka), a Prometheus query, or a cell of the benchmark (--scenario). With a load of
    your own, --config names the PredictiveScaler: what it declares is what the policy is told, and, unless options
    say otherwise, what is true.

    \b
    Exit codes: 0 done; 1 an error that the message explains; 2 wrong usage, configuration or load; 130 interrupted.
    """
    with told():
        make_ready(*(path for path in (report, journal) if path is not None))
        job = Job(policy, sorted_options(options_of(options)))
        case = read(inputs)
        work = Work(case.setting, case.loads, case.declared)
        work.maker(job)  # an unknown policy or option is said before anything runs
        with noted(journal, journal_every, case) as told_of, progress(f"simulating {job.name}", 100) as show:
            outcome, record = work.recorded(
                job, keep_decisions=report is not None, progress=lambda p: show(100 * p), told=told_of
            )
        if journal is not None:
            click.echo(f"journal: {journal}", err=True)
        if report is not None:
            _write(report, case, outcome, record)
        show_outcome(case, outcome, output)


@contextlib.contextmanager
def noted(path: Path | None, every: float, case: Case) -> Iterator[SimulatedJournal | None]:
    """Takes each tick down in a file, which is there once all is well; None without a path."""
    if path is None:
        yield None
        return
    with whole(path) as new:
        file = JournalFile(new, size=None)
        try:
            services = [one.service for one in case.setting.services]
            yield SimulatedJournal(services, lambda uid: named(case, uid), lambda f: file.append([line(f)]), every)
        finally:
            file.close()


def named(case: Case, uid: str) -> tuple[str, str, str]:
    """Namespace, name and target, as the resource has them; a cell's services have only a name."""
    if case.resource is None:
        return "default", uid, f"simulated/{uid}"
    metadata, target = case.resource.metadata, case.resource.spec.target
    return metadata.namespace, metadata.name, f"{target.kind}/{target.name}"


def _write(path: Path, case: Case, outcome: Outcome, record: Record) -> None:
    from simulations.report import Report, data_hash, write_report
    from simulations.version import version

    write_report(
        Report(
            title=f"{case.name}: {outcome.job.name}",
            records=(record,),
            measures=(outcome.measures,),
            data_hash=data_hash(case.loads),
            configuration=case.configuration,
            version=version(),
            seed=case.setting.seed,
        ),
        path,
    )
    click.echo(f"report: {path}", err=True)


def show_outcome(case: Case, outcome: Outcome, output: str) -> None:
    """What the run came to, on stdout."""
    if output == "json":
        as_json({"case": case.name, "seed": case.setting.seed, "services": rows(outcome)})
    elif output == "csv":
        as_csv(rows(outcome))
    else:
        titles = ("SERVICE", "IN TIME", "GPU-HOURS", "REPLICA-HOURS", "P50 s", "P95 s", "P99 s", "P99.9 s",
                  "LONGEST LAG s", "CHANGES", "REBALANCES")  # fmt: skip
        lines = [
            (
                case.service_name(m.uid),
                percent(m.attainment, 3),
                number(m.gpu_hours),
                number(m.replica_hours),
                *(number(q, ".2f") for q in (m.p50, m.p95, m.p99, m.p999)),
                number(m.longest_time_lag, ".0f"),
                str(m.changes),
                str(m.rebalances),
            )
            for m in outcome.measures
        ]
        as_table(titles, lines)
