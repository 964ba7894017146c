"""What paths are drawn from now: where the load stands, and what is expected of it."""

from __future__ import annotations

import math

import numpy as np

from forecasting.compiled import compiled
from forecasting.direct.draw import Between, Present
from forecasting.direct.features import Layout, Singles, describe
from forecasting.direct.learned import Learned
from forecasting.direct.ridge import predict, standardise
from forecasting.trajectories import CEILING


def present_of(
    learned: Learned, layout: Layout, between: Between, rates: Singles, base: int, peak: float
) -> Present | None:
    """After the newest of ``rates``, which begin at step number ``base`` and were never above ``peak`` (requests/s);
    None when no level, or no past origin, is known."""
    ridge, shift = learned.ridge, learned.base - base
    features, predicted = np.empty(layout.size, np.float32), np.empty(ridge.weights.shape[1], np.float32)
    level = expect(
        rates,
        base,
        learned.calm,
        layout,
        ridge.centre,
        ridge.scale,
        ridge.low,
        ridge.high,
        ridge.weights,
        ridge.least,
        ridge.most,
        features,
        predicted,
    )
    if math.isnan(level) or learned.origins.gone(shift):
        return None
    ceiling = CEILING * max(peak, math.exp(level))
    known = learned.forest, features, learned.origins, rates, shift, level, predicted
    return Present(*known, between, learned.calm, ceiling)


@compiled
def expect(
    rates: Singles,
    base: int,
    calm: float,
    layout: Layout,
    centre: Singles,
    scale: Singles,
    low: Singles,
    high: Singles,
    weights: Singles,
    least: Singles,
    most: Singles,
    features: Singles,
    predicted: Singles,
) -> float:
    """The log level; standardised ``features`` [features] and the ridge's log ratios, ``predicted`` [horizons]."""
    raw, level = np.empty((1, len(features)), np.float32), np.empty(1, np.float32)
    describe(rates, base, np.array([len(rates)]), calm, layout, raw, level)
    standardise(raw, centre, scale, low, high, features.reshape(1, -1))
    predict(features.reshape(1, -1), weights, least, most, predicted.reshape(1, -1))
    return float(level[0])
