"""Seasons as an offset: the usual shape of a period, for the families that have no long seasons of their own."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from forecasting.guarded import Sample
from forecasting.innovations import Offset
from forecasting.profile import middle, profile_without_own

Floats = NDArray[np.float64]

# A profile is judged by the changes over this many steps that it explains: half an hour of five-minute steps.
_AHEAD = 6
_SHARES = (0.5, 0.75, 1.0)


def usual_shape(sample: Sample) -> Offset:
    """The median log rate at each phase of the shortest period, about its mean; none without a period.

    Smoothed over up to 1/48 of the period, and shrunk (down to nothing), as best explains how the values change, each
    season judged by the profile of the *others*.
    """
    if not sample.periods:
        return Offset()
    period = sample.periods[0]
    values = sample.values.astype(np.float32)
    phase = sample.first % period
    seasons = -(-(phase + len(values)) // period)
    table = np.full((seasons, period), np.nan, np.float32)
    table.reshape(-1)[phase : phase + len(values)] = values
    profile = _filled(middle(table, 1).astype(np.float64))
    others = _filled(profile_without_own(values, phase, period).astype(np.float64))
    grown = sample.values[_AHEAD:] - sample.values[:-_AHEAD]
    best, least = Offset(), float(np.nanmean(np.abs(grown)))
    for width in sorted({1, 3, 2 * (period // 96) + 1}):
        smoothed = _smoothed(others, width, "edge")
        explained = smoothed[_AHEAD:] - smoothed[:-_AHEAD]
        for share in _SHARES:
            left = float(np.nanmean(np.abs(grown - share * explained)))
            if left < least:
                shape = _smoothed(profile, width, "wrap")
                best, least = Offset(tables=(share * (shape - shape.mean()),)), left
    return best


def fourier(steps: NDArray[np.int64], period: int, harmonics: int) -> Floats:
    """Sines and cosines of a period at ``steps``: [len(steps), 2 x harmonics]."""
    angles = 2 * np.pi * (steps % period)[:, None] * np.arange(1, harmonics + 1)[None, :] / period
    return np.concatenate((np.sin(angles), np.cos(angles)), axis=1)


def _filled(values: Floats) -> Floats:
    """Straight lines over what is not known."""
    known = np.flatnonzero(~np.isnan(values))
    return np.interp(np.arange(len(values)), known, values[known]) if len(known) else np.zeros_like(values)


def _smoothed(values: Floats, width: int, ends: Literal["edge", "wrap"]) -> Floats:
    """Mean over an odd number of neighbours."""
    around = np.pad(values, width // 2, mode=ends)
    return np.convolve(around, np.ones(width) / width, "valid")
