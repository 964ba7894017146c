"""Services that share a fixed number of replicas, and answer each request within about a second.

Nothing is saved by leaving a replica out, so all are given away: each to the service where it saves most late requests.
Which are late is told by how many are in the system: with n replicas that serve ``rate`` requests/s each, whoever finds
more than ``rate n within`` before him. In heavy traffic that share falls as exp(-(1 - u) rate n within / v) (Kingman's
approximation, as in ``waiting.py``), u the busy share of the time; all are late when u is 1 and more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaler.plan.nodes_share import hull

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SharedSettings:
    """What is assumed that no user declares."""

    variation: float = 1.0  # v: of Poisson arrivals, and service that varies as much as its mean
    windows: int = 3  # lead times, as whole ticks, that are looked ahead
    paths: int = 60
    moves: float = 0.5  # a move's gain counts by this: a lead time without, and taken to last as long again
    least_gain: float = 1e-3  # late requests/s that a move is to save


def late_rates(rates: Floats, most: int, rate: float, within: float, variation: float) -> Floats:
    """Late requests/s with 0 to ``most`` replicas, the mean over possible arrival ``rates`` (requests/s, any shape).

    Never more with more replicas. ``rate`` is what a replica serves (requests/s), ``within`` the objective (s).
    """
    possible = np.maximum(np.asarray(rates, dtype=np.float64).ravel(), 0.0)
    served = rate * np.arange(1, most + 1)
    idle = np.maximum(served - possible[:, None], 0.0)  # requests/s that could be served besides
    late = np.empty(most + 1)
    late[0] = possible.mean()
    late[1:] = (possible[:, None] * np.exp(-idle * within / variation)).mean(axis=0)
    return late


def divide(
    total: int,
    counts: Sequence[int],
    least: Sequence[int],
    most: Sequence[int],
    late: Sequence[Floats],
    moves: float,
    least_gain: float,
) -> tuple[int, ...]:
    """Replicas of each service, ``total`` in sum or as near below it as the limits allow; from ``counts`` on.

    ``late``: of each service, by its number of replicas, as far as ``most``. Lateness is taken along its lower convex
    hull: often no single replica saves anything. A replica changes hands when what it saves, times ``moves``, is above
    what it saves now by ``least_gain``. Guaranteed are the ``least``, even above ``total``.
    """
    saved = [-np.diff(hull(np.arange(len(one)), one, np.arange(len(one)))) for one in late]
    given = [min(max(n, low), high) for n, low, high in zip(counts, least, most, strict=True)]

    def next_one(s: int) -> float:
        return float(saved[s][given[s]]) if given[s] < most[s] else -1.0

    def last_one(s: int) -> float:
        return float(saved[s][given[s] - 1]) if given[s] > least[s] else np.inf

    services = range(len(given))
    while sum(given) > total:
        gives = min(services, key=last_one)
        if last_one(gives) == np.inf:
            break
        given[gives] -= 1
    while sum(given) < total:
        gets = max(services, key=next_one)
        if next_one(gets) < 0:
            break
        given[gets] += 1
    while True:  # ends: what is saved grows with each move
        gets, gives = max(services, key=next_one), min(services, key=last_one)
        if next_one(gets) * moves <= last_one(gives) + least_gain:
            return tuple(given)
        given[gets] += 1
        given[gives] -= 1
