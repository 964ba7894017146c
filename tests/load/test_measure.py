"""Attainment and lag from what was produced and what was finished."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulations.lab.measure import Produced, by_window, measure
from simulations.lab.results import Finished


def produced(arrivals: list[float]) -> Produced:
    """Messages that alternate between two partitions."""
    count = len(arrivals)
    places = np.arange(count)
    return Produced(places % 2, places // 2, np.array(arrivals, dtype=np.float64))


def finished(rows: list[tuple[int, float]], arrivals: list[float]) -> Finished:
    """(message, when it was finished), in order."""
    which = np.array([message for message, _ in rows], dtype=np.int64)
    ends = np.array([end for _, end in rows], dtype=np.float64)
    came = np.array([arrivals[k] for k in which.tolist()], dtype=np.float64)
    return Finished(np.array(["p"] * len(rows)), which % 2, which // 2, came, ends, ends)


def test_requests_that_left_in_time() -> None:
    came = [0.0, 1.0, 2.0, 3.0]
    got = measure(produced(came), finished([(0, 1.0), (1, 3.0), (2, 2.5), (3, 9.0)], came), within=2.0, now=20.0)
    assert (got.requests, got.unfinished, got.duplicates) == (4, 0, 0)
    assert got.attainment == 0.75
    assert got.latency_p50 == pytest.approx(1.5)
    assert got.latency_max == 6.0
    assert got.longest_time_lag == 6.0
    assert got.longest_lag == 2


def test_what_was_never_finished_is_late_and_ages_until_now() -> None:
    came = [0.0, 1.0]
    got = measure(produced(came), finished([(0, 0.5)], came), within=2.0, now=11.0)
    assert (got.unfinished, got.attainment) == (1, 0.5)
    assert got.latency_max == 0.5
    assert got.longest_time_lag == 10.0


def test_served_twice_counts_from_the_first_time() -> None:
    came = [0.0]
    got = measure(produced(came), finished([(0, 1.0), (0, 9.0)], came), within=2.0, now=10.0)
    assert (got.duplicates, got.attainment, got.latency_max) == (1, 1.0, 1.0)


def test_a_window_asks_about_its_own_arrivals_and_sees_the_backlog_from_before() -> None:
    came = [0.0, 0.5, 10.0]
    done = finished([(0, 12.0), (1, 13.0), (2, 10.5)], came)
    got = measure(produced(came), done, within=1.0, start=10.0, end=11.0, now=20.0)
    assert (got.requests, got.attainment) == (1, 1.0)
    assert got.longest_lag == 3
    assert got.longest_time_lag == pytest.approx(11.0)


def test_nothing_in_the_window_is_not_all_in_time() -> None:
    empty = Finished(np.array([], dtype=np.str_), *(np.array([], dtype=np.int64),) * 2, *(np.array([]),) * 3)
    got = measure(produced([]), empty, within=1.0, now=5.0)
    assert (got.requests, got.attainment, got.latency_p50, got.longest_lag) == (0, None, None, 0)
    late = measure(produced([1.0]), empty, within=1.0, now=5.0)
    assert (late.attainment, late.latency_p50, late.unfinished) == (0.0, None, 1)


def test_what_was_finished_but_not_produced_here_is_left_out() -> None:
    came = [0.0, 1.0]
    done = finished([(0, 0.5), (1, 1.5)], came)
    got = measure(produced(came[:1]), done, within=1.0, now=5.0)
    assert (got.requests, got.duplicates, got.attainment) == (1, 0, 1.0)


def test_windows_cover_the_time_without_overlap() -> None:
    came = [0.0, 4.9, 5.0, 10.0, 11.9]
    done = finished([(k, came[k] + 0.1) for k in range(5)], came)
    got = by_window(produced(came), done, 1.0, 0.0, 12.0, 5.0)
    assert [(w.start, w.end, w.requests) for w in got] == [(0.0, 5.0, 2), (5.0, 10.0, 1), (10.0, 12.0, 2)]


@given(
    st.lists(
        st.tuples(st.floats(0, 100, width=32), st.one_of(st.none(), st.floats(0, 50, width=32))),
        min_size=1,
        max_size=40,
    ),
    st.floats(0.1, 60),
)
def test_agrees_with_counting_by_hand(requests: list[tuple[float, float | None]], within: float) -> None:
    came = [at for at, _ in requests]
    rows = [(k, at + took) for k, (at, took) in enumerate(requests) if took is not None]
    got = measure(produced(came), finished(rows, came), within, now=200.0)
    ends = dict(rows)
    in_time = sum(1 for k, at in enumerate(came) if k in ends and ends[k] - at <= within)
    assert got.attainment == pytest.approx(in_time / len(came))
    ends |= {k: 200.0 for k in range(len(came)) if k not in ends}
    most = max(sum(1 for k, at in enumerate(came) if at <= moment < ends[k]) for moment in came)
    assert got.longest_lag == most
    assert got.longest_time_lag == pytest.approx(max(ends[k] - at for k, at in enumerate(came)))
