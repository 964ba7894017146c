"""How fast the level returns to what is usual: a small regression for each horizon, kept up to date online."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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
            gain_short, gain_long = _solve(sums[:, None])
            error = np.abs(t - gain_short * s - gain_long * g)
            weights = 1.0 / (1.0 + (error / (_WIDTH * max(float(error.mean()), _LEAST_ERROR))) ** 2) ** 2
        self.sums[:, step] += sums
        self._gains = None

    def update(self, target: Floats, short: Floats, long: Floats) -> None:
        """Take in the errors of the newest complete step; element k as seen from k + 1 steps before."""
        n = len(target)
        sums = self.sums[:, :n]
        gain_short, gain_long = self.gains(n)
        error = np.abs(target - gain_short * short - gain_long * long)
        usual = np.maximum(sums[6] / np.maximum(sums[7], 1.0), _LEAST_ERROR)
        # The scale too must not jump with one outlier; before it is known, the error itself is the scale.
        usual = np.where(sums[7] > 20, usual, np.maximum(error, _LEAST_ERROR))
        weight = 1.0 / (1.0 + (error / (_WIDTH * usual)) ** 2) ** 2
        rows = np.empty((8, n))
        weighted_short, weighted_long = short * weight, long * weight
        np.multiply(weighted_short, short, out=rows[0])
        np.multiply(weighted_short, long, out=rows[1])
        np.multiply(weighted_long, long, out=rows[2])
        np.multiply(weighted_short, target, out=rows[3])
        np.multiply(weighted_long, target, out=rows[4])
        rows[5] = weight
        np.minimum(error, 4 * usual, out=rows[6])
        rows[7] = 1.0
        unknown = np.isnan(error)
        if unknown.any():
            rows[:, unknown] = 0.0
            sums *= np.where(unknown, 1.0, self.keep)
        else:
            sums *= self.keep
        sums += rows
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
            self._gains = _solve(self.sums)
        short, long = self._gains
        if steps <= self.horizon:
            return short[:steps], long[:steps]
        at = np.minimum(np.arange(steps), self.horizon - 1)
        return short[at], long[at]


def _solve(sums: Floats) -> tuple[Floats, Floats]:
    ss, sl, ll, st, lt, weight = sums[:6]
    ridge = 1.0 + PRIOR_ORIGINS / np.maximum(weight, 1.0)
    a, b = ss * ridge + 1e-9, ll * ridge + 1e-9
    det = np.maximum(a * b - sl * sl, 1e-300)
    short = np.maximum(np.minimum((b * st - sl * lt) / det, 0.0), -1.0)
    # The bound of the first moves the second: solve for it again.
    long = np.maximum(np.minimum((lt - sl * short) / b, 1.0), 0.0)
    return short, long
