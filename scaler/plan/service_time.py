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

    With n = x s (Little's law) for x requests/s served, 1 / s = 1 / alone - slope x: a straight line over x, which,
    unlike n, does not change when only s does. The slope is learned over ``long`` s by least squares, drawn towards 0
    as long as the load does not vary; the time alone over ``short`` s, so that another mix of requests or another model
    shows soon. O(1) a sample.
    """

    def __init__(self, short: float, long: float) -> None:
        self._short, self._long = short, long
        self.alone: float | None = None  # s; None until the first sample
        self.slope = 0.0  # longer by this part for each request beside it
        self.load = 0.0  # requests in a replica at the newest sample
        self.rebased = 0.0  # of log(alone), what came of another slope and is no change of speed; taken by who uses it
        self._served = 0.0  # requests/s of a replica where the time alone was told
        self.doubt = 1.0  # from 0, the slope is what was seen, to 1, it is not known
        self._requests = 0.0  # since the last renewal
        self._newest = 0.0, 1.0  # s, alone by the newest sample, and its requests
        self._weight = self._x = self._y = self._xx = self._xy = 0.0  # sums over x, y = 1 / s, and their products

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
        served = count / (sample.window * ready)
        before = self.slope
        self._lean(served, 1.0 / mean, math.exp(-seconds / self._long))
        self.rebased += self._rebase(self.slope - before)
        new = count * min(seconds / sample.window, 1.0)  # windows overlap where they are longer than a tick
        self._requests += new
        alone = 1.0 / (1.0 / mean + self.slope * served)
        self._newest = alone, count
        part = -math.expm1(-min(seconds / self._short, new / _MEMORY))
        part = max(part, new / self._requests)  # a plain mean at the beginning
        self.alone = alone if self.alone is None else self.alone + part * (alone - self.alone)
        self._served += part * (served - self._served)
        return True

    def follow(self, part: float) -> float:
        """Take over ``part`` of what the newest sample says of the time alone (s), as far as it differs by more than
        the chance of times that vary as much as they are long."""
        newest, count = self._newest
        alone = newest if self.alone is None else self.alone
        off = math.log(newest / alone)
        self.alone = alone * math.exp(part * off * off**2 / (off**2 + 4.0 / count))
        return self.alone

    def renew(self) -> None:
        """Another pod template: the time alone is told anew, the slope goes on until it is."""
        self._requests = 0.0

    def _rebase(self, steeper: float) -> float:
        if self.alone is None or steeper == 0.0:
            return 0.0
        before, self.alone = self.alone, 1.0 / (1.0 / self.alone + steeper * self._served)
        return math.log(self.alone / before)

    def _lean(self, x: float, y: float, keep: float) -> None:
        self._weight = self._weight * keep + 1.0
        self._x = self._x * keep + x
        self._y = self._y * keep + y
        self._xx = self._xx * keep + x * x
        self._xy = self._xy * keep + x * y
        mean_x, mean_y = self._x / self._weight, self._y / self._weight
        spread = max(self._xx / self._weight - mean_x**2, 0.0)
        drawn = (_SPREAD * mean_x) ** 2
        together = self._xy / self._weight - mean_x * mean_y
        self.slope = min(max(-together / (spread + drawn), 0.0), _STEEPEST)
        self.doubt = drawn / (spread + drawn)
