"""A week of 15 s is small in memory."""

from __future__ import annotations

import pickle

import numpy as np

from forecasting.competition_default import default_competition
from forecasting.models.direct import Direct
from forecasting.series import Series


def test_a_week_fits_into_half_a_megabyte_with_room_for_the_plan():
    minutes = np.arange(7 * 1440)
    rate = 40 * (1 + 0.6 * np.sin(2 * np.pi * minutes / 1440)) * np.where(minutes % 60 < 3, 3.0, 1.0)
    rates = np.random.default_rng(0).poisson(rate * 60) / 60
    model = default_competition(15.0, 150.0)
    model.fit(Series(0.0, 60.0, rates))
    direct = model.members[0].forecaster
    assert isinstance(direct, Direct)
    assert direct.reason is None
    assert len(pickle.dumps(direct)) < 360_000
    assert len(pickle.dumps(model)) < 390_000
