"""Random numbers by place: the k-th draw of a stream is always the same, whoever asks for it and when.

So a policy that orders other pods does not change the load, nor the lead time of the k-th pod: policies are compared
under common random numbers. The mixing function is that of splitmix64 (Steele, Lea, Flood: Fast splittable
pseudorandom number generators, OOPSLA 2014).
"""

from __future__ import annotations

import math
from enum import IntEnum
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecasting.compiled import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_27, _30, _31, _11, _12, _32 = (np.uint64(n) for n in (27, 30, 31, 11, 12, 32))
_TO_UNIT = 2.0**-53

# From here on a partition's count is drawn from the normal distribution, below it from Poisson's.
_NORMAL_FROM = 10.0
_TABLE = 4096


class Stream(IntEnum):
    """What a stream of draws is for."""

    SPLIT = 0  # of arrivals over partitions
    POD = 1  # lead times
    NODE = 2
    FAULT = 3
    COMMIT = 4  # phases of the consumers' commits


def stream(seed: int, purpose: Stream, service: int = 0) -> np.uint64:
    """Where a stream begins."""
    return np.uint64(np.random.SeedSequence(seed, spawn_key=(purpose, service)).generate_state(1, np.uint64)[0])


def normal_quantiles() -> Floats:
    """The standard normal at the middle of each of 4,096 equal shares: a draw is a look-up."""
    normal = NormalDist()
    return np.array([normal.inv_cdf((k + 0.5) / _TABLE) for k in range(_TABLE)])


@compiled
def mixed(word: Any) -> Any:
    """64 bits, mixed."""
    word = (word ^ (word >> _30)) * _MIX_1
    word = (word ^ (word >> _27)) * _MIX_2
    return word ^ (word >> _31)


@compiled
def uniform(begin: Any, k: Any) -> float:
    """The k-th draw of a stream, in [0, 1)."""
    return float(mixed(begin + (np.uint64(k) + np.uint64(1)) * GOLDEN) >> _11) * _TO_UNIT


@compiled
def split(count: float, word: Any, shares: Floats, parts: Floats, even: bool, normals: Floats, out: Floats) -> None:
    """Spread ``count`` requests at random over the partitions; ``out`` sums to ``count``.

    ``shares``: of each partition; ``parts``: of each among itself and those after it.

    A few requests are placed one by one. Of many, each partition in turn takes its part of what is left: Poisson for
    small parts, normal for large ones, instead of a binomial. A fraction of a request is spread by the shares.
    """
    partitions = len(shares)
    whole = math.floor(count)
    for p in range(partitions):
        out[p] = (count - whole) * shares[p]
    if even and whole <= 8 * partitions:
        bits = np.uint64(partitions)
        k = 0
        while k < whole:
            word += GOLDEN
            draw = mixed(word)
            out[np.int64(((draw >> _32) * bits) >> _32)] += 1.0
            if k + 1 < whole:
                out[np.int64(((draw & np.uint64(0xFFFFFFFF)) * bits) >> _32)] += 1.0
            k += 2
        return
    left = float(whole)
    for p in range(partitions):
        if left <= 0.0:
            break
        share, part = parts[p], left
        if share < 1.0:
            word += GOLDEN
            draw = mixed(word)
            mean = left * share
            if mean >= _NORMAL_FROM:
                spread = math.sqrt(mean * (1.0 - share))
                part = math.floor(mean + spread * normals[np.int64(draw >> np.uint64(52))] + 0.5)
            else:
                part = _poisson(mean, float(draw >> _11) * _TO_UNIT)
            part = min(max(part, 0.0), left)
        out[p] += part
        left -= part


@compiled
def _poisson(mean: float, draw: float) -> float:
    """The quantile of Poisson's distribution at ``draw``, for a small mean."""
    chance = math.exp(-mean)
    total, k = chance, 0.0
    while draw > total and k < 100.0:
        k += 1.0
        chance *= mean / k
        total += chance
    return k
