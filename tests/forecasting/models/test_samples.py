"""What families are given: gaps filled where a library allows none, and the usual shape of a season as an offset."""

from __future__ import annotations

import numpy as np
import pytest

from forecasting.guarded import Sample
from forecasting.models.sarimax import fourier_offset
from forecasting.models.usual import usual_shape

PERIOD = 48
FIRST = 1003


def test_gaps_take_the_season_before_or_after_and_else_a_line():
    nan = np.nan
    values = np.array([nan, 2.0, 3.0, 4.0, 1.5, nan, nan, 4.5, 1.0, 2.5, 3.5, nan])
    seasonal = Sample(values, 0, 300.0, (4,))
    # By hand: position 5 from 1, 6 from 2, 11 from 7; position 0 has no season before it, so it takes 4's.
    assert seasonal.filled().tolist() == [1.5, 2.0, 3.0, 4.0, 1.5, 2.0, 3.0, 4.5, 1.0, 2.5, 3.5, 4.5]
    plain = Sample(values, 0, 300.0, ())
    assert plain.filled().tolist() == [2.0, 2.0, 3.0, 4.0, 1.5, 2.5, 3.5, 4.5, 1.0, 2.5, 3.5, 3.5]
    assert np.isnan(values[0]), "what was given stays as it was"


def test_a_head_keeps_the_periods_that_fit_twice():
    head = Sample(np.arange(100.0), 7, 300.0, (12, 48)).head(60)
    assert (len(head.values), head.first, head.end, head.periods) == (60, 7, 67, (12,))


def waves(noise: float, gaps: bool = False) -> tuple[Sample, np.ndarray]:
    at = np.arange(FIRST, FIRST + 6 * PERIOD)
    rng = np.random.default_rng(1)
    values = 3 + 0.5 * np.cos(2 * np.pi * at / PERIOD) + rng.normal(0, noise, len(at))
    if gaps:
        values[rng.random(len(at)) < 0.3] = np.nan
    return Sample(values, FIRST, 300.0, (PERIOD,)), 0.5 * np.cos(2 * np.pi * np.arange(PERIOD) / PERIOD)


@pytest.mark.parametrize("gaps", [False, True])
def test_the_usual_shape_is_found_at_its_phase(gaps):
    sample, wave = waves(0.05, gaps)
    (table,) = usual_shape(sample).tables
    assert table == pytest.approx(wave, abs=0.1)
    assert table.mean() == pytest.approx(0, abs=1e-9)
    offset = fourier_offset(sample, 3)
    assert offset.level == pytest.approx(3, abs=0.02)
    assert offset.tables[0] == pytest.approx(wave, abs=0.04)


def test_no_shape_where_there_is_none():
    """Each season of a wandering level is unlike the others."""
    values = 3 + np.cumsum(np.random.default_rng(3).normal(0, 0.1, 6 * PERIOD))
    assert usual_shape(Sample(values, FIRST, 300.0, (PERIOD,))).tables == ()
    assert usual_shape(Sample(values, FIRST, 300.0, ())).tables == ()
