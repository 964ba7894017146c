"""Paths: the regression's prediction from the present, each with the whole error trajectory of a past origin."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forecasting.compiled import compiled
from forecasting.direct.features import Singles
from forecasting.direct.forest import Forest


class Origins(NamedTuple):
    """Past origins, and what is needed to compute their errors from the rates that are kept anyway."""

    columns: NDArray[np.int32]  # [n]; the first step that an origin does not know
    levels: Singles  # [n]; logs
    predicted: NDArray[np.int16]  # [n, rank]; x parts = log ratios, each by a regression without its own day
    parts: Singles  # [rank, horizons]

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self)


class Between(NamedTuple):
    """Where each step lies between the centres of the horizons' bins; all [steps]."""

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    share: Singles  # of the right one


def between(ends: NDArray[np.int64]) -> Between:
    """For bins that end at ``ends`` (steps, ascending)."""
    centres = (ends + np.concatenate(([0], ends[:-1]))) / 2
    at = np.arange(ends[-1]) + 0.5
    right = np.minimum(np.searchsorted(centres, at), len(ends) - 1)
    left = np.where(at >= centres[-1], len(ends) - 1, np.maximum(right - 1, 0))
    gap = np.where(right > left, centres[right] - centres[left], 1.0)
    share = np.clip((at - centres[left]) / gap, 0.0, 1.0)
    return Between(left.astype(np.int64), right.astype(np.int64), share.astype(np.float32))


@compiled
def draw(
    forest: Forest,
    features: Singles,
    places: NDArray[np.int64],
    uniforms: NDArray[np.float64],
    origins: Origins,
    rates: Singles,
    shift: int,
    level: float,
    predicted: Singles,
    at: Between,
    calm: float,
    ceiling: float,
    out: Singles,
) -> None:
    """Fill ``out`` [count, steps] with rates (requests/s) from 0 to ``ceiling``.

    Path p takes tree ``places[p]`` modulo the trees, and within the present's leaf the member at its own stratum (by
    ``uniforms``). Members are in order of their error, so that few paths cover it evenly. ``shift``: how far columns
    have moved since the origins were numbered; origins that have left ``rates`` are passed over. Where an origin's
    future is not known the path stays as it is; behind the last bin the prediction does.
    """
    count, steps = out.shape
    trees, horizons = len(forest.feature), len(predicted)
    leaves = np.zeros(trees, np.int64)
    for tree in range(trees):
        node = 0
        while forest.feature[tree, node] >= 0:
            right = features[forest.feature[tree, node]] > forest.threshold[tree, node]
            node = int(forest.to[tree, node]) + (1 if right else 0)
        leaves[tree] = node
    towards = np.zeros(horizons, np.float32)  # log factor from the origin's rate to the path's
    strata = np.zeros(trees, np.int64)
    for p in range(count):
        strata[places[p] % trees] += 1
    for p in range(count):
        tree = places[p] % trees
        begin = int(forest.to[tree, leaves[tree]])
        size = int(forest.size[tree, leaves[tree]])
        pick = min(int((places[p] // trees + uniforms[p]) / strata[tree] * size), size - 1)
        origin = int(forest.members[begin + pick])
        for _ in range(size):
            if origins.columns[origin] + shift >= 0:
                break
            pick = pick + 1 if pick + 1 < size else 0
            origin = int(forest.members[begin + pick])
        column = int(origins.columns[origin]) + shift
        for h in range(horizons):
            towards[h] = level - origins.levels[origin] + predicted[h]
            for r in range(len(origins.parts)):
                towards[h] -= origins.predicted[origin, r] * origins.parts[r, h]
        newest = math.exp(level + predicted[0])
        last = len(at.left) - 1
        for k in range(steps):
            b = min(k, last)
            left, right, share = at.left[b], at.right[b], at.share[b]
            j = column + k
            rate = rates[j] if 0 <= j < len(rates) else math.nan
            if not math.isnan(rate):
                log_factor = towards[left] + share * (towards[right] - towards[left])
                newest = (rate + calm) * math.exp(log_factor)
            out[p, k] = min(max(newest - calm, 0.0), ceiling)
