"""Sample paths, relative to now."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from forecasting.compiled import compiled
from forecasting.forecaster import Paths
from forecasting.trajectories import possible, room

Floats = NDArray[np.float64]


class Medians:
    """The median of the paths [count, any] at each step, made when somebody asks, and only once."""

    def __init__(self, rates: Floats) -> None:
        self._rates = rates
        self._ordered: Floats | None = None  # [steps, count]

    def path(self, steps: int) -> Floats:
        """The median at each of the first ``steps``, [steps]."""
        ordered, count = self._made(), len(self._rates)
        middle: Floats = (ordered[:steps, (count - 1) // 2] + ordered[:steps, count // 2]) / 2
        return middle

    def upper(self, steps: int) -> Floats:
        """The same; of two in the middle the upper one."""
        upper: Floats = self._made()[:steps, len(self._rates) // 2].copy()
        return upper

    def _made(self) -> Floats:
        if self._ordered is None:
            # Sorting many numbers at once, as numpy does, guesses no branch wrong.
            self._ordered = self._rates.T.copy()
            self._ordered.sort(axis=1)
        return self._ordered


@dataclass(frozen=True, slots=True, eq=False)
class Futures:
    """Possible futures: rates (requests/s) constant within a step, the last one for ever.

    ``rates`` has the shape [count, steps]; its first step (of ``step`` s) begins ``age`` seconds before now.
    ``farther`` draws as many that go on longer, to be called before anything new is learned; None where these are all,
    or where no more can be drawn.
    """

    rates: Floats
    step: float
    age: float
    farther: Callable[[], Futures | None] | None = field(default=None, repr=False)
    medians: Medians = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "medians", Medians(self.rates))

    def rate_at(self, ahead: float) -> Floats:
        """Rates (requests/s) ``ahead`` seconds from now; shape [count]."""
        index = min(max(int((ahead + self.age) // self.step), 0), self.rates.shape[1] - 1)
        return self.rates[:, index]


def steps_for(horizon: float, age: float, step: float) -> int:
    """Steps that a path needs to reach ``horizon`` seconds ahead when it begins ``age`` seconds before now."""
    return max(math.ceil((horizon + age) / step), 1)


def checked(paths: Paths, count: int, steps: int) -> Floats:
    """The forecaster's paths as float64. Raises ValueError when they are not what the protocol promises."""
    rates = room(paths, count, steps).astype(np.float64, order="C")  # for any other, loops are compiled anew
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
