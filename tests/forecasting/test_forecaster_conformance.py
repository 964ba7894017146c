"""Both models pass the suite that the package ships; a broken forecaster does not."""

from __future__ import annotations

import numpy as np
import pytest

from forecasting.forecaster import Forecaster
from forecasting.models.cycle import Cycle
from forecasting.models.level_season import LevelSeason
from forecasting.models.seasonal_naive import SeasonalNaive
from forecasting.series import Arrivals, Series
from forecasting.testing import ForecasterConformance, check_forecaster

STEP = 60.0


class TestLevelSeason(ForecasterConformance):
    def make(self) -> Forecaster:
        return LevelSeason(STEP, STEP * self.period)


class TestLevelOnly(ForecasterConformance):
    def make(self) -> Forecaster:
        return LevelSeason(STEP, None)


class TestLevelSeasonOfTheLab(ForecasterConformance):
    period = 150
    length = 900
    steps = 30

    def make(self) -> Forecaster:
        return LevelSeason(2.0, 300.0)


class TestSeasonalNaive(ForecasterConformance):
    def make(self) -> Forecaster:
        return SeasonalNaive(STEP, STEP * self.period)


class TestSeasonalNaiveOverThree(ForecasterConformance):
    def make(self) -> Forecaster:
        return SeasonalNaive(STEP, STEP * self.period, average=3)


class TestCycle(ForecasterConformance):
    def make(self) -> Forecaster:
        return Cycle(STEP, STEP * self.period)


def test_the_function_runs_the_whole_suite():
    check_forecaster(lambda: LevelSeason(15.0, 15.0 * 120), period=120)


class Clairvoyant(LevelSeason):
    """Keeps the caller's array, and so sees what lies behind the view."""

    def fit(self, history: Series) -> None:
        super().fit(history)
        self.behind = history.rates.base

    def paths(self, steps, count, rng, out=None):
        paths = super().paths(steps, count, rng, out)
        return paths if getattr(self, "behind", None) is None else paths + np.float32(self.behind[-1])


class Forgetful(LevelSeason):
    """Draws from its own stream of random numbers."""

    def paths(self, steps, count, rng, out=None):
        self.peak += 1
        return super().paths(steps, count, np.random.default_rng(int(self.peak)), out)


class Negative(LevelSeason):
    def paths(self, steps, count, rng, out=None):
        paths = super().paths(steps, count, rng, out)
        paths -= np.float32(100)
        return paths


class Backwards(LevelSeason):
    """Takes in what came before what it knows already."""

    late = 0.0

    def update(self, arrivals: Arrivals) -> None:
        origin = self.memory.origin
        self.late = arrivals.rate if origin is not None and arrivals.end < origin else 0.0
        super().update(arrivals)

    def paths(self, steps, count, rng, out=None):
        paths = super().paths(steps, count, rng, out)
        paths += np.float32(self.late)
        return paths


class Lost(LevelSeason):
    """Leaves a part of its state out of its pickle."""

    def __getstate__(self):
        return self.__dict__ | {"peak": 0.0, "level": type(self.level)(self.level.window)}


class Zeros(LevelSeason):
    """Reads what is missing as zero."""

    def fit(self, history: Series) -> None:
        super().fit(Series(history.start, history.step, np.nan_to_num(history.rates)))


class GapsAreZero(LevelSeason):
    """The same, but where nothing is known."""

    def fit(self, history: Series) -> None:
        known = len(history.rates) and not np.isnan(history.rates).all()
        super().fit(Series(history.start, history.step, np.nan_to_num(history.rates)) if known else history)


class HolesAreZero(LevelSeason):
    """Reads holes between updates as zero."""

    end: float | None = None

    def update(self, arrivals: Arrivals) -> None:
        begin = arrivals.end - arrivals.seconds
        if self.end is not None and self.end + 1e-6 < begin < self.end + 1e5:
            super().update(Arrivals(begin, begin - self.end, 0.0))
        self.end = arrivals.end
        super().update(arrivals)


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        (Clairvoyant, "futures part|order of fit"),
        (Forgetful, "drawing changed"),
        (Negative, "negative"),
        (Backwards, "from the past"),
        (Lost, "pickled copy"),
        (Zeros, "NotEnoughHistory"),
        (GapsAreZero, "read as zero"),
        (HolesAreZero, "read as zero"),
    ],
)
def test_a_broken_forecaster_is_found(broken, complaint):
    with pytest.raises(AssertionError, match=complaint):
        check_forecaster(lambda: broken(STEP, STEP * 96))
