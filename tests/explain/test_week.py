"""A week of rates in 5-minute steps: what is remembered, what is not, and how little it takes."""

from __future__ import annotations

import math
import pickle

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.series import Series
from scaler.explain.week import STEP, STEPS, WEEK, Week, remember
from scaler.plan.observation import Freshness, Reading
from tests.explain.made import NOW, SERVICE, decision, observation

START = 300.0 * 6_000_000


def test_the_mean_of_the_step_a_week_ago() -> None:
    week = Week()
    for k, rate in enumerate((10.0, 20.0, 30.0)):
        week.take(START + 100.0 * k, rate)
    week.take(START + 300.0, 99.0)
    assert week.before(START + WEEK) == 20.0
    assert week.before(START + WEEK + 299.0) == 20.0
    assert week.before(START + WEEK - 1.0) is None, "nothing was read before"
    assert week.before(START + WEEK + 300.0) is None, "that step is still open"


def test_it_goes_away_after_a_week() -> None:
    week = Week()
    for k in range(STEPS + 1):
        week.take(START + k * STEP, float(k))
    now = START + STEPS * STEP
    assert week.before(now) == 0.0
    week.take(now + STEP, 7.0)
    assert week.before(now) is None
    assert week.before(now + STEP) == 1.0


def test_an_outage_is_not_known() -> None:
    week = Week()
    week.take(START, 5.0)
    week.take(START + 10 * STEP, 6.0)
    week.take(START + 11 * STEP, 6.0)
    assert week.before(START + WEEK) == 5.0
    assert week.before(START + WEEK + 5 * STEP) is None
    assert week.before(START + WEEK + 10 * STEP) == 6.0
    week.take(START + 5 * STEPS * STEP, 1.0)
    assert week.before(START + 5 * STEPS * STEP) is None


def test_history_fills_what_was_not_read_here() -> None:
    week = Week()
    week.take(START, 100.0)
    week.take(START + STEP, 100.0)
    rates = np.full(3 * 5, 4.0)
    rates[:5] = math.nan
    week.fill(Series(START - 2 * STEP, 60.0, rates))
    assert week.before(START + WEEK - 2 * STEP) is None, "a gap of the history stays one"
    assert week.before(START + WEEK - STEP) == 4.0
    assert week.before(START + WEEK) == 100.0, "what was read here stands"
    fresh = Week()
    fresh.fill(Series(START, 60.0, np.full(10, 3.0)))
    assert fresh.before(START + WEEK + STEP) == 3.0


def test_a_history_that_cannot_be_read_is_left_out() -> None:
    week = Week()
    week.fill(Series(START, 60.0, np.array([-1.0])))
    week.fill(Series(START, math.nan, np.array([1.0])))
    assert week.before(START + WEEK) is None


def test_no_number_and_a_clock_that_was_set_back_are_left_out() -> None:
    week = Week()
    for rate in (math.nan, math.inf, -1.0):
        week.take(START, rate)
    week.take(START, 8.0)
    week.take(START - 10 * STEP, 1.0)
    week.take(START + STEP, 1.0)
    assert week.before(START + WEEK) == 8.0
    assert week.before(START + WEEK - 10 * STEP) is None


def test_it_is_small() -> None:
    assert len(pickle.dumps(Week())) < 10_000


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3 * STEPS), st.floats(0, 1e6)), min_size=1, max_size=40))
def test_what_it_tells_was_read_in_that_step(readings: list[tuple[int, float]]) -> None:
    week, last = Week(), -1
    kept: dict[int, list[float]] = {}
    for step, rate in readings:
        week.take(START + step * STEP, rate)
        if step >= last:
            kept.setdefault(step, []).append(rate)
            last = step
    for step in range(last - STEPS, last):
        told = week.before(START + step * STEP + WEEK)
        expected = None if step not in kept else np.float32(np.mean(kept[step]))
        assert told == expected or (
            told is not None and expected is not None and math.isclose(told, expected, rel_tol=1e-6)
        )


def test_a_tick_is_taken_in_and_looks_ahead_by_the_lead_time() -> None:
    week = Week()
    past = Series(NOW - WEEK, 60.0, np.concatenate([np.full(5, 2.0), np.full(10, 6.0)]))
    seen = observation(history=Reading(past, NOW, Freshness.FRESH))
    assert NOW % STEP == 0
    assert remember(week, seen, decision(), SERVICE) == 2.0, "90 s ahead is still the first step"
    slow = decision(time=NOW + 250.0)
    assert remember(week, observation(), slow, SERVICE) == 6.0, "340 s is the second"
