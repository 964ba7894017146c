"""A history with long holes, even where all that a model would look at is one, costs a forecaster no start."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.competition import Competition
from forecasting.competition_default import default_competition
from forecasting.competition_naive import NewestLevel
from forecasting.direct.learned import Growth
from forecasting.errors import NotEnoughHistory, NotReady
from forecasting.fitting import InPlace
from forecasting.forecaster import Forecaster
from forecasting.models.cycle import Cycle
from forecasting.models.direct import Direct
from forecasting.models.level_season import LevelSeason
from forecasting.series import Arrivals, Series
from scaler.plan.foresight import Foresight

STEP, HOUR, DAY = 300.0, 3600.0, 86400.0
NOW = 200 * DAY
SMALL = Growth(trees=4)


def past(days: float, *holes: tuple[float, float], mean: float = 50.0) -> Series:
    """``days`` until NOW; each hole begins some hours before the end and takes some hours."""
    n = round(days * DAY / STEP)
    rates = np.random.default_rng(0).poisson(mean * STEP, n) / STEP
    for before, hours in holes:
        begin = max(n - round(before * HOUR / STEP), 0)
        rates[begin : max(n - round((before - hours) * HOUR / STEP), 0)] = np.nan
    return Series(NOW - n * STEP, STEP, rates)


@pytest.mark.parametrize("before", [25.0, 49.0, 73.0])
def test_a_day_unknown_is_no_error(before: float) -> None:
    history = past(7, (before, 25.0))
    for model in (NewestLevel(STEP), Cycle(STEP, 2 * HOUR), Direct(STEP, growth=SMALL)):
        model.fit(history)
        drawn = model.paths(6, 100, np.random.default_rng(0))
        assert np.median(drawn[:, 0]) == pytest.approx(50, rel=0.1), model.name
        assert drawn.std() > 0


def test_what_is_known_before_the_hole_is_the_newest_level_until_more_comes() -> None:
    model = NewestLevel(STEP)
    model.fit(past(7, (30.0, 30.0)))
    for k in range(3):
        model.update(Arrivals(NOW + (k + 1) * STEP, STEP, 90.0 * STEP))
    assert np.median(model.paths(6, 100, np.random.default_rng(0))) == pytest.approx(90, rel=0.1)


def first_forecast(foresight: Foresight) -> float:
    """Hours of load until there are paths."""
    for k in range(round(2 * DAY / STEP)):
        now = NOW + (k + 1) * STEP
        foresight.update(Arrivals(now, STEP, 50 * STEP))
        if foresight.futures(now, 6 * STEP) is not None:
            return (now - NOW) / HOUR
    return math.inf


@cache
def without_history(make: Callable[[], Forecaster]) -> float:
    return first_forecast(Foresight(make(), 50, 0, DAY, InPlace(), "chat"))


@pytest.mark.parametrize(
    "make",
    [partial(default_competition, STEP, 900.0, growth=SMALL), partial(LevelSeason, STEP, DAY), partial(Direct, STEP)],
)
@pytest.mark.parametrize(
    "history", [past(7, (25, 25)), past(7, (49, 25)), past(2, (48, 48)), past(30, (28 * 24, 28 * 24))]
)
def test_a_forecast_comes_no_later_than_without_a_history(make, history) -> None:
    foresight = Foresight(make(), 50, 0, DAY, InPlace(), "chat")
    foresight.fit(history, NOW)
    assert first_forecast(foresight) <= without_history(make)


HOLES = st.lists(st.tuples(st.floats(0, 100), st.floats(0.1, 60)), max_size=3)


@given(HOLES, HOLES, st.sampled_from([1.0, 3.0, 4.0]))
@settings(max_examples=20, deadline=None)
@pytest.mark.slow
def test_no_placement_of_holes_raises_what_is_not_documented(holes, later, days) -> None:
    model: Competition = default_competition(STEP, 900.0, season=DAY / 2, keep=3 * DAY, growth=SMALL)
    for history in (past(days, *holes), past(days, *later)):
        try:
            model.fit(history)
        except NotEnoughHistory:
            assert np.isnan(history.rates).all()
    for k in np.flatnonzero(~np.isnan(past(1, *later).rates)):
        model.update(Arrivals(NOW + (int(k) + 1) * STEP, STEP, 50 * STEP))
    try:
        model.adopt(model.study(model.kept()))
        drawn = model.paths(6, 50, np.random.default_rng(0))
    except NotReady:
        assert not model.ready
    else:
        assert np.isfinite(drawn).all()
        assert not [m.detail for m in model.members if m.detail and "NoCycle" not in m.detail]
