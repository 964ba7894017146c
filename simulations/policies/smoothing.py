"""Additive exponential smoothing with a damped trend and a season (Holt 1957, Winters 1960; damping: Gardner 1985).

The recursion of Hyndman & Athanasopoulos, Forecasting: Principles and Practice, section 8.3. statsmodels' own fit of
one season of 288 steps over a week takes seconds, and one is wanted each day: here the weights are the best of a grid.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DAMPING = 0.98  # of the trend, each step: a slope does not go on for ever
_ALPHAS = (0.05, 0.1, 0.2, 0.4, 0.7)
_BETAS = (0.0, 0.02, 0.1)
_GAMMAS = (0.02, 0.1, 0.3, 0.6)
_LEAST_KNOWN = 0.5  # of each of the first two seasons


@dataclass(frozen=True, slots=True)
class Weights:
    """How fast level, trend and season follow, each in [0, 1]. None: what forecast the past best."""

    alpha: float | None = None
    beta: float | None = None
    gamma: float | None = None

    def grid(self) -> Floats:
        """All combinations that may be chosen, shape [k, 3]."""
        axes = (
            values if given is None else (given,)
            for given, values in zip((self.alpha, self.beta, self.gamma), (_ALPHAS, _BETAS, _GAMMAS), strict=True)
        )
        return np.array(list(product(*axes)))


class HoltWinters:
    """State after the last rate that was seen. Rates in requests/s; steps are numbered on."""

    def __init__(self, season: int) -> None:
        self.weights: tuple[float, float, float] | None = None  # None: not fitted yet
        self.next = 0  # number of the step that is to come
        self._season = season
        self._level = 0.0
        self._trend = 0.0
        self._seasonal: list[float] = []  # by step number modulo the season
        self._most = math.inf  # no forecast is above: twice the largest rate of the fit

    def fit(self, first: int, rates: Floats, weights: Weights) -> bool:
        """Choose the weights that forecast ``rates`` best, one step ahead, and run through them.

        ``rates``, shape [n], begins at step ``first``; NaN where not known. False, and nothing changed, with less than
        two seasons of which half is known.
        """
        m = self._season
        begins = (rates[:m], rates[m : 2 * m])
        if len(rates) < 2 * m or any(np.isfinite(part).mean() < _LEAST_KNOWN for part in begins):
            return False
        grid = weights.grid()
        level, trend, seasonal, errors = _run(rates, m, grid)
        best = int(np.argmin(errors))
        self.weights = (float(grid[best, 0]), float(grid[best, 1]), float(grid[best, 2]))
        self.next = first + len(rates)
        self._level, self._trend = float(level[best]), float(trend[best])
        # Row 0 of the run is step `first`.
        self._seasonal = np.roll(seasonal[:, best], first % m).tolist()
        self._most = 2.0 * float(np.nanmax(rates))
        return True

    def update(self, rate: float) -> None:
        """The next step's rate; NaN where it is not known: the state goes on as forecast."""
        if self.weights is None:
            raise ValueError("not fitted yet")
        alpha, beta, gamma = self.weights
        at = self.next % self._season
        self.next += 1
        ahead = self._level + DAMPING * self._trend
        if math.isnan(rate):
            self._level, self._trend = ahead, DAMPING * self._trend
            return
        season = self._seasonal[at]
        level = alpha * (rate - season) + (1 - alpha) * ahead
        self._seasonal[at] = gamma * (rate - ahead) + (1 - gamma) * season
        self._trend = beta * (level - self._level) + (1 - beta) * DAMPING * self._trend
        self._level = level

    def forecast(self, step: int) -> float | None:
        """Rate of a step that is to come, between 0 and twice the largest that was seen; None before a fit."""
        if self.weights is None:
            return None
        ahead = max(step - self.next + 1, 1)
        slope = DAMPING * (1 - DAMPING**ahead) / (1 - DAMPING)
        found = self._level + slope * self._trend + self._seasonal[step % self._season]
        return min(max(found, 0.0), self._most)

    def save(self) -> dict[str, Any]:
        """All state, in JSON's types."""
        return {
            "weights": self.weights,
            "next": self.next,
            "level": self._level,
            "trend": self._trend,
            "seasonal": self._seasonal,
            "most": None if math.isinf(self._most) else self._most,
        }

    def load(self, saved: Mapping[str, Any]) -> None:
        """Take over what ``save`` gave."""
        weights = saved["weights"]
        self.weights = None if weights is None else (float(weights[0]), float(weights[1]), float(weights[2]))
        self.next = int(saved["next"])
        self._level, self._trend = float(saved["level"]), float(saved["trend"])
        self._seasonal = [float(value) for value in saved["seasonal"]]
        self._most = math.inf if saved["most"] is None else float(saved["most"])


def _run(rates: Floats, m: int, grid: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """(level [k], trend [k], seasonal [m, k], squared one-step errors [k]) of each row of weights, shape [k, 3]."""
    alpha, beta, gamma = grid.T
    first, second = float(np.nanmean(rates[:m])), float(np.nanmean(rates[m : 2 * m]))
    level, trend = np.full(len(grid), first), np.full(len(grid), (second - first) / m)
    seasonal = np.repeat(np.nan_to_num(rates[:m] - first)[:, None], len(grid), axis=1)
    errors = np.zeros(len(grid))
    for n, rate in enumerate(rates.tolist()):
        ahead = level + DAMPING * trend
        if math.isnan(rate):
            level, trend = ahead, DAMPING * trend
            continue
        season = seasonal[n % m]
        if n >= m:  # the first season made the start
            errors += (rate - ahead - season) ** 2
        now = alpha * (rate - season) + (1 - alpha) * ahead
        seasonal[n % m] = gamma * (rate - ahead) + (1 - gamma) * season
        trend = beta * (now - level) + (1 - beta) * DAMPING * trend
        level = now
    return level, trend, seasonal, errors
