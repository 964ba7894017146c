"""Models on a known past, as they would have run: fitted on what was before, asked at rolling origins, then told more."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecasting.competition import Judged
from forecasting.competition_scores import TAUS
from forecasting.errors import BadSeries, NotEnoughHistory
from forecasting.forecaster import Forecaster
from forecasting.series import Arrivals, Series, check

Floats = NDArray[np.float64]
Progress = Callable[[int], None]

COVERED = (0.9, 0.95, 0.99)
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
    """What one model said, and what came. NaN where nothing is known."""

    model: str
    origins: Floats  # unix s [origins]
    horizons: Floats  # s, to the end of the step that is scored [horizons]
    quantiles: Floats  # requests/s [origins, horizons, TAUS]
    means: Floats  # of the paths [origins, horizons]
    came: Floats  # [origins, horizons]
    fit_seconds: Floats  # of each fit
    trusted: float | None  # share of origins at which a model that judges itself was trusted
    detail: str  # what it says of itself at the end; empty when nothing


@dataclass(frozen=True, slots=True)
class Row:
    """One model at one horizon (s). ``mase``: mean absolute error of the median over that of the newest level at the
    same distance, in the history before the first origin (after Hyndman and Koehler, 2006, whose scale is one step).
    ``bias``: mean of the forecast means over that of what came, less 1."""

    model: str
    horizon: float
    origins: int
    pinball: float  # requests/s, mean over TAUS
    mase: float
    covered: tuple[float, ...]  # shares at or below the quantiles COVERED
    bias: float
    fit_seconds: float  # median
    trusted: float | None


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
    came = np.full(shape, np.nan)
    ahead = np.array(plan.horizons) - 1
    fits: list[float] = []
    trusted = 0
    for k, origin, part in _walk(series, plan):
        if part is not None:
            began = clock()
            try:
                model.fit(part)
            except NotEnoughHistory as short:
                if not fits:
                    raise NotEnoughHistory(f"{name}: {short}") from short
            fits.append(clock() - began)
        if k is None:
            rate = float(series.rates[origin])
            if not math.isnan(rate):
                model.update(Arrivals(series.start + (origin + 1) * step, step, rate * step))
            continue
        paths = model.paths(plan.horizons[-1], plan.count, np.random.default_rng((plan.seed, origin)))[:, ahead]
        quantiles[k] = np.quantile(paths, TAUS, axis=0).T
        means[k] = paths.mean(axis=0)
        came[k] = series.rates[origin + ahead]
        trusted += isinstance(model, Judged) and model.trusted
        progress(k + 1)
    return Forecasts(
        name,
        series.start + np.array(plan.origins) * step,
        np.array(plan.horizons) * step,
        quantiles,
        means,
        came,
        np.array(fits),
        trusted / shape[0] if isinstance(model, Judged) else None,
        _detail(model),
    )


def _walk(series: Series, plan: Plan) -> Iterator[tuple[int | None, int, Series | None]]:
    """What happens in its order: (place, origin, history to fit on before it) to ask, (None, step, None) to tell."""
    for origin in range(plan.first, plan.last):
        part = None
        if (origin - plan.first) % plan.refit == 0:
            begin = max(0, origin - plan.history)
            part = Series(series.start + begin * series.step, series.step, series.rates[begin:origin].copy())
        place = (origin - plan.first) // plan.every if (origin - plan.first) % plan.every == 0 else None
        if place is not None:
            yield place, origin, part
            yield None, origin, None
        else:
            yield None, origin, part


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
    """Mean over TAUS [origins, horizons], requests/s; NaN where what came is not known."""
    error = forecasts.came[:, :, None] - forecasts.quantiles
    return np.asarray(np.maximum(TAUS * error, (TAUS - 1) * error).mean(axis=2), dtype=np.float64)


def rows(forecasts: Forecasts, series: Series, plan: Plan) -> list[Row]:
    """The measures at each horizon; NaN where nothing is known."""
    losses = pinball_losses(forecasts)
    before = series.rates[max(0, plan.first - plan.history) : plan.first]
    made = []
    for h, ahead in enumerate(plan.horizons):
        came, said = forecasts.came[:, h], forecasts.quantiles[:, h]
        known = ~np.isnan(came)
        usual = _mean(np.abs(before[ahead:] - before[:-ahead]))
        error = _mean(np.abs(came - said[:, _MEDIAN]))
        mean = _mean(came)
        below = [
            _mean((came[known] <= said[known, int(np.flatnonzero(tau == TAUS)[0])]).astype(float)) for tau in COVERED
        ]
        made.append(
            Row(
                forecasts.model,
                float(forecasts.horizons[h]),
                int(known.sum()),
                _mean(losses[:, h]),
                error / usual if usual > 0 else math.nan,
                tuple(below),
                _mean(forecasts.means[known, h]) / mean - 1 if mean > 0 else math.nan,
                float(np.median(forecasts.fit_seconds)),
                forecasts.trusted,
            )
        )
    return made


def _mean(values: Floats) -> float:
    """Of what is known; NaN when nothing is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan
