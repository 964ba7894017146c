"""What is planned is in the paths, and out of what is learned as usual."""

from __future__ import annotations

import pickle
from datetime import UTC, date, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.calendar import Calendar, Holiday
from forecasting.errors import BadSeries
from forecasting.events import PlannedEvent
from forecasting.events_planned import Planned
from forecasting.forecaster import Forecaster
from forecasting.models.level_season import LevelSeason
from forecasting.series import Arrivals, Series
from forecasting.testing import ForecasterConformance

STEP, HOUR, DAY = 300.0, 3600.0, 86400.0
MONDAY = datetime(2026, 4, 6, tzinfo=UTC).timestamp()


def at(day, hour=0.0):
    """Unix seconds of an hour of a day, counted from Monday 6 April 2026."""
    return MONDAY + day * DAY + hour * HOUR


def usual(times):
    """A wave a day around 60/s."""
    return 60 + 30 * np.sin(2 * np.pi * times / DAY)


def follow(forecaster, load, end, days=7.0):
    """History until six hours before ``end`` (unix s), then updates; ``load`` gives requests/s at times."""
    middle = end - 6 * HOUR
    starts = np.arange(middle - days * DAY, middle, STEP)
    forecaster.fit(Series(float(starts[0]), STEP, load(starts + STEP / 2)))
    for now in np.arange(middle, end, STEP) + STEP:
        forecaster.update(Arrivals(now, STEP, float(load(np.array([now - STEP / 2]))[0]) * STEP))
    return forecaster


def median(forecaster, steps=36):
    return np.median(forecaster.paths(steps, 100, np.random.default_rng(0)), axis=0)


def ahead(load, now, steps=36):
    return load(now + (np.arange(steps) + 0.5) * STEP)


def planned(*events, calendar=None):
    return Planned(LevelSeason(STEP, DAY), events, calendar)


# -- the event itself -------------------------------------------------------------------------------------------------


def test_it_comes_and_goes_over_its_ramp():
    event = PlannedEvent(100.0, 200.0, factor=2.0, ramp=20.0)
    assert event.weight(np.array([99, 100, 105, 120, 150, 180, 190, 200])).tolist() == [0, 0, 0.25, 1, 1, 1, 0.5, 0]
    assert PlannedEvent(100.0, 200.0, rate=1.0).weight(np.array([99.9, 100, 199.9, 200])).tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "0 of factor, rate and like are given; exactly one"),
        ({"factor": 2.0, "rate": 3.0}, "2 of factor, rate and like"),
        ({"factor": 0.0}, "factor 0.0; times the usual load, more than 0"),
        ({"factor": float("inf")}, "factor inf"),
        ({"rate": -1.0}, "rate -1.0; requests/s, 0 or more"),
        ({"rate": float("nan")}, "rate nan"),
        ({"factor": 2.0, "end": 10.0}, "it must end after it begins"),
        ({"factor": 2.0, "ramp": 46.0}, r"ramp 46.0 s; from 0 to half of its 90 s"),
    ],
)
def test_an_event_that_cannot_be_is_refused_with_its_name(fields, message):
    with pytest.raises(ValueError, match=f"event 'launch': .*{message}"):
        PlannedEvent(**({"begin": 10.0, "end": 100.0, "name": "launch"} | fields))


# -- a factor ---------------------------------------------------------------------------------------------------------

TRIPLE = PlannedEvent(at(10, 12), at(10, 14), factor=3.0, ramp=1800.0)


def tripled(times):
    return usual(times) * 3 ** TRIPLE.weight(times)


@pytest.mark.parametrize("hour", [11.0, 12.5, 13.75, 14.25])
def test_before_in_and_after_an_event_that_comes(hour):
    now = at(10, hour)
    assert median(follow(planned(TRIPLE), tripled, now)) == pytest.approx(ahead(tripled, now), rel=0.08)


@pytest.mark.parametrize("hour", [11.0, 13.0, 14.25])
def test_an_increase_that_does_not_come_stays_planned_and_leaves_nothing_behind(hour):
    now = at(10, hour)
    assert median(follow(planned(TRIPLE), usual, now)) == pytest.approx(ahead(tripled, now), rel=0.08)


def test_more_than_was_planned_is_believed():
    now = at(10, 13)
    got = median(follow(planned(TRIPLE), lambda t: tripled(t) ** 1.2, now), 6)
    assert got == pytest.approx(ahead(lambda t: tripled(t) ** 1.2, now, 6), rel=0.15)


HALF = PlannedEvent(at(10, 12), at(10, 15), factor=0.5)


def halved(times):
    return usual(times) * 0.5 ** HALF.weight(times)


def test_a_decrease_that_comes_ends_when_it_was_said_to():
    now = at(10, 14)
    assert median(follow(planned(HALF), halved, now)) == pytest.approx(ahead(halved, now), rel=0.05)


def test_a_decrease_that_does_not_come_is_no_longer_believed():
    got = median(follow(planned(HALF), usual, at(10, 11)))
    assert got == pytest.approx(ahead(halved, at(10, 11)), rel=0.05)
    got = median(follow(planned(HALF), usual, at(10, 12.5)))
    assert got == pytest.approx(ahead(usual, at(10, 12.5)), rel=0.05)


# -- a rate, and several ----------------------------------------------------------------------------------------------


def test_a_rate_is_what_comes_in_all_even_out_of_nothing():
    event = PlannedEvent(at(10, 12), at(10, 13), rate=200.0)
    paths = follow(planned(event), usual, at(10, 11.5)).paths(24, 200, np.random.default_rng(0))
    assert paths.mean(axis=0)[6:18] == pytest.approx(200.0, rel=0.01)
    assert paths.mean(axis=0)[:6] == pytest.approx(ahead(usual, at(10, 11.5), 6), rel=0.05)
    paths = follow(planned(event), np.zeros_like, at(10, 11.5)).paths(24, 200, np.random.default_rng(0))
    assert paths.mean(axis=0)[6:18] == pytest.approx(200.0, rel=0.01)
    assert paths.mean(axis=0)[18:].max() < 0.1


def test_factors_multiply_and_a_rate_stands_for_all():
    first = PlannedEvent(at(10, 12), at(10, 14), factor=2.0)
    second = PlannedEvent(at(10, 13), at(10, 14), factor=1.5)
    third = PlannedEvent(at(10, 13.5), at(10, 14), rate=500.0)
    fourth = PlannedEvent(at(10, 13.5), at(10, 14), rate=400.0)  # of two rates the higher
    got = median(follow(planned(first, second, third, fourth), usual, at(10, 12)), 24) / ahead(usual, at(10, 12), 24)
    assert got[:12] == pytest.approx(2.0, rel=0.05)
    assert got[12:18] == pytest.approx(3.0, rel=0.05)
    assert got[18:] * ahead(usual, at(10, 12), 24)[18:] == pytest.approx(500.0, rel=0.05)


def test_plans_can_change():
    forecaster = follow(planned(), usual, at(10, 11.5))
    before = median(forecaster)
    forecaster.plan([TRIPLE])
    assert median(forecaster)[20] == pytest.approx(3 * before[20], rel=0.01)
    forecaster.plan([])
    assert np.array_equal(median(forecaster), before)


# -- like that day, and holidays --------------------------------------------------------------------------------------


def like_tuesday(times):
    """Twice the usual on the second day, five times from noon to one; the same on the twelfth."""
    day = (times - MONDAY) // DAY
    noon = (times % DAY // HOUR) == 12
    return usual(times) * np.where((day == 1) | (day == 11), np.where(noon, 5.0, 2.0), 1.0)


def test_like_that_day():
    event = PlannedEvent(at(11), at(12), like=date(2026, 4, 7), name="sale")
    now = at(11, 10)
    forecaster = follow(planned(event), like_tuesday, now, days=11)
    assert forecaster.unknown == ()
    got, wanted = median(forecaster), ahead(like_tuesday, now)
    hours = 10 + (np.arange(36) + 0.5) * STEP / HOUR
    inner = (np.abs(hours - 12) > 0.1) & (np.abs(hours - 13) > 0.1)  # ratios are smoothed over three steps
    assert got[inner] == pytest.approx(wanted[inner], rel=0.1)
    # That day is still known when the history no longer holds it.
    copy = pickle.loads(pickle.dumps(forecaster))
    copy.fit(Series(now - 3 * DAY, STEP, like_tuesday(now - 3 * DAY + (np.arange(864) + 0.5) * STEP)))
    assert median(copy)[inner] == pytest.approx(wanted[inner], rel=0.1)


def test_a_day_that_is_not_known_is_said_and_changes_nothing():
    event = PlannedEvent(at(10), at(11), like=date(2024, 1, 1), name="sale")
    forecaster = follow(planned(event), usual, at(10, 10))
    assert forecaster.unknown == ("event 'sale': like 2024-01-01, of which the history does not know half",)
    assert median(forecaster) == pytest.approx(ahead(usual, at(10, 10)), rel=0.05)


def with_days_off(*days):
    def load(times):
        day = (times - MONDAY) // DAY
        off = np.isin(day, days) | (day % 7 == 6)  # Sundays, too
        return usual(times) * np.where(off, 0.4, 1.0)

    return load


def holiday(day):
    return Holiday(date(2026, 4, 6 + day), date(2026, 4, 6 + day))


def test_a_holiday_is_like_sunday_or_like_the_last_holiday():
    now = at(9, 23)  # Wednesday night; Thursday is one
    off = with_days_off(10)
    calendar = Calendar("UTC", (holiday(10),))
    got = median(follow(planned(calendar=calendar), off, now, days=17))
    assert got == pytest.approx(ahead(off, now), rel=0.1)
    # A holiday that is known is the better pattern: this one was like no Sunday.
    busy = lambda t: off(t) * np.where((t - MONDAY) // DAY == 2, 3.0, 1.0) * np.where((t - MONDAY) // DAY == 10, 7.5, 1)  # noqa: E731
    calendar = Calendar("UTC", (holiday(2), holiday(10)))
    got = median(follow(planned(calendar=calendar), busy, now, days=9.5))
    assert got == pytest.approx(ahead(busy, now), rel=0.1)


def test_a_holiday_on_a_weekend_changes_nothing_and_one_without_a_pattern_says_so():
    now = at(11, 12)
    sunday = Calendar("UTC", (holiday(13),))
    assert follow(planned(calendar=sunday), usual, now)._plan.sized == ()
    friday = Calendar("UTC", (holiday(11),))
    assert follow(planned(calendar=friday), usual, now, days=3).unknown == (
        "holiday 2026-04-17: the history knows no holiday and no Sunday",
    )


class Recording:
    """Remembers what it is shown."""

    name, step, ready = "recording", STEP, True

    def __init__(self):
        self.shown = None
        self.given = []

    def fit(self, history):
        self.shown = history

    def update(self, arrivals):
        self.given.append(arrivals)

    def paths(self, steps, count, rng, out=None):
        return np.ones((count, steps), np.float32)

    def more(self):
        return "more"


def test_past_events_and_holidays_are_missing_in_what_is_learned():
    event = PlannedEvent(at(3, 12), at(3, 14), factor=2.0)
    forecaster = Planned(Recording(), [event, TRIPLE], Calendar("UTC", (holiday(1), holiday(5))))
    starts = np.arange(at(0), at(10, 13), STEP)
    rates = tripled(starts + STEP / 2)
    forecaster.fit(Series(at(0), STEP, rates))
    shown = forecaster.forecaster.shown.rates
    day = (starts - MONDAY) // DAY
    missing = (day == 1) | ((starts >= event.begin) & (starts < event.end))  # Saturday is no working day anyway
    assert np.array_equal(np.isnan(shown), missing)
    known = ~missing
    assert shown[known] == pytest.approx(usual(starts + STEP / 2)[known], rel=0.03)  # the triple is taken out
    assert rates == pytest.approx(tripled(starts + STEP / 2))  # the caller's array is as it was


@pytest.mark.parametrize("size", [{"rate": 2.0}, {"like": date(2026, 4, 1)}])
def test_a_history_of_nothing_but_events_without_a_factor_is_learned_from_as_it_is(size):
    forecaster = Planned(Recording(), [PlannedEvent(at(0), at(0, 7), **size)])
    forecaster.fit(Series(at(0, 6), STEP, np.ones(12)))
    assert forecaster.forecaster.shown.rates.tolist() == [1.0] * 12


def test_a_history_all_within_events_is_learned_from_over_their_factors():
    events = [PlannedEvent(at(-1), at(3), factor=2.0), PlannedEvent(at(3), at(5), rate=7.0)]
    events.append(PlannedEvent(at(5), at(20), factor=4.0))
    forecaster = Planned(Recording(), events)
    starts = np.arange(at(0), at(10, 13), STEP)
    day = (starts - MONDAY) // DAY
    load = usual(starts + STEP / 2)
    forecaster.fit(Series(at(0), STEP, load * np.where(day < 3, 2.0, 4.0)))
    shown = forecaster.forecaster.shown.rates
    by_rate = (day >= 3) & (day < 5)
    assert np.isnan(shown[by_rate]).all()
    assert shown[~by_rate] == pytest.approx(load[~by_rate], rel=0.03)


@pytest.mark.parametrize("ordinary", [0.0, 3.0, 12.0])
@pytest.mark.parametrize("factor", [2.0, 0.5])
def test_an_event_as_long_as_the_history_counts_once(factor, ordinary):
    """Of the history, only the first ``ordinary`` hours lie before the event."""
    now = at(10, 18)
    event = PlannedEvent(now - 6 * HOUR - 7 * DAY + ordinary * HOUR, at(25), factor=factor)

    def load(times):
        return usual(times) * np.where(times >= event.begin, factor, 1.0)

    assert median(follow(planned(event), load, now)) == pytest.approx(ahead(load, now), rel=0.1)


def test_days_of_events_are_not_what_is_usual():
    """Three of five weekdays have a long event."""
    events = [PlannedEvent(at(day), at(day + 1), factor=3.0) for day in (0, 1, 2)]
    forecaster = Planned(Recording(), events)
    starts = np.arange(at(0), at(5), STEP)
    load = usual(starts + STEP / 2) * np.where(starts < at(3), 3.0, 1.0)
    forecaster.fit(Series(at(0), STEP, load))
    assert forecaster._plan.usual_at(at(8, 9) + STEP / 2) == pytest.approx(float(usual(at(8, 9) + STEP / 2)))


def test_a_level_that_is_high_before_the_event_is_not_the_event():
    forecaster = Planned(Recording(), [TRIPLE])
    starts = np.arange(at(5), at(10, 9), STEP)
    forecaster.fit(Series(at(5), STEP, usual(starts + STEP / 2)))
    for start in np.arange(at(10, 9), at(10, 13), STEP):
        rate = 1.7 * float(usual(start + STEP / 2))  # in the event, too: nothing of it comes
        forecaster.update(Arrivals(start + STEP, STEP, rate * STEP))
    shown = forecaster.forecaster.given[-1].rate
    assert shown == pytest.approx(1.7 * float(usual(at(10, 13) - STEP / 2)), rel=0.05)


def test_days_that_came_by_updates_can_be_patterns():
    forecaster = Planned(Recording())
    for k in range(290):
        forecaster.update(Arrivals(at(7) + (k + 1) * STEP, STEP, 20 * STEP))
    forecaster.plan([PlannedEvent(at(9), at(10), like=date(2026, 4, 13), name="again")])
    assert forecaster.unknown == ()


@settings(max_examples=40, deadline=None)
@given(st.floats(0.1, 10), st.lists(st.floats(0, 1000), min_size=1, max_size=12))
def test_what_is_shown_lies_between_what_came_and_what_it_would_be_without_all_of_the_event(factor, rates):
    event = PlannedEvent(at(10, 12), at(10, 15), factor=factor)
    forecaster = Planned(Recording(), [event])
    starts = np.arange(at(5), at(10, 12), STEP)
    forecaster.fit(Series(at(5), STEP, usual(starts + STEP / 2)))
    for k, rate in enumerate(rates):
        forecaster.update(Arrivals(at(10, 12) + (k + 1) * STEP, STEP, rate * STEP))
    for arrivals, rate in zip(forecaster.forecaster.given, rates, strict=True):
        low, high = sorted((rate, rate / factor))
        assert low * (1 - 1e-9) - 1e-9 <= arrivals.rate <= high * (1 + 1e-9) + 1e-9


def test_without_events_near_nothing_is_changed():
    forecaster = Planned(Recording(), [TRIPLE])
    arrivals = Arrivals(at(9), 17.0, 5.0)
    forecaster.update(arrivals)
    assert forecaster.forecaster.given == [arrivals]
    assert forecaster.more() == "more"
    with pytest.raises(AttributeError):
        forecaster.less()


@pytest.mark.parametrize("arrivals", [Arrivals(1e18, 1.0, 1.0), Arrivals(at(10, 13), -1.0, 1.0)])
def test_arrivals_that_cannot_be_are_refused(arrivals):
    with pytest.raises(BadSeries):
        planned(TRIPLE).update(arrivals)


# -- the protocol -----------------------------------------------------------------------------------------------------


class TestNothingPlanned(ForecasterConformance):
    def make(self) -> Forecaster:
        return planned()


class TestEventsAndHolidays(ForecasterConformance):
    """A past event, a holiday, and a rise that begins right where the load ends."""

    def make(self) -> Forecaster:
        start = 1000 * self.period * STEP  # the suite's; 30 November 1970
        end = start + self.length * STEP
        past = PlannedEvent(start + 100 * STEP, start + 130 * STEP, factor=3.0)
        coming = PlannedEvent(end + 3 * STEP, end + 8 * STEP, factor=1.01, ramp=STEP)
        off = Holiday(date(1970, 12, 1), date(1970, 12, 1))
        return planned(past, coming, calendar=Calendar("Europe/Berlin", (off,)))
