"""The compressed lab's load: a spike six times the base, 40 s long, at the same time of each 300 s season."""

from __future__ import annotations

import numpy as np
import pytest

from forecasting.models.level_season import LevelSeason
from forecasting.series import Arrivals, Series
from forecasting.testing import feed

STEP, SEASON = 2.0, 300.0
PERIOD = 150
BASE, SPIKE = 10.0, 60.0
RISE, FALL = 50, 70  # steps of the season


def true_rates(length: int, *, scale: float = 1.0, shifts: tuple[int, ...] = ()) -> np.ndarray:
    at = np.arange(length)
    shift = np.array([shifts[k % len(shifts)] if shifts else 0 for k in at // PERIOD])
    phase = at % PERIOD - shift
    return scale * np.where((phase >= RISE) & (phase < FALL), SPIKE, BASE)


def counted(rates: np.ndarray, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).poisson(rates * STEP) / STEP


def at_phase(phase: int, seed: int = 0, seasons: int = 6, part: float = 0.0) -> LevelSeason:
    """Fitted on whole seasons, then updated up to ``phase`` steps (and ``part`` of one) into the next."""
    model = LevelSeason(STEP, SEASON)
    start = 1_700_000_100.0
    past = counted(true_rates(seasons * PERIOD), seed)
    model.fit(Series(start, STEP, past))
    end = feed(model, start + len(past) * STEP, counted(true_rates(phase), seed + 1))
    if part:
        rate = true_rates(phase + 1)[-1]
        model.update(Arrivals(end + part * STEP, part * STEP, rate * part * STEP))
    return model


def rises(paths: np.ndarray) -> np.ndarray:
    """First step of each path above the middle between base and spike; the path's length when there is none."""
    above = paths > (BASE + SPIKE) / 2
    return np.where(above.any(axis=1), above.argmax(axis=1), paths.shape[1])


@pytest.mark.parametrize("seconds_before", [20, 16, 10, 6, 2])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_paths_hold_the_jump_where_it_will_come(seconds_before, seed):
    ahead = int(seconds_before / STEP)
    paths = at_phase(RISE - ahead, seed).paths(30, 200, np.random.default_rng(seed))
    first = rises(paths)
    assert np.mean(np.abs(first - ahead) <= 1) > 0.8
    during = paths[:, ahead + 1 : ahead + 9]
    assert np.median(during) == pytest.approx(SPIKE, rel=0.15)


@pytest.mark.parametrize("part", [0.25, 0.5, 0.8])
def test_an_origin_between_two_steps(part):
    ahead = 8
    model = at_phase(RISE - ahead, part=part)
    paths = model.paths(30, 200, np.random.default_rng(0))
    assert np.mean(np.abs(rises(paths) - (ahead - part)) <= 1) > 0.8


@pytest.mark.parametrize("phase", [RISE + 4, RISE + 10, FALL - 2])
def test_paths_fall_back_after_the_spike(phase):
    paths = at_phase(phase).paths(30, 200, np.random.default_rng(0))
    after = paths[:, FALL - phase + 1 :]
    assert np.mean(after < (BASE + SPIKE) / 2) > 0.95
    assert np.median(after) == pytest.approx(BASE, rel=0.3)


@pytest.mark.parametrize("phase", [FALL + 1, FALL + 4, FALL + 20])
def test_after_the_spike_the_base_stays(phase):
    paths = at_phase(phase).paths(30, 200, np.random.default_rng(0))
    assert np.median(paths) == pytest.approx(BASE, rel=0.2)
    assert np.quantile(paths, 0.99) < 25


def test_two_seasons_are_enough():
    paths = at_phase(RISE - 5, seasons=2).paths(20, 200, np.random.default_rng(0))
    assert np.mean(np.abs(rises(paths) - 5) <= 1) > 0.8


def test_one_season_is_not_yet_a_pattern():
    paths = at_phase(RISE - 5, seasons=1).paths(20, 200, np.random.default_rng(0))
    assert np.median(paths) == pytest.approx(BASE, rel=0.4)


def test_the_pattern_is_learned_from_updates_alone():
    model = LevelSeason(STEP, SEASON)
    feed(model, 1_700_000_100.0, counted(true_rates(3 * PERIOD + RISE - 5), 3))
    paths = model.paths(20, 200, np.random.default_rng(0))
    assert np.mean(np.abs(rises(paths) - 5) <= 1) > 0.8


def test_a_spike_that_shifts_by_a_step_is_still_seen():
    model = LevelSeason(STEP, SEASON)
    start = 1_700_000_100.0
    past = counted(true_rates(6 * PERIOD, shifts=(0, 1, -1)), 5)
    model.fit(Series(start, STEP, past))
    feed(model, start + len(past) * STEP, counted(true_rates(RISE - 6), 6))
    paths = model.paths(30, 200, np.random.default_rng(0))
    assert np.mean(np.abs(rises(paths) - 6) <= 2) > 0.8


def test_a_season_half_as_high_again_stays_so():
    """A day that is 1.5 times another: the factor holds for what lies ahead, the spike included."""
    model = LevelSeason(STEP, SEASON)
    start = 1_700_000_100.0
    scales = (1.0, 1.5, 0.7, 1.4, 0.8, 1.2)
    past = np.concatenate([counted(true_rates(PERIOD, scale=s * 5), k) for k, s in enumerate(scales)])
    model.fit(Series(start, STEP, past))
    feed(model, start + len(past) * STEP, counted(true_rates(RISE - 5, scale=7.5), 9))
    middle = np.median(model.paths(20, 200, np.random.default_rng(0)), axis=0)
    assert np.median(middle[7:]) == pytest.approx(7.5 * SPIKE, rel=0.15)


@pytest.mark.parametrize("phase", [RISE + 5, RISE + 15, FALL - 1, FALL + 3])
def test_a_spike_that_did_not_come_leaves_no_crater(phase):
    """The level is a sixth of the profile; behind the spike the load is not a sixth of the base."""
    model = at_phase(RISE)
    start = 1_700_000_100.0 + (6 * PERIOD + RISE) * STEP
    feed(model, start, counted(np.full(phase - RISE, BASE), 11))
    paths = model.paths(40, 200, np.random.default_rng(0))
    behind = paths[:, max(FALL - phase, 0) + 2 :]
    assert np.median(behind) > BASE / 3
    assert np.quantile(behind, 0.99) < (BASE + SPIKE) / 2


def test_a_jump_that_nobody_knew_is_followed_at_once():
    model = at_phase(100)
    feed(model, 1_700_000_100.0 + (6 * PERIOD + 100) * STEP, counted(np.full(5, 5 * BASE), 12))
    middle = np.median(model.paths(10, 200, np.random.default_rng(0)), axis=0)
    assert middle[0] > 1.5 * BASE
    assert np.all(middle < 6 * BASE)


def test_neighbouring_steps_of_a_path_go_together():
    """Load whose level wanders: errors of neighbouring steps correlate, as whole trajectories do."""
    rng = np.random.default_rng(1)
    rates = 50 * np.exp(np.cumsum(rng.normal(0, 0.05, 1200)) * 0.5)
    model = LevelSeason(60.0, None)
    model.fit(Series(0.0, 60.0, rates))
    paths = np.log(model.paths(10, 300, np.random.default_rng(0)) + 1e-3)
    assert np.corrcoef(paths[:, 8], paths[:, 9])[0, 1] > 0.8
    spread = paths.std(axis=0)
    assert spread[9] > 1.5 * spread[0]
