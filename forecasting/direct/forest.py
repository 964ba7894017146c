"""Which past origins are like the present one: extremely randomised trees (Geurts, Ernst, Wehenkel, 2006).

A leaf holds past origins whose errors had the same size and direction; a path takes a leaf's origin and its whole
error trajectory (the idea of quantile regression forests: Meinshausen, 2006; drawn as trajectories, not quantiles).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forecasting.direct.compiled import compiled
from forecasting.direct.features import Singles

Small = NDArray[np.uint16]


class Forest(NamedTuple):
    """Trees as arrays [trees, nodes]; a leaf's ``feature`` is -1. ``members`` [trees, samples a tree]."""

    feature: NDArray[np.int16]
    threshold: Singles
    child: Small  # the left one; the right one follows it
    begin: Small  # of the node's members
    end: Small
    members: Small

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
    depth: int = 12,
    tries: int = 12,
) -> Forest:
    """Trees that split ``inputs`` [n, features] so that ``outputs`` [n, m] are alike in a leaf. n <= 65,535.

    Each tree takes ``samples`` of the n at random; leaves hold ``least`` or more, and list them as ``order`` [n] does.
    """
    samples = min(samples, len(inputs))
    nodes = 2 * max(samples // max(least, 1), 1) + 1
    seeds = rng.integers(1, 2**62, trees)
    grown = Forest(
        np.full((trees, nodes), -1, np.int16),
        np.zeros((trees, nodes), np.float32),
        np.zeros((trees, nodes), np.uint16),
        np.zeros((trees, nodes), np.uint16),
        np.zeros((trees, nodes), np.uint16),
        np.zeros((trees, samples), np.uint16),
    )
    used = _grow(inputs, outputs, order, seeds, least, depth, tries, grown)
    return Forest(*(np.ascontiguousarray(array[:, :used]) for array in grown[:5]), grown.members)


@compiled
def _uniform(state: NDArray[np.uint64]) -> float:
    """The next number in [0, 1): xorshift64 (Marsaglia, 2003). Its state is the caller's, so nothing is shared."""
    x = state[0]
    x ^= x << np.uint64(13)
    x ^= x >> np.uint64(7)
    x ^= x << np.uint64(17)
    state[0] = x
    return (x >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@compiled
def _grow(
    x: Singles,
    y: Singles,
    order: NDArray[np.int64],
    seeds: NDArray[np.int64],
    least: int,
    depth: int,
    tries: int,
    forest: Forest,
) -> int:
    """Grow all trees in place; returns the most nodes that one has."""
    count, width, outputs = len(x), x.shape[1], y.shape[1]
    samples = forest.members.shape[1]
    state = np.zeros(1, np.uint64)
    spare = np.zeros(samples, np.uint16)
    stack = np.zeros((4 * depth + 8, 2), np.int64)
    left, right = np.zeros(outputs), np.zeros(outputs)
    most = 1
    for tree in range(len(seeds)):
        state[0] = np.uint64(seeds[tree])
        feature, threshold, child = forest.feature[tree], forest.threshold[tree], forest.child[tree]
        first, last, own = forest.begin[tree], forest.end[tree], forest.members[tree]
        taken = 0
        for k in range(count):  # selection sampling (Knuth, algorithm S) keeps the order
            if _uniform(state) * (count - k) < samples - taken:
                own[taken] = order[k]
                taken += 1
        used, height = 1, 1
        first[0], last[0] = 0, samples
        stack[0, 0], stack[0, 1] = 0, 0
        while height > 0:
            height -= 1
            node, level = stack[height, 0], stack[height, 1]
            a, b = int(first[node]), int(last[node])
            if b - a < 2 * least or level >= depth:
                continue
            stride = max(1, (b - a) // 800)  # large nodes choose their split on a part
            best, best_feature, best_threshold = -1.0, -1, 0.0
            for _ in range(tries):
                f = int(_uniform(state) * width)
                low, high = np.inf, -np.inf
                for j in range(a, b, stride):
                    low, high = min(low, x[own[j], f]), max(high, x[own[j], f])
                if not high - low > 1e-6:
                    continue
                cut = low + _uniform(state) * (high - low)
                left[:] = 0.0
                right[:] = 0.0
                on_left = on_right = 0
                for j in range(a, b, stride):
                    s = own[j]
                    if x[s, f] <= cut:
                        on_left += 1
                        for m in range(outputs):
                            left[m] += y[s, m]
                    else:
                        on_right += 1
                        for m in range(outputs):
                            right[m] += y[s, m]
                if on_left * stride < least or on_right * stride < least:
                    continue
                gain = 0.0
                for m in range(outputs):
                    gain += left[m] * left[m] / on_left + right[m] * right[m] / on_right
                if gain > best:
                    best, best_feature, best_threshold = gain, f, cut
            if best_feature < 0:
                continue
            kept = others = 0
            edge = np.float32(best_threshold)
            for j in range(a, b):  # stable, so that a leaf is in order
                s = own[j]
                if x[s, best_feature] <= edge:
                    own[a + kept] = s
                    kept += 1
                else:
                    spare[others] = s
                    others += 1
            own[a + kept : b] = spare[:others]
            if kept < least or others < least:
                continue
            feature[node], threshold[node], child[node] = best_feature, edge, used
            first[used], last[used], first[used + 1], last[used + 1] = a, a + kept, a + kept, b
            stack[height, 0], stack[height, 1] = used, level + 1
            stack[height + 1, 0], stack[height + 1, 1] = used + 1, level + 1
            height += 2
            used += 2
        most = max(most, used)
    return most
