"""A model is measured by what it says itself: sound ones are never lost, wrong ones are, though nobody is right."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.competition_default import Incumbent
from forecasting.competition_scores import Rules, Standing, State, weights_of
from forecasting.competition_strays import Strays, likelihood_rank
from forecasting.forecaster import Paths
from forecasting.series import Arrivals, Series
from forecasting.testing import feed

MINUTE = 60.0


def test_ranks_by_hand() -> None:
    """40 paths about 100 and ten about 1,000: between them and beyond is least likely, in the greater group most."""
    rng = np.random.default_rng(0)
    paths = np.concatenate([100 * np.exp(0.02 * rng.normal(size=40)), 1000 * np.exp(0.02 * rng.normal(size=10))])
    for outcome in (0.0, 10.0, 300.0, 10_000.0):
        assert likelihood_rank(paths, outcome, MINUTE) == pytest.approx(0.5 / 51)
    assert likelihood_rank(paths, 1000.0, MINUTE) < 0.25
    assert likelihood_rank(paths, 100.0, MINUTE) > 0.3
    assert likelihood_rank(np.zeros(50), 0.0, MINUTE) == pytest.approx(0.5), "all alike: in the middle"
    assert likelihood_rank(np.zeros(50), 87.0, MINUTE) < 0.02


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 2.0), st.floats(0.1, 1e4))
def test_ranks_of_a_sound_model_are_uniform(seed: int, spread: float, level: float) -> None:
    rng = np.random.default_rng(seed)
    ranks = []
    for _ in range(400):
        rates = level * np.exp(spread * rng.normal(size=51))
        counts = rng.poisson(rates * MINUTE) / MINUTE
        ranks.append(likelihood_rank(counts[1:], float(counts[0]), MINUTE))
    found = np.array(ranks)
    assert ((found >= 0) & (found <= 1)).all()
    assert (found < 0.03).mean() < 0.09, "two of 51 places, and what chance adds to 400 draws"
    assert 0.4 < found.mean() < 0.6


def outcomes_until_lost(share: float, most: int, seed: int) -> int | None:
    """How many outcomes, a ``share`` of which is hardly possible, until a model is lost; None: never."""
    rng, strays = np.random.default_rng(seed), Strays()
    for k in range(most):
        strays.hear(1.0, 0.0 if rng.random() < share else 1.0)
        if strays.lost:
            return k + 1
    return None


@pytest.mark.slow
def test_a_sound_model_is_not_lost_in_a_month_and_a_wrong_one_is_in_two_hours() -> None:
    a_month = 30 * 720  # outcomes, one every two minutes
    assert [outcomes_until_lost(0.04, a_month, seed) for seed in range(20)].count(None) >= 18
    assert max(outcomes_until_lost(0.3, 200, seed) or 201 for seed in range(20)) <= 60
    assert [outcomes_until_lost(1.0, 200, 0), outcomes_until_lost(0.2, 1000, 0) is not None] == [6, True]


def test_five_misses_in_a_row_are_a_jump() -> None:
    strays = Strays()
    for _ in range(5):
        assert not strays.hear(1.0, 0.0)
    assert not strays.lost
    assert strays.hear(1.0, 0.0), "six are not"
    assert strays.lost


def test_who_is_lost_comes_back_when_it_is_right_again() -> None:
    strays = Strays()
    for _ in range(50):
        strays.hear(1.0, 0.0)
    assert strays.lost
    back = next(k for k in range(200) if strays.hear(1.0, 0.5))
    assert 2 * back == pytest.approx(100, abs=20), "minutes"
    assert not strays.lost
    assert strays.always == 0.0


def test_what_is_said_of_quiet_hours_hides_nothing() -> None:
    """Four of five times it says next to nothing, and is right; the fifth time, what comes is in its least twentieth:
    of all outcomes that is as it should be."""

    def told(of_bursts: float, cycles: int) -> bool:
        strays, rng = Strays(), np.random.default_rng(0)
        for _ in range(cycles):
            for said, likely in ((1.0, 0.5), (1.0, 0.5), (800.0, of_bursts or rng.random()), (1.0, 0.5), (1.0, 0.5)):
                strays.hear(said, likely)
        return strays.lost

    assert not told(0.05, 4), "minutes"
    assert told(0.05, 6), "an hour"
    assert not told(0.12, 700)
    assert not told(0.0, 700), "of a sound one any outcome is as likely as another"


def test_who_says_no_more_of_bursts_comes_back_too() -> None:
    strays = Strays()
    for _ in range(60):
        strays.hear(1.0, 0.5)
    for _ in range(5):
        strays.hear(40.0, 0.0)
    assert strays.lost, "five bursts in a row were not what it said"
    back = next(k for k in range(200) if strays.hear(1.0, 0.5))
    assert 30 <= back <= 60


def test_one_that_is_lost_has_no_paths_whatever_its_losses() -> None:
    standings = [Standing(Rules()), Standing(Rules())]
    for one, ratio in zip(standings, (0.5, 0.6), strict=True):
        one.state, one.scored = State.PROVEN, 1e6
        one.long.model, one.long.naive = ratio, 1.0
    assert weights_of(standings, Rules())[0] > 0.5
    for _ in range(10):
        standings[0].strays.hear(1.0, 0.0)
    assert standings[0].out
    assert weights_of(standings, Rules())[0] == 0.0
    assert weights_of(standings, Rules())[1] > 0.5


class Says:
    """The same rate on all its paths."""

    step = 15.0

    def __init__(self, name: str, rate: float) -> None:
        self.name, self.rate = name, rate

    ready = True

    def fit(self, history: Series) -> None:
        """Nothing is learned."""

    def update(self, arrivals: Arrivals) -> None:
        """Nor from this."""

    def paths(self, steps: int, count: int, rng: np.random.Generator, out: Paths | None = None) -> Paths:
        made = np.full((count, steps), self.rate, np.float32)
        if out is None:
            return made
        out[:] = made
        return out


def cron(hours: float) -> np.ndarray:
    """Rates of 15 s: two minutes of 80 requests/s in every ten, and nothing."""
    return np.tile(np.concatenate([np.full(8, 80.0), np.zeros(32)]), round(6 * hours))


def test_one_that_always_says_nothing_is_lost_where_the_newest_level_knows_no_better() -> None:
    """Of cron's load the newest level knows least when it matters, and by pinball loss nothing is better than it."""
    competition = Incumbent([partial(Says, "zero", 0.0)], lead_time=150.0)
    feed(competition, 0.0, cron(0.5))
    assert competition.trusted
    feed(competition, 1800.0, cron(1.0))
    assert not competition.trusted
    assert competition.why is not None
    assert "zero: too often what comes is what it says is hardly possible" in competition.why
    assert competition.weights == {"zero": 0.0, "naive": 1.0}


def test_the_next_one_is_known_before_it_leads() -> None:
    """Both are rubbish: the second is not believed for hours after the first is out."""
    competition = Incumbent([partial(Says, "zero", 0.0), partial(Says, "much", 800.0)], lead_time=150.0)
    feed(competition, 0.0, cron(3.0))
    assert not competition.trusted
    assert all(standing.out for standing in competition.standings.values())
    assert math.isclose(sum(competition.weights.values()), 1.0)
