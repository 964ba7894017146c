"""What came widens or narrows what is said next: by how much, when, and when not."""

from __future__ import annotations

import math
import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.calibration import coverage
from forecasting.calibration_study import follow
from forecasting.direct.feedback import LEVELS, Feedback, Range
from forecasting.models.direct import Direct
from forecasting.series import Arrivals, Series

STEP = 60.0
CALM = 1.0
NEVER_BUSY = Range(100.0, 101.0)


def one_horizon() -> Feedback:
    """Judges the mean of the minute that ends a minute ahead."""
    feedback = Feedback(STEP, 1)
    assert feedback.factors.ends.tolist() == [1]
    return feedback


def said(feedback: Feedback, rates: np.ndarray, busy: Range = NEVER_BUSY) -> None:
    """101 samples: 0, 1, ... 100 requests/s."""
    samples = np.arange(101, dtype=np.float32)[None, None, :].repeat(len(feedback.factors.ends), axis=1)
    feedback.take(rates.astype(np.float32), 0, samples, CALM, busy)


def test_a_miss_moves_the_factors_up_and_a_hit_down_a_little():
    feedback = one_horizon()
    said(feedback, np.array([50.0]))
    assert (feedback.factors.always == 0).all()  # nothing has come yet
    # Hazen's quantiles of 0 to 100: 90.4, 95.45, 99.49. 93 is above the first only.
    said(feedback, np.array([50.0, 93.0]))
    assert feedback.factors.always[0] == pytest.approx([0.03 * 0.9, -0.03 * 0.05, -0.03 * 0.01])
    said(feedback, np.array([50.0, 93.0, 10.0]))
    assert feedback.factors.always[0] == pytest.approx([0.03 * 0.8, -0.03 * 0.1, -0.03 * 0.02])
    assert (feedback.factors.busy == 0).all()


def test_busy_hours_move_their_own_factors_too():
    feedback = one_horizon()
    half = Range(math.log(50 + CALM) - 1, math.log(50 + CALM) + 1)  # the median is 50: half busy
    said(feedback, np.array([50.0]), half)
    said(feedback, np.array([50.0, 93.0]), half)
    assert feedback.factors.always[0, 0] == pytest.approx(0.03 * 0.9)
    assert feedback.factors.busy[0, 0] == pytest.approx(0.05 * 0.5 * 0.9, rel=1e-3)


def test_outcomes_are_judged_when_the_horizon_has_passed_and_more_slowly_far_ahead():
    feedback = Feedback(STEP, 5)
    assert feedback.factors.ends.tolist() == [1, 5]
    rates = np.full(12, 200.0)  # always above all
    for known in range(1, 6):
        said(feedback, rates[:known])
    assert feedback.factors.always[0, 2] > 0
    assert (feedback.factors.always[1] == 0).all()
    said(feedback, rates[:6])  # five minutes after the first was said
    assert feedback.factors.always[1] == pytest.approx(0.03 * math.sqrt(1 / 5) * np.array(LEVELS))


def test_nothing_moves_in_gaps_and_never_beyond_the_bounds():
    feedback = one_horizon()
    said(feedback, np.array([50.0]))
    said(feedback, np.array([50.0, np.nan]))
    said(feedback, np.array([50.0, np.nan, np.nan, np.nan]))  # two minutes at once: the one before was not asked for
    said(feedback, np.array([50.0, np.nan, np.nan, np.nan, np.nan, 500.0]))
    assert (feedback.factors.always == 0).all()
    rates = np.full(400, 1e4)
    for known in range(7, 400):
        said(feedback, rates[:known])
    assert feedback.factors.always[0] == pytest.approx([0.9] * 3)


def widened(paths: np.ndarray, always: list[float], busy: list[float], range_: Range = NEVER_BUSY) -> np.ndarray:
    feedback = one_horizon()
    feedback.factors.always[0] = always
    feedback.factors.busy[0] = busy
    out = paths.astype(np.float32)
    feedback.widen(out, CALM, range_, 1e6)
    return out


def test_distances_above_the_median_follow_their_quantiles():
    paths = np.random.default_rng(0).permutation(np.arange(101.0))[:, None] + 100.0
    wide = widened(paths, [math.log(2), math.log(2), math.log(2)], [0, 0, 0])
    below = paths <= 150
    np.testing.assert_allclose(wide[below], paths[below])
    np.testing.assert_allclose(wide[~below], 150 + 2 * (paths[~below] - 150), rtol=1e-5)
    # Only .99 is said too low: from .9 (40.4 above) nothing changes, .95 is 45.45, .99 goes from 49.49 to 74.235.
    tail = widened(paths, [0, 0, math.log(1.5)], [0, 0, 0])
    found = dict(zip(paths[:, 0].tolist(), tail[:, 0].tolist(), strict=True))
    assert found[190] == pytest.approx(190)
    assert found[199] == pytest.approx(150 + 45.45 + (49 - 45.45) / (49.49 - 45.45) * (74.235 - 45.45), rel=1e-4)
    assert found[200] == pytest.approx(150 + 74.235 + 1.5 * (50 - 49.49), rel=1e-4)
    # Narrower: what lies beyond the last quantile keeps its own distance from it.
    narrow = widened(paths, [math.log(0.5)] * 3, [0, 0, 0])
    assert narrow.max() == pytest.approx(150 + 49.49 / 2 + (50 - 49.49), rel=1e-4)
    busy = widened(paths, [0, 0, 0], [math.log(2)] * 3, Range(0.0, 1.0))
    np.testing.assert_allclose(busy, wide, rtol=1e-5)


def half_quiet(feedback: Feedback, rates: np.ndarray, nothing: int) -> None:
    """100 samples: ``nothing`` of them 0, the others 1, 2, ... requests/s."""
    samples = np.maximum(np.arange(100) - nothing + 1, 0).astype(np.float32)[None, None, :]
    feedback.take(rates.astype(np.float32), 0, samples.copy(), CALM, NEVER_BUSY)


def learned_of_nothing(nothing: int, quiet: float) -> Feedback:
    """After ten thousand minutes of which a share of ``quiet`` brought nothing, and ``nothing`` in 100 was said."""
    feedback = one_horizon()
    rates = np.where(np.random.default_rng(0).random(10_000) < quiet, 0.0, 3.0)
    for known in range(1, len(rates)):
        half_quiet(feedback, rates[:known], nothing)
    return feedback


def emptied(feedback: Feedback, nothing: int) -> np.ndarray:
    paths = np.random.default_rng(1).permutation(np.maximum(np.arange(200) - 2 * nothing + 1, 0))[:, None]
    out = paths.astype(np.float32)
    feedback.factors.always[:] = 0
    feedback.widen(out, CALM, NEVER_BUSY, 1e6)
    gone = (paths > 0) & (out == 0)
    assert (out[~gone] == paths[~gone]).all()
    assert not gone.any() or paths[gone].max() < paths[~gone & (paths > 0)].min()  # those of the least
    return out


def test_nothing_is_said_as_often_as_it_comes():
    sure = learned_of_nothing(80, 0.96)
    assert np.count_nonzero(emptied(sure, 80) == 0) == pytest.approx(192, abs=4)
    # The same odds of another share: 60 % become 72 %.
    assert np.count_nonzero(emptied(sure, 60) == 0) == pytest.approx(200 / (1 + (0.4 / 0.6) ** 2.29), abs=8)
    # With 96 %, the quantile at 0.95 is nothing now; that at 0.99 is where it was.
    half_quiet(sure, np.zeros(10_001), 80)
    slot = 10_001 % len(sure.factors.origins)
    assert sure.factors.limits[slot, 0, 1] < 0.5 / STEP
    assert sure.factors.limits[slot, 0, 2] > 10


def test_of_paths_that_are_alike_no_more_are_emptied_than_the_odds_say():
    sure = learned_of_nothing(80, 0.96)
    alike = np.repeat(np.array([0.0, 2.0], np.float32), (120, 80))[:, None]
    sure.widen(alike, CALM, NEVER_BUSY, 1e6)
    assert np.count_nonzero(alike) == pytest.approx(57, abs=8)


@pytest.mark.parametrize(("nothing", "quiet"), [(80, 0.8), (80, 0.5), (40, 0.9), (0, 1.0), (100, 0.9)])
def test_nothing_is_left_as_it_was_drawn_unless_it_is_the_likelier_and_comes_more_often(nothing: int, quiet: float):
    assert np.count_nonzero(emptied(learned_of_nothing(nothing, quiet), nothing) == 0) == pytest.approx(
        2 * nothing, abs=3
    )


def test_nothing_moves_by_the_log_score_and_not_in_gaps():
    feedback = one_horizon()
    half_quiet(feedback, np.array([3.0]), 80)
    half_quiet(feedback, np.array([3.0, np.nan]), 80)
    assert feedback.factors.nothing.tolist() == [1.0]
    odds = math.log(80.5 / 20.5)
    half_quiet(feedback, np.array([3.0, np.nan, 0.0]), 80)
    once = 1 + 0.01 * odds * (1 - 1 / (1 + math.exp(-odds)))
    assert feedback.factors.nothing[0] == pytest.approx(once, rel=1e-6)
    rates = np.array([3.0, np.nan, 0.0, *[np.nan] * 20])
    for known in range(4, len(rates)):
        half_quiet(feedback, rates[:known], 80)
    assert feedback.factors.nothing[0] == pytest.approx(once, rel=1e-6)


@pytest.mark.parametrize("nothing", [0, 20, 50, 100])
@pytest.mark.parametrize("came", [0.0, 3.0])
def test_an_outcome_says_nothing_of_nothing_where_it_was_not_the_likelier(nothing: int, came: float):
    """Nor where it was all that was said: there is nothing to empty."""
    feedback = one_horizon()
    feedback.factors.nothing[:] = 1.5
    for known in range(1, 50):
        half_quiet(feedback, np.full(known, came), nothing)
    assert feedback.factors.nothing.tolist() == [1.5]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(51, 99), st.floats(0, 1))
def test_the_odds_of_nothing_are_multiplied_by_one_to_three(seed: int, nothing: int, quiet: float):
    feedback = one_horizon()
    feedback.speed[:] = 20.0  # as twenty minutes each: the bounds are reached
    rates = np.where(np.random.default_rng(seed).random(300) < quiet, 0.0, 3.0)
    found = []
    for known in range(1, len(rates)):
        half_quiet(feedback, rates[:known], nothing)
        found.append(float(feedback.factors.nothing[0]))
    assert 1.0 <= min(found) <= max(found) <= 3.0


def test_the_bounds_of_nothing_are_reached():
    feedback = one_horizon()
    feedback.speed[:] = 100.0
    for rate, bound in ((0.0, 3.0), (3.0, 1.0)):
        for known in range(1, 100):
            half_quiet(feedback, np.full(known, rate), 60)
        assert feedback.factors.nothing.tolist() == [bound]


def rehearsed(quiet: float) -> Feedback:
    """2,000 past forecasts for two horizons, at each of which 80 in 100 samples were nothing."""
    feedback = Feedback(STEP, 5)
    samples = np.maximum(np.arange(100) - 79, 0).astype(np.float32)
    came = np.where(np.random.default_rng(2).random((2000, 2)) < quiet, 0.0, 3.0)
    feedback.rehearse(np.tile(samples, (2000, 2, 1)), came, CALM, NEVER_BUSY)
    return feedback


def test_a_rehearsal_learns_how_often_nothing_comes_and_a_start_takes_it_over():
    unsure = rehearsed(0.96).factors
    assert (unsure.nothing > 1.5).all()
    assert unsure.nothing[0] > unsure.nothing[1], "more slowly far ahead"
    assert (rehearsed(0.6).factors.nothing < 1.05).all()
    feedback = Feedback(STEP, 5)
    feedback.begin(unsure)
    np.testing.assert_array_equal(feedback.factors.nothing, unsure.nothing)
    unsure.nothing[:] = 2.9
    assert (feedback.factors.nothing < 2.9).all(), "a copy"
    own = feedback.factors.nothing.copy()
    half_quiet(feedback, np.array([0.0]), 80)
    feedback.begin(unsure)
    np.testing.assert_array_equal(feedback.factors.nothing, own)


def test_a_first_fit_on_sparse_load_learns_how_often_nothing_comes_and_keeps_it():
    """Half an hour of load every four hours: before and after it nothing comes, and the trees are not so sure."""
    minutes = np.arange(1440)
    rates = np.where(minutes // 30 % 8 == 0, np.random.default_rng(3).poisson(10, 1440) / STEP, 0.0)
    model = Direct(STEP, horizon=300.0, periods=())
    studied = model.study(Series(0.0, STEP, rates))
    assert (model.feedback.factors.nothing == 1).all(), "study changes nothing"
    model.fit(Series(0.0, STEP, rates))
    assert studied.learned is not None
    assert studied.learned.factors is not None
    learned = model.feedback.factors.nothing.copy()
    np.testing.assert_array_equal(learned, studied.learned.factors.nothing)
    assert (learned > 1.05).all()
    for minute in range(30):
        model.update(Arrivals(86400.0 + 60.0 * (minute + 1), STEP, 0.0))
    mine = model.feedback.factors.nothing
    assert (mine != learned).any(), "learned from since"
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.feedback.factors.nothing, mine)
    refitted = copy.study(copy.kept())
    assert refitted.learned is not None
    assert refitted.learned.factors is None
    copy.adopt(refitted)
    np.testing.assert_array_equal(copy.feedback.factors.nothing, mine)


def test_whole_windows_are_emptied_and_between_horizons_as_many_as_lie_between():
    feedback = Feedback(15.0, 120)
    assert (feedback.width, feedback.factors.ends.tolist()) == (4, [4, 20, 40, 120])
    feedback.factors.nothing[:] = 1.0, 2.0, 1.2, 2.5
    rng = np.random.default_rng(4)
    paths = np.zeros((200, 124), np.float32)
    for window in range(31):  # 120 of 200 hold nothing; of the others no step but one
        busy = rng.permutation(200)[:80]
        paths[busy, 4 * window + rng.integers(0, 4, 80)] = rng.permutation(np.arange(1, 81)) / 15.0
    out = paths.copy()
    feedback.widen(out, CALM, NEVER_BUSY, 1e6)
    before, after = paths.reshape(200, 31, 4), out.reshape(200, 31, 4)
    gone = (before.sum(axis=2) > 0) & (after == 0).all(axis=2)
    np.testing.assert_allclose(after[~gone], before[~gone], rtol=1e-5)
    empty = (after == 0).all(axis=2).sum(axis=0)  # paths, by window
    odds = math.log(120.5 / 80.5)
    ends = [0, 4, 9, 29]  # windows
    assert empty[ends] == pytest.approx([round(200 / (1 + math.exp(-k * odds))) for k in (1.0, 2.0, 1.2, 2.5)], abs=1)
    for left, right in pairwise(ends):
        between = empty[left : right + 1]
        assert (np.diff(between) * np.sign(empty[right] - empty[left]) >= 0).all()
    assert len(set(empty[ends[0] : ends[1] + 1])) == 5, "by and by"
    assert empty[30] == empty[29], "beyond the last as at the last"


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(1, 40),
    st.lists(st.floats(-0.9, 0.9), min_size=3, max_size=3),
    st.sampled_from([15.0, 60.0, 300.0]),
)
def test_order_zeros_and_the_lower_half_stay(seed: int, count: int, factors: list[float], step: float):
    feedback = Feedback(step, round(1800 / step))
    feedback.factors.always[:] = factors
    drawn = np.random.default_rng(seed).gamma(0.5, 20.0, (count, feedback.width)).astype(np.float32)
    drawn[::3] = 0.0
    paths = drawn.copy()
    feedback.widen(paths, CALM, NEVER_BUSY, 1e6)
    before, after = drawn.mean(axis=1), paths.mean(axis=1)
    order = np.argsort(before, kind="stable")
    assert (np.diff(after[order]) >= -1e-3).all()
    lower = before <= np.median(before) * (1 - 1e-6)
    np.testing.assert_array_equal(drawn[lower], paths[lower])
    assert (paths[drawn == 0] == 0).all()
    assert np.isfinite(paths).all()


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(1, 60),
    st.floats(0.0, 1.0),
    st.floats(1.0, 3.0),
    st.lists(st.floats(-0.9, 0.9), min_size=3, max_size=3),
    st.sampled_from([15.0, 60.0, 300.0]),
)
def test_where_more_is_emptied_order_and_zeros_stay(
    seed: int, count: int, quiet: float, nothing: float, factors: list[float], step: float
):
    """As above, but for the lower half: it stays, or becomes nothing, and that only where nothing is the likelier."""
    feedback = Feedback(step, round(1800 / step))
    feedback.factors.always[:] = factors
    feedback.factors.nothing[:] = nothing
    rng = np.random.default_rng(seed)
    drawn = rng.gamma(0.5, 20.0, (count, feedback.width)).astype(np.float32)
    drawn[rng.random(count) < quiet] = 0.0
    paths = drawn.copy()
    feedback.widen(paths, CALM, NEVER_BUSY, 1e6)
    before, after = drawn.mean(axis=1), paths.mean(axis=1)
    order = np.argsort(before, kind="stable")
    assert (np.diff(after[order]) >= -1e-3).all()
    emptied = (paths == 0).all(axis=1)
    none = before < np.float32(0.5 / (feedback.width * step))  # less than half a request in the window
    assert 2 * np.count_nonzero(none) > count or not emptied[before > 0].any()
    lower = (before <= np.median(before) * (1 - 1e-6)) & ~emptied
    np.testing.assert_array_equal(drawn[lower], paths[lower])
    assert (paths[drawn == 0] == 0).all()
    assert np.isfinite(paths).all()
    assert (paths >= 0).all()


def noisy(days: float, spread: float, seed: int) -> np.ndarray:
    return 100 * np.exp(spread * np.random.default_rng(seed).standard_normal(round(days * 1440)))


def test_noise_that_was_never_seen_is_covered_after_a_day():
    """The spread doubles after the fit: without feedback 90 % would cover three quarters."""
    model = Direct(STEP, horizon=600.0, periods=())
    model.fit(Series(0.0, STEP, noisy(2.0, 0.1, 1)))
    assert model.reason is None
    load = Series(2 * 86400.0, STEP, noisy(2.0, 0.2, 2))
    found = follow(model, load, horizons=(60.0, 300.0), every=420.0, count=100, begin=3 * 86400.0)
    for outcomes in found:
        tau90, tau95, tau99 = coverage(outcomes)[:3]
        assert tau90.share == pytest.approx(0.9, abs=0.035)
        assert tau95.share == pytest.approx(0.95, abs=0.03)
        assert tau99.share > 0.96
    factors = model.feedback.factors
    assert (factors.always[:2, 0] > 0.3).all()
    # Kept in a copy and over a refit, which learns no new start.
    copy = pickle.loads(pickle.dumps(model))
    studied = copy.study(copy.kept())
    assert studied.learned is not None
    assert studied.learned.factors is None
    copy.adopt(studied)
    np.testing.assert_array_equal(copy.feedback.factors.always, factors.always)
    before = factors.always.copy()
    model.update(Arrivals(5e6, STEP, 6000.0))  # after a long gap
    np.testing.assert_array_equal(before, factors.always)


def test_a_first_fit_starts_from_what_past_days_would_have_taught():
    """The newest hours were wild, and a forest of the others knows only calm ones."""
    rates = np.concatenate((noisy(2.4, 0.05, 3), noisy(0.6, 0.4, 4)))
    model = Direct(STEP, horizon=300.0, periods=())
    studied = model.study(Series(0.0, STEP, rates))
    assert studied.learned is not None
    assert studied.learned.factors is not None
    assert (studied.learned.factors.always > 0.5).all()
    assert (model.feedback.factors.always == 0).all()  # study changes nothing
    even = model.study(Series(0.0, STEP, noisy(3.0, 0.2, 5))).learned
    assert even is not None
    assert even.factors is not None
    assert (np.abs(even.factors.always) < 0.2).all()
    model.adopt(studied)
    np.testing.assert_array_equal(model.feedback.factors.always, studied.learned.factors.always)
