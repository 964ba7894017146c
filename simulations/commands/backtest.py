"""`lagcast backtest`: how well each model would have forecast a load that is known."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from forecasting.backtest import (
    Forecasts,
    Plan,
    Row,
    pinball_losses,
    plan_of,
    rows,
    run,
    usual_every,
    without_forecast,
)
from forecasting.backtest_models import MODELS, QUICK, About, missing
from forecasting.errors import NotEnoughHistory
from forecasting.guarded import Guard
from forecasting.series import Series, resample
from forecasting.worker import Worker
from scaler.api.forecast import Forecast
from scaler.api.predictive_scaler import PredictiveScaler
from scaler.cli.units import DURATION
from simulations.commands import loads
from simulations.commands.inputs import FORMS, resource_in
from simulations.commands.shell import progress, told
from simulations.commands.tables import OUTPUTS, as_csv, as_json, as_table, known, number
from simulations.errors import BadSetting, SimulationError
from simulations.whole_file import make_ready, whole

DAY = 86400.0
HORIZONS = (60.0, 300.0, 600.0, 1800.0)
ALL = "all"
SEASONAL = "seasonal-naive"


@click.command()
@click.argument("file", required=False)
@click.option("--form", type=click.Choice(FORMS), default="auto", show_default=True, help="What FILE holds.")
@click.option("--column", metavar="NAME", help="Column of a log of requests that holds their time.")
@click.option("--silence", type=DURATION, help="In a log of requests, a longer silence is a gap in the data.")
@click.option("--config", type=click.Path(path_type=Path), help="File of the PredictiveScaler; a FILE needs none.")
@click.option("--name", "object_name", metavar="[NAMESPACE/]NAME", help="Which one, where the file holds several.")
@click.option("--from-kafka", is_flag=True, help="Load: the topic's own history, as its broker remembers it.")
@click.option("--from-prometheus", is_flag=True, help="Load: what Prometheus answers to --query.")
@click.option("--prometheus", metavar="URL", help="[default: where the resource finds its latency]")
@click.option("--query", metavar="PROMQL", help="Arrival rate in requests/s, as one series.")
@click.option(
    "--model",
    "models",
    multiple=True,
    type=click.Choice((*MODELS, ALL)),
    help=f"What is tried; repeat it.  [default: {', '.join(QUICK)}]",
)
@click.option(
    "--horizon",
    "horizons",
    multiple=True,
    type=DURATION,
    help="How far ahead; repeat it.  [default: 1m, 5m, 10m and 30m, but no less than a step]",
)
@click.option("--score", type=DURATION, default="48h", show_default=True, help="How much of the load's end is scored.")
@click.option("--history", type=DURATION, default="7d", show_default=True, help="Of what is before, fits see so much.")
@click.option("--refit", type=DURATION, default="24h", show_default=True, help="Time between fits.")
@click.option("--every", type=DURATION, help="Time between origins.  [default: about 7m; a step above 1m: each]")
@click.option(
    "--step",
    type=DURATION,
    help="Resample the load to this step.  [default: as it is, but 15s or the resource's forecast.step, or more]",
)
@click.option("--season", type=DURATION, help="Period of the load.  [default: the resource's, else a day]")
@click.option(
    "--lead-time",
    type=DURATION,
    help="At which `competition` scores its models.  [default: the resource's, else 5m, but no less than a step]",
)
@click.option("--fit-limit", type=DURATION, default="60s", show_default=True, help="A library's fit is stopped then.")
@click.option("--paths", type=click.IntRange(min=20), default=200, show_default=True, help="Drawn at each origin.")
@click.option("--out", default="out", show_default=True, type=click.Path(path_type=Path), help="Folder of the picture.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the paths.")
@click.option("-o", "--output", type=click.Choice(OUTPUTS), default="table", show_default=True)
def backtest(
    file: str | None,
    form: str,
    column: str | None,
    silence: float | None,
    config: Path | None,
    object_name: str | None,
    from_kafka: bool,
    from_prometheus: bool,
    prometheus: str | None,
    query: str | None,
    models: Sequence[str],
    horizons: Sequence[float],
    score: float,
    history: float,
    refit: float,
    every: float | None,
    step: float | None,
    season: float | None,
    lead_time: float | None,
    fit_limit: float,
    paths: int,
    out: Path,
    seed: int,
    output: str,
) -> None:
    """Forecast the end of a known load from rolling origins, and compare with what came.

    Each model is fitted on what is before the scored part, and again each --refit; every --every it says how many
    requests/s will come at each horizon, and then learns what did. The load is a FILE as for `lagcast simulate`, the
    topic's own history or a Prometheus query. The picture OUT/backtest.png shows each model's loss and the forecasts
    of the best one.

    PINBALL is the mean loss (requests/s) of the quantiles .1, .5, .9, .95 and .99; x NAIVE the same over the newest
    level's; MASE below 1 is a median better than the newest level's; COVERED is how often no more came than these
    quantiles said.

    \b
    Exit codes: 0 done; 1 an error that the message explains; 2 wrong usage, configuration or load; 130 interrupted.
    """
    with told():
        sources = {"FILE": file, "--from-kafka": from_kafka, "--from-prometheus": from_prometheus}
        given = [name for name, value in sources.items() if value]
        if len(given) != 1:
            raise BadSetting(
                f"load: found {' and '.join(given) or 'none'}; allowed: exactly one of {', '.join(sources)}"
            )
        _only(from_prometheus, {"--prometheus": prometheus, "--query": query}, "--from-prometheus", given[0])
        _only(file is not None, {"--column": column, "--silence": silence}, "a FILE", given[0])
        if config is None and (file is None or object_name is not None):
            raise BadSetting("--config: found nothing; needed with --from-kafka, --from-prometheus and --name")
        names = _installed(models)
        resource = None if config is None else resource_in(config, object_name)
        picture = out / "backtest.png"
        make_ready(picture)
        series = _series(file, form, column, silence, resource, from_kafka, prometheus, query, score + history, seed)
        live = Forecast() if resource is None else resource.spec.forecast
        series = _stepped(series, step, float(live.step))
        plan = plan_of(
            series,
            horizons=horizons or [h for h in HORIZONS if h >= series.step] or [series.step],
            score=score,
            history=history,
            refit=refit,
            every=usual_every(series.step) if every is None else every,
            count=paths,
            seed=seed,
        )
        if np.isnan(series.rates[plan.first :]).all():
            raise BadSetting(f"load: nothing is known of its last {score:g} s, which are scored; give another --score")
        _say_horizons(horizons, series.step)
        _say_unused(resource)
        with contextlib.closing(Worker(fit_limit)) as guard:
            about = _about(series, plan, resource, season, lead_time, guard)
            names = _with_season(names, about.season)
            made = _run_all(names, series, plan, about)
        table = [row for forecasts in made for row in rows(forecasts, series, plan)]
        if not any(row.origins for row in table):
            raise BadSetting(
                "load: at no origin there is both a forecast and something known to compare it to; score another part "
                "of the load (--score), or more often (--every)"
            )
        with whole(picture) as new:
            from simulations.backtest_picture import draw_backtest

            draw_backtest(made, plan, series, new)
        _show(table, made, series, plan, output)
        click.echo(f"picture: {picture}", err=True)


def _say_unused(resource: PredictiveScaler | None) -> None:
    if resource is None:
        return
    forecast = resource.spec.forecast
    said = {
        "forecast.timeZone": forecast.time_zone != "UTC",
        "forecast.holidays": bool(forecast.holidays),
        "plannedEvents": bool(resource.spec.planned_events),
    }
    if unused := [name for name, stated in said.items() if stated]:
        click.echo(f"models are tried as they learn, without the resource's {', '.join(unused)}", err=True)


def _only(given: bool, options: dict[str, Any], source: str, found: str) -> None:
    """Raises BadSetting for options that would change nothing."""
    wrong = [name for name, value in options.items() if value is not None]
    if wrong and not given:
        raise BadSetting(f"{', '.join(wrong)}: found with {found}; allowed: only with {source}")


def _series(
    file: str | None,
    form: str,
    column: str | None,
    silence: float | None,
    resource: PredictiveScaler | None,
    from_kafka: bool,
    prometheus: str | None,
    query: str | None,
    span: float,
    seed: int,
) -> Series:
    if file is not None:
        return loads.from_file(file, form, seed, column, silence)
    assert resource is not None  # noqa: S101  for mypy: only a FILE needs none
    if from_kafka:
        return loads.from_kafka(resource, span)[0]
    return loads.from_prometheus(resource, prometheus, query, span)


def _say_horizons(asked: Sequence[float], step: float) -> None:
    """On stderr, where what is scored is not what was asked for."""
    for horizon in asked:
        scored = round(horizon / step) * step
        if horizon < step * (1 - 1e-9):
            click.echo(f"--horizon {horizon:g}s: left out: shorter than a step of {step:g} s", err=True)
        elif abs(scored - horizon) > 1e-6:
            click.echo(f"--horizon {horizon:g}s: scored at {scored:g} s, whole steps of {step:g} s", err=True)


def _installed(models: Sequence[str]) -> list[str]:
    """The models that are asked for; of all, those whose library is there: which are not is told on stderr. Raises
    SimulationError for one that was named."""
    wanted = list(MODELS) if ALL in models else list(dict.fromkeys(models)) or list(QUICK)
    without = missing(wanted)
    named = [why for name, why in without.items() if name in models]
    if named:
        raise SimulationError("\n".join(named))
    for why in without.values():
        click.echo(f"left out: {why}", err=True)
    return [name for name in wanted if name not in without]


def _with_season(names: Sequence[str], season: float | None) -> list[str]:
    """The models but for the one that only repeats a season, where there is none; why is told on stderr."""
    if season is not None or SEASONAL not in names:
        return list(names)
    why = f"{SEASONAL}: no season in whole steps was seen before what is scored; give --season, --step or a longer load"
    left = [name for name in names if name != SEASONAL]
    if not left:
        raise BadSetting(why)
    click.echo(f"{why}; left out", err=True)
    return left


def _stepped(series: Series, step: float | None, live: float) -> Series:
    if step is None:  # as forecasters see it live: at finer steps those that count in them do worse than they would
        return series if series.step >= live else resample(series, live)
    if step < series.step:
        raise BadSetting(f"--step: found {step:g} s; allowed: at least the load's own, {series.step:g} s")
    return resample(series, step)


def _about(
    series: Series,
    plan: Plan,
    resource: PredictiveScaler | None,
    season: float | None,
    lead_time: float | None,
    guard: Guard,
) -> About:
    if season is None:
        season = DAY if resource is None else float(resource.spec.forecast.season)
        if round(season / series.step) < 2:
            click.echo(f"no model is told the season, {season:g} s: it is not two steps of {series.step:g} s", err=True)
            season = None
        elif season > plan.first * series.step or abs(season / series.step - round(season / series.step)) > 1e-6:
            season = None  # nothing of it was seen, or steps do not meet it
    elif round(season / series.step) < 2 or abs(season / series.step - round(season / series.step)) > 1e-6:
        raise BadSetting(f"--season: found {season:g} s; allowed: two or more whole steps of {series.step:g} s")
    if lead_time is None:
        lead_time = 300.0 if resource is None else float(resource.spec.replicas.lead_time)
    longest = plan.horizons[-1] * series.step
    history = plan.history * series.step
    return About(series.step, season, longest, history, max(lead_time, series.step), guard, plan.seed)


def _run_all(names: Sequence[str], series: Series, plan: Plan, about: About) -> list[Forecasts]:
    made, count = [], len(plan.origins)
    unfitted: list[str] = []
    with progress("origins", count * len(names)) as show:
        for place, name in enumerate(names):
            make, before = MODELS[name], place * count
            try:
                made.append(run(name, lambda make=make: make(about), series, plan, lambda n, b=before: show(b + n)))  # type: ignore[misc]
            except NotEnoughHistory as short:
                made.append(without_forecast(name, series, plan, str(short).removeprefix(f"{name}: ")))
                unfitted.append(f"load: {name}: {made[-1].detail}")
    if len(unfitted) == len(names):
        raise BadSetting("\n".join(unfitted))
    for one in made:
        if one.detail:
            click.echo(f"{one.model}: {one.detail}", err=True)
        if one.silent and not np.isnan(one.fit_seconds).any():
            click.echo(f"{one.model}: no forecast at {one.silent} of {count} origins: too long nothing came", err=True)
    return made


def _show(table: Sequence[Row], made: Sequence[Forecasts], series: Series, plan: Plan, output: str) -> None:
    by_name = {one.model: one for one in made}
    figures = [_figures(row, by_name[row.model], by_name.get("naive")) for row in table]
    if output == "csv":
        as_csv(figures)
    elif output == "json":
        details = {one.model: one.detail or None for one in made}
        as_json(
            {"step": series.step, "origins": len(plan.origins), "seed": plan.seed, "details": details, "rows": figures}
        )
    else:
        titles = (
            "MODEL",
            "AHEAD",
            "PINBALL",
            "x NAIVE",
            "MASE",
            "COVERED .9",
            ".95",
            ".99",
            "BIAS",
            "s A FIT",
            "TRUSTED",
        )
        order = {name: place for place, name in enumerate(one.model for one in made)}
        ordered = sorted(zip(table, figures, strict=True), key=lambda both: (both[0].horizon, order[both[0].model]))
        as_table(titles, [_line(row, figure) for row, figure in ordered])
        hours = (plan.last - plan.first) * series.step / 3600
        click.echo(
            f"{len(plan.origins)} origins over {hours:.1f} h; +- is a standard error of the share covered", err=True
        )


def _times_naive(horizon: float, model: Forecasts, naive: Forecasts) -> float | None:
    """Its loss over naive's, over the origins at which both had a forecast; None where that is nothing."""
    place = model.horizons.tolist().index(horizon)
    ours, theirs = pinball_losses(model)[:, place], pinball_losses(naive)[:, place]
    both = ~(np.isnan(ours) | np.isnan(theirs))
    below = float(theirs[both].sum())
    return float(ours[both].sum()) / below if below > 0 else None


def _figures(row: Row, model: Forecasts, naive: Forecasts | None) -> dict[str, Any]:
    shares = {f"covered_{c.level:g}": known(c.share) for c in row.covered}
    errors = {f"covered_{c.level:g}_error": known(c.error) for c in row.covered}
    return {
        "model": row.model,
        "horizon": row.horizon,
        "origins": row.origins,
        "pinball": known(row.pinball),
        "times_naive": None if naive is None else _times_naive(row.horizon, model, naive),
        "mase": known(row.mase),
        **shares,
        **errors,
        "bias": known(row.bias),
        "fit_seconds": known(row.fit_seconds),
        "trusted": row.trusted,
        "silent": model.silent,
    }


def _line(row: Row, figure: dict[str, Any]) -> list[str]:
    covered = [f"{100 * c.share:.1f}% +- {100 * c.error:.1f}" for c in row.covered] or ["-"] * 3
    ahead = f"{row.horizon / 60:g}m" if row.horizon >= 60 else f"{row.horizon:g}s"
    return [
        row.model,
        ahead,
        number(row.pinball, ".4g"),
        number(figure["times_naive"], ".3f"),
        number(row.mase, ".3f"),
        *covered,
        number(100 * row.bias, "+.1f") + ("%" if row.bias == row.bias else ""),
        number(row.fit_seconds, ".2f"),
        "" if row.trusted is None else f"{100 * row.trusted:.0f}%",
    ]
