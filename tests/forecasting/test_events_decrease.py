"""A planned decrease, down to nothing: what comes after it is foreseen while it is on."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.calendar import Calendar
from forecasting.competition_default import default_competition
from forecasting.events import PlannedEvent
from forecasting.events_planned import Planned
from forecasting.models.level_season import LevelSeason
from forecasting.series import Arrivals, Series
from tests.forecasting.test_events import (
    DAY,
    HOUR,
    MONDAY,
    STEP,
    Recording,
    ahead,
    at,
    follow,
    holiday,
    median,
    planned,
    usual,
)

SUNDAY = date(2026, 4, 12)  # the day 6
BEGIN, END = at(10, 12), at(10, 14)


def with_low(low, comes=None, level=1.0):
    """``low`` times the usual on Sunday, ``comes`` times (as low as Sunday, unless given) in the event, and ``level``
    times on its whole day."""

    def load(times):
        here = np.where((times >= BEGIN) & (times < END), low if comes is None else comes, 1.0)
        here = np.where((times - MONDAY) // DAY == 6, low, here)
        return usual(times) * here * np.where(times >= at(10), level, 1.0)

    return load


def event(**size):
    return PlannedEvent(BEGIN, END, name="maintenance", **size)


def in_and_after(forecaster, hour):
    """Medians ahead until four hours after the event, from ``hour`` on: in it, and after it."""
    steps = round((18 - hour) * HOUR / STEP)
    inside = round((14 - hour) * HOUR / STEP)
    got = median(forecaster, steps)
    return got[:inside], got[inside:]


LOW = [
    pytest.param({"rate": 0.0}, 0.0, id="no load at all"),
    pytest.param({"like": SUNDAY}, 0.0, id="like an idle day"),
    pytest.param({"like": SUNDAY}, 0.05, id="like a day of 5 %"),
    pytest.param({"like": SUNDAY}, 0.4, id="like a day of 40 %"),
]


@pytest.mark.parametrize("hour", [12.25, 13.75])
@pytest.mark.parametrize(("size", "low"), LOW)
def test_a_decrease_that_comes_ends_when_it_was_said_to(size, low, hour):
    load = with_low(low)
    inside, after = in_and_after(follow(planned(event(**size)), load, at(10, hour)), hour)
    wanted = ahead(load, at(10, hour), len(inside) + len(after))
    assert inside == pytest.approx(wanted[: len(inside)], rel=0.03, abs=0.3)
    assert after == pytest.approx(wanted[len(inside) :], rel=0.03)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "low"), LOW[:3])
def test_so_it_does_for_all_models_together(size, low):
    load = with_low(low)
    forecaster = Planned(default_competition(STEP, 600.0, season=DAY), [event(**size)])
    _, after = in_and_after(follow(forecaster, load, at(10, 13.75), days=8), 13.75)
    assert after == pytest.approx(ahead(load, END, len(after)), rel=0.05)


@pytest.mark.parametrize("low", [0.0, 0.05])
def test_after_a_quiet_holiday_load_is_as_usual(low):
    def load(times):
        day = (times - MONDAY) // DAY
        return usual(times) * np.where((day == 10) | (day % 7 == 6), low, 1.0)

    now = at(10, 21.5)
    forecaster = follow(planned(calendar=Calendar("UTC", (holiday(10),))), load, now, days=10)
    assert median(forecaster, 60) == pytest.approx(ahead(load, now, 60), rel=0.03, abs=0.3)


@pytest.mark.parametrize(("size", "low"), LOW)
@pytest.mark.parametrize("level", [0.6, 1.4])
def test_load_comes_back_at_the_level_that_it_had_before(size, low, level):
    load = with_low(low, level=level)
    _, after = in_and_after(follow(planned(event(**size)), load, at(10, 13.75)), 13.75)
    assert after == pytest.approx(ahead(load, END, len(after)), rel=0.06)


def test_counts_as_they_come_are_enough():
    """One request a second, 15 s a tick: in a planned 5 % most ticks see none or one."""
    rng = np.random.default_rng(0)
    load = with_low(0.05)
    forecaster = Planned(LevelSeason(60.0, DAY), [event(like=SUNDAY)])
    begin, now = at(10, 11), at(10, 13.5)
    starts = np.arange(begin - 7 * DAY, begin, STEP)
    forecaster.fit(Series(float(starts[0]), STEP, rng.poisson(load(starts + STEP / 2) / 60 * STEP) / STEP))
    for end in np.arange(begin, now, 15.0) + 15.0:
        rate = float(load(np.array([end - 7.5]))[0]) / 60
        forecaster.update(Arrivals(float(end), 15.0, float(rng.poisson(rate * 15.0))))
    paths = forecaster.paths(60, 200, np.random.default_rng(0))[:, 35:]
    assert paths.mean() == pytest.approx(ahead(load, END, 6).mean() / 60, rel=0.12)


# -- what comes in it, all the same -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "low"), LOW)
def test_one_that_does_not_come_is_no_longer_believed(size, low):
    load = with_low(low, comes=1.0)
    hour = 12.5
    inside, after = in_and_after(follow(planned(event(**size)), load, at(10, hour)), hour)
    assert np.concatenate([inside, after]) == pytest.approx(ahead(load, at(10, hour), 66), rel=0.03)


@pytest.mark.parametrize(("size", "low"), LOW[:3])
def test_one_that_comes_in_part_is_believed_in_part(size, low):
    load = with_low(low, comes=0.3)
    hour = 12.5
    inside, after = in_and_after(follow(planned(event(**size)), load, at(10, hour)), hour)
    assert inside == pytest.approx(ahead(load, at(10, hour), len(inside)), rel=0.1)
    assert after == pytest.approx(ahead(load, END, len(after)), rel=0.03)


def test_more_than_is_usual_where_nothing_was_planned_is_the_new_level():
    load = with_low(0.0, comes=1.5)
    inside, after = in_and_after(follow(planned(event(rate=0.0)), load, at(10, 13.5)), 13.5)
    assert inside == pytest.approx(ahead(load, at(10, 13.5), len(inside)), rel=0.05)
    assert after[:6] == pytest.approx(1.5 * ahead(usual, END, 6), rel=0.1)


def test_far_less_than_a_mild_decrease_left_is_a_lower_level():
    load = with_low(0.4, comes=0.1)
    inside, after = in_and_after(follow(planned(event(like=SUNDAY)), load, at(10, 13.5)), 13.5)
    assert (inside < 0.2 * ahead(usual, at(10, 13.5), len(inside))).all()
    assert (after[:6] < 0.6 * ahead(usual, END, 6)).all()


@pytest.mark.parametrize(("size", "low"), LOW[:2])
def test_a_request_where_nothing_was_planned_moves_nothing(size, low):
    load = with_low(low)
    forecaster = follow(planned(event(**size)), load, at(10, 13.5))
    forecaster.update(Arrivals(at(10, 13.5) + 15.0, 15.0, 1.0))
    inside, after = in_and_after(forecaster, 13.5)
    assert inside.max() < 0.5
    assert after == pytest.approx(ahead(load, END, len(after)), rel=0.05)


# -- what is shown ----------------------------------------------------------------------------------------------------


def shown(events, rates, low, calendar=None, seconds=STEP):
    """Rates that are shown for ``rates`` from the begin of the event on; ``low`` times the usual came on Sunday."""
    forecaster = Planned(Recording(), events, calendar)
    starts = np.arange(at(5), BEGIN, STEP)
    forecaster.fit(Series(at(5), STEP, with_low(low)(starts + STEP / 2)))
    for k, rate in enumerate(rates):
        forecaster.update(Arrivals(BEGIN + (k + 1) * seconds, seconds, rate * seconds))
    return np.array([arrivals.rate for arrivals in forecaster.forecaster.given])


RATES = st.lists(st.one_of(st.just(0.0), st.floats(0, 1000)), min_size=1, max_size=12)
SIZES = st.one_of(
    st.builds(lambda rate: {"rate": rate}, st.floats(0, 300)),
    st.just({"like": SUNDAY}),
)


@settings(max_examples=60, deadline=None)
@given(SIZES, st.sampled_from([0.0, 0.05, 0.5, 3.0]), RATES)
def test_it_lies_between_what_came_and_what_was_expected(size, low, rates):
    got = shown([event(**size)], rates, low)
    expected = usual(BEGIN + (np.arange(len(rates)) + 0.5) * STEP)
    assert (got >= np.minimum(rates, expected) * (1 - 1e-6) - 1e-6).all()
    assert (got <= np.maximum(rates, expected) * (1 + 1e-6) + 1e-6).all()


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.one_of(SIZES, st.builds(lambda f: {"factor": f}, st.floats(0.01, 20))), min_size=1, max_size=3),
    st.sampled_from([0.0, 0.05, 3.0]),
    st.floats(0, 1e-3) | st.floats(0, 1e3),
    st.sampled_from([0.0, 1800.0]),
    RATES,
)
def test_nothing_is_ever_negative_or_without_bound(sizes, low, level, ramp, rates):
    events = [event(**size, ramp=ramp) for size in sizes]
    forecaster = planned(*events, calendar=Calendar("UTC", (holiday(10),)))
    starts = np.arange(at(5), BEGIN, STEP)
    forecaster.fit(Series(at(5), STEP, level * with_low(low)(starts + STEP / 2)))
    for k, rate in enumerate(rates):
        forecaster.update(Arrivals(BEGIN + (k + 1) * STEP, STEP, rate * STEP))
        paths = forecaster.paths(30, 20, np.random.default_rng(k))
        assert np.isfinite(paths).all()
        assert (paths >= 0).all()


def test_what_is_missing_in_a_decrease_stays_missing():
    forecaster = Planned(Recording(), [event(rate=0.0)])
    starts = np.arange(at(5), at(10, 13), STEP)
    rates = np.where(starts < BEGIN, usual(starts + STEP / 2), np.where(starts < BEGIN + HOUR / 2, np.nan, 0.0))
    forecaster.fit(Series(at(5), STEP, rates))
    given = forecaster.forecaster.shown.rates
    assert np.array_equal(np.isnan(given), np.isnan(rates))
    after = starts >= BEGIN + HOUR / 2
    assert given[after] == pytest.approx(usual(starts + STEP / 2)[after], rel=0.01)


def test_where_nothing_is_planned_paths_are_those_of_the_forecaster_itself():
    later = [PlannedEvent(at(12), at(13), rate=0.0), PlannedEvent(at(12), at(13), like=SUNDAY)]
    now = at(10, 13)
    bare, around = follow(LevelSeason(STEP, DAY), usual, now), follow(planned(*later), usual, now)
    drawn = [one.paths(36, 100, np.random.default_rng(0)) for one in (bare, around)]
    assert np.array_equal(*drawn)
