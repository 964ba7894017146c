"""On a recorded daily load, five-minute steps and half an hour ahead: libraries beat the newest level, and cover."""

from __future__ import annotations

import numpy as np
import pytest

from forecasting.errors import BadSeries
from forecasting.models.ets import Ets
from forecasting.models.naive import Naive
from forecasting.models.sarimax import Sarimax
from forecasting.series import Arrivals, Series, resample
from simulations.traces import find_trace, read_trace

DAY, STEP, HORIZON = 86400.0, 300.0, 6
PER_DAY = 288
TAUS = np.array([0.1, 0.5, 0.9, 0.95, 0.99])


def score(rates: np.ndarray, model, start: int, stop: int) -> tuple[float, np.ndarray]:
    """Mean pinball loss over TAUS and horizons, and the share covered by each quantile."""
    model.fit(Series((start - 7 * PER_DAY) * STEP, STEP, rates[start - 7 * PER_DAY : start]))
    assert model.fallback is None, model.detail
    losses, below = [], []
    for origin in range(start, stop - HORIZON):
        if origin % 3 == 0:
            quantiles = np.quantile(model.paths(HORIZON, 100, np.random.default_rng(origin)), TAUS, axis=0)
            error = rates[origin : origin + HORIZON] - quantiles
            losses.append(np.maximum(TAUS[:, None] * error, (TAUS[:, None] - 1) * error))
            below.append(error <= 0)
        model.update(Arrivals((origin + 1) * STEP, STEP, rates[origin] * STEP))
    return float(np.mean(losses)), np.mean(below, axis=(0, 2))


def test_libraries_beat_the_newest_level(record_property):
    try:
        trace = read_trace(find_trace("azfunc_diurnal"))
    except BadSeries as missing:
        pytest.skip(str(missing))
    rates = resample(trace, STEP).rates
    found = {}
    for model in (Naive(STEP), Ets(STEP, DAY), Sarimax(STEP, DAY)):
        loss, covered = score(rates, model, 8 * PER_DAY, 10 * PER_DAY)
        found[model.name] = loss
        line = f"{model.name}: pinball {loss:.4f} requests/s, covered {np.round(covered, 3).tolist()}"
        print(line)  # noqa: T201
        record_property(model.name, line)
        assert covered[2] == pytest.approx(0.9, abs=0.045)
        assert covered[4] > 0.96
    assert found["ets"] < 0.9 * found["naive"]
    assert found["sarimax"] < 0.9 * found["naive"]
