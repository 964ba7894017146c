"""What is planned: load that people know of beforehand, with its size or "like that day"."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PlannedEvent:
    """From ``begin`` to ``end`` (unix s) load is not as usual. Its size is one of

    ``factor``: times what would come without it (2.0 is twice, 0.5 half; > 0);
    ``rate``: requests/s in all (>= 0), on average over the sample paths;
    ``like``: a past local day, of which the history must hold most: as much above or below its usual at each time of
    day as that day was.

    It comes over the first ``ramp`` seconds, and goes over the last, evenly in the logarithm.
    Raises ``ValueError``, naming the field.
    """

    begin: float
    end: float
    factor: float | None = None
    rate: float | None = None
    like: date | None = None
    ramp: float = 0.0
    name: str = ""

    def __post_init__(self) -> None:
        who = f"event {self.name!r}"
        if not (math.isfinite(self.begin) and math.isfinite(self.end) and self.begin < self.end):
            raise ValueError(f"{who}: begin {self.begin}, end {self.end}; it must end after it begins (unix seconds)")
        sizes = [size for size in (self.factor, self.rate, self.like) if size is not None]
        if len(sizes) != 1:
            raise ValueError(f"{who}: {len(sizes)} of factor, rate and like are given; exactly one is wanted")
        if self.factor is not None and not 0 < self.factor < math.inf:
            raise ValueError(f"{who}: factor {self.factor}; times the usual load, more than 0 is wanted")
        if self.rate is not None and not 0 <= self.rate < math.inf:
            raise ValueError(f"{who}: rate {self.rate}; requests/s, 0 or more are wanted")
        if not 0 <= self.ramp <= (self.end - self.begin) / 2:
            raise ValueError(
                f"{who}: ramp {self.ramp} s; from 0 to half of its {self.end - self.begin:g} s, since it comes and goes"
            )

    @property
    def edges(self) -> tuple[float, ...]:
        """Unix seconds at which it begins, is there whole, begins to go, and ends."""
        return self.begin, self.begin + self.ramp, self.end - self.ramp, self.end

    def weight(self, times: Floats) -> Floats:
        """How much of it is there at ``times`` (unix s, any shape): 0 outside, up to 1."""
        inside = (times >= self.begin) & (times < self.end)
        if self.ramp <= 0:
            return inside.astype(np.float64)
        edge = np.minimum(times - self.begin, self.end - times)
        return np.where(inside, np.minimum(edge / self.ramp, 1.0), 0.0)
