"""Sample paths as cumulative arrivals, evaluated at any time ahead."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from forecasting.forecaster import Paths

Floats = NDArray[np.float64]


class Futures:
    """Possible futures, relative to now: rates constant within a step, so that cumulative arrivals are linear in it.

    ``rates`` has the shape [count, steps]; its first step begins ``age`` seconds before now.
    """

    def __init__(self, rates: Floats, step: float, age: float) -> None:
        self.rates: Floats = rates
        self.step = step
        self.age = age
        self._cumulative: Floats = np.zeros((rates.shape[0], rates.shape[1] + 1), dtype=np.float64)
        self._cumulative[:, 1:] = np.cumsum(rates * step, axis=1)
        self._until_now = self._at(np.zeros(1, dtype=np.float64))

    @property
    def knots(self) -> Floats:
        """Seconds ahead of now at which rates change; those after now."""
        times: Floats = np.arange(1, self.rates.shape[1], dtype=np.float64) * self.step - self.age
        return times[times > 0]

    def arrived(self, ahead: Floats) -> Floats:
        """Requests between now and ``ahead`` (s, >= 0); shape [count, len(ahead)]. The last rate goes on for ever."""
        return self._at(ahead) - self._until_now

    def rate_at(self, ahead: float) -> Floats:
        """Rates (requests/s) ``ahead`` seconds from now; shape [count]."""
        index = int(np.clip((ahead + self.age) // self.step, 0, self.rates.shape[1] - 1))
        return self.rates[:, index]

    def between(self, start: float, end: float) -> Floats:
        """Rates of the steps that touch [start, end) seconds ahead; shape [count, at least 1]."""
        last = self.rates.shape[1]
        first = int(np.clip((start + self.age) // self.step, 0, last - 1))
        stop = int(np.clip(np.ceil((end + self.age) / self.step), first + 1, last))
        return self.rates[:, first:stop]

    def _at(self, ahead: Floats) -> Floats:
        position = np.maximum(ahead + self.age, 0.0) / self.step
        index = np.minimum(position.astype(np.int64), self.rates.shape[1] - 1)
        value: Floats = self._cumulative[:, index] + self.rates[:, index] * ((position - index) * self.step)
        return value


def steps_for(horizon: float, age: float, step: float) -> int:
    """Steps that a path needs to reach ``horizon`` seconds ahead when it begins ``age`` seconds before now."""
    return max(int(np.ceil((horizon + age) / step)), 1)


def checked(paths: Paths, count: int, steps: int) -> Floats:
    """The forecaster's paths as float64. Raises ValueError when they are not what the protocol promises."""
    if paths.shape != (count, steps):
        raise ValueError(f"paths of shape {paths.shape} instead of {(count, steps)}")
    rates = paths.astype(np.float64)
    if not np.all(np.isfinite(rates)) or float(rates.min()) < 0:
        raise ValueError("paths that are not finite and >= 0")
    return rates


def quantiles(values: Floats, at: tuple[float, ...]) -> tuple[float, ...]:
    """Quantiles ``at`` of a few values, linear between them; numpy's own takes as long as a whole plan."""
    ordered = np.sort(values)
    last = len(ordered) - 1
    found = []
    for q in at:
        low = int(q * last)
        high = min(low + 1, last)
        found.append(float(ordered[low] + (ordered[high] - ordered[low]) * (q * last - low)))
    return tuple(found)


def level_paths(level: float, headroom: float, horizon: float) -> Futures:
    """The one future of a plan without a forecast: the newest level, with headroom, goes on."""
    return Futures(np.array([[level * (1.0 + headroom)]]), max(horizon, 1.0), 0.0)
