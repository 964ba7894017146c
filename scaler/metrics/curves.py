"""Cumulative counts over time, linear between samples."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MOST = 512  # samples; when full, every second one of the older half goes: far back the grain is coarser


class Curve:
    """Messages so far in each partition, remembered at the times they were sampled.

    ``back`` (s): nobody asks for what was longer ago.
    """

    def __init__(self, back: float) -> None:
        self._back = back
        self._samples: deque[tuple[float, Floats]] = deque()

    @property
    def first(self) -> float:
        """Unix s from which on the curve is known; NaN without a sample."""
        return self._samples[0][0] if self._samples else float("nan")

    @property
    def last(self) -> float:
        """Unix s of the newest sample; NaN without one."""
        return self._samples[-1][0] if self._samples else float("nan")

    @property
    def newest(self) -> Floats:
        """The newest sample, shape [partitions]. Raises IndexError without one."""
        return self._samples[-1][1]

    def add(self, time: float, counts: Floats) -> bool:
        """Take in a sample (``counts`` of shape [partitions]).

        False when it does not go on from the one before, as after a topic was made anew, partitions were added, or the
        clock was set back: then the curve begins here.
        """
        goes_on = True
        if self._samples:
            then, before = self._samples[-1]
            goes_on = time > then and counts.shape == before.shape and bool(np.all(counts >= before))
            if not goes_on:
                self._samples.clear()
        self._samples.append((time, counts))
        while len(self._samples) > 2 and self._samples[1][0] <= time - self._back:
            self._samples.popleft()
        if len(self._samples) > MOST:
            kept = [s for i, s in enumerate(self._samples) if i >= MOST // 2 or i % 2 == 0]
            self._samples = deque(kept)
        return goes_on

    def times(self, start: float, end: float) -> list[float]:
        """When samples were taken, in (start, end)."""
        return [t for t, _ in self._samples if start < t < end]

    def at(self, times: Floats) -> Floats:
        """Counts at ``times`` (unix s, within what is known); shape [len(times), partitions]."""
        known = np.array([t for t, _ in self._samples], dtype=np.float64)
        after = np.clip(np.searchsorted(known, times), 1, max(len(known) - 1, 1))
        if len(known) == 1:
            return np.repeat(self._samples[0][1][None, :], len(times), axis=0)
        low = np.stack([self._samples[i - 1][1] for i in after])
        high = np.stack([self._samples[i][1] for i in after])
        part = np.clip((times - known[after - 1]) / (known[after] - known[after - 1]), 0.0, 1.0)
        value: Floats = low + (high - low) * part[:, None]
        return value
