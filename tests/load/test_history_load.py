"""A series cut in two: history before, arrivals of each second after, nothing invented in a gap."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.errors import BadSeries
from forecasting.series import Series
from simulations.history_load import split_load


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_history_ends_where_the_run_begins() -> None:
    series = Series(600.0, 60.0, np.arange(10.0))
    load = split_load(series, 780.0, rng())
    assert load.history is not None
    assert (load.start, load.history.start, load.history.end) == (780.0, 600.0, 780.0)
    assert load.history.rates.tolist() == [0, 1, 2]
    assert len(load.arrivals) == 420
    assert load.arrivals.sum() == pytest.approx(60 * 42, abs=4 * math.sqrt(60 * 42))


def test_a_step_that_the_cut_goes_through_is_no_history() -> None:
    load = split_load(Series(0.0, 60.0, np.full(4, 5.0)), 100.0, rng(), seconds=50)
    assert load.history is not None
    assert (load.history.end, len(load.arrivals)) == (60.0, 50)
    assert split_load(Series(0.0, 60.0, np.full(4, 5.0)), 59.0, rng()).history is None


def test_as_much_past_as_wanted_in_the_steps_wanted() -> None:
    load = split_load(Series(0.0, 1.0, np.arange(600.0)), 300.0, rng(), past=120.0, history_step=60.0)
    assert load.history is not None
    assert (load.history.start, load.history.step, load.history.end) == (180.0, 60.0, 300.0)
    assert load.history.rates.tolist() == pytest.approx([209.5, 269.5])


def test_seconds_are_taken_as_they_are_and_drawn_when_scaled() -> None:
    counts = np.array([3.0, 0.0, np.nan, 7.0, 2.0])
    series = Series(10.0, 1.0, counts)
    np.testing.assert_array_equal(split_load(series, 11.0, rng()).arrivals, counts[1:])
    halves = Series(10.0, 0.5, np.array([2.0, 4.0, 6.0, 0.0]))
    assert split_load(halves, 10.0, rng()).arrivals.tolist() == [3.0, 3.0]
    scaled = split_load(series, 11.0, rng(), mean=30.0)
    assert np.isnan(scaled.arrivals).tolist() == [False, True, False, False]
    assert np.nanmean(scaled.arrivals) == pytest.approx(30, abs=15)
    assert scaled.history is not None
    assert scaled.history.rates[0] == pytest.approx(3 * 30 / 3)  # the run's mean of 3 becomes 30


def test_the_mean_is_that_of_the_run_and_history_is_scaled_alike() -> None:
    rates = np.concatenate([np.full(10, 2.0), np.full(10, 4.0)])
    load = split_load(Series(0.0, 60.0, rates), 600.0, rng(), mean=80.0)
    assert load.history is not None
    assert load.history.rates.tolist() == [40.0] * 10
    assert load.arrivals.mean() == pytest.approx(80.0, rel=0.05)


@settings(deadline=None, max_examples=30)
@given(
    values=st.lists(st.one_of(st.just(math.nan), st.floats(0, 50)), min_size=4, max_size=20),
    cut=st.integers(1, 3),
)
def test_a_gap_stays_a_gap(values: list[float], cut: int) -> None:
    series = Series(0.0, 20.0, np.array(values))
    load = split_load(series, 20.0 * cut, rng())
    assert load.history is not None
    np.testing.assert_array_equal(load.history.rates, values[:cut])
    unknown = np.repeat(np.isnan(values[cut:]), 20)
    np.testing.assert_array_equal(np.isnan(load.arrivals), unknown)


@pytest.mark.parametrize(("at", "seconds"), [(-1.0, None), (240.0, None), (0.5, None), (100.0, 141.0), (100.0, 0.0)])
def test_a_cut_outside_is_refused(at: float, seconds: float | None) -> None:
    with pytest.raises(BadSeries):
        split_load(Series(0.0, 60.0, np.full(4, 5.0)), at, rng(), seconds=seconds)


def test_nothing_cannot_be_scaled() -> None:
    with pytest.raises(BadSeries, match="no request"):
        split_load(Series(0.0, 60.0, np.array([5.0, 0.0, math.nan])), 60.0, rng(), mean=80.0)
