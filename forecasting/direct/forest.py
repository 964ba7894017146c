"""Which past origins are like the present one: extremely randomised trees (Geurts, Ernst, Wehenkel, 2006).

A leaf holds past origins whose errors had the same size and direction; a path takes a leaf's origin and its whole
error trajectory (the idea of quantile regression forests: Meinshausen, 2006; drawn as trajectories, not quantiles).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forecasting.compiled import compiled
from forecasting.direct.features import Singles

Small = NDArray[np.uint16]

_MOST = 65_535  # what 16 bits number: origins, nodes of a tree; and members of all leaves, which take most room


class Forest(NamedTuple):
    """Trees one after another, each as its splits in preorder: a split, those to its left, those to its right.

    A tree of n splits has n + 1 leaves, so that how many splits are to the left tells where each side goes on, and
    which leaf is reached where none is left.
    """

    feature: NDArray[np.int8] | NDArray[np.int16]  # [splits]; as short as their number allows
    threshold: Singles  # [splits]; up to here it goes to the left
    left: Small  # [splits]; how many of the following ones are to the left
    start: NDArray[np.int32]  # [trees + 1]; where a tree's splits begin
    members: Small  # [leaves, listed]; each tree's leaves from left to right

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self)


def grow_forest(
    inputs: Singles,
    outputs: Singles,
    order: NDArray[np.int64],
    rng: np.random.Generator,
    *,
    trees: int,
    samples: int,
    least: int,
    listed: int,
    depth: int = 12,
    tries: int = 12,
) -> Forest:
    """Trees that split ``inputs`` [n, features] so that ``outputs`` [n, m] are alike in a leaf. n <= 65,535.

    Each tree takes ``samples`` of the n at random; leaves hold ``least`` or more. A leaf lists ``listed`` of its
    members, or as many as the smallest has, as ``order`` [n] has them, each at random from its share of the leaf: few
    cover it evenly.
    """
    samples = min(samples, len(inputs))
    inputs = np.asfortranarray(inputs)  # one feature at a time is looked at
    nodes = 2 * max(samples // max(least, 1), 1) + 1
    feature = np.full((trees, nodes), -1, np.int16)
    threshold = np.zeros((trees, nodes), np.float32)
    child, first, last, left, place = (np.zeros((trees, nodes), np.uint16) for _ in range(5))
    members = np.zeros((trees, samples), np.uint16)
    for tree, seed in enumerate(rng.integers(1, 2**62, trees).tolist()):
        rows = feature[tree], threshold[tree], child[tree], first[tree], last[tree], members[tree]
        used = _grow(inputs, outputs, order, seed, least, depth, tries, *rows)
        _number(feature[tree, :used], child[tree, :used], left[tree, :used], place[tree, :used])

    splits = feature >= 0
    start = np.concatenate(([0], np.cumsum(splits.sum(axis=1)))).astype(np.int32)
    of, at = np.nonzero(splits)
    to = start[of] + place[of, at]
    split = np.argsort(to)  # in preorder, tree by tree
    of, at = of[split], at[split]
    features, thresholds, lefts = feature[of, at], threshold[of, at], left[of, at]

    of, at = np.nonzero(~splits & (last > first))
    size = last[of, at].astype(np.int64) - first[of, at]
    short = max(1, min(listed, int(size.min()), _MOST // len(size)))
    share = (np.arange(short) + rng.random((len(size), short))) / short
    chosen = np.minimum((share * size[:, None]).astype(np.int64), size[:, None] - 1)
    leaves = np.empty((len(size), short), np.uint16)
    leaves[start[of] + of + place[of, at]] = members[of[:, None], first[of, at].astype(np.int64)[:, None] + chosen]
    short_features = features.astype(np.int8) if inputs.shape[1] < 128 else features
    return Forest(short_features, thresholds, lefts, start, leaves)


@compiled
def _uniform(state: NDArray[np.uint64]) -> float:
    """The next number in [0, 1): xorshift64 (Marsaglia, 2003). Its state is the caller's, so nothing is shared."""
    x = state[0]
    x ^= x << np.uint64(13)
    x ^= x >> np.uint64(7)
    x ^= x << np.uint64(17)
    state[0] = x
    return float(x >> np.uint64(11)) * 2.0**-53


@compiled
def _choose(x: Singles, y: Singles, own: Small, least: int, tries: int, state: NDArray[np.uint64]) -> tuple[int, float]:
    """The best of ``tries`` random splits (feature, threshold) of the samples ``own``; feature -1 if none will do.

    Best: the largest between-group sum of squares of the outputs. Large nodes choose on a part of their samples.
    """
    stride = max(1, len(own) // 800)
    left, right = np.zeros(y.shape[1]), np.zeros(y.shape[1])
    best, best_feature, best_threshold = -1.0, -1, 0.0
    for _ in range(tries):
        f = int(_uniform(state) * x.shape[1])
        low, high = np.inf, -np.inf
        for j in range(0, len(own), stride):
            low, high = min(low, x[own[j], f]), max(high, x[own[j], f])
        if not high - low > 1e-6:
            continue
        cut = low + _uniform(state) * (high - low)
        left[:] = 0.0
        right[:] = 0.0
        on_left = on_right = 0
        for j in range(0, len(own), stride):
            if x[own[j], f] <= cut:
                on_left += 1
                for m in range(len(left)):  # loops: a slice costs more than what it holds
                    left[m] += y[own[j], m]
            else:
                on_right += 1
                for m in range(len(right)):
                    right[m] += y[own[j], m]
        if on_left * stride < least or on_right * stride < least:
            continue
        gain = (left * left).sum() / on_left + (right * right).sum() / on_right
        if gain > best:
            best, best_feature, best_threshold = gain, f, cut
    return best_feature, best_threshold


@compiled
def _part(values: Singles, own: Small, cut: float, spare: Small) -> int:
    """Put the samples ``own`` with values up to ``cut`` first, in order as before; returns how many they are."""
    kept = others = 0
    for j in range(len(own)):
        if values[own[j]] <= cut:
            own[kept] = own[j]
            kept += 1
        else:
            spare[others] = own[j]
            others += 1
    for j in range(others):  # loops: a slice here takes seconds to compile
        own[kept + j] = spare[j]
    return kept


@compiled
def _grow(
    x: Singles,
    y: Singles,
    order: NDArray[np.int64],
    seed: int,
    least: int,
    depth: int,
    tries: int,
    feature: NDArray[np.int16],
    threshold: Singles,
    child: Small,
    first: Small,
    last: Small,
    own: Small,
) -> int:
    """Grow one tree in place, into its row of each array; returns its number of nodes."""
    state = np.array([seed], np.uint64)
    spare = np.zeros(len(own), np.uint16)
    stack = np.zeros((depth + 2, 2), np.int64)  # nodes to split, with their depths
    taken = 0
    for k in range(len(order)):  # selection sampling (Knuth, algorithm S) keeps the order
        if _uniform(state) * (len(order) - k) < len(own) - taken:
            own[taken] = order[k]
            taken += 1
    used, height = 1, 1
    first[0], last[0] = 0, len(own)
    while height > 0:
        height -= 1
        node, level = stack[height, 0], stack[height, 1]
        a, b = int(first[node]), int(last[node])
        if b - a < 2 * least or level >= depth:
            continue
        f, cut = _choose(x, y, own[a:b], least, tries, state)
        cut = float(np.float32(cut))  # as it is kept
        if f < 0:
            continue
        middle = a + _part(x[:, f], own[a:b], cut, spare)
        if middle - a < least or b - middle < least:
            continue
        feature[node], threshold[node], child[node] = f, cut, used
        first[used], last[used], first[used + 1], last[used + 1] = a, middle, middle, b
        for side in range(2):
            stack[height, 0], stack[height, 1] = used + side, level + 1
            height += 1
        used += 2
    return used


@compiled
def _number(feature: NDArray[np.int16], child: Small, left: Small, place: Small) -> None:
    """Of one tree's nodes: how many splits are to the left of each, and the place of each split among the splits, in
    preorder, and of each leaf among the leaves. Nodes come after their parents."""
    below = np.zeros(len(feature), np.int64)  # splits, with itself
    for node in range(len(feature) - 1, -1, -1):
        if feature[node] >= 0:
            left[node] = below[child[node]]
            below[node] = below[child[node]] + below[child[node] + 1] + 1
    leaf = np.zeros(len(feature), np.int64)  # leaves to the left of all that is below
    place[0] = 0
    for node in range(len(feature)):
        if feature[node] < 0:
            place[node] = leaf[node]
            continue
        to = int(child[node])
        place[to], leaf[to] = place[node] + 1, leaf[node]
        place[to + 1], leaf[to + 1] = place[node] + left[node] + 1, leaf[node] + left[node] + 1
