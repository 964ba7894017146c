"""The newest level as a referee: as little as a forecast can say, at next to no cost."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from forecasting.compiled import compiled
from forecasting.direct.kept import Kept, Remembers
from forecasting.errors import NotReady
from forecasting.forecaster import Paths
from forecasting.trajectories import (
    CEILING,
    WIDEST_ERROR,
    add_count_noise,
    finish,
    room,
    systematic,
    without_errors,
)

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

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
        ceiling = CEILING * max(series.peak, level)
        out = room(out, count, steps)
        if assumed:
            drift = _DRIFT * math.sqrt(self.step / _MINUTE)
            seen = max(len(newest), 1) * self.step
            around = np.exp(without_errors(level, seen, drift, steps, assumed, rng)).astype(np.float32)
            around = np.maximum(around * (np.float32(level) + calm) - calm, np.float32(0.0))
            add_count_noise(around, self.step, np.ones(assumed), rng)
            finish(around, ceiling, out[:assumed])
        lent = count - assumed
        if lent:
            first, before = lenders(rates, rng.random(_TRIED * lent), origins, width, self.calm, level, rng.random())
            follow(rates, rng.permutation(lent), first, before, level, self.calm, ceiling, out[assumed:])
        return out


@compiled
def lenders(
    rates: Singles, uniforms: Floats, origins: int, width: int, calm: float, level: float, uniform: float
) -> tuple[NDArray[np.intp], Floats]:
    """A third of as many origins as there are ``uniforms`` [n] (0 to 1), by how alike the means of their last ``width``
    steps are to ``level``: the columns up to which they know ``rates``, and the logs of those means, both [n / 3].

    One is looked at in each of n parts of all ``origins``, and of those they are drawn from ``uniform`` on.
    """
    tried, here = len(uniforms), math.log(level + calm)
    first, before, weights = np.empty(tried, np.intp), np.empty(tried), np.empty(tried)
    for i in range(tried):
        first[i] = width + min(int((i + uniforms[i]) * (origins / tried)), origins - 1)
        total = 0.0
        for j in range(first[i] - width, first[i]):
            total += rates[j]
        before[i] = math.log(total / width + calm)
        weight = math.exp(-0.5 * ((before[i] - here) / _LIKE) ** 2)
        # At a level never seen before all are alike.
        weights[i] = 1e-9 if math.isnan(weight) else weight + 1e-9
    chosen = systematic(weights, tried // _TRIED, uniform)
    return first[chosen], before[chosen]


@compiled
def follow(
    rates: Singles,
    order: NDArray[np.int64],
    first: NDArray[np.intp],
    before: Floats,
    level: float,
    calm: float,
    ceiling: float,
    out: Singles,
) -> None:
    """Paths [n, steps] that leave ``level`` as ``rates`` left the log levels ``before`` [n] from column ``first`` [n]
    on, in the ``order`` [n] of these; where one is not known, as the step before."""
    for p in range(len(order)):
        begin, known, error = first[order[p]], before[order[p]], 0.0
        for k in range(out.shape[1]):
            past = math.log(rates[min(begin + k, len(rates) - 1)] + calm) - known
            if not math.isnan(past):
                error = min(max(past, -WIDEST_ERROR), WIDEST_ERROR)
            out[p, k] = min(max(math.exp(error) * (level + calm) - calm, 0.0), ceiling)
