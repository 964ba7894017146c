"""What a forecaster remembers: complete steps from the history it was fitted on and from its updates, and the level."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

from forecasting.errors import NotEnoughHistory
from forecasting.series import Arrivals, Recorder, Series, resample, step_index

Rows = NDArray[np.float32]


class Memory:
    """The newest ``capacity`` complete steps, in contiguous rows that move forward in bulk (O(1) amortised).

    Row 0 holds rates (requests/s, NaN where not known); the others belong to the model, which fills them. Steps are
    numbered from the epoch; the column of step ``i`` is ``i - self.base``.
    """

    def __init__(self, step: float, capacity: int, rows: int) -> None:
        self.step = step
        self.capacity = capacity
        self.base = 0
        self.used = 0
        self.rows: Rows = np.full((rows, capacity + max(64, capacity // 8)), np.nan, np.float32)
        self.recorder = Recorder(step, capacity)
        self.history_until = -1  # steps up to here may come from the history
        self.history_step = step  # s; the history's own step: noise within it was averaged away
        self.history_end: float | None = None

    @property
    def newest(self) -> int:
        """Number of the newest complete step."""
        return self.base + self.used - 1

    @property
    def origin(self) -> float | None:
        """Unix seconds up to which arrivals are known; None before anything came."""
        ends = [end for end in (self.recorder.end, self.history_end) if end is not None]
        return max(ends) if ends else None

    @property
    def rates(self) -> NDArray[np.float32]:
        return self.rows[0, : self.used]

    def series(self) -> Series:
        """What is kept, as a history to fit on."""
        return Series(self.base * self.step, self.step, self.rates.astype(np.float64))

    def fit(self, history: Series) -> None:
        """Replace the history; steps that updates have filled stay, and win where both know a step.

        Raises ``NotEnoughHistory`` when no step that would be kept is known, ``BadSeries`` when the series cannot be
        read; nothing is changed then.
        """
        past = resample(history, self.step, "linear")
        if not len(past.rates) or np.isnan(past.rates).all():
            raise NotEnoughHistory("the history has no step with a known rate; fit again when more has come")
        own = self.recorder.series()
        own_first = step_index(own.start, self.step)
        first, after = step_index(past.start, self.step), step_index(past.end, self.step)
        start, stop = first, after
        if len(own.rates):
            start, stop = min(first, own_first), max(after, own_first + len(own.rates))
        start = max(start, stop - self.capacity)
        merged = np.full(stop - start, np.nan)
        _lay(merged, past.rates, first - start)
        if len(own.rates):
            known = np.full(stop - start, np.nan)
            _lay(known, own.rates, own_first - start)
            merged = np.where(np.isnan(known), merged, known)
        if np.isnan(merged).all():
            raise NotEnoughHistory(f"none of the newest {len(merged)} steps of {self.step:g} s has a known rate")
        self.rows[:] = np.nan
        self.base, self.used = start, len(merged)
        self.rows[0, : self.used] = merged
        self.history_until = after - 1
        self.history_step = max(history.step, self.step)
        self.history_end = history.end

    def put(self, index: int, rate: float) -> int:
        """Store the rate of a complete step; steps skipped before it become NaN. Returns its column, -1 if too old."""
        if not self.used:
            self.base = index
        column = index - self.base
        if column < 0:
            return -1
        if column >= self.rows.shape[1]:
            self._move(index)
            column = index - self.base
        if column >= self.used:
            self.rows[:, self.used : column + 1] = np.nan
            self.used = column + 1
        if not math.isnan(rate):
            self.rows[0, column] = rate
        return column

    def _move(self, index: int) -> None:
        """Make room for step ``index``: keep the newest ``capacity - 1`` columns before it."""
        base = index + 1 - self.capacity
        kept = max(self.newest + 1 - base, 0)
        self.rows[:, :kept] = self.rows[:, self.used - kept : self.used].copy()
        self.base, self.used = base, kept


class Level:
    """Mean rate over the newest ``window`` seconds of updates, from at most some 64 merged pieces."""

    def __init__(self, window: float) -> None:
        self.window = window
        self._pieces: deque[tuple[float, float, float]] = deque()  # (end, seconds, count), oldest first

    def update(self, arrivals: Arrivals) -> None:
        end, seconds, count = arrivals.end, arrivals.seconds, arrivals.count
        if self._pieces:
            last_end, last_seconds, last_count = self._pieces[-1]
            if end <= last_end:
                return
            if end - seconds < last_end:
                count *= (end - last_end) / seconds
                seconds = end - last_end
            touching = end - seconds - last_end <= 1e-6 * self.window
            if touching and last_seconds + seconds <= self.window / 64:
                self._pieces.pop()
                seconds, count = seconds + last_seconds, count + last_count
        self._pieces.append((end, seconds, count))
        while self._pieces[0][0] <= end - self.window:
            self._pieces.popleft()

    def seen(self, origin: float) -> tuple[float, float]:
        """Seconds known within the window before ``origin``, and the requests that came in them."""
        begin = origin - self.window
        known = requests = 0.0
        for end, seconds, count in self._pieces:
            inside = min(end, origin) - max(end - seconds, begin)
            if inside > 0:
                known += inside
                requests += count * inside / seconds
        return known, requests


def level_now(memory: Memory, level: Level) -> tuple[float, float]:
    """Newest rate (requests/s), and the seconds of arrivals it rests on.

    Where updates cover less than half of the window, complete steps fill the rest; the newest known step of any age
    stands in when the window is empty. NaN when nothing is known at all.
    """
    origin = memory.origin
    if origin is None:
        return math.nan, 0.0
    known, requests = level.seen(origin)
    if known >= level.window / 2:
        return requests / known, known
    width = max(1, round(level.window / memory.step))
    newest = memory.rates[max(memory.used - width, 0) :] if memory.newest >= origin / memory.step - width - 1 else None
    if newest is not None and not np.isnan(newest).all():
        filled = float(newest[~np.isnan(newest)].mean())
        return (requests + filled * (level.window - known)) / level.window, level.window
    if known > 0:
        return requests / known, known
    columns = np.flatnonzero(~np.isnan(memory.rates))
    return (float(memory.rates[columns[-1]]), memory.step) if len(columns) else (math.nan, 0.0)


def _lay(into: NDArray[np.float64], rates: NDArray[np.float64], at: int) -> None:
    """Write ``rates`` from position ``at`` on; what falls outside is left out."""
    begin, end = max(at, 0), min(at + len(rates), len(into))
    if begin < end:
        into[begin:end] = rates[begin - at : end - at]
