"""A history that cannot be this load's past: the plan does without it, says so, and learns from what it sees."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from forecasting.competition_default import default_competition
from forecasting.events import PlannedEvent
from forecasting.events_planned import Planned
from forecasting.fitting import InPlace
from forecasting.models.direct import Direct
from forecasting.series import Arrivals, Series
from forecasting.testing import seasonal_load
from scaler.plan.foresight import Foresight
from scaler.plan.observation import Freshness, Reading, ServiceObservation
from scaler.plan.policy import PredictivePolicy
from scaler.plan.reasons import Reason
from tests.plan.loop import LAB, Loop

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
LOAD = seasonal_load(20.0, 3 * 1440, 1440, 0)
PAST = Series(0.0, MINUTE, LOAD[: 2 * 1440])
LIVE = LOAD[2 * 1440 :]


def made(past: Series) -> Foresight:
    foresight = Foresight(Direct(MINUTE, keep=3 * DAY), 20, 0, DAY, InPlace(), "chat")
    foresight.fit(past, past.end)
    return foresight


def live(foresight: Foresight, begin: float, end: float) -> bool:
    """Go on from one hour of the live day to another; whether there is a forecast then."""
    for minute in range(round(60 * begin), round(60 * end)):
        foresight.update(Arrivals(PAST.end + MINUTE * (minute + 1), MINUTE, float(LIVE[minute]) * MINUTE))
    return foresight.futures(PAST.end + HOUR * end, 600.0) is not None


def test_its_own_history_is_learned_from() -> None:
    foresight = made(PAST)
    assert live(foresight, 0, 0.1)
    assert live(foresight, 0.1, 2)
    assert not foresight.refused


def test_steps_in_another_order_are_not_learned_from() -> None:
    foresight = made(Series(0.0, MINUTE, np.random.default_rng(0).permutation(PAST.rates)))
    assert foresight.refused
    assert not live(foresight, 0, 7.9)
    assert live(foresight, 7.9, 8.2), "from eight hours of live load on"
    assert not foresight.refused


def test_another_load_s_history_is_forgotten_after_an_hour() -> None:
    foresight = made(Series(0.0, MINUTE, PAST.rates * 10.0))
    assert live(foresight, 0, 0.9)
    assert not live(foresight, 0.9, 1.1)
    assert foresight.refused
    assert not live(foresight, 1.1, 8.9)
    assert live(foresight, 8.9, 9.3)
    assert not foresight.refused


def test_a_sound_history_that_comes_later_is_learned_from() -> None:
    foresight = made(Series(0.0, MINUTE, np.random.default_rng(0).permutation(PAST.rates)))
    assert not live(foresight, 0, 0.5)
    foresight.fit(PAST, PAST.end + 0.5 * HOUR)
    assert live(foresight, 0.5, 1.5)
    assert not foresight.refused


def test_what_is_in_use_outlives_a_history_that_is_refused() -> None:
    foresight = made(PAST)
    assert live(foresight, 0, 0.5)
    foresight.fit(Series(0.0, MINUTE, np.random.default_rng(0).permutation(PAST.rates)), PAST.end + 0.5 * HOUR)
    assert not foresight.refused
    assert live(foresight, 0.5, 1.0)


@pytest.mark.parametrize("rates", [np.full(3000, np.inf), np.full(3000, 1e200), np.ones((2, 1500)), np.ones(0)])
def test_what_is_no_history_is_the_fits_to_tell(rates: np.ndarray) -> None:
    foresight = made(Series(0.0, MINUTE, rates))
    assert not foresight.refused


def test_the_plan_says_so() -> None:
    shuffled = Series(1_000_000.0 - 2 * DAY, MINUTE, np.random.default_rng(0).permutation(PAST.rates))
    policy = PredictivePolicy([LAB], lambda service: Direct(service.step, keep=3 * DAY))

    def handed_over(time: float, observed: ServiceObservation) -> ServiceObservation:
        return replace(observed, history=Reading(shuffled, time, Freshness.FRESH)) if time == 1_000_000.0 else observed

    loop = Loop(LAB, policy, lambda t: 20.0, change=handed_over)
    loop.run(20 * LAB.tick)
    for decision in loop.decisions[2:]:
        assert {Reason.NO_FORECAST, Reason.HISTORY_REFUSED} <= set(decision.reasons)


def test_a_planned_decrease_that_is_on_says_nothing_of_the_history() -> None:
    """Maintenance that leaves a tenth of the load, into which the controller is started."""
    begin = PAST.end - 0.5 * HOUR
    event = PlannedEvent(begin, PAST.end + 2 * HOUR, factor=0.1, name="maintenance")
    rates = np.where(PAST.start + np.arange(len(PAST.rates)) * MINUTE >= begin, 0.1, 1.0) * PAST.rates
    foresight = Foresight(Planned(Direct(MINUTE, keep=3 * DAY), (event,)), 20, 0, DAY, InPlace(), "chat")
    foresight.fit(Series(0.0, MINUTE, rates), PAST.end)
    for minute in range(240):
        part = 0.1 if minute < 120 else 1.0
        foresight.update(Arrivals(PAST.end + MINUTE * (minute + 1), MINUTE, part * float(LIVE[minute]) * MINUTE))
    assert not foresight.refused
    assert foresight.futures(PAST.end + 4 * HOUR, 600.0) is not None


@pytest.mark.parametrize("hours", [0.0, 0.25, 1.0, 5.0])
def test_of_a_short_history_the_next_fit_is_when_there_are_eight_hours(hours: float) -> None:
    model = Direct(MINUTE, keep=3 * DAY)
    foresight = Foresight(model, 20, 0, DAY, InPlace(), "chat")
    if hours:
        foresight.fit(Series(PAST.end - hours * HOUR, MINUTE, PAST.rates[-round(60 * hours) :]), PAST.end)
    live(foresight, 0, 7.9 - hours)
    assert model.reason is not None, "too few"
    assert live(foresight, 7.9 - hours, 8.2 - hours)
    assert model.reason is None


@pytest.mark.parametrize("size", [{"rate": 500.0}, {"factor": 5.0}])
def test_what_is_planned_is_foreseen_before_anything_was_learned(size: dict[str, float]) -> None:
    """A launch, four hours after a topic came to be."""
    event = PlannedEvent(PAST.end + 4 * HOUR, PAST.end + 5 * HOUR, name="launch", **size)
    planned = Planned(default_competition(15.0, 120.0), (event,), reach=HOUR)
    foresight = Foresight(planned, 50, 0, DAY, InPlace(), "chat")
    rng = np.random.default_rng(0)
    drawn = {}
    for tick in range(4 * 240 - 4):
        now = PAST.end + 15.0 * (tick + 1)
        foresight.update(Arrivals(now, 15.0, float(rng.poisson(1500))))
        drawn[tick] = foresight.futures(now, 600.0)
    assert drawn[2 * 240] is None, "nothing is near yet"
    last = drawn[4 * 240 - 5]
    assert last is not None
    assert np.median(last.rates[:, 20]) == pytest.approx(500.0, rel=0.1)
    assert foresight.notes(last) == ()


@pytest.mark.parametrize(("size", "refused"), [(1.1, True), (0.1, False)])
def test_a_planned_increase_is_no_reason_to_wait_with_the_doubt(size: float, refused: bool) -> None:
    """Load of a tenth of the history's, during a campaign of days, and during maintenance."""
    event = PlannedEvent(PAST.end, PAST.end + 2 * DAY, factor=size, name="on")
    foresight = Foresight(Planned(Direct(MINUTE, keep=3 * DAY), (event,)), 20, 0, DAY, InPlace(), "chat")
    foresight.fit(PAST, PAST.end)
    for minute in range(90):
        foresight.update(Arrivals(PAST.end + MINUTE * (minute + 1), MINUTE, 0.1 * float(LIVE[minute]) * MINUTE))
    assert foresight.refused is refused
