"""Arrival rates at regular steps; what was not seen is NaN, never zero."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Mean arrival rates (requests/s) over regular steps.

    ``rates[k]`` is the mean over ``[start + k * step, start + (k + 1) * step)``; NaN where it is not known.
    ``start`` is unix seconds and a multiple of ``step`` (s).
    """

    start: float
    step: float
    rates: NDArray[np.float64]  # shape [n]

    @property
    def end(self) -> float:
        """Unix seconds at which the last step ends."""
        return self.start + self.step * len(self.rates)


@dataclass(frozen=True, slots=True)
class Arrivals:
    """``count`` requests that arrived in the ``seconds`` before ``end`` (unix s). ``seconds`` > 0, ``count`` >= 0."""

    end: float
    seconds: float
    count: float

    @property
    def rate(self) -> float:
        """Requests/s."""
        return self.count / self.seconds
