"""Small counts, missing data and hostile input: paths stay finite, non-negative, and as wide as counts must be."""

from __future__ import annotations

import math
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from forecasting.errors import NotEnoughHistory
from forecasting.models.level_season import LevelSeason
from forecasting.models.seasonal_naive import SeasonalNaive
from forecasting.series import Arrivals, Series
from forecasting.testing import feed
from forecasting.trajectories import CEILING

STEP, PERIOD = 15.0, 40

MAKES = [
    pytest.param(lambda: LevelSeason(STEP, STEP * PERIOD), id="level-season"),
    pytest.param(lambda: LevelSeason(STEP, None), id="level"),
    pytest.param(lambda: SeasonalNaive(STEP, STEP * PERIOD), id="seasonal-naive"),
]

RATES = st.one_of(st.just(math.nan), st.just(0.0), st.floats(0, 1e5))


@pytest.mark.parametrize("make", MAKES)
@given(
    past=arrays.arrays(np.float64, st.integers(1, 4 * PERIOD), elements=RATES),
    step=st.sampled_from([5.0, 15.0, 60.0]),
    late=st.lists(st.tuples(st.floats(0.01, 300), st.floats(0, 1e6), st.floats(0, 2000)), max_size=12),
    steps=st.integers(1, 70),
    count=st.integers(1, 40),
    fit_after=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_any_data_gives_sound_paths(make, past, step, late, steps, count, fit_after):
    model = make()
    history = Series(600_000.0 * STEP, step, past)
    if not fit_after:
        with suppress(NotEnoughHistory):  # no step of the model's is half known
            model.fit(history)
    end = history.end
    for seconds, requests, hole in late:
        end += hole + seconds
        model.update(Arrivals(end, seconds, requests))
    if fit_after:
        with suppress(NotEnoughHistory):
            model.fit(history)
    if not model.ready:
        return
    paths = model.paths(steps, count, np.random.default_rng(0))
    assert paths.shape == (count, steps)
    assert paths.dtype == np.float32
    assert np.isfinite(paths).all()
    assert (paths >= 0).all()
    rates = [0.0, *past[~np.isnan(past)], *(requests / seconds for seconds, requests, _ in late)]
    assert paths.max() <= CEILING * max(rates) * 1.001 + 1e-3


@pytest.mark.parametrize("rate", [0.2, 2.0, 20.0])
def test_without_history_paths_are_as_wide_as_counts(rate):
    """A handful of counts says this much about the next one and no more: Poisson noise at least."""
    model = LevelSeason(STEP, STEP * PERIOD)
    model.update(Arrivals(600.0, 60.0, rate * 60))
    paths = model.paths(5, 400, np.random.default_rng(0))
    assert paths[:, 0].std() >= 0.8 * math.sqrt(rate / STEP)
    assert paths.mean() == pytest.approx(rate, rel=0.35)


@pytest.mark.parametrize("rate", [0.3, 3.0, 30.0])
@pytest.mark.parametrize("season", [None, STEP * PERIOD])
def test_noise_of_counts_is_held_once(rate, season):
    """Plain Poisson load: the spread is that of level and count together, neither half nor twice of it."""
    model = LevelSeason(STEP, season)
    counts = np.random.default_rng(2).poisson(rate * STEP, 6 * PERIOD)
    model.fit(Series(0.0, STEP, counts[:-5] / STEP))
    feed(model, 6 * PERIOD * STEP - 5 * STEP, counts[-5:] / STEP)
    spread = np.mean([model.paths(5, 400, np.random.default_rng(k)).std(axis=0) for k in range(5)])
    poisson = math.sqrt(rate / STEP)
    assert 0.75 * poisson < spread < 1.8 * poisson


def test_coarse_history_lacks_noise_that_is_added():
    """History at 5 minutes has averaged away the noise of 15 s counts."""
    rate = 2.0
    model = LevelSeason(STEP, STEP * PERIOD)
    coarse = np.random.default_rng(4).poisson(rate * 300, 40) / 300
    model.fit(Series(0.0, 300.0, coarse))
    model.update(Arrivals(40 * 300.0 + 60, 60.0, rate * 60))
    paths = model.paths(5, 400, np.random.default_rng(0))
    assert paths.std(axis=0).mean() > 0.8 * math.sqrt(rate / STEP)


def test_a_low_level_after_a_high_one_gets_wider_ratios():
    """Errors lent by busy times are narrow; a quiet time has more noise for its size."""
    model = LevelSeason(STEP, None)
    rng = np.random.default_rng(5)
    model.fit(Series(0.0, STEP, rng.poisson(400 * STEP, 500) / STEP))
    end = feed(model, 500 * STEP, rng.poisson(1.0 * STEP, 8) / STEP)
    paths = model.paths(3, 400, np.random.default_rng(0))
    assert end > 0
    assert paths[:, 0].std() > 0.6 * math.sqrt(1.0 / STEP)


def test_the_ceiling_holds_after_an_unheard_of_jump():
    model = LevelSeason(STEP, STEP * PERIOD)
    rates = np.full(5 * PERIOD, 0.1)
    rates[10::PERIOD] = 500.0
    model.fit(Series(0.0, STEP, rates))
    feed(model, 5 * PERIOD * STEP, np.full(8, 800.0))
    paths = model.paths(10, 200, np.random.default_rng(0))
    assert paths.max() <= CEILING * 800.001


def test_history_that_ends_long_before_the_first_update():
    model = LevelSeason(STEP, STEP * PERIOD)
    model.fit(Series(0.0, STEP, np.full(4 * PERIOD, 10.0)))
    model.update(Arrivals(4.5 * PERIOD * STEP, 30.0, 300))
    assert np.median(model.paths(5, 100, np.random.default_rng(0))) == pytest.approx(10, rel=0.2)


@pytest.mark.parametrize("season", [STEP, STEP * 2.5, STEP * 0.1])
def test_a_season_that_is_not_whole_steps_is_refused(season):
    with pytest.raises(ValueError, match="whole steps"):
        LevelSeason(STEP, season)
    with pytest.raises(ValueError, match="whole steps"):
        SeasonalNaive(STEP, season)


def test_memory_does_not_grow():
    model = LevelSeason(STEP, STEP * PERIOD, seasons_kept=3)
    rng = np.random.default_rng(6)
    feed(model, 0.0, rng.poisson(20, 2000) / STEP)
    size = model.memory.rows.size
    feed(model, 2000 * STEP, rng.poisson(20, 2000) / STEP)
    assert model.memory.rows.size == size
    assert model.memory.newest == 3999
    assert np.median(model.paths(5, 100, rng)) == pytest.approx(20 / STEP, rel=0.4)


def test_a_long_season_of_short_steps_keeps_fewer_seasons():
    week = LevelSeason(STEP, 7 * 86400.0)
    assert week.seasons_kept == 2
    assert LevelSeason(60.0, 86400.0).seasons_kept == 7
    assert SeasonalNaive(STEP, 7 * 86400.0, average=3).seasons_kept == 4
