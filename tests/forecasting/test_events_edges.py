"""Where one event meets another, and where a count lies only partly in one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from forecasting.calendar import Calendar, Holiday
from forecasting.events import PlannedEvent
from forecasting.events_planned import Planned
from forecasting.models.level_season import LevelSeason
from forecasting.series import Arrivals, Series
from tests.forecasting.test_events import DAY, HOUR, MONDAY, Recording, at, usual

Floats = NDArray[np.float64]
Load = Callable[[Floats], Floats]
MINUTE, TICK = 60.0, 15.0


def sizes(*parts: tuple[PlannedEvent, float]) -> Load:
    """The usual load, times what came of each event."""

    def load(times: Floats) -> Floats:
        rates: Floats = usual(times)
        for event, factor in parts:
            rates = rates * np.where((times >= event.begin) & (times < event.end), factor, 1.0)
        return rates

    return load


def learned(events: Sequence[PlannedEvent], load: Load, until: float, step: float = MINUTE, days: int = 7) -> Planned:
    forecaster = Planned(LevelSeason(step, DAY), events)
    starts = np.arange(until - days * DAY, until, 300.0)
    forecaster.fit(Series(float(starts[0]), 300.0, load(starts + 150.0)))
    return forecaster


def watch(forecaster: Planned, load: Load, until: float, tick: float = TICK) -> Planned:
    """The whole counts of ``tick`` s that end by ``until``, one after the other."""
    assert forecaster.end is not None
    for end in np.arange(forecaster.end + tick, until + 1e-3, tick):
        inside = end - tick + (np.arange(60) + 0.5) * tick / 60
        forecaster.update(Arrivals(float(end), tick, float(load(inside).mean()) * tick))
    return forecaster


def foreseen(forecaster: Planned, *times: float) -> list[float]:
    """Medians at ``times``, times what is usual there."""
    assert forecaster.end is not None
    ahead = [int((time - forecaster.end) / forecaster.step) for time in times]
    paths = np.median(forecaster.paths(max(ahead) + 1, 100, np.random.default_rng(0)), axis=0)
    return [float(paths[k] / usual(time)) for k, time in zip(ahead, times, strict=True)]


# -- a decrease within an increase, and the other way round ------------------------------------------------------------


@pytest.mark.parametrize("ends", [14.0, 14.5])
@pytest.mark.parametrize(("came", "low"), [(1.0, 0.5), (1.0, 0.1), (2.0, 0.1), (6.0, 0.1)])
def test_after_a_decrease_within_an_increase_of_another_size_load_is_at_the_level_before(
    came: float, low: float, ends: float
) -> None:
    sale = PlannedEvent(at(10, 11), at(10, ends), factor=3.0)
    pause = PlannedEvent(at(10, 13), at(10, 14), factor=low)
    load = sizes((sale, came), (pause, low))
    forecaster = watch(learned([sale, pause], load, at(10, 10)), load, at(10, 13.75), MINUTE)
    level = max(came / 3.0, 1.0)  # no more than planned comes: as planned; more: on top of the usual load, too
    inside, later, after = foreseen(forecaster, at(10, 13.8), at(10, 14.25), at(10, 14.75))
    assert inside == pytest.approx(3.0 * low * level, rel=0.05)
    assert later == pytest.approx((3.0 if ends > 14.25 else 1.0) * level, rel=0.05)
    assert after == pytest.approx(level, rel=0.05)


@pytest.mark.parametrize("came", [2.0, 3.0])
@pytest.mark.parametrize("size", [{"factor": 0.1}, {"rate": 0.0}, {"rate": 10.0}])
def test_a_decrease_that_does_not_come_within_an_increase_is_given_up_and_is_no_new_level(
    came: float, size: dict[str, float]
) -> None:
    sale = PlannedEvent(at(10, 11), at(10, 18), factor=3.0)
    pause = PlannedEvent(at(10, 13), at(10, 14), **size)
    load = sizes((sale, came))
    forecaster = watch(learned([sale, pause], load, at(10, 10)), load, at(10, 13.25), MINUTE)
    inside, later = foreseen(forecaster, at(10, 13.5), at(10, 14.25))
    assert inside == pytest.approx(came, rel=0.05)
    assert later == pytest.approx(3.0, rel=0.05)


@pytest.mark.parametrize("size", [{"factor": 0.1}, {"rate": 0.0}])
def test_a_decrease_that_ends_early_within_an_increase_leaves_the_increase(size: dict[str, float]) -> None:
    sale = PlannedEvent(at(10, 11), at(10, 18), factor=3.0)
    pause = PlannedEvent(at(10, 13), at(10, 14), **size)
    early = PlannedEvent(at(10, 13), at(10, 13.5), factor=0.1)
    load = sizes((sale, 3.0), (early, size.get("factor", 0.0)))
    forecaster = watch(learned([sale, pause], load, at(10, 10)), load, at(10, 13.75), MINUTE)
    assert foreseen(forecaster, at(10, 13.8), at(10, 14.25)) == pytest.approx([3.0, 3.0], rel=0.1)


def test_an_increase_within_a_decrease_that_does_not_come_is_all_there() -> None:
    works = PlannedEvent(at(10, 11), at(10, 18), factor=0.3)
    match = PlannedEvent(at(10, 13), at(10, 14), factor=4.0)
    load = sizes((match, 4.0))
    forecaster = watch(learned([works, match], load, at(10, 10)), load, at(10, 12.75), MINUTE)
    assert foreseen(forecaster, at(10, 13.25)) == pytest.approx([4.0], rel=0.05)
    watch(forecaster, load, at(10, 13.75), MINUTE)
    assert foreseen(forecaster, at(10, 13.8), at(10, 14.25)) == pytest.approx([4.0, 1.0], rel=0.05)


def test_that_more_came_than_was_planned_is_known_after_a_restart() -> None:
    sale = PlannedEvent(at(10, 8), at(10, 18), factor=1.5)
    pause = PlannedEvent(at(10, 13), at(10, 14), factor=0.1)
    load = sizes((sale, 3.0), (pause, 0.1))
    forecaster = watch(learned([sale, pause], load, at(10, 12.9)), load, at(10, 13.75), MINUTE)
    assert foreseen(forecaster, at(10, 13.8), at(10, 14.25)) == pytest.approx([0.3, 3.0], rel=0.1)


@pytest.mark.parametrize("size", [{"factor": 0.1}, {"rate": 0.0}])
def test_so_it_is_after_a_restart_within_the_decrease(size: dict[str, float]) -> None:
    sale = PlannedEvent(at(10, 8), at(10, 18), factor=1.5)
    pause = PlannedEvent(at(10, 13), at(10, 14), **size)
    load = sizes((sale, 3.0), (pause, size.get("factor", 0.0)))
    forecaster = learned([sale, pause], load, at(10, 13.75))
    assert foreseen(forecaster, at(10, 14.25)) == pytest.approx([3.0], rel=0.1)


def test_load_that_is_lost_in_an_increase_is_no_level_before_a_decrease() -> None:
    sale = PlannedEvent(at(10, 11), at(10, 18), factor=3.0)
    pause = PlannedEvent(at(10, 13), at(10, 14), rate=0.0)
    load = sizes((sale, 3.0), (PlannedEvent(at(10, 12), at(10, 13), factor=0.1), 0.1), (pause, 0.0))
    forecaster = watch(learned([sale, pause], load, at(10, 10)), load, at(10, 13.75), MINUTE)
    assert foreseen(forecaster, at(10, 14.25)) == pytest.approx([3.0], rel=0.05)


def test_nor_is_what_comes_where_the_day_that_it_is_like_is_not_known() -> None:
    """As the hour that a change of the clock leaves out."""
    thursday = PlannedEvent(at(3), at(4), factor=0.2)
    event = PlannedEvent(at(10), at(11), like=date(2026, 4, 9))
    load = sizes((thursday, 0.2), (event, 0.2))
    starts = np.arange(at(1), at(9, 23), 300.0)
    rates = load(starts + 150.0)
    rates[(starts >= at(3, 2)) & (starts < at(3, 3))] = np.nan
    forecaster = Planned(LevelSeason(MINUTE, DAY), [event])
    forecaster.fit(Series(at(1), 300.0, rates))
    watch(forecaster, load, at(10, 23.75), MINUTE)
    assert foreseen(forecaster, at(11) + 600.0) == pytest.approx([1.0], rel=0.1)


# -- a count that lies partly in an event ------------------------------------------------------------------------------

SIZES = [{"factor": 6.0}, {"factor": 0.1}, {"rate": 300.0}, {"rate": 0.0}]


@pytest.mark.parametrize(("tick", "step"), [(15.0, 60.0), (300.0, 60.0), (300.0, 300.0)])
@pytest.mark.parametrize("part", [0.45, 0.55])
@pytest.mark.parametrize("size", SIZES)
def test_it_has_that_part_of_the_events_size(size: dict[str, float], part: float, tick: float, step: float) -> None:
    """Of one count ``part`` lies in the event, of another behind it: after each, load is foreseen as it is."""
    event = PlannedEvent(at(10, 12) - part * tick, at(10, 12.5) - part * tick, **size)

    def load(times: Floats) -> Floats:
        rate = size["rate"] if "rate" in size else size["factor"] * usual(times)
        made: Floats = np.where((times >= event.begin) & (times < event.end), rate, usual(times))
        return made

    forecaster = learned([event], load, at(10, 11.5), step)
    low = 0.02 * float(usual(event.begin))
    for now in (at(10, 12), at(10, 12) + tick, at(10, 12.5), at(10, 12.5) + tick):
        time = now + 60.0
        got = foreseen(watch(forecaster, load, now, tick), time)[0] * float(usual(time))
        assert got == pytest.approx(float(load(np.array([time]))[0]), rel=0.05, abs=low)


@pytest.mark.parametrize("part", [0.01, 0.1, 0.45])
@pytest.mark.parametrize("chance", [0.9, 1.1])
def test_what_little_of_a_count_lies_in_a_decrease_says_little_of_it(part: float, chance: float) -> None:
    event = PlannedEvent(at(10, 12) - part * 300.0, at(10, 13), factor=0.1)
    load = sizes((event, 0.1))
    forecaster = watch(learned([event], load, at(10, 11)), load, at(10, 12) - 300.0, 300.0)
    inside = at(10, 12) - 300.0 + (np.arange(300) + 0.5)
    forecaster.update(Arrivals(at(10, 12), 300.0, chance * float(load(inside).mean()) * 300.0))
    assert foreseen(forecaster, at(10, 12) + 60.0)[0] < 0.2


def test_a_count_shorter_than_the_clock_tells_is_one() -> None:
    forecaster = learned([PlannedEvent(at(10, 12), at(10, 13), factor=0.1)], usual, at(10, 12.5))
    forecaster.update(Arrivals(at(10, 12.5) + 1.0, 1e-9, 0.0))
    assert np.isfinite(forecaster.paths(10, 10, np.random.default_rng(0))).all()


@settings(max_examples=40, deadline=None)
@given(st.floats(0.05, 20), st.floats(1, 299), st.sampled_from([0.0, 60.0, 900.0]), st.floats(0, 1))
def test_what_is_shown_is_the_usual_load_however_much_of_the_event_comes(
    factor: float, before: float, ramp: float, came: float
) -> None:
    event = PlannedEvent(at(10, 12), at(10, 13), factor=factor, ramp=ramp)
    load = sizes((event, 1.0))
    forecaster = Planned(Recording(), [event])
    starts = np.arange(at(5), at(10, 11), 300.0)
    forecaster.fit(Series(at(5), 300.0, load(starts + 150.0)))
    forecaster.update(Arrivals(at(10, 12) - before, HOUR - before, float(usual(at(10, 11.5))) * (HOUR - before)))
    times = at(10, 12) - before + (np.arange(600) + 0.5) / 2
    mean = float((usual(times) * factor ** (came * event.weight(times))).mean())
    forecaster.update(Arrivals(at(10, 12) - before + 300.0, 300.0, mean * 300.0))
    assert forecaster.forecaster.given[-1].rate == pytest.approx(float(usual(at(10, 12))), rel=0.05)


def test_so_has_a_step_of_a_history() -> None:
    event = PlannedEvent(at(10, 12) + 200.0, at(10, 18), factor=6.0)
    forecaster = Planned(Recording(), [event])
    starts = np.arange(at(5), at(10, 13), 300.0)
    rates = usual(starts + 150.0) * np.where(starts >= event.begin, 6.0, 1.0)
    rates[np.searchsorted(starts, at(10, 12))] *= (200.0 + 6 * 100.0) / 300.0
    forecaster.fit(Series(at(5), 300.0, rates))
    assert forecaster.forecaster.shown.rates == pytest.approx(usual(starts + 150.0), rel=0.03)


@pytest.mark.parametrize("first", [3.0, 0.2])
@pytest.mark.parametrize("second", [4.0, 0.5])
def test_one_begins_as_the_other_ends_within_a_count(first: float, second: float) -> None:
    one = PlannedEvent(at(10, 12), at(10, 13), factor=first)
    other = PlannedEvent(at(10, 13), at(10, 14), factor=second)
    load = sizes((one, first), (other, second))
    forecaster = learned([one, other], load, at(10, 11) + 130.0)
    for now, wanted in ((12.75, first), (13.1, second), (13.75, second), (14.1, 1.0)):
        watch(forecaster, load, at(10, now), 300.0)
        assert foreseen(forecaster, at(10, now) + 60.0) == pytest.approx([wanted], rel=0.05)


def test_two_that_begin_at_once_multiply_until_one_ends() -> None:
    short, long = (PlannedEvent(at(10, 12), at(10, hour), factor=factor) for hour, factor in ((13, 2.0), (14, 1.5)))
    load = sizes((short, 2.0), (long, 1.5))
    forecaster = learned([short, long], load, at(10, 11) + 130.0)
    for now, wanted in ((11.9, 3.0), (12.1, 3.0), (13.1, 1.5), (14.1, 1.0)):
        watch(forecaster, load, at(10, now), 300.0)
        assert foreseen(forecaster, at(10, now) + 400.0) == pytest.approx([wanted], rel=0.05)
        assert forecaster._belief == 1.0, "no decrease is planned that might not come"


# -- two holidays in a row ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("second", [None, date(2026, 4, 15)])
@pytest.mark.parametrize("came", [0.25, 0.8, 3.0])
def test_at_midnight_between_two_holidays_what_the_first_lacked_counts_once(came: float, second: date | None) -> None:
    """Wednesday and Thursday: the first is foreseen as Sunday was (0.4)."""
    holidays = (
        Holiday(date(2026, 4, 15), date(2026, 4, 15)),
        Holiday(date(2026, 4, 16), date(2026, 4, 16), like=second),
    )

    def load(times: Floats) -> Floats:
        day = (times - MONDAY) // DAY
        made: Floats = usual(times) * np.where((day == 9) | (day == 10), came, np.where(day % 7 == 6, 0.4, 1.0))
        return made

    forecaster = Planned(LevelSeason(MINUTE, DAY), (), Calendar("UTC", holidays))
    starts = np.arange(at(-5, 23), at(9, 23), 300.0)
    forecaster.fit(Series(float(starts[0]), 300.0, load(starts + 150.0)))
    for now in (at(9, 23.75), at(10), at(10) + MINUTE, at(10, 0.5), at(10, 1.1)):
        watch(forecaster, load, now, MINUTE)
        got = foreseen(forecaster, max(now, at(10)) + 30.0, now + HOUR)
        assert got == pytest.approx([came, came], rel=0.12), now - at(10)
