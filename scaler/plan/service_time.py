"""How long a request takes in a replica, from the latency histogram: alone, and with others beside it.

Where requests are served together (a batch, many streams on one GPU) each takes longer the more there are, and yet
more of them get through. What tells of a replica's speed is thus the time at light load, not the mean at today's.
"""

from __future__ import annotations

import math

from scaler.plan.observation import LatencySample

_LEAST = 5.0  # requests: fewer say nothing of a mean
_ENOUGH = 100.0  # requests from which on a mean is one
_MEMORY = 500.0  # requests, at least, that the time alone is averaged over
_SPREAD = 0.15  # how much the load must vary, as a part of its mean, for half of a slope to be believed
_STEEPEST = 10.0  # the most that one more request beside it slows a request down, in times alone


class ServiceTimes:
    """Learns s = alone x (1 + slope x n) from samples; n: requests that are in a replica at the same time.

    The slope is learned over ``long`` s by least squares, drawn towards 0 as long as the load does not vary; the time
    alone over ``short`` s, so that another mix of requests or another model shows soon. O(1) a sample.
    """

    def __init__(self, short: float, long: float) -> None:
        self._short, self._long = short, long
        self.alone: float | None = None  # s; None until the first sample
        self.slope = 0.0  # longer by this part for each request beside it
        self.load = 0.0  # requests in a replica at the newest sample
        self.doubt = 1.0  # from 0, the slope is what was seen, to 1, it is not known
        self._requests = 0.0  # since the last renewal
        self._weight = self._n = self._s = self._nn = self._ns = 0.0

    @property
    def settled(self) -> bool:
        """Whether the time alone rests on enough requests to be used."""
        return self._requests >= _ENOUGH

    def learn(self, sample: LatencySample, ready: int, seconds: float) -> bool:
        """Take in what ``ready`` replicas served; ``seconds``: since the last sample. False when it says nothing."""
        count, total = sample.count, sample.sum
        if count is None or total is None or ready < 1 or not (sample.window > 0 and seconds > 0):
            return False
        if not (_LEAST <= count < math.inf and 0 < total < math.inf):
            return False
        mean, self.load = total / count, total / (sample.window * ready)
        self._lean(self.load, mean, math.exp(-seconds / self._long))
        new = count * min(seconds / sample.window, 1.0)  # windows overlap where they are longer than a tick
        self._requests += new
        alone = mean / (1.0 + self.slope * self.load)
        part = -math.expm1(-min(seconds / self._short, new / _MEMORY))
        part = max(part, new / self._requests)  # a plain mean at the beginning
        self.alone = alone if self.alone is None else self.alone + part * (alone - self.alone)
        return True

    def renew(self) -> None:
        """Another pod template: the time alone is told anew, the slope goes on until it is."""
        self._requests = 0.0

    def _lean(self, n: float, s: float, keep: float) -> None:
        self._weight = self._weight * keep + 1.0
        self._n = self._n * keep + n
        self._s = self._s * keep + s
        self._nn = self._nn * keep + n * n
        self._ns = self._ns * keep + n * s
        mean_n, mean_s = self._n / self._weight, self._s / self._weight
        spread = max(self._nn / self._weight - mean_n**2, 0.0)
        drawn = (_SPREAD * mean_n) ** 2
        lean = (self._ns / self._weight - mean_n * mean_s) / (spread + drawn)
        alone = max(mean_s - lean * mean_n, mean_s / 20.0)
        self.slope = min(max(lean / alone, 0.0), _STEEPEST)
        self.doubt = drawn / (spread + drawn)
