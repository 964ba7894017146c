"""Load of a planned event that comes before its begin: it is there once, not twice, and only until the event's end."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.events import PlannedEvent
from forecasting.events_planned import Planned
from forecasting.models.level_season import LevelSeason
from forecasting.series import Arrivals, Series
from tests.forecasting.test_events import DAY, HOUR, STEP, Recording, at, usual

MINUTE, TICK = 60.0, 15.0
BEGIN, END = at(10, 12), at(10, 14)


def event(ramp=0.0, **size):
    return PlannedEvent(BEGIN, END, ramp=ramp, name="match", **size)


def load(factor, early, gone=END):
    """Requests/s at times: ``factor`` times the usual from ``early`` s before the event until ``gone``."""
    return lambda times: usual(times) * np.where((times >= BEGIN - early) & (times < gone), factor, 1.0)


def watch(forecaster, rates, until, rng=None):
    """A week of history until an hour before the event, then ticks until ``until`` (unix s)."""
    first = BEGIN - HOUR
    starts = np.arange(first - 7 * DAY, first, STEP)
    forecaster.fit(Series(float(starts[0]), STEP, rates(starts + STEP / 2)))
    for end in np.arange(first, until, TICK) + TICK:
        count = float(rates(np.array([end - TICK / 2]))[0]) * TICK
        forecaster.update(Arrivals(float(end), TICK, count if rng is None else float(rng.poisson(count))))
    return forecaster


def foreseen(forecaster, time):
    """The median at ``time`` (unix s)."""
    ahead = int((time - forecaster.end) / forecaster.step) + 1
    return float(np.median(forecaster.paths(ahead, 100, np.random.default_rng(0))[:, -1]))


def planned(**size):
    return Planned(LevelSeason(MINUTE, DAY), [event(**size)])


FACTORS = [0.1, 0.4, 2.5, 6.0]


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("minutes", [12, *(pytest.param(m, marks=pytest.mark.slow) for m in (5, 20, 29))])
def test_what_comes_early_is_the_event_until_its_end(factor, minutes):
    early = 60.0 * minutes
    rates = load(factor, early)
    for now in (BEGIN - 30, BEGIN + 20 * MINUTE):
        forecaster = watch(planned(factor=factor), rates, now)
        inside, after = now + 10 * MINUTE, END + 5 * MINUTE
        near = 0.03 * float(usual(inside))
        assert foreseen(forecaster, inside) == pytest.approx(float(rates(inside)), rel=0.15, abs=near)
        assert foreseen(forecaster, after) == pytest.approx(float(usual(after)), rel=0.15)


@pytest.mark.parametrize("ramp", [0.0, 20 * MINUTE])
def test_before_the_event_what_came_goes_on_and_the_rest_is_still_to_come(ramp):
    forecaster = watch(planned(factor=4.0, ramp=ramp), load(2.0, 15 * MINUTE), BEGIN - 5 * MINUTE)
    before, inside = BEGIN - 2 * MINUTE, BEGIN + 30 * MINUTE
    assert foreseen(forecaster, before) == pytest.approx(2 * float(usual(before)), rel=0.1)
    assert foreseen(forecaster, inside) == pytest.approx(4 * float(usual(inside)), rel=0.1)


def test_it_is_no_load_like_any_other_while_the_ramp_goes_on():
    now = BEGIN + 10 * MINUTE
    forecaster = watch(planned(factor=3.0, ramp=30 * MINUTE), load(3.0, 10 * MINUTE), now)
    for time in (now + 5 * MINUTE, now + 40 * MINUTE):
        assert foreseen(forecaster, time) == pytest.approx(3 * float(usual(time)), rel=0.12)


def test_more_than_the_event_is_a_new_level_on_top_of_it():
    now = BEGIN + 30 * MINUTE
    rates = load(2.0, 15 * MINUTE)
    forecaster = watch(planned(factor=2.0), lambda times: rates(times) * np.where(times >= BEGIN, 2.0, 1.0), now)
    assert foreseen(forecaster, now + MINUTE) == pytest.approx(4 * float(usual(now)), rel=0.1)


def test_what_comes_and_goes_before_the_event_leaves_all_of_it_to_come():
    forecaster = watch(planned(factor=3.0), load(3.0, 25 * MINUTE, gone=BEGIN - 15 * MINUTE), BEGIN - MINUTE)
    inside = BEGIN + 10 * MINUTE
    assert foreseen(forecaster, inside) == pytest.approx(3 * float(usual(inside)), rel=0.1)


def test_after_a_restart_it_is_known_from_the_history():
    rates, now = load(3.0, 15 * MINUTE), BEGIN - 5 * MINUTE
    starts = np.arange(now - 7 * DAY, now, MINUTE)
    forecaster = Planned(Recording(), [event(factor=3.0)])
    forecaster.fit(Series(float(starts[0]), MINUTE, rates(starts + MINUTE / 2)))
    forecaster.update(Arrivals(now + TICK, TICK, float(rates(now)) * TICK))
    assert forecaster.forecaster.given[-1].rate == pytest.approx(float(usual(now)), rel=0.1)


@pytest.mark.parametrize("size", [{"factor": 1.2}, {"factor": 2.5}, {"rate": 3.0}, {"factor": 0.5}])
def test_chance_is_not_taken_for_an_event(size):
    """A request in ten seconds: in the half hour before an event as many are shown as came."""
    shown = [
        sum(arrivals.count for arrivals in forecaster.forecaster.given[-120:])
        for events in ([], [event(**size)])
        for forecaster in (
            watch(Planned(Recording(), events), lambda times: usual(times) / 600, BEGIN, np.random.default_rng(seed))
            for seed in range(10)
        )
    ]
    assert sum(shown[10:]) == pytest.approx(sum(shown[:10]), rel=0.03)


def test_half_an_hour_before_it_a_rise_is_a_level():
    now = BEGIN + 20 * MINUTE
    forecaster = watch(
        planned(factor=2.0), lambda times: load(2.0, 2 * HOUR)(times) * np.where(times >= BEGIN, 2.0, 1.0), now
    )
    assert foreseen(forecaster, now + MINUTE) == pytest.approx(4 * float(usual(now)), rel=0.1)


@settings(max_examples=25)
@given(
    factor=st.sampled_from([0.05, 0.5, 1.1, 3.0, 50.0]),
    counts=st.lists(st.floats(0, 1e5), min_size=1, max_size=60),
)
def test_what_is_shown_lies_between_what_came_and_what_it_would_be_without_all_of_the_event(factor, counts):
    forecaster = Planned(Recording(), [event(factor=factor)])
    first = BEGIN - len(counts) * TICK
    starts = np.arange(first - 2 * DAY, first, STEP)
    forecaster.fit(Series(float(starts[0]), STEP, usual(starts)))
    for k, count in enumerate(counts):
        forecaster.update(Arrivals(first + (k + 1) * TICK, TICK, count))
        shown = forecaster.forecaster.given[-1].count
        assert min(count, count / factor) - 1e-6 <= shown <= max(count, count / factor) * (1 + 1e-9) + 1e-6
    paths = forecaster.paths(4, 10, np.random.default_rng(0))
    assert np.isfinite(paths).all()
    assert (paths >= 0).all()
