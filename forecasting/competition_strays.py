"""Whether what comes is what a model says itself: where nobody knows better, a wrong one is found all the same."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forecasting.compiled import compiled
from forecasting.ordered import ascend

Floats = NDArray[np.float64]

_CLOSE = 0.1  # log distance within which two rates are one, and, where that is more,
_COUNTED = 2.0  # standard deviations of a count
_ENOUGH = 7.0  # nats: more than five in a row that are hardly possible, as in a jump that goes on for ten minutes, or
# as many as five of bursts
_USUAL = 50.0  # outcomes over which what a model says is averaged


class _Law(NamedTuple):
    """Of outcomes, how many lie in the least likely ``part`` of what was said: of a sound model, with what a real one
    is off, and of a wrong one."""

    part: float
    sound: float
    wrong: float

    def nats(self, likely: float) -> float:
        """What one outcome tells, see :func:`likelihood_rank`."""
        if likely < self.part:
            return math.log(self.wrong / self.sound)
        return math.log((1.0 - self.wrong) / (1.0 - self.sound))


_ALWAYS = _Law(0.03, 0.05, 0.2)
_BURST = _Law(0.11, 0.15, 0.7)
_MUCH = 2.0  # times what it usually says: of a burst. What it says of quiet hours may be right, and cost nothing


@dataclass(slots=True)
class Strays:
    """Tests of a model against its own paths (CUSUM; Page, "Continuous inspection schemes", Biometrika 41, 1954).

    Three or four of a hundred outcomes of a sound model lie in the least likely 3 % of its paths, also of those of
    which it says that a burst comes. One that has more than a tenth there is ``lost`` in time, at a fifth within two
    hours, and is so until some 50 outcomes are what it says. It needs no other model that is right, as a comparison
    does: of load that comes by the minute the newest level knows as little as rubbish.
    """

    always: float = 0.0  # nats
    bursts: float = 0.0
    usual: float | None = None  # requests/s that it says
    lost: bool = False

    def hear(self, said: float, likely: float) -> bool:
        """One more outcome: the mean rate that was ``said``, and how ``likely`` it was; whether ``lost`` changed."""
        self.always = _moved(self.always, _ALWAYS.nats(likely))
        if self.usual is not None and said > _MUCH * self.usual:
            self.bursts = _moved(self.bursts, _BURST.nats(likely))
        elif self.lost:  # who says no more of bursts is to come back, too
            self.bursts = _moved(self.bursts, min(_ALWAYS.nats(likely), 0.0))
        self.usual = said if self.usual is None else self.usual + (said - self.usual) / _USUAL
        before, most = self.lost, max(self.always, self.bursts)
        self.lost = most > (0.0 if before else _ENOUGH)
        return self.lost is not before


def _moved(nats: float, told: float) -> float:
    """Never below nothing, and no more above what is enough than one outcome tells: bad news is forgotten, too."""
    return min(max(nats + told, 0.0), _ENOUGH + 1.0)


@compiled
def closeness(outcome: float, seconds: float) -> float:
    """The log distance from ``outcome`` (requests/s, the mean over ``seconds``) at which a path has said it."""
    return max(_CLOSE, _COUNTED / math.sqrt(outcome * seconds + 1.0))


@compiled
def likelihood_rank(paths: Floats, outcome: float, seconds: float) -> float:
    """The share of the ``paths`` [n] (requests/s, means over ``seconds``) that are no likelier than ``outcome``.

    Likely is where the others are dense, by a kernel over logs (Silverman's width, "Density Estimation", 1986; no less
    than ``closeness``): low are outcomes outside all paths, and between two groups of them (highest density regions;
    Hyndman, "Computing and graphing highest density regions", The American Statistician 50, 1996); equals count for
    half. Of a sound model, whose paths and outcomes can be exchanged, it is uniform (conformal prediction; Vovk et al.,
    "Algorithmic Learning in a Random World", 2005).
    """
    logs = np.log(paths + 1.0 / seconds)
    ascend(logs)
    came, close = math.log(outcome + 1.0 / seconds), closeness(outcome, seconds)
    n = len(logs)
    mean, square = logs.mean(), 0.0
    for i in range(n):
        square += (logs[i] - mean) ** 2
    spread = min(math.sqrt(square / n), (logs[3 * n // 4] - logs[n // 4]) / 1.34)
    steep = -0.5 / max(close, 0.9 * spread * n**-0.2) ** 2
    there, below = 0.0, 0.5
    near = np.empty(n)
    others = np.empty(n)
    for i in range(n):
        near[i] = math.exp(steep * (logs[i] - came) ** 2)
        there += near[i]
        others[i] = near[i]
    for i in range(n):
        for j in range(i):
            both = math.exp(steep * (logs[i] - logs[j]) ** 2)
            others[i] += both
            others[j] += both
    for i in range(n):
        if abs(others[i] - there) <= 1e-9:
            below += 0.5
        elif others[i] < there:
            below += 1.0
    return below / (n + 1.0)
