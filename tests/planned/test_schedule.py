"""Limits at times of the week: by the clock on the wall, named, and in the plan."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.api.replicas import Scheduled
from scaler.plan.observation import Freshness, Reading
from scaler.plan.policy import PredictivePolicy
from scaler.plan.reasons import Reason
from scaler.plan.schedule import Limits, Schedule, Window
from tests.plan.loop import LAB, Loop

HOUR = 3600.0
OFFICE = Window("office", (0, 1, 2, 3, 4), 8 * HOUR, 18 * HOUR, "Europe/Berlin", least=5)
NIGHT = Window("night", (4,), 22 * HOUR, 30 * HOUR, "Europe/Berlin", most=3)  # Friday 22:00 to Saturday 06:00


def utc(*when: int) -> float:
    return datetime(*when, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("when", "least", "most"),
    [
        # Berlin is an hour ahead of UTC in winter, two in summer; the clock changed on Sunday 29 March 2026.
        (utc(2026, 3, 27, 6, 59), 1, 10),
        (utc(2026, 3, 27, 7, 0), 5, 10),  # Friday 08:00
        (utc(2026, 3, 27, 16, 59), 5, 10),
        (utc(2026, 3, 27, 17, 0), 1, 10),
        (utc(2026, 3, 27, 21, 0), 1, 3),  # 22:00
        (utc(2026, 3, 28, 4, 59), 1, 3),
        (utc(2026, 3, 28, 5, 0), 1, 10),  # Saturday 06:00
        (utc(2026, 3, 28, 8, 0), 1, 10),  # no office on Saturday
        (utc(2026, 3, 30, 5, 59), 1, 10),
        (utc(2026, 3, 30, 6, 0), 5, 10),  # Monday 08:00 in summer
    ],
)
def test_by_the_clock_on_the_wall(when: float, least: int, most: int) -> None:
    found = Schedule(1, 10, [OFFICE, NIGHT]).limits(when, 0.0)
    assert (found.least, found.most) == (least, most)
    assert found.least_by is (Reason.SCHEDULED_MIN if least > 1 else Reason.MIN_REPLICAS)
    assert found.most_by is (Reason.SCHEDULED_MAX if most < 10 else Reason.MAX_REPLICAS)


def test_a_minimum_comes_a_lead_time_before_and_a_maximum_does_not() -> None:
    both = Schedule(1, 10, [replace(OFFICE, most=7)])
    at = utc(2026, 3, 27, 7, 0)
    assert both.limits(at - 121, 120.0) == Limits(1, 10)
    assert both.limits(at - 120, 120.0) == Limits(5, 10, least_by=Reason.SCHEDULED_MIN)
    assert both.limits(at, 120.0) == Limits(5, 7, Reason.SCHEDULED_MIN, Reason.SCHEDULED_MAX)
    assert both.limits(at + 10 * HOUR, 120.0) == Limits(1, 10)


def test_of_several_the_highest_minimum_and_the_lowest_maximum_which_stands_above_it() -> None:
    always = Window("always", tuple(range(7)), 0.0, 24 * HOUR, "UTC", least=2, most=8)
    more = replace(always, name="more", least=6, most=4)
    assert Schedule(1, 10, [always]).limits(0.0, 0.0) == Limits(2, 8, Reason.SCHEDULED_MIN, Reason.SCHEDULED_MAX)
    assert Schedule(1, 10, [always, more]).limits(0.0, 0.0).least == 4
    assert Schedule(1, 10, [always, more]).limits(0.0, 0.0).most == 4


def test_an_hour_that_comes_twice_and_one_that_never_comes() -> None:
    early = Window("early", tuple(range(7)), 2 * HOUR, 3 * HOUR, "Europe/Berlin", least=5)
    autumn = utc(2026, 10, 25, 0, 0)  # 02:00 of summer time; 02:00 to 03:00 comes again an hour later
    counts = [Schedule(1, 10, [early]).limits(autumn + k * HOUR / 2, 0.0).least for k in range(-1, 5)]
    assert counts == [1, 5, 5, 5, 5, 1]
    spring = utc(2026, 3, 29, 1, 0)  # 02:00 is called 03:00, which is when the window ends
    counts = [Schedule(1, 10, [early]).limits(spring + k * HOUR / 2, 0.0).least for k in range(-1, 4)]
    assert counts == [1, 1, 1, 1, 1]
    for ahead in (0.0, 600.0):  # 02:15 to 02:45
        inside = replace(early, begin=early.begin + HOUR / 4, end=early.end - HOUR / 4)
        counts = [Schedule(1, 10, [inside]).limits(spring + k * HOUR / 4, ahead).least for k in range(-1, 4)]
        assert counts == [1, 1, 1, 1, 1]
    across = replace(early, begin=early.begin + HOUR / 2, end=early.end + HOUR / 4)  # 02:30 to 03:15
    counts = [Schedule(1, 10, [across]).limits(spring + k * HOUR / 4, 0.0).least for k in range(-1, 4)]
    assert counts == [1, 5, 1, 1, 1]


@settings(max_examples=80, deadline=None)
@given(
    days=st.sets(st.integers(0, 6), min_size=1),
    begin=st.integers(0, 95),
    length=st.integers(1, 96),
    zone=st.sampled_from(("UTC", "America/New_York", "Asia/Kolkata", "Pacific/Kiritimati", "Pacific/Pago_Pago")),
    minutes=st.integers(0, 2 * 365 * 24 * 60),
)
def test_as_the_local_clock_says(days: set[int], begin: int, length: int, zone: str, minutes: int) -> None:
    """Against a local clock that is read, away from the hours at which it is changed."""
    start = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    local = start.astimezone(ZoneInfo(zone))
    shifts = {(start + timedelta(hours=h)).astimezone(ZoneInfo(zone)).utcoffset() for h in range(-50, 51, 2)}
    if len(shifts) > 1:
        return
    window = Window("w", tuple(days), begin * 900.0, (begin + length) * 900.0, zone, least=5)
    quarter = local.hour * 4 + local.minute // 15
    today = local.weekday() in days and begin <= quarter < begin + length
    before = (local.weekday() - 1) % 7 in days and begin <= quarter + 96 < begin + length
    schedule = Schedule(0, 9, [window])
    schedule.limits(start.timestamp() - 3 * 86400.0, 0.0)  # what was looked up earlier is no harm
    assert schedule.limits(start.timestamp(), 0.0).least == (5 if today or before else 0)


def test_from_the_resource_s_words() -> None:
    words = {"name": "night", "days": ["Fri", "Mon"], "begin": "22:30", "end": "06:00", "max": 3}
    night = Scheduled.model_validate(words)
    assert night.window("Europe/Berlin") == Window("night", (0, 4), 81000.0, 108000.0, "Europe/Berlin", None, 3)
    day = Scheduled.model_validate({"name": "day", "timeZone": "Asia/Tokyo", "min": 1})
    assert day.window("Europe/Berlin") == Window("day", tuple(range(7)), 0.0, 86400.0, "Asia/Tokyo", 1, None)


# --- in the plan

# The loop begins at unix s 1,000,000, Monday 12 January 1970, 13:46:40 UTC; the window 200 s later.
SOON = 13 * HOUR + 50 * 60.0


def test_replicas_serve_when_the_minimum_begins_and_the_reason_is_named() -> None:
    service = replace(LAB, schedule=(Window("soon", (0,), SOON, SOON + 120.0, "UTC", least=12),))
    loop = Loop(service, PredictivePolicy([service], lambda _: None), lambda t: 2.0)
    loop.run(500)
    counts = {round(d.time - loop.start): d for d in loop.decisions}
    assert counts[100].desired == 1
    assert counts[190].desired == 12
    assert counts[190].reason is Reason.SCHEDULED_MIN
    serving = {round(t - loop.start, 1): n for t, n in loop.ready}
    assert serving[200.0] == 12
    assert all(serving[float(t)] == 12 for t in range(200, 320))
    assert loop.decisions[-1].desired == 1


def test_a_maximum_takes_replicas_away_and_is_named() -> None:
    service = replace(LAB, schedule=(Window("soon", (0,), SOON, SOON + 120.0, "UTC", most=2),))
    loop = Loop(service, PredictivePolicy([service], lambda _: None), lambda t: 30.0)
    loop.run(420)
    counts = {round(d.time - loop.start): d for d in loop.decisions}
    assert counts[190].desired > 6
    assert counts[202].desired == 2
    assert Reason.SCHEDULED_MAX in counts[202].reasons
    assert Reason.MAX_REPLICAS not in counts[202].reasons
    assert counts[400].desired > 6


def test_a_maximum_takes_nothing_away_while_the_load_is_unknown() -> None:
    service = replace(LAB, schedule=(Window("soon", (0,), SOON, SOON + 120.0, "UTC", least=4, most=5),))
    for at_first, then in ((8, 8), (1, 4)):  # a minimum needs no load to be known
        dark = Reading(None, 0.0, Freshness.ERROR)
        loop = Loop(
            service,
            PredictivePolicy([service], lambda _: None),
            lambda t: 2.0,
            start_replicas=at_first,
            change=lambda t, o, dark=dark: replace(o, offsets=dark),
        )
        loop.run(260)
        assert loop.decisions[-1].desired == then
        assert Reason.INPUT_ERROR in loop.decisions[-1].reasons
