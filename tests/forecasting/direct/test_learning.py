"""What the model must find in load whose law is known, and what it must not claim."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from forecasting.direct.features import DAY
from forecasting.direct.learned import calm_of
from forecasting.forecaster import Paths
from forecasting.models.direct import Direct
from forecasting.series import Arrivals, Series

STEP = 60.0
PER_DAY = 1440
START = 100 * DAY


def counts(rate: np.ndarray, step: float = STEP, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).poisson(rate * step) / step


def daily(days: float) -> np.ndarray:
    """100/s with a wave of half of that, of a day."""
    return 100 * (1 + 0.5 * np.sin(2 * np.pi * np.arange(round(days * PER_DAY)) / PER_DAY))


def fitted(rates: np.ndarray, step: float = STEP, **options: object) -> Direct:
    model = Direct(step, **options)  # type: ignore[arg-type]
    model.fit(Series(START, step, rates))
    return model


def drawn(model: Direct, steps: int = 30, count: int = 200, seed: int = 1) -> Paths:
    return model.paths(steps, count, np.random.default_rng(seed))


@pytest.fixture(scope="module")
def wave() -> Direct:
    return fitted(counts(daily(4.25)))  # ends at the top of the wave: rising before, falling after


@pytest.fixture(scope="module")
def four_days() -> bytes:
    """A fitted model, pickled: each test has a copy of its own."""
    return pickle.dumps(fitted(counts(daily(4))))


def test_a_daily_wave_is_followed_not_held(wave: Direct):
    """A quarter of the day before its top the rate rises; the newest level would stay."""
    model = fitted(counts(daily(4.0)))  # at the mean, rising at its steepest
    assert model.reason is None
    truth = 100 * (1 + 0.5 * np.sin(2 * np.pi * 29.5 / PER_DAY))  # 106.4/s in half an hour
    middle = np.median(drawn(model)[:, 25:30])
    assert middle == pytest.approx(truth, abs=1.5)
    assert np.median(drawn(wave)[:, 25:30]) == pytest.approx(150, abs=2.5)


def test_paths_scatter_as_counts_do(wave: Direct):
    """At 150/s a minute's count is 9,000: its standard deviation is 1.58/s, beside the level's own 1.58/s."""
    spread = drawn(wave, count=400)[:, 4].std()
    assert 1.3 < spread < 3.0


def test_a_spike_every_half_hour_is_seen_before_it_comes():
    rate = np.full(3 * PER_DAY, 20.0)
    rate[np.arange(len(rate)) % 30 < 2] = 120.0
    model = fitted(counts(rate)[: 3 * PER_DAY - 5])  # the next one is 5 steps ahead, for 2 steps
    middle = np.median(drawn(model, 20), axis=0)
    assert middle[5:7].min() > 70
    assert middle[:5].max() < 45
    assert middle[8:].max() < 45


def test_wild_hours_make_wide_paths_and_calm_hours_narrow_ones():
    """Every second six hours the rate jumps from minute to minute, by a factor of e^0.5."""
    rng = np.random.default_rng(3)
    wild = np.arange(4 * PER_DAY) // 360 % 2 == 1
    rate = 50 * np.exp(np.where(wild, 0.5, 0.02) * rng.standard_normal(len(wild)))
    calm = fitted(counts(rate[: -720 + 300]))
    rough = fitted(counts(rate[: -360 + 300]))

    def width(model: Direct) -> float:
        low, high = np.quantile(drawn(model, 10), (0.1, 0.9), axis=0)
        return float(np.mean(high - low))

    assert width(rough) > 3 * width(calm)


@pytest.mark.slow
def test_coarse_history_gets_the_noise_of_counts():
    """Ten-minute means of a constant 1/s know nothing of the 15 s counts' deviation, sqrt(15)/15 = 0.26/s."""
    model = fitted(np.full(3 * 144, 1.0), step=600.0)
    assert model.step == 600.0
    fine = Direct()
    fine.fit(Series(START, 600.0, np.full(3 * 144, 1.0)))
    assert np.std(fine.kept().rates) == pytest.approx(math.sqrt(15) / 15, rel=0.05)
    assert drawn(fine, 40).std(axis=1).mean() == pytest.approx(math.sqrt(15) / 15, rel=0.25)
    assert np.std(model.kept().rates) == 0  # its own step: nothing is added


@pytest.mark.parametrize("hours", [1, 9, 26])
def test_short_history_says_something_sensible(hours: int):
    rates = counts(np.full(hours * 240, 30.0), 15.0)
    model = fitted(rates, 15.0)
    assert (model.reason is None) == (hours > 8)
    if hours == 1:
        assert "1.0 h of known history are too few" in str(model.reason)
    paths = drawn(model, 20)
    assert np.median(paths) == pytest.approx(30, abs=2)
    assert 0.5 * math.sqrt(2) < paths[:, 3].std() < 3 * math.sqrt(2)  # a count's own: sqrt(30 * 15) / 15


def test_half_a_day_is_not_extrapolated():
    """Ten hours see one rise; read as "load grows with its level and the hour", they would err ever more after it."""
    whole = counts(daily(2))
    model = fitted(whole[:600])
    assert model.reason is None
    for k in range(600, len(whole)):
        model.update(Arrivals(START + (k + 1) * STEP, STEP, whole[k] * STEP))
        if k % 120 == 0:
            assert np.median(drawn(model, 15)[:, 10:]) == pytest.approx(daily(2)[min(k + 13, 2879)], rel=0.15)


@pytest.mark.slow
def test_gaps_are_not_read_as_zero():
    """A third of all steps, and each night, is not known; what is known is 40/s."""
    rates = counts(np.full(4 * PER_DAY, 40.0))
    rates[np.random.default_rng(2).random(len(rates)) < 0.33] = np.nan
    rates[np.arange(len(rates)) % PER_DAY < 300] = np.nan
    model = fitted(rates)
    assert model.reason is None
    low, middle = np.quantile(drawn(model), (0.02, 0.5))
    assert middle == pytest.approx(40, abs=2)
    assert low > 30


def test_a_long_silence_of_the_source_falls_back_to_the_newest_level(four_days: bytes):
    model = pickle.loads(four_days)
    model.update(Arrivals(START + 40 * DAY, STEP, 70 * STEP))
    assert np.median(drawn(model, 5)) == pytest.approx(70, abs=7)


@pytest.mark.slow
def test_zeros_stay_zero_and_rare_requests_stay_rare():
    nothing = fitted(np.zeros(3 * PER_DAY))
    assert drawn(nothing).max() == 0
    rare = fitted(counts(np.full(3 * PER_DAY, 0.005)))  # 7 requests a day
    assert drawn(rare, count=400).mean() == pytest.approx(0.005, abs=0.005)


def test_a_jump_never_seen_is_followed_and_bounded(four_days: bytes):
    model = pickle.loads(four_days)
    end = START + 4 * DAY
    for k in range(5):
        model.update(Arrivals(end + (k + 1) * STEP, STEP, 5000 * STEP))
    paths = drawn(model)
    assert np.isfinite(paths).all()
    assert paths.max() <= 15_000 * 1.001  # three times the highest rate ever known
    assert np.median(paths[:, 0]) > 1000


def test_refit_on_what_is_kept_learns_the_updates():
    """The load doubles for a day and a half; a refit on the model's own series knows it; no noise is added again."""
    model = fitted(counts(daily(3.0)))
    more = counts(2 * daily(1.5), seed=5)
    for k, rate in enumerate(more.tolist()):
        model.update(Arrivals(START + 3 * DAY + (k + 1) * STEP, STEP, rate * STEP))
    kept = model.kept()
    assert kept.end == START + 4.5 * DAY
    np.testing.assert_allclose(kept.rates[-len(more) :], more, rtol=1e-5)
    before = drawn(model)
    copy = pickle.loads(pickle.dumps(model))
    model.adopt(model.study(kept))
    np.testing.assert_array_equal(model.kept().rates, kept.rates)
    assert not np.array_equal(drawn(model), before)
    assert np.median(drawn(model)) == pytest.approx(200, rel=0.07)
    copy.fit(kept)  # the same by the usual way
    np.testing.assert_array_equal(drawn(model), drawn(copy))
    with pytest.raises(ValueError, match="in steps of 15"):
        model.study(Series(0.0, 15.0, np.ones(10)))


def test_the_ring_forgets_and_origins_that_left_it_are_not_drawn():
    model = fitted(counts(daily(3.0)), keep=3 * DAY)
    end = START + 3 * DAY
    for k, rate in enumerate(counts(daily(2.9), seed=6).tolist()):
        model.update(Arrivals(end + (k + 1) * STEP, STEP, rate * STEP))
        if k % 200 == 0:
            assert np.isfinite(drawn(model)).all()
    assert len(model.kept().rates) <= 3 * PER_DAY * 17 / 16 + 64
    truth = 100 * (1 + 0.5 * np.sin(2 * np.pi * 0.9))
    assert np.median(drawn(model, 5)) == pytest.approx(truth, rel=0.1)


def test_a_regression_that_cannot_be_solved_says_so(monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object) -> None:
        raise np.linalg.LinAlgError("not positive definite")

    monkeypatch.setattr("forecasting.direct.learned.fit_ridge", broken)
    model = fitted(counts(daily(3)))
    assert "the regression failed (not positive definite)" in str(model.reason)
    assert np.median(drawn(model, 5)) == pytest.approx(100, rel=0.1)


def test_calm_scales_with_the_load():
    assert calm_of(np.full(10, 100.0, np.float32), 15.0) == pytest.approx(2 + 0.5 / 15)
    assert calm_of(np.zeros(10, np.float32), 15.0) == pytest.approx(0.5 / 15)


@pytest.mark.parametrize("options", [{"step": 0.0}, {"keep": 60.0}, {"horizon": 1.0}, {"periods": (0.0,)}])
def test_senseless_settings_are_refused(options: dict[str, object]):
    with pytest.raises(ValueError, match="wanted"):
        Direct(**options)  # type: ignore[arg-type]
