"""Arrival rates at regular steps; what was not seen is NaN, never zero."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from forecasting.errors import BadSeries

Floats = NDArray[np.float64]

# A step of which less than this share was seen is missing.
LEAST_SEEN = 0.5
# Unix seconds divided by a step are not exact in floating point: this share of a step counts as "on the boundary".
_ON_BOUNDARY = 1e-6
_FEW = 8  # steps


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


def step_index(time: float, step: float) -> int:
    """Number of the step that holds ``time`` (unix s); step 0 begins at the epoch."""
    return math.floor(time / step + _ON_BOUNDARY)


def check(series: Series) -> None:
    """Raise ``BadSeries``, naming the field, unless ``series`` can be read."""
    if not (math.isfinite(series.step) and series.step > 0):
        raise BadSeries(f"step: {series.step} s; a step is a positive number of seconds")
    if not math.isfinite(series.start):
        raise BadSeries(f"start: {series.start}; it must be unix seconds")
    if series.rates.ndim != 1:
        raise BadSeries(f"rates: shape {series.rates.shape}; one rate for each step is wanted")
    bad = np.flatnonzero((series.rates < 0) | np.isinf(series.rates))
    if len(bad):
        row = int(bad[0])
        raise BadSeries(f"rates[{row}]: {series.rates[row]}; a rate is >= 0 requests/s, or NaN where it is not known")


def resample(series: Series, step: float, within: Literal["even", "linear"] = "even") -> Series:
    """The same arrivals over steps of ``step`` seconds that begin at multiples of it.

    Coarser steps are means over what is known in them; a step of which less than half is known is NaN. Finer steps
    repeat the rate (``even``), or lie on the line through the centres of the old ones (``linear``; beside a gap the
    rate goes on as it is), which keeps the total and leaves no jump at an old step's end. Any two steps will do,
    multiples of each other or not. Raises ``BadSeries``.
    """
    check(series)
    if not (math.isfinite(step) and step > 0):
        raise BadSeries(f"step: {step} s; a step is a positive number of seconds")
    first = step_index(series.start, step)
    last = max(first, math.ceil(series.end / step - _ON_BOUNDARY))
    if not len(series.rates):
        return Series(first * step, step, np.empty(0))
    if step == series.step and abs(first * step - series.start) <= _ON_BOUNDARY * step:
        return Series(first * step, step, series.rates.astype(np.float64))

    known = ~np.isnan(series.rates)
    rates = np.where(known, series.rates, 0.0)
    left, right = _edges(rates, known) if within == "linear" and step < series.step else (rates, rates)
    # Requests, and seconds known, from the start to each new boundary (in old steps).
    at = np.clip((np.arange(first, last + 1) * step - series.start) / series.step, 0.0, len(rates))
    cell = np.minimum(at.astype(np.intp), len(rates) - 1)
    part = at - cell
    first_half, second_half = np.minimum(part, 0.5), np.maximum(part - 0.5, 0.0)
    requests = np.concatenate(([0.0], np.cumsum((left + 2 * rates + right) / 4)))[cell]
    requests += first_half * (left[cell] + (rates - left)[cell] * first_half)
    requests += second_half * (rates[cell] + (right - rates)[cell] * second_half)
    seen = np.concatenate(([0.0], np.cumsum(known)))[cell] + part * known[cell]
    requests, seen = np.diff(requests), np.diff(seen)
    enough = seen * series.step >= LEAST_SEEN * step - _ON_BOUNDARY * step
    means = np.full(last - first, np.nan)
    np.divide(np.maximum(requests, 0.0), seen, out=means, where=enough)
    return Series(first * step, step, means)


def _edges(rates: Floats, known: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Rates at each step's begin and end: half-way to its neighbours' where those are known."""
    left, right = rates.copy(), rates.copy()
    both = known[1:] & known[:-1]
    middle = (rates[1:] + rates[:-1]) / 2
    left[1:] = np.where(both, middle, rates[1:])
    right[:-1] = np.where(both, middle, rates[:-1])
    return left, right


class Recorder:
    """Turns irregular ``Arrivals`` into regular steps, in a ring of ``capacity`` steps.

    Offsets are cumulative counters, so an update is a true count over all of its seconds, however long: it is spread
    evenly over the steps that it covers. What lies between one update's end and the next one's start is not known; a
    step of which less than half was seen is NaN. Each update costs O(1) (O(steps covered) for a long one, at most
    ``capacity``).
    """

    def __init__(self, step: float, capacity: int) -> None:
        if not (math.isfinite(step) and step > 0) or capacity < 1:
            raise ValueError(f"step {step} s, capacity {capacity}: both must be positive")
        self.step = step
        self.capacity = capacity
        self.end: float | None = None  # unix s, of the newest update
        self.open = 0  # step that holds the newest end
        # Not numpy's, which take three times as long for single numbers.
        self._counts = array("d", bytes(8 * capacity))
        self._seen = array("d", bytes(8 * capacity))  # s
        self._first = 0  # oldest step kept

    def update(self, arrivals: Arrivals) -> range:
        """Take in the newest arrivals; returns the numbers of the steps that are complete by it.

        What lies before the newest end is known already: that part is left out, and an update that ends no later is
        ignored. Raises ``BadSeries`` for a count or duration that cannot be.
        """
        end, seconds, count = arrivals.end, arrivals.seconds, arrivals.count
        if not (0 < seconds < math.inf and 0 <= count < math.inf and math.isfinite(end)):
            raise BadSeries(f"{arrivals}: end must be finite, seconds > 0, count >= 0")
        begin = end - seconds
        if self.end is None:
            self._first = self.open = step_index(begin, self.step)
        elif end <= self.end:
            return range(0)
        elif begin < self.end:
            count *= (end - self.end) / seconds
            begin = self.end
        closed = self._advance(step_index(end, self.step))
        self._spread(begin, end, count)
        self.end = end
        return closed

    def rate(self, index: int) -> float:
        """Mean rate (requests/s) of a kept step; NaN when less than half of it was seen."""
        if not self._first <= index <= self.open:
            return math.nan
        at = index % self.capacity
        seen = self._seen[at]
        return self._counts[at] / seen if seen >= LEAST_SEEN * self.step else math.nan

    def series(self) -> Series:
        """The complete steps that are kept, oldest first."""
        at = np.arange(self._first, self.open) % self.capacity
        counts, seen = np.frombuffer(self._counts)[at], np.frombuffer(self._seen)[at]
        rates = np.full(len(at), np.nan)
        np.divide(counts, seen, out=rates, where=seen >= LEAST_SEEN * self.step)
        return Series(self._first * self.step, self.step, rates)

    def _advance(self, index: int) -> range:
        """Open step ``index``; the steps between become empty ones."""
        closed = range(self.open, index)
        if not closed:
            return closed
        if index == self.open + 1:  # as below
            self._counts[index % self.capacity] = self._seen[index % self.capacity] = 0.0
            self.open, self._first = index, max(self._first, index + 1 - self.capacity)
            return closed
        fresh = range(max(self.open + 1, index + 1 - self.capacity), index + 1)
        if len(fresh) < _FEW:  # as below, without numpy's overhead
            for step in fresh:
                self._counts[step % self.capacity] = self._seen[step % self.capacity] = 0.0
        else:
            at = np.arange(fresh.start, fresh.stop) % self.capacity
            np.frombuffer(self._counts)[at] = np.frombuffer(self._seen)[at] = 0.0
        self.open = max(index, self.open)
        self._first = max(self._first, self.open + 1 - self.capacity)
        return closed

    def _spread(self, begin: float, end: float, count: float) -> None:
        first, last = step_index(begin, self.step), self.open
        if first >= last:
            self._counts[last % self.capacity] += count
            self._seen[last % self.capacity] += end - begin
            return
        if last - first < _FEW:  # as below, without numpy's overhead
            length, seconds = self.step, end - begin
            for step in range(max(first, self._first), last + 1):
                upto, since = (step + 1) * length, step * length
                part = (upto if upto < end else end) - (since if since > begin else begin)
                if part > 0.0:
                    self._counts[step % self.capacity] += count * part / seconds
                    self._seen[step % self.capacity] += part
            return
        steps = np.arange(max(first, self._first), last + 1)
        overlap = np.minimum(end, (steps + 1) * self.step) - np.maximum(begin, steps * self.step)
        overlap = np.maximum(overlap, 0.0)
        np.frombuffer(self._counts)[steps % self.capacity] += count * overlap / (end - begin)
        np.frombuffer(self._seen)[steps % self.capacity] += overlap


def counts_of(series: Series) -> list[Arrivals]:
    """The known steps, as updates."""
    step = series.step
    return [
        Arrivals(series.start + (k + 1) * step, step, rate * step)
        for k, rate in enumerate(series.rates.tolist())
        if not math.isnan(rate)
    ]
