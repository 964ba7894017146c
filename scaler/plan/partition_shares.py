"""How the arrivals spread over the partitions, as far as more than chance made them differ."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from forecasting.compiled import compiled

Floats = NDArray[np.float64]


@compiled
def shrunk_shares(counts: Floats) -> Floats:
    """Shares of the arrivals per partition, shrunk to even as far as Poisson noise explains the spread.

    The weight of the observed shares is signal / (signal + noise), with signal the variance beyond the mean count and
    beyond three standard errors of that estimate (empirical Bayes, James and Stein).
    """
    n = len(counts)
    shares = np.empty(n)
    total, weight = _weight(counts)
    for k in range(n):
        shares[k] = _share(counts[k], total, weight, n)
    return shares


@compiled
def _share(count: float, total: float, weight: float, partitions: int) -> float:
    even = 1.0 / partitions
    return even + weight * (count / total - even) if weight > 0 else even


@compiled
def _weight(counts: Floats) -> tuple[float, float]:
    """Of all counts, and the weight of the shares that were observed."""
    n = len(counts)
    total = squares = 0.0
    for count in counts:
        total += count
    mean = total / n
    for count in counts:
        squares += (count - mean) ** 2
    weight = 0.0
    if n > 1 and total > 0:
        signal = max(squares / (n - 1) - mean * (1.0 + 3.0 * math.sqrt(2.0 / (n - 1))), 0.0)
        weight = signal / (signal + mean)
    return total, weight


@compiled
def moved(counts: Floats, arrived: Floats, keep: float, shares: Floats, change: float) -> bool:
    """Let ``counts`` fade to the part ``keep`` and add what ``arrived``; whether one of their shrunk shares is off from
    ``shares`` by more than ``change``, or there are others."""
    n = len(counts)
    for k in range(n):
        counts[k] = counts[k] * keep + arrived[k]
    if len(shares) != n:
        return True
    total, weight = _weight(counts)
    off = 0
    for k in range(n):  # no way out of it: so it is done many at a time
        off |= int(abs(_share(counts[k], total, weight, n) - shares[k]) > change)
    return off != 0
