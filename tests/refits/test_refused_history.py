"""A history that cannot be this load's past: the plan does without it, says so, and learns from what it sees."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

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
