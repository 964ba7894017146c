"""How fast the level returns to what is usual: a small regression for each horizon, kept up to date online."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from forecasting.compiled import compiled

Floats = NDArray[np.float64]

# The regression starts from "nothing returns" with the weight of this many origins; neighbouring origins share most of
# their steps, so it takes many of them to count.
PRIOR_ORIGINS = 100.0
# Weights of Geman and McClure, 1 / (1 + (error / width)^2)^2, with a width of 4 mean |error| (some three standard
# deviations): one spike that did not come must not teach that nothing ever returns.
_WIDTH = 4.0
# Upward deviations beyond this many root mean squares of those seen so far are no noise: what is beyond stays.
_SEEN_BEFORE = 3.0
_LEAST_ERROR = 1e-3  # a mean |error| below it would make every error an outlier


class Reversion:
    """Robust least squares for ``horizon`` steps at once: target ~ gain_short * short + gain_long * long.

    ``short`` is the log distance of the level from the profile (0 without a season), ``long`` the log distance of the
    longer-run level from the newest one. ``gain_short`` lies in [-1, 0] (0: today's deviation stays; -1: back to the
    profile), ``gain_long`` in [0, 1] (1: the longer-run level is the better one). Ridge towards (0, 0). Sums are
    forgotten with a memory of ``memory`` steps.
    """

    def __init__(self, horizon: int, memory: float) -> None:
        self.horizon = horizon
        self.keep = 1.0 - 1.0 / max(memory, 2.0)
        # Rows: short*short, short*long, long*long, short*target, long*target, weight, |error|, origins.
        self.sums = np.zeros((8, horizon))
        self._gains: tuple[Floats, Floats] | None = None

    def clear(self) -> None:
        """Forget everything."""
        self.sums[:] = 0.0
        self._gains = None

    def learn(self, step: int, target: Floats, short: Floats, long: Floats) -> None:
        """Take in all errors [origins] of the ``step``-th step ahead (from 0) at once; NaN are left out."""
        ok = ~(np.isnan(target) | np.isnan(short) | np.isnan(long))
        t, s, g = target[ok], short[ok], long[ok]
        if not len(t):
            return
        weights = np.ones(len(t))
        error = np.abs(t)
        sums = np.zeros(8)
        for _ in range(2):  # plain first, then weighted by its errors
            sw, gw = s * weights, g * weights
            # Sums of products, not dot products: those start threads, which fight over the cores.
            products = [float((a * b).sum()) for a, b in ((sw, s), (sw, g), (gw, g), (sw, t), (gw, t))]
            sums = np.array((*products, float(weights.sum()), float(error.sum()), float(len(t))))
            gain_short, gain_long = solve(sums)
            error = np.abs(t - gain_short * s - gain_long * g)
            weights = 1.0 / (1.0 + (error / (_WIDTH * max(float(error.mean()), _LEAST_ERROR))) ** 2) ** 2
        self.sums[:, step] += sums
        self._gains = None

    def update(self, target: Floats, short: Floats, long: Floats) -> None:
        """Take in the errors of the newest complete step; element k as seen from k + 1 steps before."""
        take_in(self.sums, self.keep, target, short, long)
        self._gains = None

    def pull(self, short: Floats | float, long: Floats | float, steps: int) -> Floats:
        """By how much the log forecast moves from "the newest level stays", for deviations [n, 1] or one: [n, steps].

        The gains were learned from usual deviations, most of which are noise. A jump far above them is followed, not
        smoothed away; a fall below them (a spike that did not come) is not, since too little is the dearer error.
        """
        gain_short, gain_long = self.gains(steps)
        weight = np.maximum(self.sums[5], 1e-9)
        at = np.minimum(np.arange(steps), self.horizon - 1)
        top = (_SEEN_BEFORE * np.sqrt(self.sums[0] / weight))[at]
        bottom = (-_SEEN_BEFORE * np.sqrt(self.sums[2] / weight))[at]
        pulled: Floats = gain_short * np.minimum(short, top) + gain_long * np.maximum(long, bottom)
        return pulled

    def gains(self, steps: int) -> tuple[Floats, Floats]:
        """(gain_short, gain_long), each [steps]; beyond the horizon the last one holds."""
        if self._gains is None:
            self._gains = solve_all(self.sums)
        short, long = self._gains
        if steps <= self.horizon:
            return short[:steps], long[:steps]
        at = np.minimum(np.arange(steps), self.horizon - 1)
        return short[at], long[at]


@compiled
def solve(sums: Floats) -> tuple[float, float]:
    """(gain_short, gain_long) of one horizon's ``sums`` [8]."""
    ss, sl, ll, st, lt, weight = sums[0], sums[1], sums[2], sums[3], sums[4], sums[5]
    ridge = 1.0 + PRIOR_ORIGINS / max(weight, 1.0)
    a, b = ss * ridge + 1e-9, ll * ridge + 1e-9
    det = max(a * b - sl * sl, 1e-300)
    short = max(min((b * st - sl * lt) / det, 0.0), -1.0)
    # The bound of the first moves the second: solve for it again.
    long = max(min((lt - sl * short) / b, 1.0), 0.0)
    return short, long


@compiled
def solve_all(sums: Floats) -> tuple[Floats, Floats]:
    """The same for each horizon of ``sums`` [8, horizons]."""
    short, long = np.empty(sums.shape[1]), np.empty(sums.shape[1])
    for k in range(len(short)):
        short[k], long[k] = solve(sums[:, k])
    return short, long


@compiled
def take_in(sums: Floats, keep: float, target: Floats, short: Floats, long: Floats) -> None:
    """Into ``sums`` [8, horizons] the errors of one step, as seen from k + 1 steps before; NaN are left out."""
    for k in range(len(target)):
        own = sums[:, k]
        gain_short, gain_long = solve(own)
        error = abs(target[k] - gain_short * short[k] - gain_long * long[k])
        if math.isnan(error):
            continue
        # The scale too must not jump with one outlier; before it is known, the error itself is the scale.
        usual = own[6] / own[7] if own[7] > 20 else error
        usual = max(usual, _LEAST_ERROR)
        weight = 1.0 / (1.0 + (error / (_WIDTH * usual)) ** 2) ** 2
        own *= keep
        own[0] += short[k] * weight * short[k]
        own[1] += short[k] * weight * long[k]
        own[2] += long[k] * weight * long[k]
        own[3] += short[k] * weight * target[k]
        own[4] += long[k] * weight * target[k]
        own[5] += weight
        own[6] += min(error, 4 * usual)
        own[7] += 1.0
