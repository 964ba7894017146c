"""`lagcast tune`: fields of the resource, varied over the service's own past."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from scaler.api.predictive_scaler import PredictiveScaler, to_service
from scaler.clock import SystemClock
from simulations.commands.inputs import Case, Inputs, input_options, read
from simulations.commands.shell import executor_options, progress, told
from simulations.commands.tables import OUTPUTS, as_csv, as_json, as_table, number, percent
from simulations.compare import OWN, Job, Outcome, Work
from simulations.declared import Declared
from simulations.errors import BadSetting, SimulationError
from simulations.executor import make_executor
from simulations.picture import Trial as Drawn
from simulations.picture import draw_pareto
from simulations.setting import Load, Setting
from simulations.tune import About, Search, Trial, Values, choose, describe, open_study, results
from simulations.tune import tune as run_study
from simulations.tune_space import FIELDS, Field, fields, present, with_values
from simulations.whole_file import make_ready, whole, write_whole

NAMES = ", ".join(field.name for field in FIELDS)


@dataclass(frozen=True, slots=True, eq=False)
class TrialWork:
    """Runs the resource with a trial's values over the same load. One seed for all: they differ in nothing else."""

    resource: PredictiveScaler
    setting: Setting
    loads: tuple[Load, ...]

    def __call__(self, values: Values) -> Outcome:
        """One trial."""
        tried = with_values(self.resource, values)
        (one,) = self.setting.services
        service = to_service(tried, self.setting.tick)
        first = max(one.replicas, service.min_replicas)
        setting = replace(self.setting, services=(replace(one, service=service, replicas=first),))
        return Work(setting, self.loads, Declared(tried))(Job(OWN))


@click.command()
@input_options
@click.option("--field", "names", multiple=True, metavar="FIELD", help=f"What is varied, of {NAMES}.  [default: all]")
@click.option(
    "--trials", type=click.IntRange(min=1), default=64, show_default=True, help="Runs in all, with those of before."
)
@click.option(
    "--margin",
    type=click.FloatRange(0, 1),
    default=0.2,
    show_default=True,
    help="Part of the late share that is kept free: the next days are not the last ones.",
)
@click.option("--storage", metavar="URL", help="Of the study, for Optuna.  [default: SQLite in OUT/tune.db]")
@click.option("--study", metavar="NAME", help="[default: the resource's namespace/name]")
@click.option(
    "--out", default="out", show_default=True, type=click.Path(path_type=Path), help="Folder of all that is written."
)
@executor_options
@click.option("-o", "--output", type=click.Choice(OUTPUTS), default="table", show_default=True)
def tune(
    inputs: Inputs,
    names: Sequence[str],
    trials: int,
    margin: float,
    storage: str | None,
    study: str | None,
    out: Path,
    executor: str,
    workers: int | None,
    ray_address: str | None,
    output: str,
) -> None:
    """Look for a PredictiveScaler that costs less and still keeps its promise, on the service's own history.

    Fields of the resource are varied (not the plan's own constants, which have no field), with two objectives:
    attainment and GPU-hours. OUT/tune.png shows every trial and the Pareto set; the cheapest trial that keeps the
    declared share with a margin is written to OUT/tuned.yaml. The study is kept after every trial: run the same
    command again to go on after an interrupt or a kill, or with more --trials. A load from Kafka or Prometheus is
    kept in OUT, too, and gone on with. With --storage, several of these
    commands share one study.

    \b
    Exit codes: 0 done; 1 no trial keeps the share, or another error that the message explains; 2 wrong usage,
    configuration or load; 130 interrupted.
    """
    with told():
        chosen_fields = fields(names)
        if inputs.scenario is not None:
            raise BadSetting("--scenario: found with `lagcast tune`; allowed: a load of your own, with --config")
        make_ready(out / "tune.png", out / "tuned.yaml")
        case = read(inputs, lambda resource: out / f"load-{quote(study or _full_name(resource), safe='')}.json")
        from simulations.version import run_hash, tune_version

        resource = case.resource
        assert resource is not None  # noqa: S101  for mypy: only a scenario has none
        space = {field.name: field.distribution(resource) for field in chosen_fields}
        about = About(tune_version(), _data(case, run_hash), OWN, describe(space), inputs.seed)
        name = study or _full_name(resource)
        kept = open_study(storage or f"sqlite:///{out / 'tune.db'}", name, about)
        work = TrialWork(resource, case.setting, case.loads)
        with make_executor(executor, workers, ray_address) as pool, progress("trials", trials) as show:

            def run(batch: Sequence[Values], done: Callable[[int, tuple[float, float]], None]) -> None:
                def ended(place: int, outcome: Outcome) -> None:
                    done(place, _objectives(outcome))

                pool.map(work, batch, name=_name, done=ended)

            search = Search(space, present(resource, chosen_fields), trials, inputs.seed, pool.width)
            run_study(kept, search, run, SystemClock(), show)
        found = results(kept)
        chosen = choose(found, resource.spec.objective.share.fraction, margin)
        _draw(found, chosen, resource, out / "tune.png")
        _show(found, chosen, output)
        if chosen is None:
            best = max(found, key=lambda t: t.attainment)
            raise SimulationError(
                f"no trial of {len(found)} attained {resource.spec.objective.share} with a margin of {margin:g}; the "
                f"highest is {percent(best.attainment, 3)} for {best.gpu_hours:.1f} GPU-hours (trial {best.number}): "
                "raise replicas.max or --trials, or lower --margin"
            )
        _write(resource, chosen, about, out / "tuned.yaml")


def _data(case: Case, run_hash: Callable[[Setting, tuple[Load, ...]], str]) -> str:
    """The run's data and all that the resource declares: what is varied has its start there."""
    text = f"{run_hash(case.setting, case.loads)}\n{case.configuration}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _full_name(resource: PredictiveScaler) -> str:
    return f"{resource.metadata.namespace}/{resource.metadata.name}"


def _name(values: Values) -> str:
    return "trial " + " ".join(f"{name}={value}" for name, value in _shown(values).items())


def _objectives(outcome: Outcome) -> tuple[float, float]:
    if math.isnan(outcome.attainment):
        raise BadSetting("load: found no request in what is scored; allowed: at least one (see --score)")
    return outcome.attainment, outcome.gpu_hours


def _draw(found: Sequence[Trial], chosen: Trial | None, resource: PredictiveScaler, path: Path) -> None:
    drawn = [Drawn(t.number, t.attainment, t.gpu_hours, t.best) for t in found]
    number_ = None if chosen is None else chosen.number
    with whole(path) as new:
        draw_pareto(drawn, new, number_, resource.spec.objective.share.fraction)
    click.echo(f"picture: {path}", err=True)


def _write(resource: PredictiveScaler, chosen: Trial, about: About, path: Path) -> None:
    import yaml

    tuned = with_values(resource, chosen.values)
    document = tuned.model_dump(mode="json", by_alias=True, exclude_unset=True)
    head = (
        f"# Made by `lagcast tune`, version {about.version}, seed {about.seed}, data {about.data}: trial "
        f"{chosen.number},\n# {percent(chosen.attainment, 3)} in time for {chosen.gpu_hours:.1f} GPU-hours "
        "over the history it was tuned on.\n"
    )
    write_whole(path, head + yaml.safe_dump(document, sort_keys=False))
    click.echo(f"tuned: {path}", err=True)


def _shown(values: Values) -> dict[str, Any]:
    """Values as they stand in a resource."""
    known: dict[str, Field] = {field.name: field for field in FIELDS}
    return {name: known[name].write(value) for name, value in values.items()}


def _show(found: Sequence[Trial], chosen: Trial | None, output: str) -> None:
    made = [
        {
            "trial": t.number,
            **_shown(t.values),
            "attainment": t.attainment,
            "gpu_hours": t.gpu_hours,
            "best": t.best,
            "chosen": t is chosen,
        }
        for t in found
    ]
    if output == "json":
        as_json({"trials": made, "chosen": None if chosen is None else chosen.number})
    elif output == "csv":
        as_csv(made)
    else:
        names = list(found[0].values)
        best = sorted((t for t in found if t.best or t is chosen), key=lambda t: t.gpu_hours)
        lines = [
            [
                f"{t.number}{' chosen' if t is chosen else ''}",
                *(str(v) for v in _shown(t.values).values()),
                percent(t.attainment, 3),
                number(t.gpu_hours),
            ]
            for t in best
        ]
        as_table(("TRIAL", *names, "IN TIME", "GPU-HOURS"), lines)
