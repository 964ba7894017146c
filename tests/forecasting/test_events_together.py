"""Events over each other, and events where no day is an ordinary one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime

import numpy as np
import pytest
from numpy.typing import NDArray

from forecasting.calendar import Calendar, Holiday
from forecasting.events import PlannedEvent
from forecasting.events_planned import Planned
from forecasting.models.level_season import LevelSeason
from forecasting.series import Arrivals, Series

Floats = NDArray[np.float64]
STEP, HOUR, DAY = 300.0, 3600.0, 86400.0
MONDAY = datetime(2026, 4, 6, tzinfo=UTC).timestamp()
Load = Callable[[Floats], Floats]


def at(day: float, hour: float = 0.0) -> float:
    """Unix seconds of an hour of a day, counted from Monday 6 April 2026."""
    return MONDAY + day * DAY + hour * HOUR


def usual(times: Floats) -> Floats:
    made: Floats = 60 + 30 * np.sin(2 * np.pi * times / DAY)
    return made


def forecast(
    load: Load,
    until: float,
    events: Sequence[PlannedEvent] = (),
    holidays: Sequence[Holiday] = (),
    *,
    begin: float,
    live: float = 2 * HOUR,
) -> tuple[Planned, Floats]:
    """Of load that was read from ``begin`` on and seen live for the last ``live`` s: the median of the next hour."""
    forecaster = Planned(LevelSeason(STEP, DAY), events, Calendar("UTC", tuple(holidays)))
    starts = np.arange(begin, until - live, STEP)
    forecaster.fit(Series(begin, STEP, load(starts + STEP / 2)))
    for start in np.arange(until - live, until, STEP):
        count = float(load(np.array([start + STEP / 2]))[0]) * STEP
        forecaster.update(Arrivals(float(start) + STEP, STEP, count))
    return forecaster, np.median(forecaster.paths(12, 100, np.random.default_rng(0)), axis=0)


def truth(load: Load, until: float) -> Floats:
    return load(until + (np.arange(12) + 0.5) * STEP)


@pytest.mark.parametrize("hour", [11.75, 12.5, 13.25, 13.75, 14.25])
def test_a_rate_with_a_ramp_begins_at_and_falls_back_to_the_event_that_it_is_in(hour: float) -> None:
    sale = PlannedEvent(at(1, 9), at(1, 18), factor=3.0, name="sale")
    show = PlannedEvent(at(1, 12), at(1, 14), rate=600.0, ramp=1800.0, name="show")

    def load(times: Floats) -> Floats:
        rate = usual(times) * np.where((times >= sale.begin) & (times < sale.end), 3.0, 1.0)
        weight = np.clip(np.minimum(times - show.begin, show.end - times) / show.ramp, 0.0, 1.0)
        made: Floats = np.exp((1 - weight) * np.log(rate) + weight * np.log(600.0))
        return made

    _, found = forecast(load, at(1, hour), [sale, show], begin=at(-7))
    assert found == pytest.approx(truth(load, at(1, hour)), rel=0.15)


def test_the_higher_of_two_rates_is_never_less_than_the_lower_over_its_ramp() -> None:
    low = PlannedEvent(at(1, 9), at(1, 18), rate=300.0, name="low")
    high = PlannedEvent(at(1, 12), at(1, 14), rate=1000.0, ramp=1800.0, name="high")
    _, found = forecast(lambda t: np.where(t < low.begin, usual(t), 300.0), at(1, 12), [low, high], begin=at(-7))
    assert found[0] == pytest.approx(300.0, rel=0.02)
    assert (np.diff(found) > -1.0).all()
    assert found[-1] == pytest.approx(1000.0, rel=0.02)


def test_while_no_ordinary_day_is_known_a_holiday_has_no_size_and_changes_nothing() -> None:
    """A closure of two weeks, and a history of one."""
    closed = Holiday(date(2026, 3, 30), date(2026, 4, 12))

    def load(times: Floats) -> Floats:
        return 0.4 * usual(times)

    forecaster, found = forecast(load, at(1, 9), holidays=[closed], begin=at(-6))
    assert found == pytest.approx(truth(load, at(1, 9)), rel=0.1)
    assert "holiday 2026-04-07: the history knows no usual load to compare that day with" in forecaster.unknown
    assert forecaster.sizeless


def test_a_time_of_day_is_usual_on_days_with_an_event_at_another() -> None:
    """Each known day had its hour of a sale; the next is to be like yesterday's."""
    sales = [PlannedEvent(at(day, 9), at(day, 10), factor=2.0, name=f"sale {day}") for day in range(-7, 1)]
    like = PlannedEvent(at(1), at(2), like=date(2026, 4, 6), name="again")

    def load(times: Floats) -> Floats:
        hour = times % DAY / HOUR
        return usual(times) * np.where((hour >= 9) & (hour < 10), 2.0, 1.0)

    forecaster, found = forecast(load, at(1, 10.5), [*sales, like], begin=at(-7))
    assert forecaster.unknown == ()
    assert found == pytest.approx(truth(load, at(1, 10.5)), rel=0.1)
    _, found = forecast(load, at(1, 8.5), [*sales, like], begin=at(-7))
    assert found[:5] == pytest.approx(truth(load, at(1, 8.5))[:5], rel=0.1)
    assert found.max() < 2 * truth(load, at(1, 8.5)).max(), (
        "of nine to ten nothing usual is known: no more than is seen"
    )


def test_after_a_rate_that_was_all_there_ever_was_what_is_there_stays() -> None:
    show = PlannedEvent(at(-8), at(1, 12), rate=300.0, name="show")
    _, found = forecast(lambda t: np.full(len(t), 300.0), at(1, 11.75), [show], begin=at(-7))
    assert found.min() > 200.0


def test_like_that_day_stands_for_the_holiday_that_it_is_on() -> None:
    """Today is a holiday, and to be like yesterday's, which was one: a third of the load, not a ninth."""
    days = [Holiday(date(2026, 4, 7), date(2026, 4, 7)), Holiday(date(2026, 4, 14), date(2026, 4, 15))]
    like = PlannedEvent(at(9), at(10), like=date(2026, 4, 14), name="again")

    def load(times: Floats) -> Floats:
        off = ((times >= at(1)) & (times < at(2))) | ((times >= at(8)) & (times < at(10)))
        return usual(times) * np.where(off, 1 / 3, 1.0)

    _, found = forecast(load, at(9), [like], days, begin=at(-7))
    assert found == pytest.approx(truth(load, at(9)), rel=0.15)


def test_like_a_day_that_is_not_known_leaves_the_holiday_its_size() -> None:
    days = [Holiday(date(2026, 4, 7), date(2026, 4, 7)), Holiday(date(2026, 4, 14), date(2026, 4, 14))]
    like = PlannedEvent(at(8), at(9), like=date(2025, 4, 14), name="as last year")

    def load(times: Floats) -> Floats:
        on = ((times >= at(1)) & (times < at(2))) | ((times >= at(8)) & (times < at(9)))
        return usual(times) * np.where(on, 3.0, 1.0)

    forecaster, found = forecast(load, at(8), [like], days, begin=at(-7))
    assert found == pytest.approx(truth(load, at(8)), rel=0.15)
    assert "which the history does not know half" in forecaster.unknown[0]
