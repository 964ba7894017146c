"""A forecaster by the clock on the wall: a spike at 09:00 stays at 09:00 when the clock has changed."""

from __future__ import annotations

import math
import pickle
from datetime import UTC, datetime
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.calendar import Calendar
from forecasting.calendar_time import LocalTime
from forecasting.competition_default import refereed
from forecasting.errors import BadSeries
from forecasting.forecaster import Forecaster, Studying
from forecasting.models.level_season import LevelSeason
from forecasting.models.seasonal_naive import SeasonalNaive
from forecasting.series import Arrivals, Series
from forecasting.testing import ForecasterConformance

BERLIN = Calendar("Europe/Berlin")
SPRING = datetime(2026, 3, 29, 1, tzinfo=UTC).timestamp()
AUTUMN = datetime(2026, 10, 25, 1, tzinfo=UTC).timestamp()
STEP, HOUR, DAY = 300.0, 3600.0, 86400.0


class TestByTheClock(ForecasterConformance):
    """In a zone whose clock changes within the load: New York, 26 April 1970."""

    length = 96 * 6

    def make(self) -> Forecaster:
        return LocalTime(partial(LevelSeason, STEP, STEP * self.period), Calendar("America/New_York"))

    def _load(self, seed=0, length=None):
        _, rates = super()._load(seed, length)
        change = datetime(1970, 4, 26, 7, tzinfo=UTC).timestamp()
        start = (change - 5 * self.period * STEP) // (self.period * STEP) * self.period * STEP
        return start, rates


def rate(times):
    """20/s, and 120/s from 09:00 to 09:30 in Berlin."""
    at = BERLIN.to_local(times) % DAY
    return np.where((at >= 9 * HOUR) & (at < 9.5 * HOUR), 120.0, 20.0)


def follow(forecaster, begin, end):
    """History until half a day before ``end``, then updates."""
    middle = end - DAY / 2
    forecaster.fit(Series(begin, STEP, rate(np.arange(begin, middle, STEP) + STEP / 2)))
    ends = np.arange(middle, end, STEP) + STEP
    for now, came in zip(ends, rate(ends - STEP / 2).tolist(), strict=True):
        forecaster.update(Arrivals(now, STEP, came * STEP))
        if getattr(forecaster, "outdated", False):
            forecaster.adopt(forecaster.study(forecaster.kept()))
    return forecaster


def median_at(forecaster, local_hours, begin):
    paths = forecaster.paths(24, 100, np.random.default_rng(0))
    at = BERLIN.to_local(begin + (np.arange(24) + 0.5) * STEP) % DAY / HOUR
    return np.median(paths, axis=0)[[int(np.argmin(np.abs(at - hour))) for hour in local_hours]]


@pytest.mark.parametrize("model", [LevelSeason, SeasonalNaive])
@pytest.mark.parametrize("change", [pytest.param(SPRING, marks=pytest.mark.slow), AUTUMN])
def test_nine_stays_nine(model, change):
    begin = change - 7 * DAY
    now = BERLIN.bounds(BERLIN.day(change))[1] - 16 * HOUR  # 08:00
    forecaster = follow(LocalTime(partial(refereed, partial(model, STEP, DAY), 600.0), BERLIN), begin, now)
    assert median_at(forecaster, [8.8, 9.1, 9.4, 9.6], now) == pytest.approx([20, 120, 120, 20], rel=0.05)
    # Without it the spike is looked for an hour from where it is.
    plain = follow(model(STEP, DAY), begin, now)
    assert median_at(plain, [9.1, 9.4], now) == pytest.approx([20, 20], rel=0.05)


def test_in_utc_nothing_changes():
    begin = SPRING - 4 * DAY
    local = follow(LocalTime(partial(LevelSeason, STEP, DAY), Calendar()), begin, SPRING + 8 * HOUR)
    plain = follow(LevelSeason(STEP, DAY), begin, SPRING + 8 * HOUR)
    a, b = (f.paths(24, 20, np.random.default_rng(0)) for f in (local, plain))
    assert np.array_equal(a, b)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe"])
def test_history_lies_where_updates_do(zone):
    """In steps of an hour, also where local hours begin within hours of UTC."""

    def load(times):
        return 60 + 50 * np.sin(2 * np.pi * times / DAY)

    now = SPRING - 40 * DAY
    hours = np.arange(now - 7 * DAY, now, HOUR)
    forecaster = LocalTime(partial(LevelSeason, HOUR, DAY), Calendar(zone))
    forecaster.fit(Series(hours[0], HOUR, load(hours + HOUR / 2)))
    for end in np.arange(now, now + 5 * HOUR, 60.0) + 60.0:
        forecaster.update(Arrivals(end, 60.0, 60.0 * float(load(end - 30.0))))
    median = np.median(forecaster.paths(12, 100, np.random.default_rng(0)), axis=0)
    wanted = load(now + 5 * HOUR + (np.arange(12) + 0.5) * HOUR)
    assert median == pytest.approx(wanted, abs=1.5)  # half an hour is 6.5 requests/s


class Recording:
    """Remembers what it was given; its paths count the steps: 0, 1, 2 ..."""

    name, step, ready = "recording", STEP, True

    def __init__(self):
        self.given = []
        self.fitted = []

    def fit(self, history):
        self.fitted.append(history)

    def update(self, arrivals):
        self.given.append(arrivals)

    def kept(self):
        return Series(AUTUMN + HOUR - 10 * STEP, STEP, np.arange(24.0))

    def paths(self, steps, count, rng, out=None):
        return np.tile(np.arange(steps, dtype=np.float32), (count, 1))


@pytest.mark.parametrize("change", [SPRING, AUTUMN])
@settings(max_examples=30, deadline=None)
@given(lengths=st.lists(st.floats(10, 4000), min_size=1, max_size=8), first=st.floats(-6000, 2000))
def test_no_arrivals_are_lost_or_made_at_a_change(change, lengths, first):
    given_to = []

    class Kept(Recording):
        def update(self, arrivals):
            given_to.append(arrivals)

    forecaster = LocalTime(Kept, BERLIN)
    end = change + first
    for seconds in lengths:
        end += seconds
        forecaster.update(Arrivals(end, seconds, 3 * seconds))
    assert sum(a.count for a in given_to) == pytest.approx(3 * sum(lengths))
    assert all(a.count == pytest.approx(3 * a.seconds) for a in given_to)
    # In local time: no piece reaches over the change.
    jump = BERLIN.offset(change) - BERLIN.offset(change - 1)
    for a in given_to:
        real = a.end - (BERLIN.offset(change - 1))
        assert real <= change + 1e-6 or a.end - jump - a.seconds - BERLIN.offset(change - 1) >= change - 1e-6


class Studious(Recording):
    """Can be fitted in the background."""

    def study(self, kept):
        return kept

    def adopt(self, studied):
        self.fitted.append(studied)


def set_back(make=Studious):
    """A forecaster that was told of the first minute after the change."""
    forecaster = LocalTime(make, BERLIN)
    forecaster.update(Arrivals(AUTUMN - 60, 60.0, 1))
    assert not forecaster.outdated
    forecaster.update(Arrivals(AUTUMN + 60, 120.0, 2))
    return forecaster


def test_set_back_it_goes_on_by_the_old_clock_until_it_is_studied():
    forecaster = set_back()
    before = forecaster.forecaster
    assert forecaster.outdated
    forecaster.update(Arrivals(AUTUMN + 120, 60.0, 1))
    assert forecaster.forecaster is before, "no fit within an update"
    assert before.fitted == []
    assert [a.end - AUTUMN - 2 * HOUR for a in before.given] == [-60, 0, 60, 120], "as if it had not been changed"


def test_a_study_after_that_is_of_what_is_known_by_the_clock_on_the_wall():
    """Kept are steps 0 to 9 before 02:00, 10 to 21 of the first hour after it, and 22 and 23 of the second."""
    forecaster = set_back()
    before = forecaster.forecaster
    assert forecaster.kept().rates.tolist() == [*range(10), 22, 23]
    studied = forecaster.study(forecaster.kept())
    assert forecaster.forecaster is before, "a study changes nothing"
    forecaster.adopt(studied)
    assert not forecaster.outdated
    (fitted,) = forecaster.forecaster.fitted
    assert fitted.rates.tolist() == [*range(10), 22, 23]
    assert fitted.end == AUTUMN + HOUR + 2 * STEP
    forecaster.update(Arrivals(AUTUMN + 180, 60.0, 1))
    assert forecaster.forecaster.given == [Arrivals(AUTUMN + HOUR + 180, 60.0, 1)]
    before = forecaster.forecaster
    forecaster.adopt(forecaster.study(forecaster.kept()))
    assert forecaster.forecaster is before, "it is studied as ever again"


def test_what_comes_while_it_is_studied_is_not_lost():
    forecaster = set_back()
    kept = forecaster.kept()
    studied = forecaster.study(Series(kept.start, STEP, kept.rates[:-1]))
    forecaster.adopt(studied)
    assert forecaster.forecaster.given == [Arrivals(kept.end, STEP, 23.0 * STEP)]


def test_a_study_from_before_the_change_leaves_it_outdated():
    forecaster = LocalTime(Studious, BERLIN)
    forecaster.update(Arrivals(AUTUMN - 60, 60.0, 1))
    studied = forecaster.study(forecaster.kept())
    forecaster.update(Arrivals(AUTUMN + 60, 120.0, 2))
    forecaster.adopt(studied)
    assert forecaster.outdated
    assert forecaster.forecaster.fitted == [studied]


def test_a_history_by_the_new_clock_is_learned_by_a_fresh_one():
    forecaster = set_back(Recording)
    before = forecaster.forecaster
    assert forecaster.outdated
    assert not isinstance(forecaster, Studying), "what is in it cannot be studied"
    forecaster.fit(Series(AUTUMN - 2 * HOUR, STEP, np.arange(25.0)))
    assert not forecaster.outdated
    assert forecaster.forecaster is not before
    (fitted,) = forecaster.forecaster.fitted
    assert fitted.rates.tolist() == [*range(12), 24]
    assert [a.count for a in forecaster.forecaster.given] == [23.0 * STEP], "and is told what it knows of later"


def test_it_can_be_pickled_while_outdated():
    forecaster = pickle.loads(pickle.dumps(set_back()))
    forecaster.adopt(forecaster.study(forecaster.kept()))
    assert not forecaster.outdated
    assert len(forecaster.forecaster.fitted) == 1


@pytest.mark.parametrize("hole", [STEP, *(pytest.param(h * HOUR, marks=pytest.mark.slow) for h in (0.5, 2.0))])
def test_a_hole_over_the_change_hides_it_not(hole):
    """Nothing came for so long before the change, nor for a minute after it."""
    forecaster = LocalTime(partial(refereed, partial(LevelSeason, STEP, DAY), 600.0), BERLIN)
    times = np.arange(AUTUMN - 3 * DAY, AUTUMN - hole, STEP)
    forecaster.fit(Series(times[0], STEP, rate(times + STEP / 2)))
    forecaster.update(Arrivals(AUTUMN + 120, 60.0, 1200.0))
    assert forecaster.outdated
    forecaster.adopt(forecaster.study(forecaster.kept()))
    for k in range(20):  # what comes then is learned, though the clock showed those minutes before
        forecaster.update(Arrivals(AUTUMN + 180 + 60 * k, 60.0, 1800.0))
    kept = forecaster.kept()
    assert kept.end == AUTUMN + HOUR + 4 * STEP
    before = round((3 * DAY - max(hole, HOUR)) / STEP)
    assert kept.rates[:before] == pytest.approx(rate(times + STEP / 2)[:before], rel=1e-4)
    assert kept.rates[-3:] == pytest.approx(30.0)


def test_paths_over_a_change_follow_the_clock():
    forecaster = LocalTime(Recording, BERLIN)
    forecaster.update(Arrivals(SPRING - 3 * STEP, STEP, 1))
    rng = np.random.default_rng(0)
    out = np.empty((2, 6), np.float32)
    assert forecaster.paths(6, 2, rng, out) is out
    assert out[1].tolist() == [0, 1, 2, 15, 16, 17]  # an hour, 12 steps, is left out
    forecaster = LocalTime(Recording, BERLIN)
    forecaster.update(Arrivals(AUTUMN - 3 * STEP, STEP, 1))
    # Twelve steps back lies before the origin; from there to it again, load stays as it was at the change.
    assert forecaster.paths(17, 1, rng)[0].tolist() == [0, 1, 2] + [2] * 9 + [0, 1, 2, 3, 4]
    forecaster = LocalTime(Recording, BERLIN)
    forecaster.update(Arrivals(AUTUMN - 20.0, STEP, 1))
    assert forecaster.paths(3, 1, rng)[0].tolist() == [0, 0, 0]


def test_what_else_it_offers_is_passed_on():
    forecaster = LocalTime(partial(LevelSeason, STEP, DAY), BERLIN)
    forecaster.fit(Series(SPRING, STEP, np.ones(600)))
    assert forecaster.kept().start == SPRING + 2 * HOUR
    assert forecaster.period == 288
    with pytest.raises(AttributeError):
        _ = forecaster.nothing


@pytest.mark.parametrize("end", [math.inf, math.nan, 1e18, -1e18])
def test_a_time_that_no_clock_shows_is_refused(end):
    forecaster = LocalTime(partial(LevelSeason, STEP, DAY), BERLIN)
    with pytest.raises(BadSeries):
        forecaster.update(Arrivals(end, 60.0, 1.0))
