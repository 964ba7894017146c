"""Whether a history can be the past of the load that is seen: what is learned from another one is worse than nothing.

Timestamps that a mirror or a replay set anew, a topic that another service wrote to: such a history looks like any.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecasting.series import Arrivals, Series

Floats = NDArray[np.float64]

HOUR = 3600.0
_SHORT = 1000  # known steps, with fewer of which nothing is said
_PAIRS = 100  # of steps at a distance, of fewer of which nothing is said
_COUNTED = 4.0  # variance of the counts over their mean, up to which it is that of counting
_EVEN = 0.3  # standard deviation of the rates over their mean, up to which it is all the same when they come
_STANDS_OUT = 5.5  # standard errors: by chance one of ten thousand correlations does in 4,000 histories
_HOURS = 24  # known ones of a history, with fewer of which nothing is said
_FAR = 3.0  # times that the first live hour is less than the lowest one
_FEW = 100.0  # requests in that hour, with fewer of which nothing is said


def in_order(history: Series) -> bool:
    """Whether what comes has to do with what came, at any distance.

    Real load does: levels last, cycles return. Where no autocorrelation of the ranks stands out of chance (Bartlett,
    "On the Theoretical Specification and Sampling Properties of Autocorrelated Time-Series", JRSS Supplement 8, 1946),
    the steps do not stand in the order in which they were: a model of them buys capacity for bursts at all times. True
    where little is known, and for an even level, of which there is nothing to tell; and mostly where less than a
    hundredth of the steps is a burst, for a few that lie alike by chance stand out.
    """
    known = ~np.isnan(history.rates)
    n = int(known.sum())
    counts = history.rates[known] * history.step
    if n < _SHORT or counts.var() <= max(_COUNTED, _EVEN**2 * counts.mean()) * counts.mean():
        return True
    # Equal rates have equal ranks; what is missing is as the mean.
    ranks = np.zeros(len(known))
    _, inverse, many = np.unique(counts, return_inverse=True, return_counts=True)
    ranks[known] = (np.cumsum(many) - many / 2)[inverse]
    ranks[known] -= ranks[known].mean()
    pairs = _together(known.astype(np.float64))
    enough = pairs > _PAIRS
    errors = np.abs(_together(ranks)[enough]) / np.sqrt(pairs[enough])
    return bool(errors.max(initial=0.0) > _STANDS_OUT * float((ranks**2).sum()) / n)


def _together(values: Floats) -> Floats:
    """Sums of the products of ``values`` [n] that are a distance apart, from 1 to half of n."""
    power = np.abs(np.fft.rfft(values, 2 * len(values))) ** 2
    return np.asarray(np.fft.irfft(power)[1 : len(values) // 2], dtype=np.float64)


@dataclass(slots=True)
class Joins:
    """Whether the first hour of live load is at least a third of what the lowest hour of the ``history`` was.

    What a model of a load far above the present one says would be paid for. Load far above the history is not refused:
    it may be a launch, and models go by the newest level.
    """

    low: float  # requests/s: the mean of the history's lowest hour
    end: float  # unix s, of the history
    seconds: float = 0.0  # s of live load
    count: float = 0.0  # requests in them

    @classmethod
    def on(cls, history: Series) -> Joins | None:
        """None where the history is too short, or too coarse, to tell."""
        if history.step > HOUR:
            return None
        each = max(round(HOUR / history.step), 1)
        hours = history.rates[: len(history.rates) // each * each].reshape(-1, each)
        hours = hours[np.count_nonzero(~np.isnan(hours), axis=1) > each / 2]
        if len(hours) < _HOURS:
            return None
        return cls(float(np.nanmean(hours, axis=1).min()), history.end)

    def told(self, arrivals: Arrivals) -> bool | None:
        """Take in live load; None until there is an hour of it."""
        if arrivals.end <= self.end:
            return None
        self.seconds += arrivals.seconds
        self.count += arrivals.count
        if self.seconds < HOUR:
            return None
        return self.count < _FEW or self.count / self.seconds >= self.low / _FAR
