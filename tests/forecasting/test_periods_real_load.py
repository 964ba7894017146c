"""Periods of real load, and that they help on the days that follow."""

from __future__ import annotations

import numpy as np
import pytest

from forecasting.periods import DAY, MINUTE, find_periods
from forecasting.series import Series
from simulations.traces import find_trace, read_trace, traces_folder


@pytest.mark.parametrize(
    ("name", "days", "wanted"),
    [
        ("azfunc_diurnal", 14, {DAY}),
        ("azfunc_sparse", 14, {10 * MINUTE, DAY}),
        ("azfunc_bursty", 14, {5 * MINUTE, DAY}),
        ("twitter_aapl", 28, {DAY}),
        ("nyc_taxi", 56, {DAY, 7 * DAY}),
        ("servegen_llm_large", 14, set()),
        ("azure_llm_conv", 1, set()),
    ],
)
def test_real_load_and_the_days_after_are_predicted_better(name, days, wanted):
    if not traces_folder().is_dir():
        pytest.skip(f"there are no traces in {traces_folder()}")
    trace = read_trace(find_trace(name))
    n = round(days * DAY / trace.step)
    found = {period.seconds for period in find_periods(Series(trace.start, trace.step, trace.rates[:n]))}
    assert found == wanted
    # Half of it to learn from, the other half to look at: what the period says must help.
    for period in found:
        size = round(period / trace.step)
        cycles = trace.rates[: n // size * size].reshape(-1, size)
        cycles = np.log(cycles + 0.02 * cycles.mean())
        cycles = cycles - cycles.mean(axis=1)[:, None]
        past, later = cycles[: len(cycles) // 2], cycles[len(cycles) // 2 :]
        assert ((later - past.mean(axis=0)) ** 2).sum() < (later**2).sum()
