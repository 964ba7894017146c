"""A peer's own memory of arrival rates, by regular steps, as a Prometheus that is asked for the past has it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecasting.series import LEAST_SEEN, Series, resample, step_index


class Past:
    """Mean rates (requests/s) of the steps of the last ``keep`` seconds; a step of which too little was seen is absent.

    ``step`` in seconds; steps are numbered from the epoch.
    """

    def __init__(self, step: float, keep: float) -> None:
        self.step = step
        self.first_open: int | None = None  # the step that is being filled; all before are closed
        self._most = math.ceil(keep / step) + 1
        self._rates: dict[int, float] = {}
        self._end: float | None = None  # unix s, of what was taken in last
        self._count = 0.0
        self._seen = 0.0  # s

    def take(self, begin: float, end: float, count: float) -> None:
        """``count`` requests between ``begin`` and ``end`` (unix s); what is known already is left out."""
        if self._end is not None and begin < self._end:
            if end <= self._end:
                return
            count *= (end - self._end) / (end - begin)
            begin = self._end
        self._end = end
        rate = count / (end - begin)
        at = max(begin, end - self._most * self.step)
        while at < end:
            index = step_index(at, self.step)
            if index != self.first_open:
                self._open(index)
            until = min(end, (index + 1) * self.step)
            self._count += rate * (until - at)
            self._seen += until - at
            at = until
        if (index := step_index(end, self.step)) != self.first_open:
            self._open(index)

    def fill(self, history: Series) -> None:
        """What was before; own steps stand. Raises BadSeries."""
        series = resample(history, self.step)
        first = step_index(series.start, self.step)
        newest = first + len(series.rates) if self.first_open is None else self.first_open
        for index, rate in enumerate(series.rates.tolist(), first):
            if newest - self._most <= index and not math.isnan(rate):
                self._rates.setdefault(index, rate)

    def mean(self, begin: float, end: float) -> float | None:
        """Mean rate between two times (unix s), over the steps that are known; None: none is."""
        seen, requests = 0.0, 0.0
        for index in range(step_index(begin, self.step), math.ceil(end / self.step)):
            rate = self._rates.get(index)
            if rate is not None:
                part = min(end, (index + 1) * self.step) - max(begin, index * self.step)
                seen += part
                requests += part * rate
        return requests / seen if seen > 0 else None

    def rate(self, index: int) -> float:
        """Mean rate of a closed step; NaN where it is not known."""
        return self._rates.get(index, math.nan)

    def column(self) -> tuple[int, NDArray[np.float64]]:
        """(number of the first known step, rates up to the last closed one, NaN where not known)."""
        if not self._rates:
            return 0, np.empty(0)
        first = min(self._rates)
        last = max(self._rates) + 1 if self.first_open is None else self.first_open
        return first, np.array([self._rates.get(index, math.nan) for index in range(first, last)])

    def _open(self, index: int) -> None:
        """Close the step that is open, and open another."""
        before = self.first_open
        if before is not None:
            if self._seen >= LEAST_SEEN * self.step * (1 - 1e-9):
                self._rates[before] = self._count / self._seen
            for old in range(before - self._most, min(index - self._most, before)):
                self._rates.pop(old, None)
        self.first_open = index
        self._count = self._seen = 0.0

    def save(self) -> dict[str, Any]:
        """All state, in JSON's types."""
        return {
            "rates": [[index, rate] for index, rate in self._rates.items()],
            "open": self.first_open,
            "end": self._end,
            "count": self._count,
            "seen": self._seen,
        }

    def load(self, saved: Mapping[str, Any]) -> None:
        """Take over what ``save`` gave."""
        self._rates = {int(index): float(rate) for index, rate in saved["rates"]}
        self.first_open = saved["open"]
        self._end = saved["end"]
        self._count = float(saved["count"])
        self._seen = float(saved["seen"])
