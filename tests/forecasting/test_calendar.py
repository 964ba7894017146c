"""Local time: what the clock on the wall shows, on both sides of its changes."""

from __future__ import annotations

import pickle
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from forecasting.calendar import Calendar, Change, Holiday, to_local_series
from forecasting.series import Series

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Casablanca"]
BERLIN = Calendar("Europe/Berlin")
SPRING = datetime(2026, 3, 29, 1, tzinfo=UTC).timestamp()  # 02:00 becomes 03:00 in Berlin
AUTUMN = datetime(2026, 10, 25, 1, tzinfo=UTC).timestamp()  # 03:00 becomes 02:00
HOUR = 3600.0

# Instants near changes of the clock are what matters; others come by themselves.
seconds = st.floats(1.2e9, 1.9e9) | st.floats(SPRING - 8000, SPRING + 8000) | st.floats(AUTUMN - 8000, AUTUMN + 8000)


def wall(local):
    """Local seconds as a naive wall clock."""
    return datetime.fromtimestamp(local, UTC).replace(tzinfo=None)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(ZONES), st.lists(seconds, min_size=1, max_size=5))
def test_local_seconds_are_the_clock_on_the_wall(zone, times):
    local = Calendar(zone).to_local(np.array(times))
    wanted = [datetime.fromtimestamp(t, ZoneInfo(zone)).replace(tzinfo=UTC).timestamp() for t in times]
    assert local == pytest.approx(wanted, abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(ZONES), st.lists(seconds, min_size=1, max_size=5))
def test_back_to_unix_seconds_as_python_reads_a_clock_that_showed_them(zone, local):
    times = Calendar(zone).to_unix(np.array(local))
    for x, time in zip(local, times.tolist(), strict=True):
        read = datetime.fromtimestamp(x, UTC).replace(tzinfo=ZoneInfo(zone), fold=0).timestamp()
        if wall(x) == datetime.fromtimestamp(read, ZoneInfo(zone)).replace(tzinfo=None):
            assert time == pytest.approx(read, abs=1e-5)
        else:
            assert Calendar(zone).changes(time - 1, time)[-1].at == time


@pytest.mark.parametrize(
    ("zone", "missing", "first"),
    [
        ("Europe/Berlin", ["2026-03-29T02:00", "2026-03-29T02:59"], "2026-03-29T03:00+02:00"),
        ("Australia/Lord_Howe", ["2026-10-04T02:00", "2026-10-04T02:29"], "2026-10-04T02:30+11:00"),
        ("Africa/Cairo", ["2026-04-24T00:00", "2026-04-24T00:30"], "2026-04-24T01:00+03:00"),
        ("Pacific/Apia", ["2011-12-30T00:00", "2011-12-30T23:00"], "2011-12-31T00:00+14:00"),  # crossed the date line
    ],
)
def test_a_time_that_the_clock_leaves_out_is_when_it_changed(zone, missing, first):
    local = [datetime.fromisoformat(f"{one}+00:00").timestamp() for one in missing]
    assert set(Calendar(zone).to_unix(np.array(local))) == {datetime.fromisoformat(first).timestamp()}


def test_the_hour_that_is_missing_and_the_one_that_comes_twice():
    half_past_two = SPRING + HOUR + HOUR / 2  # on the wall
    assert BERLIN.to_unix(np.array([half_past_two]))[0] == SPRING
    assert wall(BERLIN.to_local(np.array([SPRING + HOUR / 2]))[0]).hour == 3
    again = AUTUMN + 2 * HOUR - HOUR / 2
    assert BERLIN.to_unix(np.array([again]))[0] == AUTUMN - HOUR / 2
    twice = BERLIN.to_local(np.array([AUTUMN - HOUR / 2, AUTUMN + HOUR / 2]))
    assert twice.tolist() == [again, again]


def test_changes_of_a_year():
    begin, end = (datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in (2026, 2027))
    assert BERLIN.changes(begin, end) == (Change(SPRING, HOUR, 2 * HOUR), Change(AUTUMN, 2 * HOUR, HOUR))
    assert BERLIN.changes(SPRING, AUTUMN - 1) == ()
    assert BERLIN.changes(SPRING - 0.25, SPRING) == (Change(SPRING, HOUR, 2 * HOUR),)
    assert Calendar().changes(begin, end) == ()


def test_days_have_23_24_and_25_hours():
    for day, hours in ((date(2026, 3, 29), 23), (date(2026, 3, 30), 24), (date(2026, 10, 25), 25)):
        begin, end = BERLIN.bounds(day)
        assert end - begin == hours * HOUR
        assert BERLIN.day(begin) == day == BERLIN.day(end - 1)
    begin, end = BERLIN.bounds(date(2026, 3, 28), date(2026, 3, 30))
    assert list(BERLIN.days(begin, end)) == [date(2026, 3, 28), date(2026, 3, 29), date(2026, 3, 30)]


def test_holidays_are_whole_days_both_ends_in():
    calendar = Calendar("Europe/Berlin", (Holiday(date(2026, 12, 24), date(2026, 12, 26), "Christmas"),))
    days = [date(2026, 12, day) for day in range(23, 28)]
    assert [calendar.is_holiday(day) for day in days] == [False, True, True, True, False]
    with pytest.raises(ValueError, match="Christmas: it ends on 2026-12-23, before it begins"):
        Holiday(date(2026, 12, 24), date(2026, 12, 23), "Christmas")


@pytest.mark.parametrize("zone", ["Europe/Berlln", "", "../etc/passwd", "/etc/localtime"])
def test_a_zone_that_is_not_known(zone):
    with pytest.raises(ValueError, match="is not known here; give an IANA name"):
        Calendar(zone)


def test_a_calendar_is_a_value():
    assert Calendar("Europe/Berlin") == BERLIN
    assert pickle.loads(pickle.dumps(BERLIN)).changes(SPRING - 1, SPRING) == BERLIN.changes(SPRING - 1, SPRING)


def hourly(begin, hours):
    """Series whose rate is the hour of the clock, plus 100 the second time."""
    rates = []
    for k in range(hours):
        at = datetime.fromtimestamp(begin + k * HOUR, ZoneInfo("Europe/Berlin"))
        rates.append(at.hour + 100.0 * at.fold)
    return Series(begin, HOUR, np.array(rates))


def test_a_series_by_local_time_in_spring_and_autumn():
    spring = to_local_series(hourly(SPRING - 2 * HOUR, 5), BERLIN)  # 00, 01, (no 02,) 03, 04, 05
    assert wall(spring.start).hour == 0
    assert spring.rates.tolist() == pytest.approx([0, 1, np.nan, 3, 4, 5], nan_ok=True)
    autumn = to_local_series(hourly(AUTUMN - 3 * HOUR, 6), BERLIN)  # 00, 01, 02, 02 again, 03, 04
    assert wall(autumn.start).hour == 0
    assert autumn.rates.tolist() == [0, 1, 102, 3, 4]


def test_of_the_hour_that_comes_twice_the_known_one_is_kept():
    series = hourly(AUTUMN - 2 * HOUR, 4)
    series.rates[2] = np.nan
    assert to_local_series(series, BERLIN).rates.tolist() == [1, 2, 3]


def test_what_the_clock_has_not_reached_again_is_left_out():
    half = Series(AUTUMN - HOUR, HOUR / 2, np.array([1.0, 2.0, 3.0]))  # 02:00, 02:30, 02:00 again
    assert to_local_series(half, BERLIN).rates.tolist() == [3.0]


@settings(max_examples=40, deadline=None)
@given(st.integers(-200, 100), st.integers(0, 300), st.sampled_from([SPRING, AUTUMN]), st.sampled_from([300.0, 900.0]))
@example(-24, 24, SPRING, 300.0)  # they end where the clock is changed
@example(-24, 24, AUTUMN, 300.0)
def test_each_step_lies_where_the_clock_says(first, length, change, step):
    series = Series(change + first * step, step, np.arange(length, dtype=float))
    local = to_local_series(series, BERLIN)
    assert (local.start - BERLIN.offset(series.start)) % step == 0
    at = BERLIN.to_local(series.start + np.arange(length) * step)
    rows = np.round((at - local.start) / step).astype(int)
    wanted = np.full(len(local.rates), np.nan)
    for row, rate in zip(rows, series.rates, strict=True):  # the later wins
        if row < len(wanted):
            wanted[row] = rate
    assert np.array_equal(local.rates, wanted, equal_nan=True)
    if length:
        assert local.end == BERLIN.to_local(np.array([series.end]))[0]


def test_of_an_offset_that_is_no_whole_step_each_step_gets_what_came_in_it():
    begin = 1_775_001_600.0  # midnight in UTC, 05:30 in Kolkata
    local = to_local_series(Series(begin, HOUR, np.array([10.0, 20.0, np.nan, 30.0, 40.0])), Calendar("Asia/Kolkata"))
    assert wall(local.start).hour == 5
    assert local.rates.tolist() == [10, 15, 20, 30, 35]  # 10:00 to 10:30 is no whole step
    late = to_local_series(Series(begin, HOUR, np.array([10.0, 20.0])), Calendar("Asia/Kathmandu"))  # 05:45
    assert late.rates.tolist() == pytest.approx([np.nan, 12.5], nan_ok=True)


def test_a_change_by_half_a_step():
    """In Lord Howe the clock is set back from 02:00 to 01:30, which is UTC+11 to UTC+10:30."""
    change = datetime(2026, 4, 4, 15, tzinfo=UTC).timestamp()
    howe = Calendar("Australia/Lord_Howe")
    assert howe.changes(change - 1, change) == (Change(change, 11 * HOUR, 10.5 * HOUR),)
    local = to_local_series(Series(change - 2 * HOUR, HOUR, np.array([10.0, 20.0, 30.0, 40.0])), howe)
    assert wall(local.start).hour == 0
    # 01:00 to 02:00 a first time, and 01:30 to 02:00 a second: the second is kept.
    assert local.rates.tolist() == [10, 30, 35]


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(ZONES),
    st.sampled_from([600.0, 1800.0, HOUR, 2 * HOUR, 24 * HOUR]),
    st.integers(0, 40_000),
    st.integers(1, 60),
)
def test_no_arrival_is_moved_by_more_than_its_step(zone, step, first, length):
    calendar = Calendar(zone)
    series = Series((1.7e9 // step + first) * step, step, np.arange(length, dtype=float))
    local = to_local_series(series, calendar)
    assert local.end <= calendar.to_local(np.array([series.end]))[0] < local.end + step
    changes = calendar.changes(series.start - 1, series.end)
    centres = calendar.to_local(series.start + (np.arange(length) + 0.5) * step)
    assert abs(local.start + step / 2 - centres[0]) < step or changes
    if not changes:
        there = local.start + (np.arange(len(local.rates)) + 0.5) * step
        known = ~np.isnan(local.rates)
        at = (there[known] - centres[0]) / step  # the rate is the number of its step
        assert local.rates[known] == pytest.approx(np.clip(at, 0, length - 1), abs=0.5)


def test_utc_changes_nothing():
    series = Series(1.7e9 // 60 * 60, 60.0, np.arange(5.0))
    local = to_local_series(series, Calendar())
    assert (local.start, local.rates.tolist()) == (series.start, series.rates.tolist())
