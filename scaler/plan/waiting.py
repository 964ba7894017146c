"""How much of a replica's rate may be planned for: what its own partitions' ups and downs need, learned from waits."""

from __future__ import annotations

import math


class Waiting:
    """The factor v by which requests wait: a consumer that is busy a share u of the time has v u^2 / (1 - u) of them
    waiting (Kingman's approximation of G/G/1; v is the mean of both squared coefficients of variation: 0.5 for Poisson
    arrivals and service of a constant length).

    Begun with ``prior``, which counts for ``weight`` intervals; never above it, for what is not committed looks like a
    wait, too. A queue that consumers share, or arrivals that are more even, show less.
    """

    def __init__(self, prior: float, weight: float, memory: float, uncommitted: float) -> None:
        self._prior = prior
        self._weight = weight
        self._memory = memory  # intervals
        self._uncommitted = uncommitted  # s of work, at most, that are served but not committed
        self._always = uncommitted  # s of work that always seem to wait, as far as was seen
        self._sum = 0.0
        self._count = 0.0

    @property
    def factor(self) -> float:
        """v, between 0 and the prior."""
        seen = (self._sum + self._prior * self._weight) / (self._count + self._weight)
        return min(max(seen, 0.0), self._prior)

    def learn(self, backlog: float, level: float, rate: float, replicas: float) -> None:
        """Take in an interval of steady membership: ``backlog`` messages at its end, arrivals at ``level`` (requests/s)
        and ``replicas``' worth of service at ``rate``. Only consumers that are busy, and keep up, tell anything.
        """
        busy = level / (rate * replicas) if replicas > 0 else 0.0
        if not 0.3 <= busy <= 0.95:
            return
        keep = math.exp(-1.0 / self._memory)
        drift = (1.0 - keep) * (self._uncommitted - self._always)
        self._always = min(self._always + drift, backlog / level)
        waiting = max(backlog - self._always * level, 0.0)
        expected = replicas * busy * busy / (1.0 - busy)
        self._sum = self._sum * keep + min(waiting / expected, 2.0)
        self._count = self._count * keep + 1.0

    def utilisation(self, rate: float, slack: float, late_share: float, least: float) -> float:
        """The share of a replica's rate that leaves ``late_share`` beyond ``slack`` s, in [least, 1].

        The wait's tail falls as exp(-(1 - u) rate t / v) in heavy traffic (Kingman).
        """
        if slack <= 0:
            return least
        return min(max(1.0 + self.factor * math.log(late_share) / (rate * slack), least), 1.0)
