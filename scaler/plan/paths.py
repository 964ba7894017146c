"""Sample paths, relative to now."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecasting.compiled import compiled
from forecasting.forecaster import Paths
from forecasting.trajectories import possible, room

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Futures:
    """Possible futures: rates (requests/s) constant within a step, the last one for ever.

    ``rates`` has the shape [count, steps]; its first step (of ``step`` s) begins ``age`` seconds before now.
    """

    rates: Floats
    step: float
    age: float

    def rate_at(self, ahead: float) -> Floats:
        """Rates (requests/s) ``ahead`` seconds from now; shape [count]."""
        index = min(max(int((ahead + self.age) // self.step), 0), self.rates.shape[1] - 1)
        return self.rates[:, index]


def steps_for(horizon: float, age: float, step: float) -> int:
    """Steps that a path needs to reach ``horizon`` seconds ahead when it begins ``age`` seconds before now."""
    return max(math.ceil((horizon + age) / step), 1)


def checked(paths: Paths, count: int, steps: int) -> Floats:
    """The forecaster's paths as float64. Raises ValueError when they are not what the protocol promises."""
    rates = room(paths, count, steps).astype(np.float64)
    if not possible(rates):
        raise ValueError("paths that are not finite and >= 0")
    return rates


def quantiles(values: Floats, at: tuple[float, ...]) -> tuple[float, ...]:
    """Quantiles ``at`` of a few values, linear between them; numpy's own takes as long as a whole plan."""
    ordered = np.sort(values)
    last, value = len(ordered) - 1, ordered.item
    found = []
    for q in at:
        low = int(q * last)
        below = value(low)
        found.append(below + (value(min(low + 1, last)) - below) * (q * last - low))
    return tuple(found)


def middle_path(rates: Floats, steps: int) -> Floats:
    """The median of the paths [count, any] at each of the first ``steps``, [steps]."""
    ordered = _ordered(rates, steps)
    middle: Floats = (ordered[:, (len(rates) - 1) // 2] + ordered[:, len(rates) // 2]) / 2
    return middle


def upper_middle_path(rates: Floats, steps: int) -> Floats:
    """The same; of two in the middle the upper one."""
    middle: Floats = _ordered(rates, steps)[:, len(rates) // 2].copy()
    return middle


def _ordered(rates: Floats, steps: int) -> Floats:
    """Each step's rates, ascending, [steps, count]. Sorting many numbers at once, as numpy does, guesses no branch
    wrong."""
    ordered = rates[:, :steps].T.copy()
    ordered.sort(axis=1)
    return ordered


@compiled
def peaks(rates: Floats) -> Floats:
    """The highest rate of each path [count]; numpy takes five times as long along the steps."""
    found = np.empty(len(rates))
    for p in range(len(rates)):
        found[p] = rates[p].max()
    return found


def level_paths(level: float, headroom: float, horizon: float) -> Futures:
    """The one future of a plan without a forecast: the newest level, with headroom, goes on."""
    return Futures(np.array([[level * (1.0 + headroom)]]), max(horizon, 1.0), 0.0)
