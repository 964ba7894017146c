"""Errors depend on the time of day, are measured honestly and cover what comes; their parts are exact."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from forecasting.models.level_season import LevelSeason
from forecasting.profile import middle, profile_at, profile_of, profile_without_own, rolling_mean, smooth
from forecasting.reversion import PRIOR_ORIGINS, Reversion
from forecasting.series import Arrivals, Series
from forecasting.testing import feed
from forecasting.trajectories import add_count_noise, candidates, draw, fill_forward, without_errors

STEP, PERIOD = 60.0, 144

VALUES = st.one_of(st.just(math.nan), st.floats(0, 1000, width=32))


def wild_afternoons(seasons: int, seed: int) -> np.ndarray:
    """Rates that hardly vary in the first half of each season, and a great deal in the second."""
    rng = np.random.default_rng(seed)
    spread = np.where(np.arange(PERIOD) < PERIOD // 2, 0.02, 0.5)
    return 200 * np.exp(spread * rng.standard_normal((seasons, PERIOD))).ravel()


@pytest.mark.parametrize("season", [STEP * PERIOD])
def test_the_spread_follows_the_time_of_day(season):
    model = LevelSeason(STEP, season)
    rates = wild_afternoons(7, 1)
    model.fit(Series(0.0, STEP, rates))
    end = feed(model, 7 * PERIOD * STEP, wild_afternoons(1, 2)[:20])
    calm = np.log(model.paths(5, 300, np.random.default_rng(0))).std(axis=0)
    feed(model, end, np.concatenate((wild_afternoons(1, 3)[20:108], np.full(8, 200.0))))
    wild = np.log(model.paths(5, 300, np.random.default_rng(0))).std(axis=0)
    assert np.all(calm < 0.1)
    assert np.all(wild > 0.3)


def test_likeness_wraps_round_midnight():
    """At the first steps of a season, the last ones of the season before are as near as those just ahead."""
    columns, distance, _age = candidates(3 * PERIOD, PERIOD, 4, 3, 0)
    nearest = columns[distance == 3]
    assert set((nearest % PERIOD).tolist()) == {3, PERIOD - 3}
    assert (columns < 3 * PERIOD).all()


def test_quantiles_cover_on_load_that_follows_the_model():
    """Days of different size, an unsteady level and Poisson counts: the shares hold out of sample."""
    rng = np.random.default_rng(8)
    days = 12
    at = np.arange(days * PERIOD)
    usual = 40 * (1 + 0.6 * np.sin(2 * np.pi * at / PERIOD)) * np.repeat(rng.lognormal(0, 0.2, days), PERIOD)
    level = np.zeros(len(at))
    for k in range(1, len(at)):
        level[k] = 0.95 * level[k - 1] + rng.normal(0, 0.05)
    rates = rng.poisson(usual * np.exp(level) * STEP) / STEP
    model = LevelSeason(STEP, STEP * PERIOD)
    cut = 7 * PERIOD
    model.fit(Series(0.0, STEP, rates[:cut]))
    taus = np.array([0.1, 0.5, 0.9, 0.95])
    below = []
    for k in range(cut, len(at) - 5):
        if k % 3 == 0:
            paths = model.paths(5, 100, np.random.default_rng(k))
            below.append(rates[k : k + 5] <= np.quantile(paths, taus, axis=0))
        model.update(Arrivals((k + 1) * STEP, STEP, rates[k] * STEP))
    # 238 origins; errors of neighbouring ones are shared: about 60 independent, two standard errors.
    shares = np.mean(below, axis=(0, 2))
    assert (np.abs(shares - taus) <= 2 * np.sqrt(taus * (1 - taus) / 60)).all(), dict(zip(taus, shares, strict=True))


def test_errors_are_measured_without_the_season_they_come_from():
    """Seasons with nothing in common: a profile that held its own season would call its errors half as large."""
    rng = np.random.default_rng(3)
    rates = 100 * np.exp(0.5 * rng.standard_normal(2 * PERIOD))
    usual = profile_without_own(rates.astype(np.float32), 0, PERIOD)
    assert np.allclose(usual[:PERIOD], rates[PERIOD:], rtol=1e-5)
    assert np.allclose(usual[PERIOD:], rates[:PERIOD], rtol=1e-5)


def test_a_spike_of_the_last_seasons_only_is_in_some_paths():
    """The median does not know it yet; the errors of the newest seasons do."""
    rates = np.full(6 * PERIOD, 20.0)
    for season in (4, 5):
        rates[season * PERIOD + 60 : season * PERIOD + 70] = 120.0
    rng = np.random.default_rng(4)
    model = LevelSeason(STEP, STEP * PERIOD)
    model.fit(Series(0.0, STEP, rng.poisson(rates * STEP) / STEP))
    feed(model, 6 * PERIOD * STEP, rng.poisson(20 * STEP, 56) / STEP)
    holds = (model.paths(12, 200, np.random.default_rng(0)) > 70).any(axis=1).mean()
    assert 0.15 < holds < 0.7


@given(arrays.arrays(np.float32, st.tuples(st.integers(1, 8), st.integers(1, 6)), elements=VALUES), st.integers(1, 3))
def test_the_median_of_what_is_known(values, least):
    found = middle(values, least)
    for column, value in zip(values.T, found, strict=True):
        known = column[~np.isnan(column)]
        expected = np.median(known) if len(known) >= least else math.nan
        assert value == pytest.approx(expected, rel=1e-5, nan_ok=True)


@settings(deadline=None)  # it is compiled at its first call
@given(
    arrays.arrays(np.float32, st.integers(1, 60), elements=VALUES),
    st.integers(2, 9),
    st.integers(1, 7),
    st.sampled_from([0.0, 0.05, 0.3]),
)
def test_the_profile_of_one_step_is_that_of_many(rates, period, seasons, neighbour):
    column = len(rates) - 1
    around = smooth(profile_at(rates, column - 1, 3, period, seasons, 1), neighbour)
    one = profile_of(rates, column, period, seasons, neighbour)
    assert one == pytest.approx(float(around[1]), rel=1e-4, nan_ok=True)


@given(arrays.arrays(np.float32, st.integers(1, 30), elements=VALUES), st.integers(1, 8))
def test_rolling_means_of_what_is_known(values, width):
    found = rolling_mean(values, width)
    for k in range(len(values)):
        window = values[max(k + 1 - width, 0) : k + 1]
        known = window[~np.isnan(window)]
        expected = known.astype(float).mean() if len(known) else math.nan
        assert found[k] == pytest.approx(expected, rel=1e-4, abs=1e-4, nan_ok=True)


def test_origins_are_drawn_in_proportion():
    weights = np.array([0.0, 1.0, 3.0, 0.0, 6.0])
    drawn = draw(weights, 1000, np.random.default_rng(0))
    assert np.bincount(drawn, minlength=5).tolist() == pytest.approx([0, 100, 300, 0, 600], abs=1)


def test_a_hole_in_an_error_takes_over_the_one_before():
    nan = math.nan
    filled = fill_forward(np.array([[nan, 1, nan, nan, 2]], np.float32))
    assert filled.tolist() == [[0, 1, 1, 1, 2]]


def test_added_noise_has_the_variance_of_counts():
    paths = np.full((4000, 3), 8.0, np.float32)
    lacking = np.repeat([0.0, 1.0], 2000)
    add_count_noise(paths, 15.0, lacking, np.random.default_rng(0))
    assert paths[:2000].std() == 0
    assert paths[2000:].var() == pytest.approx(8.0 / 15.0, rel=0.1)


def test_without_errors_the_level_is_as_uncertain_as_its_count():
    logs = without_errors(2.0, 50.0, 0.0, 4, 5000, np.random.default_rng(0))
    assert logs.shape == (5000, 4)
    assert logs[:, 0].std() == pytest.approx(1 / math.sqrt(100), rel=0.1)
    wide = without_errors(2.0, 50.0, 0.3, 4, 5000, np.random.default_rng(0))
    assert wide[:, 3].std() > 1.5 * wide[:, 0].std()


def returning(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    short, long = rng.normal(0, 0.3, n), rng.normal(0, 0.2, n)
    return -0.6 * short + 0.3 * long + rng.normal(0, 0.05, n), short, long


def trust(reversion: Reversion) -> np.ndarray:
    """Share of a gain that is believed, against the prior's "nothing returns"."""
    weight = reversion.sums[5]
    return weight / (weight + PRIOR_ORIGINS)


def test_how_fast_the_level_returns_is_learned():
    reversion = Reversion(4, 5000)
    for step in range(4):
        reversion.learn(step, *returning(5000, step))
    gain_short, gain_long = reversion.gains(6)
    assert gain_short == pytest.approx(np.full(6, -0.6), abs=0.03)
    assert gain_long == pytest.approx(np.full(6, 0.3), abs=0.03)


def test_online_learning_comes_to_the_same():
    reversion = Reversion(3, 2000)
    target, short, long = returning(6000, 1)
    for k in range(0, 6000, 3):
        reversion.update(target[k : k + 3], short[k : k + 3], long[k : k + 3])
    gain_short, _ = reversion.gains(3)
    assert gain_short == pytest.approx(-0.6 * trust(reversion), abs=0.02)


def test_without_data_nothing_returns():
    reversion = Reversion(3, 100)
    assert reversion.gains(3)[0].tolist() == [0, 0, 0]
    assert reversion.pull(2.0, -1.0, 3).tolist() == [0, 0, 0]


def test_one_odd_event_does_not_unteach():
    reversion = Reversion(1, 1000)
    reversion.learn(0, *returning(1000, 2))
    for _ in range(20):  # a level far below the usual one that stayed there
        reversion.update(np.array([0.0]), np.array([-1.8]), np.array([0.0]))
    assert reversion.gains(1)[0][0] < -0.5


def test_a_jump_beyond_all_that_was_seen_stays():
    reversion = Reversion(1, 1000)
    reversion.learn(0, *returning(1000, 2))
    gain = 0.6 * trust(reversion)[0]
    assert gain > 0.5
    assert reversion.pull(0.3, 0.0, 1)[0] == pytest.approx(-0.3 * gain, abs=0.01)
    assert reversion.pull(3.0, 0.0, 1)[0] > -0.7
    assert reversion.pull(-1.8, 0.0, 1)[0] == pytest.approx(1.8 * gain, abs=0.05)


def test_unknown_errors_teach_nothing():
    reversion = Reversion(2, 1000)
    reversion.learn(0, *returning(500, 2))
    before = reversion.gains(2)[0].copy()
    reversion.update(np.full(2, math.nan), np.ones(2), np.ones(2))
    assert np.array_equal(reversion.gains(2)[0], before)
