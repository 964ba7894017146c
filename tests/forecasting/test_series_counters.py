"""Cumulative counters, irregularly read, become arrivals; resets and holes are missing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.errors import BadSeries
from forecasting.series_counter import from_counter

NAN = math.nan


def rates(times, values, step=10.0, **options):
    return from_counter(np.array(times, float), np.array(values, float), step, **options).rates.tolist()


def test_increases_are_spread_over_their_seconds():
    # 30 requests in 15 s are 2/s; 5 in the next 5 s are 1/s; the step from 10 to 20 holds 10 and 5 of them.
    assert rates([0, 15, 20], [100, 130, 135]) == pytest.approx([2.0, 1.5])


def test_a_topic_made_anew_is_missing_between_the_two_readings():
    assert rates([0, 10, 20, 30], [100, 120, 7, 17]) == pytest.approx([2.0, NAN, 1.0], nan_ok=True)


def test_a_process_that_began_again_counts_from_zero():
    assert rates([0, 10, 20, 30], [100, 120, 7, 17], restart="zero") == pytest.approx([2.0, 0.7, 1.0])


def test_one_reset_partition_hides_the_sum():
    values = [[10, 10], [20, 30], [0, 50], [10, 60]]
    assert rates([0, 10, 20, 30], values) == pytest.approx([3.0, NAN, 2.0], nan_ok=True)
    assert rates([0, 10, 20, 30], values, restart="zero") == pytest.approx([3.0, 2.0, 2.0])


def test_a_hole_longer_than_is_believed_is_missing_and_a_shorter_one_is_not():
    assert rates([0, 10, 40, 50], [0, 10, 40, 60], longest=20) == pytest.approx([1, NAN, NAN, NAN, 2], nan_ok=True)
    assert rates([0, 10, 40, 50], [0, 10, 40, 60], longest=30) == pytest.approx([1, 1, 1, 1, 2])


def test_a_reading_that_failed_is_bridged_and_is_no_reset():
    assert rates([0, 10, 20], [[0, 5], [NAN, 6], [40, 25]]) == pytest.approx([3.0, 3.0])


def test_a_constant_counter_is_a_true_zero():
    assert rates([0, 10, 20], [7, 7, 7]) == [0.0, 0.0]


def test_a_step_of_which_less_than_half_was_seen_is_missing():
    assert rates([6, 20], [0, 14]) == pytest.approx([NAN, 1.0], nan_ok=True)


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_readings_say_nothing(count):
    assert rates([5.0] * count, [3.0] * count) == []


@pytest.mark.parametrize(
    ("times", "values", "message"),
    [
        ([0, 0], [1, 2], r"times\[1\]: 0.0; wanted is later"),
        ([0, NAN], [1, 2], r"times\[1\]: nan; wanted is unix seconds"),
        ([0, 1], [1, -2], r"values\[1\]: \[-2.0\]; wanted is a count >= 0"),
        ([0, 1, 2], [1, 2], r"times: shape \(3,\), values: 2 rows"),
    ],
)
def test_what_cannot_be_read_is_named(times, values, message):
    with pytest.raises(BadSeries, match=message):
        rates(times, values)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.5, 40), st.integers(0, 500)), min_size=1, max_size=30),
    st.floats(3, 60),
    st.integers(0, 10**9),
)
def test_without_resets_nothing_is_lost_but_what_steps_at_the_ends_hide(readings, step, start):
    times = start + np.cumsum([0.0, *(seconds for seconds, _ in readings)])
    values = np.cumsum([17.0, *(count for _, count in readings)])
    series = from_counter(times, values, step)
    ends = series.start + step * np.arange(len(series.rates) + 1)
    seen = np.diff(np.clip(ends, times[0], times[-1]))
    known = ~np.isnan(series.rates)
    assert known[1:-1].all()
    hidden = np.diff(np.interp(ends, times, values))[~known].sum()
    assert (series.rates * seen)[known].sum() + hidden == pytest.approx(values[-1] - values[0], rel=1e-6, abs=1e-3)
