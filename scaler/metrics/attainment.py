"""Attainment from offsets alone: of the requests whose time is up, how many were not yet committed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scaler.metrics.curves import Curve, Floats

NOISE = 1e-6  # messages; less is rounding


@dataclass(frozen=True, slots=True)
class Judged:
    """Requests whose time was up since the last sample, and those of them that had not left."""

    due: float
    late: float


NOTHING = Judged(0.0, 0.0)


class Attainment:
    """Judges each request when ``within`` s have passed since it arrived: late, if it was not committed by then.

    A request that nobody serves is late, too, and counts at once. Arrivals and commits are known at the ticks and taken
    as even between them, so that an objective shorter than a tick is judged as well as the ticks tell. What came before
    the first sample is not judged, and neither is what was due in a gap of more than ``gap`` s between samples: what
    nobody saw is neither in time nor late.
    """

    def __init__(self, within: float, gap: float) -> None:
        self._within = within
        self._gap = gap
        self._arrived = Curve(back=within + gap)
        self._served: tuple[float, Floats] | None = None

    def step(self, time: float, arrived: Floats, served: Floats) -> Judged:
        """Take in the cumulative counts of each partition at unix s ``time``: arrived, and of these committed."""
        goes_on = self._arrived.add(time, arrived)
        before, self._served = self._served, (time, served)
        if before is None or not goes_on:
            return NOTHING
        then, done = before
        start = max(then, self._arrived.first + self._within)
        if time - then > self._gap or start >= time:
            return NOTHING
        knots = self._arrived.times(start - self._within, time - self._within)
        times = np.array([start, *(t + self._within for t in knots), time])
        due = self._arrived.at(times - self._within)
        left = done + (served - done) * ((times - then) / (time - then))[:, None]
        # Both are straight between these times: the part of each piece in which more is due than has left is exact.
        over = due - left
        over = np.where(np.abs(over) < NOISE, 0.0, over)
        first, last = over[:-1], over[1:]
        high, low = np.maximum(first, last), np.minimum(first, last)
        crossing = np.clip(high / np.where(high > low, high - low, 1.0), 0.0, 1.0)
        part = np.where(high > low, crossing, (high > 0.0).astype(np.float64))
        came = np.diff(due, axis=0)
        return Judged(float(came.sum()), float((came * part).sum()))
