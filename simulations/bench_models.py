"""Is the default forecaster better on recorded load than the library model that is best there, known afterwards?

``python -m simulations.bench_models``. Each trace as it was recorded, as ``lagcast backtest`` goes over it: a fit on
seven days, a refit each day, rolling origins. The library model is one for the whole trace, the one whose mean pinball
loss over the horizons turned out smallest. Losses are compared at those origins at which every model had a forecast.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from forecasting.backtest import Plan, pinball_losses, plan_of, run, usual_every
from forecasting.backtest_models import MODELS, About
from forecasting.errors import BadSeries, NotEnoughHistory
from forecasting.forecaster import Forecaster, Paths
from forecasting.guarded import Fallback, Guard
from forecasting.series import Arrivals, Series
from forecasting.worker import Worker
from simulations.bench_calibration import FIRST, HISTORY, SPARSE
from simulations.bench_runner import Show, results_of
from simulations.executor import Executor
from simulations.store import Json, Store
from simulations.table import Table, number
from simulations.traces import find_trace, read_trace

Floats = NDArray[np.float64]

DEFAULT = "competition"
LIBRARY = ("ets", "sarimax", "unobserved", "auto-ets", "mstl", "prophet")
TRACES: tuple[str, ...] = tuple(FIRST)
HORIZONS = (60.0, 300.0, 600.0, 1800.0)  # s
MOST_MEAN = 1.0  # times the best library model's loss, geometric mean of the traces
MOST = 1.1  # on any trace
_DAY = 86_400.0
_LEAD_TIME = 300.0  # s, at which the default scores its models


@dataclass(frozen=True, slots=True)
class ModelJob:
    """One model on ``days`` of a trace. ``fit_limit``: s, after which a library's fit is stopped."""

    trace: str
    model: str
    days: int
    fit_limit: float
    seed: int = 0

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.model} on {self.trace}"


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """What a model came to. NaN where it had no forecast, or what came is not known."""

    losses: Floats  # mean pinball loss, requests/s [origins, horizons]
    horizons: tuple[float, ...]  # s
    fits: int
    fell_back: tuple[str, ...]  # why, of each fit after which the newest level is forecast instead
    fit_seconds: float | None  # median
    failed: str = ""  # why there is no forecast at all


@dataclass(frozen=True, slots=True)
class Compared:
    """A trace. Losses in requests/s, means over the horizons; None of a model that has none, or where none has."""

    trace: str
    origins: int  # at which all models are compared
    losses: Mapping[str, float | None]
    fell_back: Mapping[str, tuple[int, int]]  # of how many fits, where any
    silent: Mapping[str, int]  # origins at which others had a forecast, where any
    best: str | None  # of the library models
    ratio: float | None  # the default's loss over the best's
    error: float | None  # standard error of that, from what it would be without each single day
    by_horizon: Mapping[float, float | None]  # the same at each horizon (s), over the same model

    @property
    def met(self) -> bool:
        """Whether the ratio is known, and at most what is allowed on any trace."""
        return self.ratio is not None and self.ratio <= MOST


class Watched:
    """A model, and why each of its fits fell back to the newest level."""

    def __init__(self, inner: Forecaster) -> None:
        self.inner = inner
        self.name, self.step = inner.name, inner.step
        self.fell_back: list[str] = []

    def fit(self, history: Series) -> None:
        """See :class:`~forecasting.forecaster.Forecaster`."""
        self.inner.fit(history)
        reason: Fallback | None = getattr(self.inner, "fallback", None)
        if reason is not None:
            self.fell_back.append(str(reason))

    def update(self, arrivals: Arrivals) -> None:
        """See :class:`~forecasting.forecaster.Forecaster`."""
        self.inner.update(arrivals)

    @property
    def ready(self) -> bool:
        """Whether ``paths`` can be called."""
        return self.inner.ready

    def paths(self, steps: int, count: int, rng: np.random.Generator, out: Paths | None = None) -> Paths:
        """See :class:`~forecasting.forecaster.Forecaster`."""
        return self.inner.paths(steps, count, rng, out)


def jobs_of(traces: Sequence[str], models: Sequence[str], days: int, fit_limit: float) -> tuple[ModelJob, ...]:
    """The default and these models, on each trace."""
    names = dict.fromkeys((DEFAULT, *models))
    return tuple(ModelJob(trace, model, days, fit_limit) for trace in traces for model in names)


def planned(series: Series, first: int, days: int, seed: int) -> tuple[Series, Plan]:
    """The series up to the end of the ``days`` that are scored, from day ``first`` on. Raises BadSeries for too few."""
    a_day = round(_DAY / series.step)
    if len(series.rates) < (first + days) * a_day:
        raise BadSeries(f"{len(series.rates) / a_day:.1f} days; {first} before the {days} scored ones are needed")
    part = Series(series.start, series.step, series.rates[: (first + days) * a_day])
    plan = plan_of(
        part,
        horizons=HORIZONS,
        score=days * _DAY,
        history=HISTORY * _DAY,
        refit=_DAY,
        every=usual_every(part.step),
        seed=seed,
    )
    return part, plan


def run_model_job(job: ModelJob) -> Json:
    """One model over one trace."""
    series, plan = planned(read_trace(find_trace(job.trace)), FIRST[job.trace], job.days, job.seed)
    with contextlib.closing(Worker(job.fit_limit)) as guard:
        return to_json(scored(job.model, series, plan, guard))


def scored(model: str, series: Series, plan: Plan, guard: Guard) -> Scored:
    """One model over a series. A model that cannot learn from it has failed, which is no error."""
    step = series.step
    horizons = tuple(ahead * step for ahead in plan.horizons)
    about = About(step, _DAY, horizons[-1], plan.history * step, max(_LEAD_TIME, step), guard, plan.seed)
    watched = Watched(MODELS[model](about))
    try:
        forecasts = run(model, lambda: watched, series, plan)
    except NotEnoughHistory as short:
        return Scored(np.full((len(plan.origins), len(horizons)), np.nan), horizons, 0, (), None, str(short))
    losses, seconds = pinball_losses(forecasts), forecasts.fit_seconds
    return Scored(losses, horizons, len(seconds), tuple(watched.fell_back), float(np.median(seconds)))


def to_json(one: Scored) -> Json:
    """As JSON's types; None for what is not known."""
    losses = [[None if math.isnan(loss) else loss for loss in row] for row in one.losses.tolist()]
    return {**asdict(one), "losses": losses}


def from_json(document: Json) -> Scored:
    """What ``to_json`` was given."""
    losses = np.array(document["losses"], dtype=np.float64)
    read = {**document, "losses": losses, "horizons": tuple(document["horizons"])}
    return Scored(**{**read, "fell_back": tuple(document["fell_back"])})


def run_all(
    jobs: Sequence[ModelJob], version: Callable[[str], str], store: Store, executor: Executor, show: Show
) -> list[Compared]:
    """Each trace's comparison; results that are kept of a model's ``version`` are not made again. Raises JobFailed."""
    keys: dict[ModelJob, Json] = {job: {"version": version(job.model), "models": asdict(job)} for job in jobs}
    results = results_of("models", keys, run_model_job, store, executor, show)
    by_trace: dict[str, dict[str, Scored]] = {}
    for job in jobs:
        by_trace.setdefault(job.trace, {})[job.model] = from_json(results[job])
    days = {job.trace: job.days for job in jobs}
    return [compare(trace, models, days[trace]) for trace, models in by_trace.items()]


def compare(trace: str, models: Mapping[str, Scored], days: int) -> Compared:
    """The default against the library model that is best in hindsight; ``days`` is how many the origins span."""
    known = {name: ~np.isnan(one.losses).any(axis=1) for name, one in models.items() if not one.failed}
    # An origin of which nobody knows anything is no silence.
    anyone = np.logical_or.reduce(list(known.values())) if known else np.zeros(0, dtype=bool)
    both = np.logical_and.reduce(list(known.values())) if known else anyone
    means: dict[str, Floats | None] = {
        name: one.losses[both].mean(axis=0) if name in known and both.any() else None for name, one in models.items()
    }
    losses = {name: None if mean is None else float(mean.mean()) for name, mean in means.items()}
    library = {name: loss for name, loss in losses.items() if name in LIBRARY and loss is not None}
    best = min(library, key=library.__getitem__, default=None)
    ours, theirs = means[DEFAULT], None if best is None else means[best]
    horizons = models[DEFAULT].horizons
    return Compared(
        trace,
        int(both.sum()),
        losses,
        {name: (len(one.fell_back), one.fits) for name, one in models.items() if one.fell_back},
        {name: int((anyone & ~there).sum()) for name, there in known.items() if (anyone & ~there).any()},
        best,
        None if best is None else over(losses[DEFAULT], losses[best]),
        None if best is None else jackknife(models[DEFAULT].losses[both], models[best].losses[both], days),
        {
            horizon: None if ours is None or theirs is None else over(float(ours[h]), float(theirs[h]))
            for h, horizon in enumerate(horizons)
        },
    )


def over(ours: float | None, theirs: float | None) -> float | None:
    """The ratio of two losses; None where one is not known, or the lower one is nothing."""
    return None if ours is None or theirs is None or theirs <= 0 else ours / theirs


def jackknife(ours: Floats, theirs: Floats, days: int) -> float | None:
    """Standard error of the ratio of two mean losses [origins, horizons], by leaving out one day after the other
    (Efron and Stein, 1981): origins of one day are not independent. None of a single day."""
    parts = [np.array_split(losses.sum(axis=1), days) for losses in (ours, theirs)]
    sums = np.array([[part.sum() for part in split] for split in parts])
    above, below = sums.sum(axis=1, keepdims=True) - sums
    if days < 2 or not (below > 0).all():
        return None
    return float(np.std(above / below) * math.sqrt(days - 1))


def mean_ratio(compared: Sequence[Compared]) -> float | None:
    """Geometric mean of the traces' ratios; None when one is not known."""
    known = [one.ratio for one in compared if one.ratio is not None]
    if not known or len(known) < len(compared):
        return None
    return math.exp(sum(math.log(ratio) for ratio in known) / len(known)) if min(known) > 0 else 0.0


def mean_ratios(compared: Sequence[Compared]) -> dict[str, float | None]:
    """Of all traces, and of those that are not silent most of the time, where there are both."""
    busy = [one for one in compared if one.trace not in SPARSE]
    means = {"geometric mean": mean_ratio(compared)}
    if 0 < len(busy) < len(compared):
        silent = ", ".join(one.trace for one in compared if one.trace in SPARSE)
        means[f"without {silent}"] = mean_ratio(busy)
    return means


def mean_met(mean: float | None) -> bool:
    """Whether a mean ratio is known, and at most what is allowed."""
    return mean is not None and mean <= MOST_MEAN


def met(compared: Sequence[Compared]) -> bool:
    """Whether the default is, in the mean, no worse than the best library models, and nowhere much worse."""
    return all(map(mean_met, mean_ratios(compared).values())) and all(one.met for one in compared)


def ratios_table(compared: Sequence[Compared]) -> Table:
    """A line for each trace, and one for all."""
    ahead = [horizon for horizon in HORIZONS if any(horizon in one.by_horizon for one in compared)]
    about = (
        "Pinball losses of the quantiles .1, .5, .9, .95 and .99 in requests/s, means over horizons and ORIGINS: the "
        "DEFAULT's over that of the BEST library model, one for the whole trace, chosen by what came. MET: at most "
        f"{MOST:g} on each trace, at most {MOST_MEAN:g} as a geometric mean; also without the trace that is silent "
        "most of the time, where the libraries' models are so bad that it alone would bring the mean down. RATIO with "
        "its standard error from the differences between days; at each horizon over the same model."
    )
    lines = [
        (
            one.trace,
            str(one.origins),
            number(one.losses[DEFAULT], ".4g"),
            one.best or "-",
            number(None if one.best is None else one.losses[one.best], ".4g"),
            number(one.ratio, ".3f") + ("" if one.error is None else f" +- {one.error:.3f}"),
            *(number(one.by_horizon.get(horizon), ".3f") for horizon in ahead),
            "yes" if one.met else "NO",
        )
        for one in compared
    ]
    lines += [
        (name, "", "", "", "", number(mean, ".3f"), *("" for _ in ahead), "yes" if mean_met(mean) else "NO")
        for name, mean in mean_ratios(compared).items()
    ]
    at = (f"{horizon / 60:g} MIN" for horizon in ahead)
    titles = ("TRACE", "ORIGINS", "DEFAULT", "BEST", "ITS LOSS", "RATIO", *at, "MET")
    return Table("default over the best library model", about, titles, tuple(lines))


def losses_table(compared: Sequence[Compared]) -> Table:
    """A line for each trace, a column for each model."""
    models = list(dict.fromkeys(name for one in compared for name in one.losses))
    about = (
        "The same losses of every model; of those that are no library's none can be BEST. In brackets: fits, of all, "
        "that failed, exploded or ran out of time, after which the newest level is forecast until the next one; and "
        "origins at which the model alone had no forecast, which so are scored of none. `-`: it could not learn at all."
    )
    lines = tuple((one.trace, *(_loss(one, name) for name in models)) for one in compared)
    return Table("losses", about, ("TRACE", *models), lines)


def _loss(one: Compared, model: str) -> str:
    told = number(one.losses.get(model), ".4g")
    if model in one.fell_back:
        told += " ({} of {} fits)".format(*one.fell_back[model])
    if model in one.silent:
        told += f" ({one.silent[model]} silent)"
    return told


if __name__ == "__main__":
    from simulations.commands.bench_models import bench_models

    bench_models()
