"""Models on a known past, as they would have run: fitted on what was before, asked at rolling origins, told more."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecasting.calibration import Coverage, Outcomes, coverage, means_at, randomised_pit
from forecasting.competition_scores import TAUS
from forecasting.errors import BadSeries, NotEnoughHistory
from forecasting.forecaster import Forecaster, Judged
from forecasting.series import Arrivals, Series, check

Floats = NDArray[np.float64]
Progress = Callable[[int], None]

WINDOW = 60.0  # s up to the horizon over which arrivals are averaged, where a step is not longer
_EVERY = 420.0  # s; load has periods of 5, 10 and 15 minutes, of which origins must not see one phase only
_MEDIAN = int(np.flatnonzero(TAUS == 0.5)[0])


@dataclass(frozen=True, slots=True)
class Plan:
    """Which part of a series is scored, and how. All in whole steps of it; ``first`` is the first origin.

    A model is fitted on the newest ``history`` steps before the first origin, and again after each ``refit``. At every
    ``every``-th step it draws ``count`` paths; ``horizons`` are the steps ahead that are scored.
    """

    first: int
    last: int  # origins are before it
    horizons: tuple[int, ...]
    history: int
    refit: int
    every: int
    count: int = 200
    seed: int = 0

    @property
    def origins(self) -> range:
        """Steps that are the first unknown one."""
        return range(self.first, self.last, self.every)


@dataclass(frozen=True, slots=True, eq=False)
class Forecasts:
    """What one model said of the mean rate over the minute (or step) up to each horizon, and what came. NaN where
    nothing is known. Rates in requests/s."""

    model: str
    origins: Floats  # unix s [origins]
    horizons: Floats  # s [horizons]
    quantiles: Floats  # at TAUS [origins, horizons, TAUS]
    means: Floats  # of the paths [origins, horizons]
    came: Floats  # [origins, horizons]
    pits: Floats  # randomised probability integral transforms [origins, horizons]
    fit_seconds: Floats  # of each fit
    trusted: float | None  # share of origins at which a model that judges itself was trusted
    detail: str  # what it says of itself at the end; empty when nothing
    silent: int = 0  # origins at which it had no forecast: nothing was known, or for longer than the longest horizon


@dataclass(frozen=True, slots=True)
class Row:
    """One model at one horizon (s). ``mase``: mean absolute error of the median over that of the newest level in the
    history before the first origin (Hyndman and Koehler, 2006, whose distance is one step): the mean rates of two
    minutes (or steps) that end the horizon apart, the same averaging as what is scored. ``bias``: mean of the forecast
    means over that of what came, less 1. ``covered``: shares at or below the quantiles .9, .95, .99, with their errors.
    """

    model: str
    horizon: float
    origins: int
    pinball: float  # requests/s, mean over TAUS
    mase: float
    covered: tuple[Coverage, ...]
    bias: float
    fit_seconds: float  # median
    trusted: float | None


def usual_every(step: float) -> float:
    """Seconds between origins: about seven minutes, in a prime number of steps of ``step`` s; a step where it is longer
    than a minute.

    So every period of whole steps, but for multiples of this one, is seen at each of its phases.
    """
    steps = round(_EVERY / step)
    if steps < 7:  # a prime divides no period of minutes that is found in load, but for 2, 3 and 5
        return step
    while any(steps % k == 0 for k in range(2, math.isqrt(steps) + 1)):
        steps += 1
    return steps * step


def plan_of(
    series: Series,
    *,
    horizons: Sequence[float],
    score: float,
    history: float,
    refit: float,
    every: float,
    count: int = 200,
    seed: int = 0,
) -> Plan:
    """The plan for the last ``score`` s of a series; everything in seconds. Raises ``BadSeries`` when it cannot be."""
    check(series)
    step, total = series.step, len(series.rates)
    ahead = tuple(sorted({round(h / step) for h in horizons if h >= step * (1 - 1e-9)}))
    if not ahead:
        told = ", ".join(f"{h:g} s" for h in horizons)
        raise BadSeries(f"horizons: found {told}; allowed: at least one step of the load, {step:g} s")
    last = total - ahead[-1] + 1
    first = total - max(1, round(score / step))
    if first < 2 or first >= last:
        raise BadSeries(
            f"load: found {total} steps of {step:g} s; needed: the {score:g} s that are scored, history before them "
            f"and, within them, the longest horizon of {ahead[-1] * step:g} s"
        )
    return Plan(
        first,
        last,
        ahead,
        max(2, round(history / step)),
        max(1, round(refit / step)),
        max(1, round(every / step)),
        count,
        seed,
    )


def run(
    name: str,
    make: Callable[[], Forecaster],
    series: Series,
    plan: Plan,
    progress: Progress = lambda done: None,
    clock: Callable[[], float] = time.perf_counter,
) -> Forecasts:
    """One model over the series. ``progress`` is told how many origins are done; ``clock`` (s) measures fits.

    The same series, plan and model give the same forecasts. Raises ``NotEnoughHistory`` when it cannot learn at all.
    """
    model, step = make(), series.step
    shape = len(plan.origins), len(plan.horizons)
    quantiles, means = np.full((*shape, len(TAUS)), np.nan), np.full(shape, np.nan)
    came, pits = np.full(shape, np.nan), np.full(shape, np.nan)
    drawn, ties = np.random.default_rng((plan.seed, 1)), np.random.default_rng((plan.seed, 2))
    fits: list[float] = []
    trusted = silent = 0
    known_until = np.maximum.accumulate(np.where(np.isnan(series.rates), 0, np.arange(1, len(series.rates) + 1)))
    for origin in range(plan.first, plan.last):
        since = origin - plan.first
        if since % plan.refit == 0:
            begin = max(0, origin - plan.history)
            # As live, forecasts begin where what is known ends.
            until = int(known_until[origin - 1]) if known_until[origin - 1] > begin else origin
            part = Series(series.start + begin * step, step, series.rates[begin:until].copy())
            began = clock()
            try:
                model.fit(part)
            except NotEnoughHistory as short:
                if not fits:
                    raise NotEnoughHistory(f"{name}: {short}") from short
            fits.append(clock() - began)
        if since % plan.every == 0:
            k = since // plan.every
            age = origin - int(known_until[origin - 1])  # steps; paths begin at the newest that is known
            drawable = age <= plan.horizons[-1] and model.ready
            silent += not drawable
            paths = model.paths(age + plan.horizons[-1], plan.count, drawn)[:, age:] if drawable else None
            for h, ahead in enumerate(plan.horizons):
                outcome = float(means_at(series.rates[None, origin : origin + ahead], step, ahead * step, WINDOW)[0])
                came[k, h] = outcome
                if paths is None:
                    continue
                samples = means_at(paths, step, ahead * step, WINDOW)
                quantiles[k, h], means[k, h] = np.quantile(samples, TAUS), samples.mean()
                if not math.isnan(outcome):
                    pits[k, h] = randomised_pit(samples, outcome, max(WINDOW, step), float(ties.random()))
            trusted += isinstance(model, Judged) and model.trusted
            progress(k + 1)
        rate = float(series.rates[origin])
        if not math.isnan(rate):
            model.update(Arrivals(series.start + (origin + 1) * step, step, rate * step))
    return Forecasts(
        name,
        series.start + np.array(plan.origins) * step,
        np.array(plan.horizons) * step,
        quantiles,
        means,
        came,
        pits,
        np.array(fits),
        trusted / shape[0] if isinstance(model, Judged) else None,
        _detail(model),
        silent,
    )


def without_forecast(name: str, series: Series, plan: Plan, why: str) -> Forecasts:
    """Of a model that could not learn at all: nothing was said, and ``detail`` is why."""
    shape = len(plan.origins), len(plan.horizons)
    nothing = np.full(shape, np.nan)
    return Forecasts(
        name,
        series.start + np.array(plan.origins) * series.step,
        np.array(plan.horizons) * series.step,
        np.full((*shape, len(TAUS)), np.nan),
        nothing,
        nothing,
        nothing,
        np.array([np.nan]),
        None,
        why,
        shape[0],
    )


def _detail(model: Forecaster) -> str:
    """Why a model speaks of the newest level only, where it says so."""
    from forecasting.models.direct import Direct
    from forecasting.models.library import LibraryModel

    if isinstance(model, Judged):
        return model.why or ""
    if isinstance(model, Direct):
        return model.reason or ""
    if isinstance(model, LibraryModel) and model.fallback is not None:
        return f"{model.fallback}: {model.detail}"
    return ""


def pinball_losses(forecasts: Forecasts) -> Floats:
    """Mean over TAUS [origins, horizons], requests/s; NaN where what came is not known, or nothing was forecast."""
    error = forecasts.came[:, :, None] - forecasts.quantiles
    return np.asarray(np.maximum(TAUS * error, (TAUS - 1) * error).mean(axis=2), dtype=np.float64)


def rows(forecasts: Forecasts, series: Series, plan: Plan) -> list[Row]:
    """The measures at each horizon; NaN where nothing is known."""
    losses = pinball_losses(forecasts)
    before = series.rates[max(0, plan.first - plan.history) : plan.first]
    made = []
    for h, ahead in enumerate(plan.horizons):
        came, medians = forecasts.came[:, h], forecasts.quantiles[:, h, _MEDIAN]
        known = ~np.isnan(losses[:, h])
        usual = _usual_error(before, ahead, series.step)
        mean, horizon = _mean(came[known]), float(forecasts.horizons[h])
        outcomes = Outcomes(
            horizon, forecasts.origins[known], medians[known], forecasts.pits[known, h], losses[known, h]
        )
        made.append(
            Row(
                forecasts.model,
                horizon,
                int(known.sum()),
                _mean(losses[:, h]),
                _mean(np.abs(came - medians)) / usual if usual > 0 else math.nan,
                tuple(c for c in coverage(outcomes, seed=plan.seed) if c.hours == "all"),
                _mean(forecasts.means[known, h]) / mean - 1 if mean > 0 else math.nan,
                float(np.median(forecasts.fit_seconds)),
                forecasts.trusted,
            )
        )
    return made


def _usual_error(rates: Floats, ahead: int, step: float) -> float:
    """Mean absolute difference of the mean rates (requests/s) over two minutes or steps that end ``ahead`` steps
    apart; NaN where none is known."""
    width = min(max(1, round(WINDOW / step)), ahead)
    if len(rates) < width + ahead:
        return math.nan
    levels = np.lib.stride_tricks.sliding_window_view(rates, width).mean(axis=-1)
    return _mean(np.abs(levels[ahead:] - levels[:-ahead]))


def _mean(values: Floats) -> float:
    """Of what is known; NaN when nothing is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan
