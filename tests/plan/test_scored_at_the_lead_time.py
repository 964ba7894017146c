"""Models are scored at the lead time that pods turn out to take, not for ever at the one that was declared."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import pytest

from forecasting.calendar import Calendar, Holiday
from forecasting.calendar_time import LocalTime
from forecasting.competition_default import default_competition
from forecasting.events_planned import Planned
from forecasting.fitting import FitJob, InPlace
from forecasting.forecaster import Forecaster
from forecasting.models.seasonal_naive import SeasonalNaive
from forecasting.series import Series
from scaler.plan.foresight import Foresight
from scaler.plan.policy import PredictivePolicy
from tests.plan.loop import REAL, Loop

DECLARED, DAY = 120.0, 86_400.0


def foresight(forecaster: Forecaster | None = None) -> Foresight:
    made = forecaster or default_competition(60.0, DECLARED)
    return Foresight(made, 100, 0, DAY, InPlace(), "one")


def scored_at(made: Foresight) -> float:
    competition: Any = made._forecaster
    return float(competition.lead_time)


@pytest.mark.parametrize(
    ("learned", "scored"), [(480.0, 480.0), (30.0, 30.0), (145.0, DECLARED), (100.0, DECLARED), (DECLARED, DECLARED)]
)
def test_what_is_far_from_the_declared_lead_time_is_what_models_are_scored_at(learned: float, scored: float) -> None:
    made = foresight()
    made.aim(DECLARED, learned)
    assert scored_at(made) == scored


def test_it_moves_again_only_when_it_is_far_from_where_it_was_moved_to() -> None:
    made = foresight()
    for learned, scored in ((480.0, 480.0), (430.0, 480.0), (560.0, 480.0), (200.0, 200.0), (DECLARED, DECLARED)):
        made.aim(DECLARED, learned)
        assert scored_at(made) == scored


def _history(end: float) -> Series:
    """Three days in minutes up to ``end`` (unix s)."""
    times = end - 3 * DAY + 60.0 * (np.arange(3 * 1440) + 0.5)
    return Series(end - 3 * DAY, 60.0, 20.0 + 10.0 * np.sin(2 * math.pi * times / DAY))


def _fitted(made: Foresight) -> None:
    made.fit(_history(10 * DAY), 10 * DAY)


def _clock_set_back(made: Foresight) -> None:
    made._mind_the_clock(10 * DAY)
    made._mind_the_clock(9 * DAY)


@pytest.mark.parametrize("event", [pytest.param(_fitted, marks=pytest.mark.slow), _clock_set_back])
def test_it_stays_so_for_a_model_that_takes_over(event: Callable[[Foresight], None]) -> None:
    made = foresight()
    made.aim(DECLARED, 480.0)
    event(made)
    assert scored_at(made) == 480.0


@pytest.mark.slow
def test_it_stays_so_when_the_lead_time_is_learned_while_a_fit_runs() -> None:
    copy = pickle.loads(pickle.dumps(default_competition(60.0, DECLARED)))  # what a fit elsewhere works on
    copy.fit(_history(10 * DAY))

    class Later(InPlace):
        """Hands over what was made from the forecaster as it was when the fit began."""

        def start(self, job: FitJob) -> Any:
            run = super().start(job)
            object.__setattr__(run.outcome, "forecaster", copy)
            return run

    made = Foresight(default_competition(60.0, DECLARED), 100, 0, DAY, Later(), "one")
    made.aim(DECLARED, 480.0)
    _fitted(made)
    assert made._forecaster is copy
    assert scored_at(made) == 480.0


def test_it_goes_through_what_knows_the_clock_and_what_is_planned() -> None:
    holiday = Holiday(date(2026, 12, 25), date(2026, 12, 25))
    zone = Calendar("Europe/Berlin", (holiday,))
    local = LocalTime(lambda: default_competition(60.0, DECLARED), zone)
    made = foresight(Planned(local, (), zone))
    made.aim(DECLARED, 480.0)
    assert local.forecaster.lead_time == 480.0  # type: ignore[attr-defined]


def test_a_model_that_is_not_scored_is_left_alone() -> None:
    made = foresight(SeasonalNaive(60.0, DAY))
    made.aim(DECLARED, 480.0)


@pytest.mark.parametrize(
    ("times", "scored"), [((4.5, 5.5), (4.0, 6.0)), pytest.param((0.9, 1.1), (1.0, 1.0), marks=pytest.mark.slow)]
)
def test_pods_that_take_longer_than_declared_move_it(times: tuple[float, float], scored: tuple[float, float]) -> None:
    policy = PredictivePolicy([REAL], lambda service: default_competition(60.0, service.lead_time))
    loop = Loop(REAL, policy, lambda t: 20.0 if int(t / 900.0) % 2 else 60.0, start_replicas=12, dt=2.5, lead=times)
    loop.run(3600.0)
    (planner,) = policy._planners.values()
    least, most = scored
    assert least * REAL.lead_time <= scored_at(planner._foresight) <= most * REAL.lead_time
