"""Load of a planned event that comes before its begin: enough until it is clear, and then once, not twice."""

from __future__ import annotations

import numpy as np
import pytest

from forecasting.events import PlannedEvent
from forecasting.events_planned import Planned
from forecasting.models.level_season import LevelSeason
from forecasting.series import Arrivals, Series
from tests.forecasting.test_events import DAY, HOUR, STEP, at, usual

MINUTE, TICK = 60.0, 15.0
BEGIN, END = at(10, 12), at(10, 14)


def event(ramp=0.0, **size):
    return PlannedEvent(BEGIN, END, ramp=ramp, name="match", **size)


def step(factor, begin, end=END):
    """Requests/s at times: ``factor`` times the usual from ``begin`` until ``end``."""
    return lambda times: usual(times) * np.where((times >= begin) & (times < end), factor, 1.0)


def feed(forecaster, rates, since, until):
    for end in np.arange(since, until, TICK) + TICK:
        forecaster.update(Arrivals(float(end), TICK, float(rates(np.array([end - TICK / 2]))[0]) * TICK))
    return forecaster


def watch(forecaster, rates, until):
    """A week of history until an hour before the event, then ticks until ``until`` (unix s)."""
    first = BEGIN - HOUR
    starts = np.arange(first - 7 * DAY, first, STEP)
    forecaster.fit(Series(float(starts[0]), STEP, rates(starts + STEP / 2)))
    return feed(forecaster, rates, first, until)


def foreseen(forecaster, time):
    """The median at ``time`` (unix s)."""
    ahead = int((time - forecaster.end) / forecaster.step) + 1
    return float(np.median(forecaster.paths(ahead, 100, np.random.default_rng(0))[:, -1]))


def planned(*events, **size):
    return Planned(LevelSeason(MINUTE, DAY), events or [event(**size)])


EARLY = [12, *(pytest.param(minutes, marks=pytest.mark.slow) for minutes in (5, 20, 29))]


@pytest.mark.parametrize("size", [{"factor": 0.1}, {"factor": 0.4}, {"factor": 2.5}, {"factor": 6.0}, {"rate": 200.0}])
@pytest.mark.parametrize("minutes", EARLY)
def test_half_an_hour_into_it_what_came_early_is_the_event_until_its_end(size, minutes):
    factor = size.get("factor", 200.0 / float(usual(BEGIN)))
    now, rates = BEGIN + 30 * MINUTE, step(factor, BEGIN - 60.0 * minutes)
    forecaster = watch(planned(**size), rates, now)
    inside, after = now + 10 * MINUTE, END + 5 * MINUTE
    near = 0.03 * float(usual(inside))
    assert foreseen(forecaster, inside) == pytest.approx(float(rates(inside)), rel=0.15, abs=near)
    assert foreseen(forecaster, after) == pytest.approx(float(usual(after)), rel=0.15)


def test_a_part_that_came_early_is_a_part_of_it():
    now = BEGIN + 30 * MINUTE

    def rates(times):
        return np.where(times < BEGIN, step(2.0, BEGIN - 15 * MINUTE)(times), step(4.0, BEGIN)(times))

    forecaster = watch(planned(factor=4.0), rates, now)
    assert foreseen(forecaster, now + 10 * MINUTE) == pytest.approx(4 * float(usual(now)), rel=0.1)


def test_with_a_ramp_it_is_clear_when_that_is_over():
    ramp = 30 * MINUTE
    rates, now = step(3.0, BEGIN - 15 * MINUTE), BEGIN + ramp + 30 * MINUTE
    forecaster = watch(planned(factor=3.0, ramp=ramp), rates, now)
    assert foreseen(forecaster, now + 10 * MINUTE) == pytest.approx(3 * float(usual(now)), rel=0.1)


def test_after_a_restart_it_is_known_from_the_history():
    rates, begun, now = step(3.0, BEGIN - 15 * MINUTE), BEGIN + 5 * MINUTE, BEGIN + 35 * MINUTE
    starts = np.arange(begun - 7 * DAY, begun, MINUTE)
    forecaster = planned(factor=3.0)
    forecaster.fit(Series(float(starts[0]), MINUTE, rates(starts + MINUTE / 2)))
    feed(forecaster, rates, begun, now)
    assert foreseen(forecaster, now + 10 * MINUTE) == pytest.approx(3 * float(usual(now)), rel=0.15)


@pytest.mark.parametrize("factor", [1.5, 2.0])
@pytest.mark.parametrize("level", [1.5, 2.0])
@pytest.mark.parametrize("minutes", [15, 29, *(pytest.param(m, marks=pytest.mark.slow) for m in (5, 35, 45, 58))])
def test_a_level_that_is_high_before_the_event_gets_it_on_top(factor, level, minutes):
    """Nobody can tell it from what comes early, before the event does: then, and in the event, there is no less."""

    def rates(times):
        return step(level, BEGIN - 60.0 * minutes)(times) * np.where(times >= BEGIN, factor, 1.0)

    forecaster = watch(planned(factor=factor), rates, BEGIN - 30)
    assert foreseen(forecaster, BEGIN + 5 * MINUTE) >= 0.95 * float(rates(BEGIN + 5 * MINUTE))
    for now in (BEGIN + 3 * MINUTE, BEGIN + 8 * MINUTE, BEGIN + 30 * MINUTE):
        feed(forecaster, rates, forecaster.end, now)
        assert foreseen(forecaster, now + 5 * MINUTE) >= 0.95 * float(rates(now + 5 * MINUTE))


def test_load_that_grows_into_the_event_is_not_taken_for_one_that_came_early():
    """Twice as much in the hour before; the event, which is to double it, comes over ten minutes."""

    def rates(times):
        grown = 2.0 ** np.clip((times - BEGIN + HOUR) / HOUR, 0.0, 1.0)
        return usual(times) * grown * 2.0 ** np.clip((times - BEGIN) / 600.0, 0.0, 1.0)

    forecaster = watch(planned(factor=2.0), rates, BEGIN - 30)
    assert foreseen(forecaster, BEGIN + 5 * MINUTE) >= 0.95 * 4 * float(usual(BEGIN))
    level = forecaster._level
    feed(forecaster, rates, BEGIN - 30, BEGIN + 15 * MINUTE)
    assert forecaster._level[1] / forecaster._level[2] >= level[1] / level[2]


def test_a_level_that_came_in_an_event_right_before_it_is_no_part_of_it():
    first = PlannedEvent(BEGIN - 3 * HOUR, BEGIN - 10 * MINUTE, factor=2.0, name="before")

    def rates(times):
        level = np.where(times >= BEGIN - 2 * HOUR, 1.5, 1.0)
        on = ((times >= first.begin) & (times < first.end)) | (times >= BEGIN)
        return usual(times) * level * np.where(on, 2.0, 1.0)

    forecaster = watch(planned(first, event(factor=2.0)), rates, BEGIN - 30)
    for now in (BEGIN - 30, BEGIN + 10 * MINUTE):
        feed(forecaster, rates, forecaster.end, now)
        assert foreseen(forecaster, now + 5 * MINUTE) >= 0.95 * float(rates(now + 5 * MINUTE))


def test_what_comes_and_goes_before_the_event_leaves_all_of_it_to_come():
    for factor in (0.1, 3.0):
        rates = step(factor, BEGIN - 25 * MINUTE, BEGIN - 15 * MINUTE)
        forecaster = watch(planned(factor=factor), rates, BEGIN - MINUTE)
        inside = BEGIN + 10 * MINUTE
        assert foreseen(forecaster, inside) == pytest.approx(factor * float(usual(inside)), rel=0.15)
        assert foreseen(forecaster, BEGIN - MINUTE) == pytest.approx(float(usual(BEGIN)), rel=0.1)


def test_another_plan_in_the_middle_of_it_begins_anew():
    now = BEGIN + 2 * MINUTE
    forecaster = watch(planned(factor=3.0), step(3.0, BEGIN - 15 * MINUTE), now)
    forecaster.plan([])
    level = forecaster._level
    feed(forecaster, step(3.0, BEGIN), now, now + 20 * MINUTE)
    assert forecaster._level != level, "all of it is load like any other"
    assert foreseen(forecaster, END + MINUTE) == pytest.approx(3 * float(usual(END)), rel=0.1)
