"""Sample paths, relative to now."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from forecasting.compiled import compiled
from forecasting.forecaster import Paths
from forecasting.trajectories import possible, room

Floats = NDArray[np.float64]


class Middles:
    """The median of the paths [count, any] at each step, made as far ahead as somebody looks, and only once."""

    def __init__(self, rates: Floats) -> None:
        self._rates = rates
        self._lower, self._upper = np.empty(rates.shape[1]), np.empty(rates.shape[1])
        self._made = 0  # steps

    def path(self, steps: int) -> Floats:
        """The median at each of the first ``steps``, [steps]."""
        self._make(steps)
        middle: Floats = (self._lower[:steps] + self._upper[:steps]) / 2
        return middle

    def upper(self, steps: int) -> Floats:
        """The same; of two in the middle the upper one. Do not write."""
        self._make(steps)
        return self._upper[:steps]

    def _make(self, steps: int) -> None:
        made, (count, all_steps) = self._made, self._rates.shape
        if steps <= made:
            return
        # Paths that go on long after what is looked at first are a pool's, whose plan looks half as far as they go.
        steps = max(steps, min(all_steps // 2 + 2, all_steps))
        # [steps, count]: sorting many numbers at once, as numpy does, guesses no branch wrong.
        ordered = self._rates[:, made:steps].T.copy()
        ordered.sort(axis=1)
        self._lower[made:steps] = ordered[:, (count - 1) // 2]
        self._upper[made:steps] = ordered[:, count // 2]
        self._made = steps


@dataclass(frozen=True, slots=True, eq=False)
class Futures:
    """Possible futures: rates (requests/s) constant within a step, the last one for ever.

    ``rates`` has the shape [count, steps]; its first step (of ``step`` s) begins ``age`` seconds before now.
    """

    rates: Floats
    step: float
    age: float
    middles: Middles = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "middles", Middles(self.rates))

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
