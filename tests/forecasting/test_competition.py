"""The competition passes the suite that every forecaster passes."""

from __future__ import annotations

import pytest

from forecasting.competition_default import default_competition
from forecasting.competition_naive import NewestLevel
from forecasting.forecaster import Forecaster
from forecasting.seasons import by_season
from forecasting.testing import ForecasterConformance

STEP = 15.0


class TestDefault(ForecasterConformance):
    """With a season of 96 steps, 24 of a minute."""

    def make(self) -> Forecaster:
        return default_competition(STEP, 150.0, season=STEP * self.period)


@pytest.mark.slow
class TestDefaultOfACronJob(ForecasterConformance):
    """A spike every ten minutes, for twelve hours: the load's own cycle has its model."""

    period = 40
    length = 40 * 72

    def make(self) -> Forecaster:
        return default_competition(STEP, 150.0)


@pytest.mark.slow
class TestDefaultOfAShift(ForecasterConformance):
    """A spike every seven hours, for two days: the load's own cycle is a season that the time of day does not tell."""

    period = 1680
    length = 1680 * 7

    def make(self) -> Forecaster:
        return default_competition(STEP, 150.0)


class TestReferee(ForecasterConformance):
    def make(self) -> Forecaster:
        return NewestLevel(STEP)


class TestCoarse(ForecasterConformance):
    """Three hours of 15 s in steps of a minute."""

    period = 720
    length = 720 * 4

    def make(self) -> Forecaster:
        return by_season(STEP, STEP * self.period)
