"""Ridge regression at all horizons at once, its strength chosen, and its errors measured, on blocks left out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecasting.compiled import compiled

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

_CLIP = 5.0  # standard deviations; a feature beyond is as far as the regression is followed
# Penalties a sample; each horizon takes the one that errs least on blocks left out, "no regression" among them.
_PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class Ridge:
    """Log ratios = standardised features [n, features] x weights; kept within what was seen in the past."""

    centre: Singles  # [features]
    scale: Singles  # [features]; infinite for a feature that says nothing
    low: Singles  # [features]; standardised, the least that was seen
    high: Singles  # [features]
    weights: Singles  # [features + 1, horizons]; the last row is the constant
    least: Singles  # [horizons]
    most: Singles  # [horizons]

    def standardised(self, features: Singles) -> Singles:
        """Features [n, features] around 0; 0 where not known."""
        z = np.empty_like(features)
        standardise(features, self.centre, self.scale, self.low, self.high, z)
        return z


@compiled
def standardise(features: Singles, centre: Singles, scale: Singles, low: Singles, high: Singles, out: Singles) -> None:
    """``features`` [n, features] less their centre, over their scale, from low to high, into ``out``; NaN gives 0."""
    for row in range(len(features)):
        for k in range(features.shape[1]):
            z = (features[row, k] - centre[k]) / scale[k]
            if math.isnan(z):
                z = np.float32(0.0)
            out[row, k] = min(max(z, low[k]), high[k])


@compiled
def predict(standardised: Singles, weights: Singles, least: Singles, most: Singles, out: Singles) -> None:
    """``standardised`` [n, features] x ``weights`` [features + 1, horizons], within what was seen, into ``out``."""
    features = standardised.shape[1]
    for row in range(len(standardised)):
        own = out[row]
        own[:] = weights[features]
        for k in range(features):
            for h in range(len(own)):
                own[h] += standardised[row, k] * weights[k, h]
        for h in range(len(own)):
            own[h] = min(max(own[h], least[h]), most[h])


def fit_ridge(features: Singles, targets: Singles, blocks: NDArray[np.int64]) -> tuple[Ridge, Singles]:
    """The regression, and for each sample the prediction by those of the other blocks [n, horizons].

    ``features`` [n, features], NaN where not known; ``targets`` [n, horizons]; ``blocks`` [n]: neighbours in time lie
    in one block, so that none predicts the other. Raises ``numpy.linalg.LinAlgError`` when it cannot be solved or is
    not finite.
    """
    known = ~np.isnan(features)
    seen = np.maximum(known.sum(axis=0), 1)
    filled = np.where(known, features, 0.0).astype(np.float64)
    centre = filled.sum(axis=0) / seen
    spread = np.sqrt(np.where(known, (filled - centre) ** 2, 0.0).sum(axis=0) / seen)
    scale = np.where(spread > 1e-6, spread, np.inf)
    around = np.where(known, (filled - centre) / scale, 0.0)
    ridge = Ridge(
        centre.astype(np.float32),
        scale.astype(np.float32),
        np.maximum(around.min(axis=0), -_CLIP).astype(np.float32),
        np.minimum(around.max(axis=0), _CLIP).astype(np.float32),
        np.zeros((features.shape[1] + 1, targets.shape[1]), np.float32),
        targets.min(axis=0),
        targets.max(axis=0),
    )
    z = np.column_stack((ridge.standardised(features), np.ones(len(features), np.float32))).astype(np.float64)
    y = targets.astype(np.float64)
    members = [np.flatnonzero(blocks == block) for block in np.unique(blocks)]
    grams = [z[m].T @ z[m] for m in members]
    crosses = [z[m].T @ y[m] for m in members]
    gram, cross = sum(grams[1:], grams[0]), sum(crosses[1:], crosses[0])

    best = np.zeros_like(y)  # no regression: the level stays
    errors = (y**2).sum(axis=0)
    penalty = np.full(y.shape[1], np.inf)
    for each in _PENALTIES if len(members) > 1 else ():
        left_out = np.empty_like(y)
        for m, own, own_cross in zip(members, grams, crosses, strict=True):
            left_out[m] = z[m] @ _solve(gram - own, cross - own_cross, each * (len(z) - len(m)))
        np.clip(left_out, ridge.least, ridge.most, out=left_out)
        found = ((y - left_out) ** 2).sum(axis=0)
        better = found < errors
        errors, penalty = np.where(better, found, errors), np.where(better, each, penalty)
        best = np.where(better, left_out, best)
    for each in np.unique(penalty[np.isfinite(penalty)]):
        at = penalty == each
        ridge.weights[:, at] = _solve(gram, cross[:, at], each * len(z))
    if not (np.isfinite(ridge.weights).all() and np.isfinite(best).all()):
        raise np.linalg.LinAlgError("the regression is not finite")
    return ridge, best.astype(np.float32)


def _solve(gram: Floats, cross: Floats, penalty: float) -> Floats:
    """Weights by Cholesky; the constant, the last one, is not penalised."""
    penalties = np.full(len(gram), penalty)
    penalties[-1] = 1e-9 * max(penalty, 1.0)
    lower = np.linalg.cholesky(gram + np.diag(penalties))
    return np.asarray(np.linalg.solve(lower.T, np.linalg.solve(lower, cross)))
