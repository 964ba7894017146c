"""Who is trusted: what is better beyond doubt, until it is not; rubbish is out within the hour, noise moves nothing."""

from __future__ import annotations

import pickle
from functools import partial

import numpy as np
import pytest

from forecasting.calibration import pinball as of_samples
from forecasting.competition import Competition
from forecasting.competition_naive import NewestLevel
from forecasting.competition_scores import TAUS, Doubt, Rules, Standing, State, Sums, pinball, quantiles_of, weights_of
from forecasting.errors import NotEnoughHistory
from forecasting.forecaster import Judged
from forecasting.models.direct import Direct
from forecasting.models.level_season import LevelSeason
from forecasting.series import Series
from forecasting.testing import feed, seasonal_load

STEP, PERIOD = 60.0, 360
START = 1000 * PERIOD * STEP
HOUR = 60  # steps


class Turns(LevelSeason):
    """As good as any, until ``wrong`` says what its paths become."""

    wrong: str | None = None

    def paths(self, steps, count, rng, out=None):
        paths = super().paths(steps, count, rng)
        if self.wrong == "zero":
            paths[:] = 0
        elif self.wrong == "fivefold":
            paths *= 5
        elif self.wrong == "noise":
            paths[:] = rng.random((count, 1)) * 1e5
        elif self.wrong == "nan":
            paths[0, 0] = np.nan
        elif self.wrong == "negative":
            paths[:] = -1
        elif self.wrong == "shape":
            return paths[:, :-1]
        elif self.wrong == "nothing":
            return None
        elif self.wrong == "raises":
            raise RuntimeError("no forecast today")
        if out is None:
            return paths
        out[:] = paths
        return out


class Other(NewestLevel):
    """The newest level under another name, with other noise."""

    name = "other"

    def paths(self, steps, count, rng, out=None):
        return super().paths(steps, count, np.random.default_rng(int(rng.integers(2**40)) + 1), out)


def known_load(index: np.ndarray) -> np.ndarray:
    """Requests/s in each step from the epoch on."""
    return 10.0 + index % 97


class Oracle(NewestLevel):
    """Knows what comes."""

    name = "oracle"
    end = 0.0

    def update(self, arrivals):
        super().update(arrivals)
        self.end = arrivals.end

    def paths(self, steps, count, rng, out=None):
        paths = np.tile(known_load(round(self.end / self.step) + np.arange(steps)), (count, 1)).astype(np.float32)
        if out is None:
            return paths
        out[:] = paths
        return out


def fitted(*members) -> tuple[Competition, float]:
    """A competition at a lead of three minutes, fitted on six seasons, and their end."""
    competition = Competition(list(members), lead_time=180.0)
    history = Series(START, STEP, seasonal_load(STEP, 6 * PERIOD, PERIOD, 0))
    competition.fit(history)
    return competition, history.end


def turn(competition: Competition, wrong: str | None) -> None:
    """What the first member does from now on."""
    member = competition.members[0].forecaster
    assert isinstance(member, Turns)
    member.wrong = wrong


def go_on(competition: Competition, end: float, steps: int, seed: int) -> float:
    """The same load goes on; returns its end."""
    phase = round(end / STEP) % PERIOD
    return feed(competition, end, seasonal_load(STEP, phase + steps, PERIOD, seed)[phase:])


def drawn(competition: Competition, seed: int = 0) -> np.ndarray:
    return competition.paths(10, 100, np.random.default_rng(seed))


def test_a_good_model_starts_trusted_after_a_fit_and_has_the_paths() -> None:
    competition, end = fitted(partial(Turns, STEP, STEP * PERIOD))
    assert isinstance(competition, Judged)
    assert competition.trusted
    assert competition.why is None
    assert competition.weights["level-season"] > 0.8
    alone = LevelSeason(STEP, STEP * PERIOD)
    alone.fit(Series(START, STEP, seasonal_load(STEP, 6 * PERIOD, PERIOD, 0)))
    # The rise to the spike, which the newest level cannot know.
    feed(competition, end, seasonal_load(STEP, PERIOD // 3 - 3, PERIOD, 1))
    feed(alone, end, seasonal_load(STEP, PERIOD // 3 - 3, PERIOD, 1))
    expected = np.median(alone.paths(10, 100, np.random.default_rng(0)), axis=0)
    assert np.median(drawn(competition), axis=0)[5] == pytest.approx(expected[5], rel=0.25)


def test_without_a_trial_it_has_to_prove_itself_first() -> None:
    competition = Competition([partial(Turns, STEP, STEP * PERIOD)], lead_time=180.0)
    feed(competition, START, seasonal_load(STEP, HOUR, PERIOD, 0))
    assert not competition.trusted
    assert competition.why is not None
    assert "level-season: unproven" in competition.why
    assert competition.why.endswith("the plan is reactive")
    assert competition.weights == {"level-season": 0.0, "naive": 1.0}


def test_the_trial_is_over_what_is_known_of_a_history_that_begins_with_a_gap() -> None:
    """A topic keeps a day and a half; the window that it was read over is a week."""
    steps = round(86_400 / STEP) + PERIOD // 2
    rates = seasonal_load(STEP, steps, PERIOD, 0)
    gap = Series(START, STEP, np.concatenate([np.full(6 * steps, np.nan), rates]))
    known = Series(START + 6 * steps * STEP, STEP, rates)
    found = []
    for history in (gap, known):
        competition = Competition([partial(Turns, STEP, STEP * PERIOD)], lead_time=180.0)
        competition.fit(history)
        found.append((competition.trusted, competition.why))
    assert found[0] == found[1]


def test_a_history_too_coarse_for_the_lead_time_is_no_trial() -> None:
    """Hours in steps of 10 minutes do not tell who foresees 3 minutes; they do tell who foresees 20."""
    load = Series(START, 600.0, 50.0 + 40.0 * np.sin(np.arange(6 * 144) / 5.0))
    for lead_time, tried in ((180.0, False), (1200.0, True)):
        competition = Competition([partial(Turns, STEP, STEP * PERIOD)], lead_time=lead_time)
        competition.fit(load)
        assert (competition.standings["level-season"].scored > 0) is tried


@pytest.mark.parametrize("wrong", ["zero", "fivefold", "noise"])
def test_rubbish_is_out_within_the_hour(wrong: str) -> None:
    competition, end = fitted(partial(Turns, STEP, STEP * PERIOD))
    end = go_on(competition, end, HOUR, 1)
    assert competition.trusted
    turn(competition, wrong)
    end = go_on(competition, end, HOUR, 2)
    assert not competition.trusted
    assert "demoted" in (competition.why or "")
    # What is drawn now is what the newest level says.
    assert 1 < drawn(competition).mean() < 200


def test_a_refit_clears_nobody_who_was_found_wrong() -> None:
    """The history's last day may say that the model is good: live it was not."""
    competition, end = fitted(partial(Turns, STEP, STEP * PERIOD))
    turn(competition, "fivefold")
    end = go_on(competition, end, HOUR, 2)
    assert not competition.trusted
    competition.adopt(competition.study(Series(START, STEP, seasonal_load(STEP, 6 * PERIOD, PERIOD, 0))))
    assert not competition.trusted
    assert "demoted" in (competition.why or "")


def test_it_comes_back_slowly() -> None:
    competition, end = fitted(partial(Turns, STEP, STEP * PERIOD))
    turn(competition, "zero")
    end = go_on(competition, end, HOUR, 1)
    turn(competition, None)
    end = go_on(competition, end, 5 * HOUR, 2)
    assert not competition.trusted
    go_on(competition, end, 20 * HOUR, 3)
    assert competition.trusted


@pytest.mark.parametrize("wrong", ["nan", "negative", "raises", "shape", "nothing"])
def test_what_is_no_forecast_is_out_at_once_until_the_next_fit(wrong: str) -> None:
    competition, end = fitted(partial(Turns, STEP, STEP * PERIOD))
    turn(competition, wrong)
    paths = drawn(competition)
    assert np.isfinite(paths).all()
    assert (paths >= 0).all()
    assert not competition.trusted
    assert "level-season: failed" in (competition.why or "")
    feed(competition, end, seasonal_load(STEP, 10, PERIOD, 1))
    assert competition.standings["level-season"].state is State.FAILED
    competition.fit(Series(START, STEP, seasonal_load(STEP, 6 * PERIOD, PERIOD, 0)))
    assert competition.standings["level-season"].state is not State.FAILED


@pytest.mark.parametrize(("wrong", "said"), [("shape", "paths of shape"), ("nothing", "rates of nan to nan")])
def test_paths_that_are_too_short_or_missing_are_out_when_they_are_asked_for(wrong: str, said: str) -> None:
    """Machine code reads what lies there, and finds rates."""
    competition, end = fitted(partial(Turns, STEP, STEP * PERIOD))
    turn(competition, wrong)
    feed(competition, end, seasonal_load(STEP, 10, PERIOD, 1))
    assert competition.standings["level-season"].state is State.FAILED
    assert said in (competition.why or "")


def test_the_others_go_on_when_one_fails() -> None:
    competition, end = fitted(partial(Turns, STEP, STEP * PERIOD), partial(Direct, STEP))
    turn(competition, "raises")
    feed(competition, end, seasonal_load(STEP, 30, PERIOD, 1))
    assert competition.standings["level-season"].state is State.FAILED
    assert competition.standings["direct"].state is not State.FAILED
    assert np.isfinite(drawn(competition)).all()


@pytest.mark.parametrize(("step", "lead"), [(60.0, 180.0), (15.0, 150.0), (60.0, 60.0), (15.0, 600.0)])
def test_what_is_said_is_compared_with_the_time_it_was_said_for(step: float, lead: float) -> None:
    competition = Competition([partial(Oracle, step)], lead_time=lead)
    first = 97 * 1000
    feed(competition, first * step, known_load(first + np.arange(600)))
    standing = competition.standings["oracle"]
    assert standing.long.naive > 10
    assert standing.long.model < 1e-4 * standing.long.naive


def test_noise_proves_nothing() -> None:
    trusted = 0
    for seed in range(3):
        competition = Competition([partial(Other, STEP)], lead_time=180.0, seed=seed)
        end = START
        for _ in range(12):
            end = feed(competition, end, np.random.default_rng((seed, int(end))).poisson(1200, HOUR) / STEP)
            trusted += competition.trusted
    # 36 looks at a model that is no better: a test of two standard errors is wrong now and then, for a while.
    assert trusted <= 6


def test_a_good_model_stays_trusted() -> None:
    competition, end = fitted(partial(Turns, STEP, STEP * PERIOD))
    for seed in range(6):
        end = go_on(competition, end, 4 * HOUR, seed + 10)
        assert competition.trusted, seed


@pytest.mark.parametrize("how", ["shuffled", "inverted"])
def test_a_wrong_history_is_not_trusted_for_long(how: str) -> None:
    history = seasonal_load(STEP, 6 * PERIOD, PERIOD, 0)
    if how == "shuffled":
        np.random.default_rng(1).shuffle(history)
    else:
        history = history.max() - history
    competition = Competition([partial(Direct, STEP), partial(LevelSeason, STEP, STEP * PERIOD)], lead_time=180.0)
    competition.fit(Series(START, STEP, history))
    end = START + 6 * PERIOD * STEP
    seen = []
    for seed in range(8):
        end = go_on(competition, end, HOUR, seed)
        seen.append(competition.trusted)
    assert not any(seen[3:]), seen


def test_paths_hardly_change_from_tick_to_tick() -> None:
    competition, end = fitted(partial(Turns, STEP, STEP * PERIOD), partial(Direct, STEP))
    before = drawn(competition).astype(float)
    feed(competition, end, np.array([20.0]))
    after, other = drawn(competition).astype(float), drawn(competition, 1).astype(float)

    def alike(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.abs(np.quantile(a, 0.9, axis=0) - np.quantile(b, 0.9, axis=0)).mean())

    assert alike(before, after) <= alike(before, other) + 3


def test_a_fit_in_the_background_is_a_fit() -> None:
    history = Series(START, STEP, seasonal_load(STEP, 6 * PERIOD, PERIOD, 0))
    make = (partial(Direct, STEP), partial(LevelSeason, STEP, STEP * PERIOD))
    one, two = Competition(make, lead_time=180.0), Competition(make, lead_time=180.0)
    one.fit(history)
    two.fit(history)
    more = seasonal_load(STEP, 30, PERIOD, 7)
    feed(two, feed(one, history.end, more) - 30 * STEP, more)
    kept = two.kept()
    assert kept is not None
    before = drawn(two)
    studies = pickle.loads(pickle.dumps(two.study(kept)))
    assert np.array_equal(before, drawn(two)), "a study changes nothing"
    two.adopt(studies)
    assert two.trusted
    assert np.allclose(np.median(drawn(one), axis=0), np.median(drawn(two), axis=0), rtol=0.25)


def test_a_history_without_a_rate_is_refused_and_what_is_wrong_is_said() -> None:
    competition = Competition([partial(Direct, STEP)])
    with pytest.raises(NotEnoughHistory):
        competition.fit(Series(START, STEP, np.full(100, np.nan)))
    with pytest.raises(ValueError, match=r"lead time 0\.0 s"):
        competition.aim(0.0)
    with pytest.raises(ValueError, match=r"each name once"):
        Competition([partial(Direct, STEP), partial(Direct, STEP)])
    with pytest.raises(ValueError, match=r"steps of \[15.0, 60.0\] s"):
        Competition([partial(Direct, STEP), partial(LevelSeason, 15.0)])


def test_sums_by_hand() -> None:
    """Two blocks, nothing forgotten: losses 3 and 1, naive's 4 and 4."""
    sums = Sums(half_life=np.inf)
    sums.add(3, 4, 60)
    sums.add(1, 4, 60)
    assert sums.ratio == 0.5
    assert sums.doubt == pytest.approx(-4 / np.sqrt(1 + 9))
    # Around the line through 0 with slope 1/2: 3 - 2 = 1 and 1 - 2 = -1.
    assert sums.error == pytest.approx(np.sqrt(2) / 8)
    half = Sums(half_life=60)
    half.add(3, 4, 60)
    half.add(1, 4, 60)
    assert (half.model, half.naive, half.blocks) == (2.5, 6, 1.5)
    assert half.squares == 9 + 1 / 4


def test_one_huge_loss_is_one_loss() -> None:
    standing = Standing(Rules())
    for _ in range(60):
        standing.add(0.5, 1.0, 180)
    before = str(standing.state)
    standing.add(1e6, 1.0, 180)
    assert (before, str(standing.state)) == ("Proven", "Proven")


def test_weights_are_twentieths_by_loss_and_its_error() -> None:
    def scored(model: float, *states: State) -> Standing:
        standing = Standing(Rules())
        standing.long.add(model, 1.0, 60)
        standing.scored = Rules().settle
        for state in states:
            standing.state = state
        return standing

    worse = scored(0.5, State.DEMOTED)
    weights = weights_of([scored(0.7), scored(0.75), worse], Rules(sharpness=0.1))
    # One block has no error; e^0, e^-0.71 (0.05 / 0.7 / 0.1), 0, and the newest level's e^-4.3, in twentieths.
    assert weights.tolist() == pytest.approx([13 / 20, 7 / 20, 0, 0])
    assert weights_of([scored(0.02), scored(0.04)], Rules(sharpness=0.1)).tolist() == [1, 0, 0], "of the best one's"
    assert weights_of([worse], Rules()).tolist() == [0, 1]
    unsettled = scored(0.7)
    unsettled.scored = 60.0
    assert weights_of([unsettled], Rules()).tolist() == [0, 1]
    doubtful = scored(0.7)
    doubtful.long.add(1.4, 1.0, 60)
    # A ratio of 1.05, and residuals of .35 around it: an error of sqrt(2) .35 / 2 = .25; e^-2.97 = .051.
    assert weights_of([doubtful], Rules(sharpness=0.1)).tolist() == pytest.approx([1 / 20, 19 / 20])


def test_quantiles_and_losses_are_those_of_numpy() -> None:
    values = np.random.default_rng(0).gamma(2, 5, 101)
    assert quantiles_of(values) == pytest.approx(np.quantile(values, TAUS))
    assert pinball(7.0, quantiles_of(values)) == pytest.approx(of_samples(values, 7.0, TAUS.tolist()))


def tried(model: float, naive: float) -> Standing:
    """A day of blocks of three minutes on history, and then live."""
    standing = Standing(Rules())
    for _ in range(480):
        standing.add(model, naive, 180)
    assert standing.state is State.PROVEN
    standing.go_live()
    return standing


def test_a_day_s_trial_counts_for_four_hours() -> None:
    standing = tried(0.8, 1.0)
    for _ in range(300):  # a little worse, for 15 hours: too little to be demoted
        standing.add(1.05, 1.0, 180)
    assert standing.state is State.UNPROVEN


def test_what_is_usual_is_what_is_usual_live() -> None:
    standing = tried(80.0, 100.0)  # a history whose steps were shuffled is hard to forecast
    for _ in range(12):
        standing.add(2.0, 1.0, 180)
    assert str(standing.state) == "Demoted"


def test_small_losses_in_calm_hours_are_no_news() -> None:
    standing = Standing(Rules())
    for _ in range(240):
        standing.add(5.0, 10.0, 180)
    for _ in range(200):
        standing.add(0.5, 0.3, 180)
    assert standing.short.doubt > 2.8
    assert standing.state is State.PROVEN


# --- the referee


def test_a_referee_whose_history_was_of_another_load_comes_to_its_senses() -> None:
    """It thinks that 1,000 requests/s may come, and 101 do where it says 100."""
    doubt = Doubt(half_life=360.0)
    wild = np.array([10.0, 100.0, 400.0, 600.0, 1000.0])
    before = pinball(101.0, wild)
    for _ in range(15):  # an hour
        doubt.learn(101.0, doubt.corrected(wild))
    assert pinball(101.0, doubt.corrected(wild)) < before / 2
    assert doubt.corrected(wild)[1] == 100.0
    for _ in range(60):
        doubt.learn(900.0, doubt.corrected(wild))
    assert doubt.factor > 1.0, "and learns the other way, too"
    assert (doubt.corrected(wild) >= 0.0).all()


def test_a_referee_that_knows_itself_is_left_alone() -> None:
    rng = np.random.default_rng(0)
    said = 100.0 + 10.0 * np.array([-1.2816, 0.0, 1.2816, 1.6449, 2.3263])
    doubt = Doubt(half_life=360.0)
    for _ in range(500):
        doubt.learn(float(rng.normal(100.0, 10.0)), doubt.corrected(said))
    assert doubt.factor == pytest.approx(1.0, abs=0.1)
