"""A week of 15 s: small in memory, quick to fit, to update and to draw."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable

import numpy as np

from forecasting.models.direct import Direct
from forecasting.series import Arrivals, Series


def best(run: Callable[[], object], times: int) -> float:
    """Shortest of some runs (s), so that a busy machine does not fail a quick model."""
    found = float("inf")
    for _ in range(times):
        began = time.perf_counter()
        run()
        found = min(found, time.perf_counter() - began)
    return found


def test_a_week_fits_into_the_limits(record_property):
    minutes = np.arange(7 * 1440)
    rate = 40 * (1 + 0.6 * np.sin(2 * np.pi * minutes / 1440)) * np.where(minutes % 60 < 3, 3.0, 1.0)
    rates = np.random.default_rng(0).poisson(rate * 60) / 60
    model = Direct()
    history = Series(0.0, 60.0, rates)
    model.fit(history)
    assert model.reason is None
    fit = best(lambda: model.fit(history), 2)
    rng = np.random.default_rng(1)
    draw = best(lambda: model.paths(84, 100, rng), 50)
    ends = iter(range(1, 1000))
    update = best(lambda: model.update(Arrivals(history.end + 15.0 * next(ends), 15.0, 600.0)), 100)
    size = len(pickle.dumps(model))
    line = f"fit {fit:.2f} s, 100 paths of 84 steps {draw * 1e3:.2f} ms, update {update * 1e6:.0f} us, {size} bytes"
    record_property("limits", line)
    print(line)  # noqa: T201
    assert fit < 2
    assert draw < 5e-4
    assert update < 1e-4
    assert size < 520_000
