"""A forecaster run over recorded load as a controller runs it: updated each step, refitted each day, and scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from forecasting.calibration import HORIZONS, LEVELS, WINDOW, Outcomes, means_at, pinball, randomised_pit
from forecasting.forecaster import Forecaster
from forecasting.series import Arrivals, Series

F = TypeVar("F", bound=Forecaster)

_SCORED = (0.1, 0.5, *LEVELS)
# s; each origin at another phase of the periods that load has (5, 10, 15 minutes): else one phase is all that is judged
_EVERY = 420.0


def follow(
    model: F,
    load: Series,
    *,
    horizons: Sequence[float] = HORIZONS,
    every: float = _EVERY,
    count: int = 400,
    seed: int = 0,
    window: float = WINDOW,
    refit: Callable[[F], None] | None = None,
    refit_every: float = 86400.0,
    begin: float | None = None,
) -> list[Outcomes]:
    """Feed ``load`` (steps of the model's own; NaN is a gap) into a fitted ``model``; returns its outcomes by horizon.

    Every ``every`` s from ``begin`` (unix s; None: from the start) ``count`` paths are drawn, from a generator of
    ``seed`` and the origin; ``refit`` is called each ``refit_every`` s. Paths begin where what is known ends; an origin
    counts when that is no longer ago than the longest horizon, and the ``window`` s before the horizon are known.
    Raises ``ValueError`` when the steps differ.
    """
    if load.step != model.step:
        raise ValueError(f"load in steps of {load.step} s; the model has steps of {model.step} s")
    step, rates = load.step, load.rates
    steps = max(round(horizon / step) for horizon in horizons)
    stride, between = max(1, round(every / step)), max(1, round(refit_every / step))
    first = 0 if begin is None else max(0, round((begin - load.start) / step))
    rows: list[list[tuple[float, float, float, float]]] = [[] for _ in horizons]
    age = 0  # steps since the newest known one
    for at in range(len(rates) - steps + 1):
        if at and refit is not None and at % between == 0:
            refit(model)
        if at >= first and (at - first) % stride == 0 and model.ready and age <= steps:
            paths = model.paths(age + steps, count, np.random.default_rng((seed, 1, at)))[:, age:]
            ties = np.random.default_rng((seed, 2, at))
            for horizon, row in zip(horizons, rows, strict=True):
                outcome = float(means_at(rates[None, at : at + steps], step, horizon, window)[0])
                if np.isfinite(outcome):
                    samples = means_at(paths, step, horizon, window)
                    pit = randomised_pit(samples, outcome, max(window, step), float(ties.random()))
                    loss = pinball(samples, outcome, _SCORED)
                    row.append((load.start + at * step, float(np.median(samples)), pit, loss))
        age += 1
        if np.isfinite(rates[at]):
            age = 0
            model.update(Arrivals(load.start + (at + 1) * step, step, float(rates[at] * step)))
    return [
        Outcomes(horizon, *np.array(row, dtype=np.float64).reshape(-1, 4).T)
        for horizon, row in zip(horizons, rows, strict=True)
    ]
