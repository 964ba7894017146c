"""What outcomes tell of a model beside the newest level: rubbish is out within minutes, a sound model never."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest

from forecasting.competition_default import Incumbent
from forecasting.competition_scores import Rules, Standing, State, Told
from forecasting.models.direct import Direct
from forecasting.models.level_season import LevelSeason
from forecasting.series import Series
from forecasting.testing import feed, seasonal_load

STEP, PERIOD = 60.0, 360
START = 1000 * PERIOD * STEP
MINUTE = 60.0


def proven() -> Standing:
    standing = Standing(Rules())
    standing.state = State.PROVEN
    return standing


def minutes(told: Told, outcomes: np.ndarray, naive: np.ndarray, model: np.ndarray) -> int | None:
    """How many outcomes, one every two minutes, until a model is demoted; None: never."""
    standing = proven()
    for k, outcome in enumerate(outcomes.tolist()):
        (nats,) = told.nats(outcome, MINUTE, naive, [model])
        if standing.hear(nats):
            return 2 * (k + 1)
    return None


def test_nats_by_hand() -> None:
    """100 paths: all of naive's at what came, a quarter of the model's; and of the newest level at all widths alike."""
    naive = np.full(100, 1000.0)
    model = np.concatenate([np.full(25, 1000.0), np.full(75, 3000.0)])
    (nats,) = Told().nats(1000.0, MINUTE, naive, [model])
    assert nats == pytest.approx(math.log(100.5 / 25.5))
    (nats,) = Told().nats(1000.0, MINUTE, naive, [np.full(100, 5.0)])
    assert nats == 1.5, "one surprise tells no more than this"
    # Of few requests a path that is off by two standard deviations of a count has said it.
    (nats,) = Told().nats(0.0, MINUTE, np.zeros(100), [np.full(100, 1 / MINUTE)])
    assert nats == pytest.approx(0.0, abs=1e-12)
    assert Told().nats(5.0, MINUTE, naive, []) == []


def test_a_history_of_another_load_does_not_hide_rubbish() -> None:
    """Both think that anything up to 2,000 requests/s may come, as in a shuffled history, and 100 does and goes on."""
    rng = np.random.default_rng(0)
    naive = 100.0 * np.exp(rng.normal(0.0, 1.5, 100))
    model = rng.uniform(1.0, 2000.0, 100)
    outcomes = 100.0 * np.exp(rng.normal(0.0, 0.03, 100))
    told = Told()
    found = minutes(told, outcomes, naive, model)
    assert found is not None
    assert found <= 20
    assert told.weights.argmax() == 0, "the narrowest is believed"


@pytest.mark.parametrize("chance", [0.02, 0.2])
def test_a_sound_model_of_a_jumpy_load_is_not_demoted(chance: float) -> None:
    """It knows how often the load jumps fourfold for a while, and naive does not; nor in the calm before the first."""
    for seed in range(4):
        rng = np.random.default_rng((seed, 7))

        def load(count: int, rng: np.random.Generator = rng) -> np.ndarray:
            jumped = np.where(rng.random(count) < chance, 4.0, 1.0)
            return np.asarray(100.0 * jumped * np.exp(rng.normal(0.0, 0.1, count)))

        told, standing = Told(), proven()
        for _ in range(720):  # a day
            naive, model = 100.0 * np.exp(rng.normal(0.0, 0.1, 100)), load(100)
            (nats,) = told.nats(float(load(1)[0]), MINUTE, naive, [model])
            assert not standing.hear(nats), seed


def test_what_is_little_worse_is_borne_and_what_is_much_worse_comes_back_later() -> None:
    standing = proven()
    for _ in range(1000):
        assert not standing.hear(0.2)
    heard = [standing.hear(1.25) for _ in range(7)]
    assert heard == [False] * 6 + [True], "seven times a nat"
    assert standing.state is State.DEMOTED
    assert standing.scored == 0.0
    for _ in range(119):  # blocks of three minutes: nearly six hours
        standing.add(0.5, 1.0, 180)
    assert standing.state is State.DEMOTED
    standing.add(0.5, 1.0, 180)
    assert str(standing.state) == "Proven"


@pytest.mark.slow
@pytest.mark.parametrize("lead", [180.0, 600.0])
def test_a_shuffled_history_is_found_out_within_two_hours(lead: float) -> None:
    history = seasonal_load(STEP, 6 * PERIOD, PERIOD, 0, mean=200.0)
    np.random.default_rng(1).shuffle(history)
    competition = Incumbent([partial(Direct, STEP)], lead_time=lead)
    competition.fit(Series(START, STEP, history))
    feed(competition, START + 6 * PERIOD * STEP, seasonal_load(STEP, 120, PERIOD, 3, mean=200.0))
    assert not competition.trusted


@pytest.mark.parametrize("step", [15.0, 16.0, 60.0])
@pytest.mark.parametrize("phase", [0.0, 0.3, 0.7])
def test_what_is_near_is_heard_whenever_the_clock_ticks(
    step: float, phase: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A controller's ticks begin at any moment of a step."""
    heard: list[float] = []

    def hear(_: Standing, nats: float) -> bool:
        heard.append(nats)
        return False

    monkeypatch.setattr(Standing, "hear", hear)
    competition = Incumbent([partial(LevelSeason, step, 3600.0)])
    rates = 50.0 + 10.0 * np.sin(np.arange(round(8 * 3600 / step)))
    history = round(6 * 3600 / step)
    competition.fit(Series(START, step, rates[:history]))
    assert not heard, "history tells nothing of what is near"
    feed(competition, START + (history + phase) * step, rates[history:])
    asked = 2 * 3600.0 / competition.often
    assert 0.9 * asked - 2 <= len(heard) <= 1.1 * asked
