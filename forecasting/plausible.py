"""Whether a history can be the past of the load that is seen: what is learned from another one is worse than nothing.

Timestamps that a mirror or a replay set anew, a topic that another service wrote to: such a history looks like any.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from forecasting.series import Arrivals, Series

HOUR = 3600.0
_SHORT = 200  # known steps, with fewer of which nothing is said
_COUNTED = 4.0  # variance of the counts over their mean, up to which it is that of counting
_EVEN = 0.3  # standard deviation of the rates over their mean, up to which it is all the same when they come
_STANDS_OUT = 5.5  # standard errors: by chance one of ten thousand correlations does in 4,000 histories
_HOURS = 24  # known ones of a history, with fewer of which nothing is said
_FAR = 3.0  # times the highest hour, or a part of the lowest, that the first live hour is from it
_FEW = 100.0  # requests in that hour, with fewer of which nothing is said


def in_order(history: Series) -> bool:
    """Whether what comes has to do with what came, at any distance.

    Real load does: levels last, cycles return. Where no autocorrelation of the ranks stands out of chance (Bartlett,
    "On the Theoretical Specification and Sampling Properties of Autocorrelated Time-Series", JRSS Supplement 8, 1946),
    the steps do not stand in the order in which they were: a model of them buys capacity for bursts at all times. True
    where little is known, and for an even level, of which there is nothing to tell.
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
    power = np.abs(np.fft.rfft(ranks, 2 * len(ranks))) ** 2
    together = np.fft.irfft(power)[1 : len(ranks) // 2]
    correlation = np.abs(together) / float((ranks**2).sum())
    return bool(correlation.max(initial=0.0) * math.sqrt(n) > _STANDS_OUT)


@dataclass(slots=True)
class Joins:
    """Whether the first hour of live load is as high as some hour of the ``history`` was, within a factor of three."""

    low: float  # requests/s: of the hours of the history, the lowest mean and
    high: float  # the highest
    end: float  # unix s, of the history
    seconds: float = 0.0  # s of live load
    count: float = 0.0  # requests in them

    @classmethod
    def on(cls, history: Series) -> Joins | None:
        """None where the history is too short to tell."""
        each = max(round(HOUR / history.step), 1)
        hours = history.rates[: len(history.rates) // each * each].reshape(-1, each)
        hours = hours[np.count_nonzero(~np.isnan(hours), axis=1) > each / 2]
        if len(hours) < _HOURS:
            return None
        means = np.nanmean(hours, axis=1)
        return cls(float(means.min()), float(means.max()), history.end)

    def told(self, arrivals: Arrivals) -> bool | None:
        """Take in live load; None until there is an hour of it."""
        if arrivals.end <= self.end:
            return None
        self.seconds += arrivals.seconds
        self.count += arrivals.count
        if self.seconds < HOUR:
            return None
        mean = self.count / self.seconds
        return self.count < _FEW or self.low / _FAR <= mean <= self.high * _FAR
