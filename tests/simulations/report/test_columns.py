"""Columns made short: no extreme, no gap and no change of count is lost."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulations.report.columns import Envelope, decisions, envelope, longest, plain, runs, steps

NAN = math.nan
seen = st.one_of(st.floats(0, 1e6), st.just(NAN))


def row_of(drawn: Envelope, index: int) -> int:
    """The row that stands for a value: the last one that begins at or before it."""
    return int(np.searchsorted(drawn.at, index, side="right")) - 1


@given(st.lists(seen, min_size=1, max_size=300), st.integers(1, 60))
@settings(max_examples=150, deadline=None)
def test_an_envelope_keeps_the_extremes_of_every_bucket(values: list[float], buckets: int) -> None:
    column = np.array(values)
    drawn = envelope(column, buckets)
    assert len(drawn.at) <= 5 * buckets + 5
    stretches: dict[int, list[float]] = {}
    for index, value in enumerate(values):
        if math.isfinite(value):
            stretches.setdefault(row_of(drawn, index), []).append(value)
    for row, of in stretches.items():
        assert (drawn.low[row], drawn.high[row]) == (min(of), max(of))
        assert drawn.mean[row] == pytest.approx(np.mean(of))
        assert len(of) <= drawn.size


@given(st.lists(seen, min_size=1, max_size=300), st.integers(1, 60))
@settings(max_examples=150, deadline=None)
def test_an_envelope_breaks_at_the_longest_gaps_and_every_stretch_between_is_a_line(
    values: list[float], buckets: int
) -> None:
    column = np.array(values)
    drawn = envelope(column, buckets)
    gaps = runs(np.isnan(column))
    for begin, end in longest(gaps, buckets):
        assert all(np.isnan(drawn.high[row_of(drawn, i)]) for i in range(begin, end))
    if len(gaps) <= buckets:
        ends = runs(np.isfinite(drawn.mean))
        assert len(ends) == len(runs(np.isfinite(column)))  # no stretch is lost
        assert all(end - begin >= 2 for begin, end in ends)  # one point alone would not be seen
    assert (np.diff(drawn.at) >= 0).all()


def test_a_spike_of_one_second_in_two_weeks_is_drawn() -> None:
    column = np.ones(14 * 86400)
    column[777_777] = 5000.0
    drawn = envelope(column, 2000)
    assert len(drawn.at) <= 2001
    assert drawn.high.max() == 5000.0
    row = int(drawn.high.argmax())
    assert drawn.at[row] <= 777_777 < drawn.at[row + 1]


def test_a_gap_in_every_other_second_does_not_make_the_page_larger() -> None:
    column = np.ones(10_000)
    column[::2] = NAN
    assert len(envelope(column, 100).at) <= 500


def test_a_column_of_gaps_only_is_a_gap_and_short_columns_are_drawn_as_they_are() -> None:
    nothing = envelope(np.full(50, NAN), 10)
    assert nothing.at.tolist() == [0]
    assert np.isnan(nothing.mean).all()
    exact = envelope(np.array([1.0, 2.0, NAN, 3.0]), 100)
    assert exact.size == 1
    assert exact.at.tolist() == [0, 1, 2, 3, 4]
    assert plain(exact.mean) == [1, 2, None, 3, 3]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=300), st.integers(9, 60))
@settings(max_examples=100, deadline=None)
def test_steps_draw_the_same_line_or_keep_every_buckets_extremes(values: list[int], limit: int) -> None:
    column = np.array(values)
    at = steps(column, limit)
    assert at[0] == 0
    assert at[-1] == len(values) - 1
    assert (np.diff(at) > 0).all()
    held = column[at][np.searchsorted(at, np.arange(len(values)), side="right") - 1]
    changes = np.count_nonzero(np.diff(column))
    if changes + 2 <= limit:
        assert (held == column).all()
        return
    size = math.ceil(len(values) / (limit // 3))
    for begin in range(0, len(values), size):
        inside = column[at[(at >= begin) & (at < begin + size)]]
        assert (inside.min(), inside.max()) == (column[begin : begin + size].min(), column[begin : begin + size].max())


def test_all_decisions_are_told_of_where_there_is_room_for_them() -> None:
    assert decisions(np.array([1, 1, 2]), ("a", "a", "b"), 3).tolist() == [0, 1, 2]


def test_of_many_decisions_those_that_changed_something_come_first() -> None:
    desired, reasons = np.ones(10_000, dtype=np.int64), ["Steady"] * 10_000
    desired[4321:] = 7
    reasons[777] = "InputAbsent"
    at = decisions(desired, reasons, 100)
    assert len(at) <= 100
    assert {0, 777, 778, 4321, 9999} <= set(at.tolist())
    assert np.diff(at).max() <= 110  # and between them one is never far


def test_of_too_many_changes_the_largest_are_told_of() -> None:
    desired = np.arange(10_000) % 2
    desired[5555] = 90
    at = decisions(desired, ["Forecast"] * 10_000, 100)
    assert len(at) <= 100
    assert {5555, 5556} & set(at.tolist())


def test_numbers_for_json() -> None:
    assert plain(np.array([1.0, 1.23456789, NAN, math.inf, 1234567.0])) == [1, 1.2346, None, None, 1234567]
    assert plain([None, 2]) == [None, 2]
