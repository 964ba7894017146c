"""Offsets at points in time to rates: pure arithmetic, in cases that are tedious to make with a broker."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.observe.history import LogBounds, boundaries, known_from, rates

NOW = 10_000.0


def bounds(begin: list[int], end: list[int], first: list[float], ahead: list[int] | None = None) -> LogBounds:
    return LogBounds(np.array(begin), np.array(end), np.array(first), np.array(end if ahead is None else ahead))


@pytest.mark.parametrize(
    ("start", "end", "step", "expected"),
    [
        (0.0, 300.0, 100.0, [0, 100, 200, 300]),
        (1.0, 299.0, 100.0, [100, 200]),
        (1.0, 99.0, 100.0, [100]),
        (100.0, 100.0, 100.0, [100]),
        (300.0, 100.0, 100.0, [300]),
        (0.3, 0.9, 0.1, [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]),  # not multiples in binary
    ],
)
def test_whole_steps_inside(start: float, end: float, step: float, expected: list[float]) -> None:
    np.testing.assert_allclose(boundaries(start, end, step), expected)


@pytest.mark.parametrize(
    ("start", "end", "step"), [(0, 1, 0), (0, 1, -1), (0, 1, np.nan), (0, 1, np.inf), (np.nan, 1, 1), (0, np.inf, 1)]
)
def test_steps_and_bounds_must_make_sense(start: float, end: float, step: float) -> None:
    with pytest.raises(ValueError, match=r"step|bounds"):
        boundaries(start, end, step)


@pytest.mark.parametrize(
    ("begin", "first", "expected"),
    [
        ([0, 0], [50.0, 30.0], 30.0),  # nothing was cut: from the topic's first message
        ([0, 0], [np.nan, 30.0], 30.0),
        ([0, 0], [np.nan, np.nan], np.inf),
        ([5, 9], [50.0, 30.0], 50.0),  # both were cut: from the youngest cut
        ([5, 0], [50.0, 90.0], 50.0),  # a partition that lost nothing had nothing before its first message
        ([5, 9], [50.0, np.nan], np.inf),  # one was emptied
    ],
)
def test_from_when_on_all_is_known(begin: list[int], first: list[float], expected: float) -> None:
    assert known_from(bounds(begin, [99, 99], first)) == expected


def test_no_message_at_or_after_means_the_end() -> None:
    series = rates(np.array([0.0, 10, 20]), 10.0, np.array([[0], [-1], [-1]]), bounds([0], [40], [0.0]), NOW)
    np.testing.assert_allclose(series.rates, [4.0, 0.0])


def test_steps_that_are_not_over_are_not_known() -> None:
    edges = np.array([0.0, 10, 20, 30])
    series = rates(edges, 10.0, np.array([[0], [10], [20], [-1]]), bounds([0], [25], [0.0]), now=29.0)
    np.testing.assert_allclose(series.rates, [1.0, 1.0, np.nan])


def test_an_answer_that_retention_has_moved_makes_no_negative_rate() -> None:
    edges = np.array([0.0, 10, 20, 30])
    series = rates(edges, 10.0, np.array([[0], [12], [8], [20]]), bounds([0], [20], [0.0]), NOW)
    np.testing.assert_allclose(series.rates, [1.2, 0.0, 0.8])


def test_only_the_partition_with_a_stray_date_hides_and_it_hides_the_sum() -> None:
    edges = np.array([0.0, 10, 20, 30])
    offsets = np.array([[0, 0], [5, 1], [9, 2], [9, 3]])
    series = rates(edges, 10.0, offsets, bounds([0, 0], [20, 3], [0.0, 0.0], ahead=[9, 3]), NOW)
    np.testing.assert_allclose(series.rates, [0.6, np.nan, np.nan])


@given(
    st.lists(st.lists(st.integers(0, 50), min_size=2, max_size=2), min_size=2, max_size=30),
    st.floats(1.0, 600.0),
)
def test_what_is_known_is_never_negative_and_nothing_is_lost(counts: list[list[int]], step: float) -> None:
    edges = np.arange(len(counts) + 1) * step
    offsets = np.vstack([np.zeros(2, dtype=np.int64), np.cumsum(np.array(counts), axis=0)])
    log = bounds([0, 0], offsets[-1].tolist(), [0.0, 0.0])
    series = rates(edges, step, offsets, log, now=float(edges[-1]))
    assert (series.rates >= 0).all()
    assert series.rates.sum() * step == pytest.approx(offsets[-1].sum())


@given(st.lists(st.integers(-1, 60), min_size=2, max_size=30), st.integers(0, 40), st.floats(0.0, 300.0))
def test_any_answers_at_all_make_rates_or_nan(found: list[int], begin: int, first: float) -> None:
    edges = np.arange(len(found)) * 10.0
    series = rates(edges, 10.0, np.array(found)[:, None], bounds([begin], [60], [first]), NOW)
    known = ~np.isnan(series.rates)
    assert (series.rates[known] >= 0).all()
    assert not known[edges[:-1] < first].any()
