"""How the arrivals spread over the partitions, as far as more than chance made them differ."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from forecasting.compiled import compiled

Floats = NDArray[np.float64]

_ROUNDING = 1e-6  # part of a sum: far more than the order makes of it in which it is added up


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
        signal = max(squares / (n - 1) - _noise(mean, n), 0.0)
        weight = signal / (signal + mean)
    return total, weight


@compiled
def _noise(mean: float, n: int) -> float:
    """The variance of ``n`` > 1 counts that Poisson noise explains."""
    return mean * (1.0 + 3.0 * math.sqrt(2.0 / (n - 1)))


@compiled
def _surely_even(counts: Floats) -> bool:
    """Whether the weight is 0, by a margin far beyond what another order of adding changes. That order is quicker: four
    sums at a time wait for each other less than one does."""
    n = len(counts)
    if n < 2:
        return True
    whole = n - n % 4
    a = b = c = d = 0.0
    for k in range(0, whole, 4):
        a, b, c, d = a + counts[k], b + counts[k + 1], c + counts[k + 2], d + counts[k + 3]
    for k in range(whole, n):
        a += counts[k]
    mean = (a + b + c + d) / n
    a = b = c = d = 0.0
    for k in range(0, whole, 4):
        a += (counts[k] - mean) ** 2
        b += (counts[k + 1] - mean) ** 2
        c += (counts[k + 2] - mean) ** 2
        d += (counts[k + 3] - mean) ** 2
    for k in range(whole, n):
        a += (counts[k] - mean) ** 2
    return (a + b + c + d) / (n - 1) < _noise(mean, n) * (1.0 - _ROUNDING)


@compiled
def moved(counts: Floats, arrived: Floats, keep: float, shares: Floats, change: float) -> bool:
    """Let ``counts`` fade to the part ``keep`` and add what ``arrived``; whether one of their shrunk shares is off from
    ``shares`` by more than ``change``, or there are others."""
    n = len(counts)
    for k in range(n):
        counts[k] = counts[k] * keep + arrived[k]
    if len(shares) != n:
        return True
    total, weight = (1.0, 0.0) if _surely_even(counts) else _weight(counts)
    off = 0
    for k in range(n):  # no way out of it: so it is done many at a time
        off |= int(abs(_share(counts[k], total, weight, n) - shares[k]) > change)
    return off != 0
