"""A model that a resource names is held against the newest level as those of ``auto`` are: believed until wrong."""

from __future__ import annotations

import copy
import math
import pickle
from dataclasses import replace

import numpy as np
import pytest

from forecasting.competition import Competition
from forecasting.fitting import InPlace
from forecasting.series import Arrivals, Series
from scaler.api.predictive_scaler import PredictiveScaler
from scaler.plan.foresight import Foresight
from scaler.plan.observation import Freshness, Reading
from scaler.plan.policy import PredictivePolicy
from scaler.plan.reasons import Reason
from scaler.predictive import make_forecaster
from tests.configuration.objects import GOOD
from tests.plan.loop import REAL, Loop

BEGIN, DAY, HOUR, TICK, STEP = 1_000_000.0, 86_400.0, 3600.0, 15.0, 60.0
NAMES = {"direct": "direct", "levelSeason": "level-season", "seasonalNaive": "seasonal-naive"}


def load(t: float) -> float:
    return 20.0 + 15.0 * math.sin(2 * math.pi * (t - BEGIN) / DAY)


def history(inverted: bool = False) -> Series:
    """A week of it in minutes, the right way up or upside down."""
    means = [load(BEGIN - 7 * DAY + STEP * (k + 0.5)) * STEP for k in range(7 * 1440)]
    rates = np.random.default_rng(0).poisson(means) / STEP
    return Series(BEGIN - 7 * DAY, STEP, rates.max() + rates.min() - rates if inverted else rates)


def resource(model: str, step: str = "1m") -> PredictiveScaler:
    made = copy.deepcopy(GOOD)
    made["spec"]["forecast"] = {"model": model, "season": "24h", "history": "7d", "step": step}
    return PredictiveScaler.model_validate(made)


def competition(model: str) -> Competition:
    made = make_forecaster(resource(model))
    assert isinstance(made, Competition)
    return made


def feed(forecaster: Competition | Foresight, seconds: float, start: float = BEGIN) -> float:
    """So many seconds of the load in ticks; the end of the newest."""
    rng, end = np.random.default_rng(1), start
    while end < start + seconds:
        end += TICK
        forecaster.update(Arrivals(end, TICK, float(rng.poisson(load(end) * TICK))))
    return end


@pytest.mark.parametrize(
    ("model", "name"),
    [pytest.param(*one, marks=() if one[0] == "seasonalNaive" else pytest.mark.slow) for one in NAMES.items()],
)
def test_a_named_model_is_believed_until_it_is_wrong(model: str, name: str) -> None:
    right, wrong = competition(model), competition(model)
    right.fit(history())
    wrong.fit(history(inverted=True))
    assert right.trusted
    assert wrong.trusted
    assert right.leading == wrong.leading == name
    feed(right, 4 * HOUR)
    feed(wrong, 4 * HOUR)
    assert right.trusted
    assert right.leading == name
    assert not right.demoted
    assert not wrong.trusted
    assert wrong.demoted
    assert wrong.leading == "naive"
    assert f"no model beats the newest level beyond doubt 120 s ahead ({name}: " in str(wrong.why)


@pytest.mark.parametrize(
    ("model", "step"),
    [("levelSeason", "1m"), pytest.param("levelSeason", "15s", marks=pytest.mark.slow), ("seasonalNaive", "1m")],
)
def test_a_refit_forgets_no_season(model: str, step: str) -> None:
    """The newest level keeps a day; what the model keeps is what it learns from again."""
    foresight = Foresight(make_forecaster(resource(model, step)), 50, 0, 2 * HOUR, InPlace(), "chat")
    foresight.fit(history(), BEGIN)
    (before,) = foresight._forecaster.members
    old = before.forecaster
    now = feed(foresight, 3 * HOUR)
    (member,) = foresight._forecaster.members
    assert member.forecaster is not old, "it was fitted anew"
    kept = member.forecaster.kept()
    assert now - kept.start > 7 * DAY
    assert kept.end >= now - STEP
    drawn = foresight.futures(now, 6 * HOUR)
    assert drawn is not None
    assert np.median(drawn.rates[:, -1]) == pytest.approx(load(now + 6 * HOUR), rel=0.25)


def test_level_times_season_is_small_and_quick_at_the_usual_step() -> None:
    """In steps of a minute: 7 days of 15 s would be four times as much."""
    made = make_forecaster(resource("levelSeason", "15s"))
    assert isinstance(made, Competition)
    made.fit(history())
    feed(made, HOUR)
    assert made.leading == "level-season"
    assert len(pickle.dumps(made)) < 600_000
    assert made.paths(40, 10, np.random.default_rng(0)).shape == (10, 40)


@pytest.mark.slow
@pytest.mark.parametrize("model", NAMES)
def test_upside_down_a_named_model_is_hardly_worse_than_none(model: str) -> None:
    service = replace(REAL, step=STEP)
    told: list[float] = []

    def change(t, observed):
        if told:
            return observed
        told.append(t)
        return replace(observed, history=Reading(history(inverted=True), t, Freshness.FRESH))

    def run(name: str | None) -> Loop:
        told.clear()
        made = PredictivePolicy([service], lambda s: None if name is None else make_forecaster(resource(name)))
        loop = Loop(service, made, load, start_replicas=14, partitions=720, dt=3.0, change=change)
        loop.run(5 * HOUR)
        return loop

    reactive, named = run(None), run(model)
    assert named.attainment() >= reactive.attainment() - 0.001
    assert named.seconds <= 1.15 * reactive.seconds
    assert {Reason.NO_FORECAST, Reason.FORECAST_DEMOTED} <= set(named.decisions[-1].reasons)
    assert Reason.FORECAST_DEMOTED not in named.decisions[0].reasons
    assert not any(Reason.FORECAST_DEMOTED in d.reasons for d in reactive.decisions)
    foreseen = [d.numbers.forecast.model for d in named.decisions if d.numbers.forecast is not None]
    assert set(foreseen) == {NAMES[model]}


@pytest.mark.parametrize("model", [pytest.param("auto", marks=pytest.mark.slow), "direct"])
@pytest.mark.parametrize("history", ["0s", pytest.param("24h", marks=pytest.mark.slow)])
def test_what_comes_live_is_remembered_for_a_week_however_little_is_read_back(model: str, history: str) -> None:
    made = copy.deepcopy(GOOD)
    made["spec"]["forecast"] = {"model": model, "season": "24h", "history": history, "step": "1m"}
    forecaster = make_forecaster(PredictiveScaler.model_validate(made))
    assert isinstance(forecaster, Competition)
    end = BEGIN
    while end < BEGIN + 3 * DAY:
        end += 5 * STEP
        forecaster.update(Arrivals(end, 5 * STEP, load(end) * 5 * STEP))
    kept = forecaster.kept()
    assert kept.end - kept.start >= 2.9 * DAY
    forecaster.adopt(forecaster.study(kept))
    assert forecaster.members[0].forecaster.reason is None, "the day is learned"


@pytest.mark.parametrize("model", ["auto", *NAMES])
def test_the_longest_steps_that_are_allowed_can_be_forecast_in(model: str) -> None:
    made = copy.deepcopy(GOOD)
    made["spec"]["forecast"] = {"model": model, "season": "24h", "history": "7d", "step": "1h"}
    forecaster = make_forecaster(PredictiveScaler.model_validate(made))
    assert forecaster is not None
    forecaster.fit(history())
    paths = forecaster.paths(3, 20, np.random.default_rng(0))
    assert paths.shape == (20, 3)
    assert np.isfinite(paths).all()
