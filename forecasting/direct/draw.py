"""Paths: the regression's prediction from the present, each with the whole error trajectory of a past origin."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forecasting.compiled import compiled
from forecasting.direct.features import Singles, level_at
from forecasting.direct.forest import Forest

Floats = NDArray[np.float64]


class Origins(NamedTuple):
    """Past origins, and what is needed to compute their levels and errors from the rates that are kept anyway."""

    columns: NDArray[np.uint16] | NDArray[np.int32]  # [n]; the first step that an origin does not know
    predicted: NDArray[np.int8]  # [n, rank]; x parts = log ratios, each by a regression without its own day
    parts: Singles  # [rank, horizons]
    width: int  # steps of a level
    longest: int  # the same, where rates are missing

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return self.columns.nbytes + self.predicted.nbytes + self.parts.nbytes

    def gone(self, shift: int) -> bool:
        """Whether rates that a level may need have left the row for all of them, which moved by ``shift`` steps."""
        return shift < 0 and int(self.columns[-1]) + shift < self.longest


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


class Present(NamedTuple):
    """What paths from the newest level on are drawn from."""

    forest: Forest
    features: Singles  # standardised
    origins: Origins
    rates: Singles  # requests/s
    shift: int  # how far columns of ``rates`` have moved since the origins were numbered
    level: float  # log of requests/s, plus the calm ones
    predicted: Singles  # [horizons]; log ratios to the level
    between: Between
    calm: float  # requests/s
    ceiling: float  # requests/s


@compiled
def _leaf(forest: Forest, tree: int, features: Singles) -> int:
    """The leaf of ``tree``, numbered among those of all trees, that the present falls into."""
    split = int(forest.start[tree])
    splits = int(forest.start[tree + 1]) - split  # at and below it
    leaf = split + tree
    while splits > 0:
        left = int(forest.left[split])
        if features[forest.feature[split]] > forest.threshold[split]:
            split, leaf, splits = split + left + 1, leaf + left + 1, splits - left - 1
        else:
            split, splits = split + 1, left
    return leaf


@compiled
def _member(forest: Forest, leaf: int, share: float, origins: Origins, shift: int) -> int:
    """The origin at ``share`` (0 to 1) of a leaf's list; those whose levels have left the rates are passed over. -1
    where all have."""
    size = forest.members.shape[1]
    pick = min(int(share * size), size - 1)
    for _ in range(size):
        origin = int(forest.members[leaf, pick])
        if shift >= 0 or origins.columns[origin] + shift >= origins.longest:
            return origin
        pick = pick + 1 if pick + 1 < size else 0
    return -1


@compiled
def _towards(
    origins: Origins,
    origin: int,
    rates: Singles,
    column: int,
    calm: float,
    level: float,
    predicted: Singles,
    out: Singles,
) -> None:
    """Log factor from the origin's rate to the path's at the first horizons, into ``out`` [horizons that are needed].
    ``column``: where in ``rates`` it is now."""
    apart = np.float32(level - level_at(rates, column, calm, origins.width, origins.longest))
    for h in range(len(out)):
        out[h] = apart + predicted[h]
    for r in range(len(origins.parts)):
        times = np.float32(origins.predicted[origin, r])
        for h in range(len(out)):
            out[h] -= times * origins.parts[r, h]


@compiled
def _times(rate: float, log_factor: float) -> float:
    """The factor for an origin's rate; nothing stays nothing, whatever the factor."""
    return math.exp(log_factor if rate > 0.0 else min(log_factor, 0.0))


def draw(places: NDArray[np.int64], uniforms: Floats, present: Present, out: Singles) -> None:
    """Fill ``out`` [count, steps] with rates (requests/s) from 0 to the ceiling.

    Path p takes tree ``places[p]`` modulo the trees, and within the present's leaf the member at its own stratum (by
    ``uniforms``). Members are in order of their error, so that few paths cover it evenly. Origins whose levels have
    left the rates are passed over. Where an origin's future is not known the path stays as it is; behind the last bin
    the prediction does.
    """
    count, steps = out.shape
    columns, factors = np.empty(count, np.int64), np.empty((steps, count))
    _lend(places, uniforms, present, columns, factors)
    np.exp(factors, out=factors)  # many numbers at once: a seventh of the time that one by one takes
    begin = present.level + float(present.predicted[0])
    _follow(present.rates, columns, factors, begin, present.calm, present.ceiling, out)


@compiled
def _lend(
    places: NDArray[np.int64], uniforms: Floats, present: Present, columns: NDArray[np.int64], factors: Floats
) -> None:
    """Where in the rates each path's origin is, into ``columns`` [count], behind their end where none is known; the
    logs of the factors from its rates to the path's, into ``factors`` [steps, count]. Loops over the paths are the
    inner ones, which a processor runs several at a time."""
    steps, count = factors.shape
    forest, origins, rates, at = present.forest, present.origins, present.rates, present.between
    trees = len(forest.start) - 1
    leaves = np.zeros(trees, np.int64)
    for tree in range(trees):
        leaves[tree] = _leaf(forest, tree, present.features)
    strata = np.zeros(trees, np.int64)
    for p in range(count):
        strata[places[p] % trees] += 1
    # Horizons behind the paths' end are not needed.
    horizons, rank = at.right[min(steps, len(at.right)) - 1] + 1, len(origins.parts)
    towards = np.zeros((horizons, count), np.float32)  # from the origin's rate to the path's at the first horizons
    times = np.zeros((rank, count), np.float32)
    for p in range(count):
        tree = places[p] % trees
        share = (places[p] // trees + uniforms[p]) / strata[tree]
        origin = _member(forest, leaves[tree], share, origins, present.shift)
        columns[p] = len(rates)
        if origin >= 0:
            columns[p] = column = int(origins.columns[origin]) + present.shift
            before = level_at(rates, column, present.calm, origins.width, origins.longest)
            apart = np.float32(present.level - before)
            for h in range(horizons):
                towards[h, p] = apart + present.predicted[h]
            for r in range(rank):
                times[r, p] = origins.predicted[origin, r]
    for r in range(rank):
        for h in range(horizons):
            part = origins.parts[r, h]
            for p in range(count):
                towards[h, p] -= times[r, p] * part
    last = len(at.left) - 1
    for k in range(steps):
        b = min(k, last)
        left, right, part = towards[at.left[b]], towards[at.right[b]], at.share[b]
        for p in range(count):
            factors[k, p] = left[p] + part * (right[p] - left[p])


@compiled
def _follow(
    rates: Singles,
    columns: NDArray[np.int64],
    factors: Floats,
    level: float,
    calm: float,
    ceiling: float,
    out: Singles,
) -> None:
    """``rates`` from ``columns`` [count] on times ``factors`` [steps, count], into ``out`` [count, steps]; where they
    are not known what was before, from a log ``level`` on. Nothing stays nothing, whatever the factor."""
    count, steps = out.shape
    newest = np.full(count, math.exp(level))
    for k in range(steps):
        for p in range(count):
            j = columns[p] + k
            rate = rates[j] if j < len(rates) else np.float32(math.nan)
            if not math.isnan(rate):
                newest[p] = (rate + calm) * (factors[k, p] if rate > 0.0 else min(factors[k, p], 1.0))
            out[p, k] = min(max(newest[p] - calm, 0.0), ceiling)


@compiled
def outlook(
    forest: Forest,
    features: Singles,
    origins: Origins,
    rates: Singles,
    shift: int,
    levels: Singles,
    predicted: Singles,
    at: Between,
    calm: float,
    ceiling: float,
    ends: NDArray[np.int64],
    width: int,
    out: Singles,
) -> None:
    """Mean rates over the ``width`` steps before each of ``ends`` (steps), into ``out`` [n, ends, samples], unordered.

    The law that :func:`draw` draws from, evenly: as many members of each tree's leaf as the samples allow. For several
    presents: ``features`` [n, features], ``levels`` [n], ``predicted`` [n, horizons].
    """
    trees = len(forest.start) - 1
    each = out.shape[2] // trees
    towards = np.zeros(at.right[max(ends.max() - (width + 1) // 2, 0)] + 1, np.float32)
    for n in range(len(out)):
        for tree in range(trees):
            leaf = _leaf(forest, tree, features[n])
            for i in range(each):
                origin = _member(forest, leaf, (i + 0.5) / each, origins, shift)
                column = len(rates)
                if origin >= 0:
                    column = int(origins.columns[origin]) + shift
                    _towards(origins, origin, rates, column, calm, float(levels[n]), predicted[n], towards)
                for w in range(len(ends)):
                    total, known = 0.0, 0
                    for j in range(max(column + ends[w] - width, 0), min(column + ends[w], len(rates))):
                        if not math.isnan(rates[j]):
                            total += rates[j]
                            known += 1
                    b = max(ends[w] - (width + 1) // 2, 0)
                    left, right, share = at.left[b], at.right[b], at.share[b]
                    if known > 0:
                        log_factor = towards[left] + share * (towards[right] - towards[left])
                        rate = (total / known + calm) * _times(total, log_factor)
                    else:
                        rate = math.exp(levels[n] + predicted[n, right])
                    out[n, w, tree * each + i] = min(max(rate - calm, 0.0), ceiling)
