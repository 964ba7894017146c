"""A zone's clock is set back: no decision waits for a fit, and the plan goes on with forecasts until one is over."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import numpy as np
import pytest

from forecasting.calendar import Calendar
from forecasting.calendar_time import LocalTime
from forecasting.competition import Competition
from forecasting.competition_default import refereed
from forecasting.events_planned import Planned
from forecasting.fitting import Fitted, Fitter, InPlace
from forecasting.forecaster import Forecaster
from forecasting.models.level_season import LevelSeason
from forecasting.series import Arrivals, Series
from scaler.plan.foresight import Foresight
from tests.refits.test_background import Later

BERLIN = Calendar("Europe/Berlin")
AUTUMN = datetime(2026, 10, 25, 1, tzinfo=UTC).timestamp()
STEP, HOUR, DAY = 60.0, 3600.0, 86_400.0
LEAD = 600.0


def load(times: np.ndarray) -> np.ndarray:
    """Requests/s, with a day by Berlin's clock: at the change they fall by a twelfth."""
    return 60 + 30 * np.sin(2 * np.pi * BERLIN.to_local(times) / DAY)


class Counted(LevelSeason):
    """Counts the fits in this process."""

    fits = 0

    def fit(self, history: Series) -> None:
        type(self).fits += 1
        super().fit(history)


def counted() -> Competition:
    return refereed(partial(Counted, STEP, DAY), LEAD)


def local_time() -> Forecaster:
    return LocalTime(counted, BERLIN)


def planned() -> Forecaster:
    return Planned(LocalTime(counted, BERLIN))


class Night:
    """A service's forecasts in a night; ``change`` is 01:00 UTC of it."""

    def __init__(self, fitter: Fitter, change: float, make: Callable[[], Forecaster] = local_time) -> None:
        self.foresight = Foresight(make(), 100, 0, 2 * DAY, fitter, "chat")
        self.now = change - HOUR
        times = np.arange(self.now - 4 * DAY, self.now, STEP)
        self._rng = np.random.default_rng(0)
        self.foresight.fit(Series(times[0], STEP, self._rng.poisson(load(times + STEP / 2) * STEP) / STEP), self.now)
        if isinstance(fitter, Later):
            fitter.finish()

    def minute(self) -> None:
        came = float(self._rng.poisson(load(np.array([self.now + STEP / 2])) * STEP)[0])
        self.now += STEP
        self.foresight.update(Arrivals(self.now, STEP, came))

    def minutes(self, count: int) -> float:
        """Mean relative error of the medians, half an hour ahead, in so many minutes."""
        errors = []
        for _ in range(count):
            self.minute()
            drawn = self.foresight.futures(self.now, 1800.0)
            assert drawn is not None
            comes = load(self.now + (np.arange(30) + 0.5) * STEP)
            errors.append(np.mean(np.abs(np.median(drawn.rates[:, :30], axis=0) - comes) / comes))
        return float(np.mean(errors))


@pytest.mark.parametrize("make", [local_time, pytest.param(planned, marks=pytest.mark.slow)])
def test_no_decision_waits_for_a_fit(make: Callable[[], Forecaster]) -> None:
    fitter = Later()
    night = Night(fitter, AUTUMN, make)
    night.minutes(59)
    assert len(fitter.begun) == 1
    Counted.fits = 0
    night.minutes(1)
    assert len(fitter.begun) == 2, "one is asked for at once"
    night.minutes(20)
    assert len(fitter.begun) == 2
    assert Counted.fits == 0
    fitter.finish()
    in_the_background = Counted.fits
    night.minutes(40)
    assert Counted.fits == in_the_background > 0
    assert len(fitter.begun) == 2


@pytest.mark.slow
def test_forecasts_stay_what_they_are_in_other_nights() -> None:
    errors = []
    for change in (AUTUMN - DAY, AUTUMN):
        fitter = Later()
        night = Night(fitter, change)
        night.minutes(60)
        waiting = night.minutes(20)
        fitter.finish()
        errors.append((waiting, night.minutes(40), night.minutes(60)))
    usual, changed = errors
    assert changed[0] < usual[0] + 1 / 12, "for so long the day is an hour ahead, by which the load differs so much"
    assert changed[1] < usual[1] + 0.01
    assert changed[2] < usual[2] + 0.01


@pytest.mark.slow
def test_where_fits_are_at_once_it_is_as_if_it_had_not_been() -> None:
    usual, changed = (Night(InPlace(), change) for change in (AUTUMN - DAY, AUTUMN))
    for night in (usual, changed):
        night.minutes(60)
    assert changed.minutes(60) < usual.minutes(60) + 0.01


@pytest.mark.slow
def test_without_room_or_when_lost_it_is_asked_for_again() -> None:
    fitter = Later()
    night = Night(fitter, AUTUMN)
    night.minutes(59)
    fitter.room = 0
    night.minutes(5)
    fitter.room = 1
    night.minutes(1)
    assert len(fitter.begun) == 2
    fitter.finish(Fitted(None, "its process ended", again=True))
    night.minutes(1)
    assert len(fitter.begun) == 2, "not in each tick"
    night.minutes(1)
    assert len(fitter.begun) == 3
    fitter.finish()
    night.minutes(60)
    assert len(fitter.begun) == 3


@pytest.mark.slow
def test_a_fit_that_began_before_is_followed_by_another() -> None:
    fitter = Later()
    night = Night(fitter, AUTUMN)
    night.minutes(57)
    times = np.arange(night.now - 4 * DAY, night.now, STEP)
    night.foresight.fit(Series(times[0], STEP, load(times + STEP / 2)), night.now)
    night.minutes(6)
    assert len(fitter.begun) == 2
    fitter.finish()
    night.minutes(1)
    assert len(fitter.begun) == 3
    fitter.finish()
    assert night.minutes(50) < 0.02
    assert len(fitter.begun) == 3
