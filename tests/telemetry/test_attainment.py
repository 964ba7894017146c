"""Attainment from offsets: worked cases, and what must hold whatever the load does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.metrics.attainment import Attainment, Judged


def judge(within: float, samples: list[tuple[float, list[float], list[float]]], gap: float = 60.0) -> Judged:
    watch = Attainment(within, gap)
    told = [watch.step(t, np.array(arrived), np.array(served)) for t, arrived, served in samples]
    return Judged(sum(j.due for j in told), sum(j.late for j in told))


def test_served_at_once_is_in_time() -> None:
    found = judge(10.0, [(t, [2.0 * t], [2.0 * t]) for t in (0.0, 15.0, 30.0, 45.0)])
    assert found == Judged(70.0, 0.0), "2 requests/s that arrived until 35"


def test_a_server_that_stops_makes_late_what_is_due_from_then_on() -> None:
    # 1 request/s, all served until 30, then none. What arrived before 30 has left; what is due after 40 has not.
    samples = [(t, [t], [min(t, 30.0)]) for t in (0.0, 15.0, 30.0, 45.0, 60.0)]
    found = judge(10.0, samples)
    assert found.due == pytest.approx(50.0)
    assert found.late == pytest.approx(20.0), "arrived in 30 to 50, due in 40 to 60"


def test_the_moment_at_which_the_objective_is_met_again_is_found_within_a_tick() -> None:
    # 10 requests at once in (0, 1], served from 10 on at 1/s: they have waited 9 to 19 s. Objective 12 s: of those that
    # arrived at x (as 10 x), served at 10 + 10 x, late are the ones with 10 + 9 x > 12.
    samples = [(0.0, [0.0], [0.0]), (1.0, [10.0], [0.0]), (10.0, [10.0], [0.0]), (20.0, [10.0], [10.0])]
    found = judge(12.0, samples)
    assert found.due == pytest.approx(10.0)
    assert found.late == pytest.approx(10.0 * (1 - 2 / 9))


def test_a_partition_nobody_serves_is_not_hidden_by_the_others() -> None:
    samples = [(t, [t, t], [t, 0.0]) for t in (0.0, 15.0, 30.0)]
    assert judge(5.0, samples) == Judged(50.0, 25.0)


def test_what_nobody_saw_is_neither_in_time_nor_late() -> None:
    samples = [(0.0, [0.0], [0.0]), (15.0, [15.0], [15.0]), (200.0, [200.0], [20.0]), (215.0, [215.0], [20.0])]
    found = judge(10.0, samples)
    assert found.due == pytest.approx(5.0 + 15.0), "the gap's own requests are left out"


@pytest.mark.parametrize(
    "next_sample",
    [(30.0, [1.0], [1.0]), (30.0, [30.0, 0.0], [30.0, 0.0]), (14.0, [30.0], [30.0])],
    ids=["topic made anew", "partitions added", "clock set back"],
)
def test_what_does_not_go_on_begins_anew(next_sample: tuple[float, list[float], list[float]]) -> None:
    assert judge(5.0, [(0.0, [0.0], [0.0]), (15.0, [15.0], [15.0]), next_sample]) == Judged(10.0, 0.0)


@settings(max_examples=40, deadline=None)
@given(
    arrivals=st.lists(st.integers(0, 50), min_size=4, max_size=12),
    shares=st.lists(st.floats(0.0, 1.0), min_size=12, max_size=12),
    within=st.floats(1.0, 40.0),
)
def test_late_is_a_part_of_what_was_due_and_nothing_is_counted_twice(
    arrivals: list[int], shares: list[float], within: float
) -> None:
    came = np.cumsum([0.0, *arrivals])
    served = np.maximum.accumulate([0.0, *(c * s for c, s in zip(came[1:], shares, strict=False))])
    times = 15.0 * np.arange(len(came))
    found = judge(within, [(t, [a], [s]) for t, a, s in zip(times, came, served, strict=True)])
    assert -1e-9 <= found.late <= found.due + 1e-9
    assert found.due == pytest.approx(np.interp(times[-1] - within, times, came) - came[0])


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), within=st.floats(2.0, 30.0))
def test_the_same_as_looking_at_each_request(seed: int, within: float) -> None:
    """Requests laid out one by one along the same straight pieces, each with the time at which it left."""
    rng = np.random.default_rng(seed)
    times = 10.0 * np.arange(12)
    came = np.cumsum([0, *rng.integers(1, 2000, 11)]).astype(float)
    served = np.minimum(np.cumsum([0, *rng.integers(1, 2000, 11)]).astype(float), came)
    number = np.arange(0.5, came[-1])
    due = np.interp(number, came, times) + within
    left = np.interp(number, served, times, right=np.inf)
    counted = due <= times[-1]
    found = judge(within, [(t, [a], [s]) for t, a, s in zip(times, came, served, strict=True)])
    assert found.due == pytest.approx(counted.sum(), abs=2)
    assert found.late == pytest.approx((counted & (left > due)).sum(), abs=15)
