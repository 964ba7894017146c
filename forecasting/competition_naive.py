"""The newest level as a referee: as little as a forecast can say, at next to no cost."""

from __future__ import annotations

import math

import numpy as np

from forecasting.direct.kept import Kept, Remembers
from forecasting.errors import NotReady
from forecasting.forecaster import Paths
from forecasting.trajectories import (
    CEILING,
    WIDEST_ERROR,
    add_count_noise,
    draw,
    fill_forward,
    finish,
    without_errors,
)

_DAY = 86400.0
_MINUTE = 60.0
_DRIFT = 0.1  # log standard deviation by which a level wanders in a minute while no errors are known
_TRIED = 3  # origins looked at for each path
_LIKE = 0.7  # distance in log level at which an origin's weight has fallen to e^-1/2
_ASSUMED = 5  # origins that the assumed errors count for


class NewestLevel(Remembers):
    """Forecast = the newest minute's mean rate; around it whole error trajectories of the last day's origins at a like
    level.

    The same model as :class:`~forecasting.models.naive.Naive`, without a library model's machinery: scoring others
    against it must cost less than they do. ``step`` in seconds.
    """

    name = "naive"

    def __init__(self, step: float, seed: int = 0) -> None:
        self.step = step
        self.width = max(1, round(_MINUTE / step))
        self.calm = 1.0 / max(step, _MINUTE)
        self.series = Kept(step, max(2 * self.width, round(_DAY / step)), seed)

    def paths(self, steps: int, count: int, rng: np.random.Generator, out: Paths | None = None) -> Paths:
        """See :class:`~forecasting.forecaster.Forecaster`."""
        series, width, calm = self.series, self.width, np.float32(self.calm)
        if math.isnan(series.newest):
            raise NotReady(f"{self.name}: nothing was learned or observed yet")
        rates = series.rates
        newest = [rate for rate in rates[-width:].tolist() if not math.isnan(rate)]
        level = sum(newest) / len(newest) if newest else series.newest
        # Origins with a whole level behind them and, where there are enough, a whole future before them.
        origins = len(rates) - width + 1 - min(steps, len(rates) // 2)
        assumed = round(count * _ASSUMED / (_ASSUMED + max(origins, 0))) if origins > 0 else count
        errors = np.empty((count, steps), np.float32)
        if assumed:
            drift = _DRIFT * math.sqrt(self.step / _MINUTE)
            seen = max(len(newest), 1) * self.step
            errors[:assumed] = without_errors(level, seen, drift, steps, assumed, rng)
        lent = count - assumed
        if lent:
            tried = _TRIED * lent
            strata = (np.arange(tried) + rng.random(tried)) * (origins / tried)
            first = width + np.minimum(strata.astype(np.intp), origins - 1)
            before = np.log(rates[first[:, None] - np.arange(1, width + 1)].mean(axis=1) + calm)
            weights = np.exp(-0.5 * ((before - math.log(level + self.calm)) / _LIKE) ** 2)
            weights = np.nan_to_num(weights) + 1e-9  # at a level never seen before, all are alike
            chosen = draw(weights, lent, rng)
            first, before = first[chosen], before[chosen]
            ahead = np.minimum(first[:, None] + np.arange(steps), len(rates) - 1)
            past = np.log(rates[ahead] + calm) - before[:, None]
            errors[assumed:] = fill_forward(np.clip(past, -WIDEST_ERROR, WIDEST_ERROR))
        paths = np.exp(errors, out=errors)
        paths *= np.float32(level) + calm
        paths -= calm
        if assumed:
            np.maximum(paths[:assumed], 0.0, out=paths[:assumed])
            add_count_noise(paths[:assumed], self.step, np.ones(assumed), rng)
        return finish(paths, CEILING * max(series.peak, level), out)
