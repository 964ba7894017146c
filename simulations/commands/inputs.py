"""What is simulated, from the command line: a resource with a load, or a cell of the benchmark."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
import numpy as np
from click.core import ParameterSource as Source

from forecasting.series import Series
from scaler.api.config import load as load_config
from scaler.api.predictive_scaler import PredictiveScaler, to_service
from scaler.cli.units import DURATION
from scaler.errors import ConfigError
from simulations.commands import loads
from simulations.commands.shell import DURATIONS
from simulations.declared import Declared
from simulations.errors import BadSetting
from simulations.scenarios import Cell, Scenario, cells, make
from simulations.setting import (
    Between,
    Load,
    NodePool,
    Partitioned,
    Protocol,
    Rebalance,
    ServiceSetting,
    Setting,
    Shared,
)

F = TypeVar("F", bound=Callable[..., Any])
POSITIVE = click.FloatRange(min=0, min_open=True)
SCENARIOS = ("pods", "nodes", "pool")
MANY = 12  # partitions for each replica there may be: so many that their split among replicas does not matter
CELL_OPTIONS = frozenset({"scenario", "trace", "day", "seed"})
CALENDAR = 1e8  # s: a load that begins before it counts from its own start, not from 1970
FORMS = ("auto", "trace", "prometheus", "requests", "generator")


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """What is simulated. ``resource``: None for a cell of the benchmark."""

    name: str
    setting: Setting
    loads: tuple[Load, ...]
    resource: PredictiveScaler | None
    configuration: str  # as text, for a report's foot

    @property
    def declared(self) -> Declared | None:
        """How the resource makes Lagcast's policy."""
        return None if self.resource is None else Declared(self.resource)

    def service_name(self, uid: str) -> str:
        """What a user calls a service: the resource's namespace and name, or the cell's own name of it."""
        if self.resource is None or uid != self.resource.uid:
            return uid
        return f"{self.resource.metadata.namespace}/{self.resource.metadata.name}"

    @property
    def scored(self) -> str:
        """What is simulated and scored, in a line."""
        first = self.loads[0]
        unknown = max(int(np.isnan(load.arrivals).sum()) for load in self.loads)
        past = min(0.0 if load.history is None else load.start - load.history.start for load in self.loads)
        start = f"second {first.start:.0f}"
        if first.start >= CALENDAR:
            start = f"{datetime.fromtimestamp(first.start, UTC):%Y-%m-%d %H:%M:%S} UTC"
        return (
            f"scored: {len(first.arrivals) / 3600:.1f} h from {start}, {unknown} s of it unknown; "
            f"history before it: {past / 3600:.1f} h"
        )

    @property
    def share(self) -> float:
        """The declared share; of several services the highest."""
        return max(one.service.share for one in self.setting.services)


@dataclass(frozen=True, slots=True)
class Inputs:
    """The options below, as given. Durations in seconds."""

    file: str | None
    form: str
    from_kafka: bool
    from_prometheus: bool
    prometheus: str | None
    query: str | None
    column: str | None
    silence: float | None
    config: Path | None
    object_name: str | None
    scenario: Scenario | None
    trace: str | None
    day: int | None
    score: float
    mean: float | None
    tick: float
    partitions: int | None
    service_rate: float | None
    service_time: float | None
    lead_time: tuple[float, float] | None
    rebalance: str
    rebalance_pause: float
    node_size: int | None
    node_lead_time: tuple[float, float]
    node_idle: float
    gpus: int | None
    seed: int
    given: Mapping[str, str]  # fields that the user set, with how the option is written


def input_options(command: F) -> F:
    """The argument FILE and the options that say what is simulated; the command is handed ``inputs``."""
    fields = tuple(name for name in Inputs.__dataclass_fields__ if name != "given")

    def with_inputs(**given: Any) -> Any:
        inputs = Inputs(**{name: given.pop(name) for name in fields}, given=_given(fields))
        return command(inputs=inputs, **given)

    with_inputs.__name__, with_inputs.__doc__ = command.__name__, command.__doc__
    with_inputs.__click_params__ = list(getattr(command, "__click_params__", []))  # type: ignore[attr-defined]
    decorated: Any = with_inputs
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


def _given(fields: Sequence[str]) -> dict[str, str]:
    context = click.get_current_context()
    written = {p.name: p.opts[0] for p in context.command.params if isinstance(p, click.Option)}
    return {
        name: written[name]
        for name in fields
        if name in written and context.get_parameter_source(name) in (Source.COMMANDLINE, Source.ENVIRONMENT)
    }


_OPTIONS = (
    click.argument("file", required=False),
    click.option("--form", type=click.Choice(FORMS), default="auto", show_default=True, help="What FILE holds."),
    click.option(
        "--config", type=click.Path(path_type=Path), help="File of the PredictiveScaler, as for `lagcast run`."
    ),
    click.option("--name", "object_name", metavar="[NAMESPACE/]NAME", help="Which one, where the file holds several."),
    click.option("--from-kafka", is_flag=True, help="Load: the topic's own history, as its broker remembers it."),
    click.option("--from-prometheus", is_flag=True, help="Load: what Prometheus answers to --query."),
    click.option("--prometheus", metavar="URL", help="[default: where the resource finds its latency]"),
    click.option("--query", metavar="PROMQL", help="Arrival rate in requests/s, as one series."),
    click.option("--column", metavar="NAME", help="Column of a log of requests that holds their time."),
    click.option("--silence", type=DURATION, help="In a log of requests, a longer silence is a gap in the data."),
    click.option("--scenario", type=click.Choice(SCENARIOS), help="Load and setting: a cell of the benchmark."),
    click.option("--trace", metavar="NAME", help="Trace of the cell; for `pool` several, joined by +."),
    click.option(
        "--day", type=click.IntRange(min=0), help="Scored day of the cell, from 0.  [default: the benchmark's]"
    ),
    click.option(
        "--score",
        type=DURATION,
        default="24h",
        show_default=True,
        help="How much, from the load's end, is simulated and scored; what is before it is the policy's history.",
    ),
    click.option("--mean", type=POSITIVE, help="Scale the load to this mean, requests/s.  [default: as it is]"),
    click.option("--tick", type=DURATION, default="15s", show_default=True, help="Time between decisions."),
    click.option(
        "--partitions",
        type=click.IntRange(min=1),
        help="Of the topic, each with its consumer.  [default: the topic's with --from-kafka; else one queue for all, "
        "as if there were so many that their split did not matter]",
    ),
    click.option("--service-rate", type=POSITIVE, help="True requests/s of a replica.  [default: declared]"),
    click.option("--service-time", type=DURATION, help="True time of a request in a replica.  [default: declared]"),
    click.option(
        "--lead-time", type=DURATIONS, help="Of a pod, LOW..HIGH.  [default: half of what is declared, to it]"
    ),
    click.option(
        "--rebalance",
        type=click.Choice(list(Protocol)),
        default=Protocol.EAGER,
        show_default=True,
        help="What a change of the group's membership stops.",
    ),
    click.option("--rebalance-pause", type=DURATION, default="500ms", show_default=True, help="For how long."),
    click.option("--node-size", type=click.IntRange(min=1), help="GPUs of a node.  [default: pods need no node]"),
    click.option("--node-lead-time", type=DURATIONS, default="4m..7m", show_default=True, help="Of a node, LOW..HIGH."),
    click.option(
        "--node-idle", type=DURATION, default="10m", show_default=True, help="After which an empty node goes."
    ),
    click.option("--gpus", type=click.IntRange(min=1), help="Of a replica  [default: the resource's, else 1]"),
    click.option(
        "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of arrivals and lead times."
    ),
)


def read(inputs: Inputs, keep: Callable[[PredictiveScaler], Path] | None = None) -> Case:
    """The case that the options describe. Raises BadSetting, BadSeries, ConfigError or OSError.

    ``keep``: the file where what Kafka or Prometheus answered is kept, and taken from when it is there: asked again,
    they would answer for another time.
    """
    sources = {
        "FILE": inputs.file,
        "--from-kafka": inputs.from_kafka,
        "--from-prometheus": inputs.from_prometheus,
        "--scenario": inputs.scenario,
    }
    given = [name for name, value in sources.items() if value]
    if len(given) != 1:
        raise BadSetting(f"load: found {' and '.join(given) or 'none'}; allowed: exactly one of {', '.join(sources)}")
    if inputs.scenario is not None:
        return _told(_cell(inputs, inputs.scenario))
    if inputs.trace is not None or inputs.day is not None:
        raise BadSetting("--trace, --day: found without --scenario; allowed: with it (a trace's file is given as FILE)")
    if inputs.config is None:
        raise BadSetting("--config: found nothing; needed with a load of your own: the PredictiveScaler's file")
    if not inputs.from_prometheus:
        _refuse(inputs, ("prometheus", "query"), f"with {given[0]}", "with --from-prometheus")
    if inputs.file is None:
        _refuse(inputs, ("form", "column", "silence"), f"with {given[0]}", "with a FILE")
    if inputs.node_size is None:
        _refuse(inputs, ("node_lead_time", "node_idle"), "without --node-size", "with it")
    resource = resource_in(inputs.config, inputs.object_name)
    path = None if keep is None or inputs.file is not None else keep(resource)
    if path is not None and path.exists():
        series, partitions = loads.kept(path, _source(inputs, resource))
        click.echo(f"load: as it was read before, from {path}; another --study reads it anew", err=True)
        return _told(_own(inputs, resource, series, partitions))
    series, partitions = _series(inputs, resource)
    case = _told(_own(inputs, resource, series, partitions))
    if path is not None:
        loads.keep(path, _source(inputs, resource), series, partitions)
    return case


def _source(inputs: Inputs, resource: PredictiveScaler) -> str:
    """Where a load comes from and how much of it, in words and without secrets."""
    where = f"topic {resource.spec.kafka.topic}" if inputs.from_kafka else f"query {inputs.query}"
    return f"{where}, {inputs.score + float(resource.spec.forecast.history):g} s"


def _refuse(inputs: Inputs, names: Iterable[str], found: str, allowed: str) -> None:
    """Raises BadSetting for options that were given and would change nothing."""
    wrong = [inputs.given[name] for name in names if name in inputs.given]
    if wrong:
        raise BadSetting(f"{', '.join(wrong)}: found {found}; allowed: only {allowed}")


def _told(case: Case) -> Case:
    """Say what is scored. Raises BadSetting for a load without any request: no share of nothing is attained."""
    if not any(np.nansum(load.arrivals) > 0 for load in case.loads):
        raise BadSetting("load: found no request in what is scored; allowed: at least one (see --score)")
    click.echo(case.scored, err=True)
    return case


def _cell(inputs: Inputs, scenario: Scenario) -> Case:
    if inputs.config is not None:
        raise BadSetting("--config: found with --scenario; allowed: without it (a scenario declares its own service)")
    others = [name for name in inputs.given if name not in CELL_OPTIONS]
    _refuse(inputs, others, "with --scenario", "with a load of your own (a cell has its own setting)")
    known: dict[tuple[str, str], int] = {(c.scenario, c.trace): c.day for c in cells()}
    trace = inputs.trace
    if trace is None and scenario == "pool":
        trace = next(name for how, name in known if how == "pool")
    if trace is None:
        names = ", ".join(name for how, name in known if how == scenario)
        raise BadSetting(f"--trace: found nothing; needed with --scenario, such as {names}")
    day = inputs.day if inputs.day is not None else known.get((scenario, trace))
    if day is None:
        raise BadSetting(f"--day: found nothing; needed for trace {trace}, which the benchmark has no day of")
    cell = Cell(scenario, trace, day, inputs.seed)
    setting, loads = make(cell)
    return Case(cell.name, setting, loads, None, f"scenario {cell.name}\n{setting!r}")


def resource_in(path: Path, name: str | None) -> PredictiveScaler:
    """The one of a file, or the one called ``name`` ([NAMESPACE/]NAME). Raises ConfigError."""
    found = load_config(path)
    names = [f"{one.metadata.namespace}/{one.metadata.name}" for one in found]
    if name is None:
        if len(found) > 1:
            raise ConfigError(f"{path}: found {len(found)} objects; choose one with --name: {', '.join(names)}")
        return found[0]
    fit = [one for one, full in zip(found, names, strict=True) if name in (full, one.metadata.name)]
    if len(fit) != 1:
        raise ConfigError(f"{path}: --name {name}: found {len(fit)} objects of it; there are {', '.join(names)}")
    return fit[0]


def _series(inputs: Inputs, resource: PredictiveScaler) -> tuple[Series, int | None]:
    """The load, and how many partitions its topic has where that is known."""
    span = inputs.score + float(resource.spec.forecast.history)
    if inputs.from_kafka:
        return loads.from_kafka(resource, span)
    if inputs.from_prometheus:
        return loads.from_prometheus(resource, inputs.prometheus, inputs.query, span), None
    return loads.from_file(str(inputs.file), inputs.form, inputs.seed, inputs.column, inputs.silence), None


def _own(inputs: Inputs, resource: PredictiveScaler, series: Series, partitions: int | None) -> Case:
    from simulations.history_load import split_load

    end = math.floor(series.end)
    at = max(end - inputs.score, math.ceil(series.start))
    # A step that is cut in two would be history and load at once.
    at = math.ceil(series.start + math.ceil((at - series.start) / series.step - 1e-9) * series.step - 1e-9)
    if not at < end:
        raise BadSetting(f"--score: found {inputs.score:g} s; allowed: at least a step of the load, {series.step:g} s")
    if not inputs.tick > 0:
        raise BadSetting(f"--tick: found {inputs.tick:g} s; allowed: more than 0 s")
    load = split_load(
        series,
        float(at),
        np.random.default_rng(inputs.seed),
        seconds=float(end - at),
        past=float(resource.spec.forecast.history),
        mean=inputs.mean,
        history_step=max(float(resource.spec.forecast.step), series.step),
    )
    declared = to_service(resource, inputs.tick)
    low, high = inputs.lead_time or (declared.lead_time / 2, declared.lead_time)
    rate = declared.service_rate if inputs.service_rate is None else inputs.service_rate
    count = inputs.partitions if inputs.partitions is not None else partitions
    service = ServiceSetting(
        service=declared,
        rate=rate,
        time=declared.service_time if inputs.service_time is None else inputs.service_time,
        queue=Shared(MANY * declared.max_replicas) if count is None else Partitioned(count),
        lead_time=Between(low, high),
        rebalance=Rebalance(Protocol(inputs.rebalance), inputs.rebalance_pause),
        weight=inputs.gpus or declared.gpus,
        latency=resource.spec.latency is not None,
    )
    service = replace(service, replicas=_first_need(load, rate, declared.min_replicas, declared.max_replicas))
    pool = None
    if inputs.node_size is not None:
        pool = NodePool("gpus", inputs.node_size, Between(*inputs.node_lead_time), inputs.node_idle)
    setting = Setting((service,), pool, inputs.tick, inputs.seed)
    return Case(str(resource), setting, (load,), resource, f"{_yaml(resource)}\n{setting!r}")


def _first_need(load: Load, rate: float, least: int, most: int) -> int:
    """Replicas for the five minutes around the start: the last known of the history, else the first of the load."""
    past = None if load.history is None else load.history.rates[np.isfinite(load.history.rates)]
    known = load.arrivals[:300][np.isfinite(load.arrivals[:300])]
    now = float(past[-1]) if past is not None and len(past) else float(known.mean()) if len(known) else 0.0
    return min(max(math.ceil(now / rate), least), most)


def _yaml(resource: PredictiveScaler) -> str:
    import yaml

    text: str = yaml.safe_dump(resource.model_dump(mode="json", by_alias=True, exclude_unset=True), sort_keys=False)
    return text
