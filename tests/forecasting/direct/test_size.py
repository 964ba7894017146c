"""A week of 15 s is small in memory."""

from __future__ import annotations

import pickle

import numpy as np

from forecasting.models.direct import Direct
from forecasting.series import Series


def test_a_week_fits_into_half_a_megabyte():
    minutes = np.arange(7 * 1440)
    rate = 40 * (1 + 0.6 * np.sin(2 * np.pi * minutes / 1440)) * np.where(minutes % 60 < 3, 3.0, 1.0)
    rates = np.random.default_rng(0).poisson(rate * 60) / 60
    model = Direct()
    model.fit(Series(0.0, 60.0, rates))
    assert model.reason is None
    assert len(pickle.dumps(model)) < 520_000
