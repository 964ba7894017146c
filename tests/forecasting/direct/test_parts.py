"""The parts by hand: features, targets, regression, the draw, and what is kept."""

from __future__ import annotations

import math

import numpy as np
import pytest

from forecasting.direct.draw import Between, Origins, Present, _leaf, between, draw, outlook
from forecasting.direct.features import DAY, describe, layout
from forecasting.direct.forest import Forest, grow_forest
from forecasting.direct.kept import Kept
from forecasting.direct.learned import Growth, _compressed, _targets, learn
from forecasting.direct.ridge import fit_ridge, predict
from forecasting.errors import NotEnoughHistory
from forecasting.series import Arrivals, Series

CALM = 1.0


def described(rates: np.ndarray, origin: int, step: float = 60.0, first: int = 0) -> tuple[np.ndarray, float]:
    has = layout(step, 7 * DAY, (1800.0,))
    out, levels = np.empty((1, has.size), np.float32), np.empty(1, np.float32)
    describe(rates.astype(np.float32), first, np.array([origin]), CALM, has, out, levels)
    return out[0], float(levels[0])


def test_level_and_windows_are_means_over_what_is_known():
    rates = np.full(3000, 9.0)
    rates[1999] = 19.0
    rates[1998] = np.nan
    features, level = described(rates, 2000)
    assert level == pytest.approx(math.log(20))
    # Windows of 2, 5, 10, 30, 60 steps: a mean of 19 and nines, without the step that is not known.
    means = [19.0, (19 + 27) / 4, (19 + 72) / 9, (19 + 252) / 29, (19 + 522) / 59]
    assert features[:5] == pytest.approx([math.log(mean + 1) - math.log(20) for mean in means], abs=1e-5)


def test_yesterday_ahead_and_the_phase_of_a_period():
    rates = np.full(3000, 9.0)
    rates[2000 - 1440 + 4] = 39.0  # yesterday, the fifth step from here
    has = layout(60.0, 7 * DAY, (1800.0,))
    features, level = described(rates, 2000)
    at = int(has.calendar[1])
    assert level == pytest.approx(math.log(10))
    assert features[at] == pytest.approx(0, abs=1e-6)
    ahead = features[at + 1 : at + 1 + len(has.ahead)]
    assert ahead == pytest.approx([math.log(4) if steps == 5 else 0 for steps in has.ahead], abs=1e-5)
    rates[[1971, 1941]] = 249.0  # in 2 of the cycles of 30 steps, the step that is the second from here
    features, _ = described(rates, 2000)
    of_period = features[-2 - 1 - len(has.period_ahead) : -2]
    raised = math.log((22 * 9 + 2 * 249) / 24 + 1) - math.log(10)
    assert of_period == pytest.approx([0, *(raised if steps == 2 else 0 for steps in has.period_ahead)], abs=1e-5)


def test_the_future_is_not_looked_at():
    rates = np.random.default_rng(0).random(4000) * 50
    changed = rates.copy()
    changed[3000:] = 1e6
    np.testing.assert_array_equal(described(rates, 3000)[0], described(changed, 3000)[0])
    changed[2999] = 1e6
    assert not np.array_equal(described(rates, 3000)[0], described(changed, 3000)[0])


def test_targets_are_means_of_bins_over_what_is_known():
    rates = np.array([1, 2, np.nan, 4, 6, np.nan, np.nan, np.nan], np.float32)
    values, enough = _targets(rates, np.array([0, 1, 4]), np.array([1, 4]), CALM)
    assert enough.tolist() == [True, True, False]
    assert np.exp(values[:2]) - CALM == pytest.approx(np.array([[1, 3], [2, 5]]))


def test_regression_finds_a_law_and_leaves_each_block_out():
    rng = np.random.default_rng(1)
    features = rng.standard_normal((400, 5)).astype(np.float32)
    features[rng.random(features.shape) < 0.05] = np.nan
    law = np.array([[0.5], [0.0], [-0.3], [0.0], [0.0]])
    targets = (np.nan_to_num(features) @ law + 0.01 * rng.standard_normal((400, 1)) + 0.2).astype(np.float32)
    blocks = np.repeat(np.arange(4), 100)
    ridge, left_out = fit_ridge(features, targets, blocks)
    predicted = np.empty_like(targets)
    predict(ridge.standardised(features), ridge.weights, ridge.least, ridge.most, predicted)
    assert predicted == pytest.approx(targets, abs=0.08)
    wild = ridge.standardised(np.full((1, 5), 1e6, np.float32))
    assert wild == pytest.approx(ridge.standardised(features).max(axis=0, keepdims=True), abs=1e-4)
    other = targets.copy()
    other[:100] = 0.9 * other[:100] + 0.01
    assert fit_ridge(features, other, blocks)[1][:100] == pytest.approx(left_out[:100], abs=1e-3)
    noise = rng.standard_normal((400, 1)).astype(np.float32)
    weights = fit_ridge(features, noise, blocks)[0].weights
    assert np.abs(weights).max() < 0.15


def test_calendar_terms_wait_for_two_days():
    has = layout(60.0, 7 * DAY, ())
    for days, used in ((1, False), (3, True)):
        rates = np.random.default_rng(2).poisson(600, days * 1440).astype(np.float32) / 60
        learned = learn(rates, 0, 60.0, has, np.array([1, 5, 10]), Growth(trees=1), 0)
        assert learned is not None
        known = np.isfinite(learned.ridge.scale[has.calendar])
        assert known.any() == used


def test_leaves_hold_what_is_alike():
    rng = np.random.default_rng(3)
    x = rng.random((2000, 3)).astype(np.float32)
    y = np.where(x[:, :1] > 0.5, 1.0, -1.0).astype(np.float32)
    forest = grow_forest(x, y, np.arange(2000), rng, trees=5, samples=1000, least=20, listed=8)
    assert forest.members.shape == (len(forest.feature) + 5, 8)
    assert (np.diff(forest.members.astype(int)) >= 0).all()  # in the order that was given
    assert np.abs(y[forest.members, 0].mean(axis=1)).mean() > 0.9


def test_who_goes_down_a_tree_finds_who_was_put_there():
    rng = np.random.default_rng(4)
    x = rng.random((3000, 4)).astype(np.float32)
    y = (x[:, :2] * 3).round().astype(np.float32)
    forest = grow_forest(x, y, rng.permutation(3000), rng, trees=6, samples=2000, least=16, listed=8)
    assert forest.start[0] == 0
    assert forest.start[-1] == len(forest.feature) == len(forest.left) == len(forest.threshold)
    for tree in range(6):
        own = range(int(forest.start[tree]) + tree, int(forest.start[tree + 1]) + tree + 1)
        assert {_leaf(forest, tree, x[member]) for leaf in own for member in forest.members[leaf]} == set(own)
        assert all(_leaf(forest, tree, x[member]) == leaf for leaf in own for member in forest.members[leaf])


def test_a_tree_without_a_split_is_one_leaf():
    x = np.zeros((100, 2), np.float32)
    forest = grow_forest(x, x, np.arange(100), np.random.default_rng(5), trees=3, samples=80, least=16, listed=8)
    assert forest.start.tolist() == [0, 0, 0, 0]
    assert [_leaf(forest, tree, x[0]) for tree in range(3)] == [0, 1, 2]
    assert forest.members.shape == (3, 8)


def one_leaf(members: list[int]) -> Forest:
    none = np.zeros(0, np.uint16)
    return Forest(
        none.astype(np.int8), none.astype(np.float32), none, np.zeros(2, np.int32), np.array([members], np.uint16)
    )


def drawn(members: list[int], shift: int, rates: list[float], longest: int = 1) -> np.ndarray:
    """One bin of two steps; origins at columns 1 and 3, at a level of 4 + 1; the present is at 9 + 1."""
    origins = Origins(
        np.array([1, 3], np.int32),
        np.array([[100], [0]], np.int8),
        np.array([[math.log(2) / 100]], np.float32),  # the first one was forecast to double
        1,
        longest,
    )
    out = np.empty((2, 3), np.float32)
    leaf, known = one_leaf(members), (origins, np.array(rates, np.float32), shift)
    flat, level, others = np.zeros(1, np.float32), math.log(10), (between(np.array([2])), CALM, 100.0)
    draw(np.array([0, 1]), np.full(2, 0.5), Present(leaf, flat, *known, level, flat, *others), out)
    means = np.empty((1, 1, 2), np.float32)
    outlook(leaf, flat[None], *known, np.full(1, level, np.float32), flat[None], *others, np.array([2]), 2, means)
    if shift == 0 and 0 not in rates:  # the same law, without its order
        assert sorted(means[0, 0]) == pytest.approx(sorted(out[:, :2].mean(axis=1)), abs=1e-3)
    return out


@pytest.mark.slow
def test_a_path_is_the_forecast_times_a_past_error():
    paths = drawn([0, 1], 0, [4, 9, 4, 9, 19])
    # Origin 0 saw 9, 4, 9 where 9 was forecast; origin 1 saw 9, 19 and no more, where 4 was: both onto 9 + 1.
    assert paths == pytest.approx(np.array([[9, 4, 9], [19, 39, 39]]), abs=1e-3)


def test_no_request_times_any_factor_is_none():
    """Origin 1 saw nothing for a step, at half the present's level; and then 19."""
    paths = drawn([1, 1], 0, [4, 9, 4, 0, 19])
    assert paths == pytest.approx(np.array([[0, 39, 39]] * 2), abs=1e-3)


def test_origins_that_left_the_ring_are_passed_over():
    # Two steps have left: origin 0 stood at column -1 now, origin 1 at column 1.
    paths = drawn([0, 1], -2, [4, 9, 19])
    assert paths == pytest.approx(np.array([[19, 39, 39]] * 2), abs=1e-3)


def test_a_level_may_need_rates_from_long_before_and_goes_with_them():
    # Before origin 1 came nothing for a step, so that its level is that of three.
    assert drawn([1, 1], 0, [4, 4, math.nan, 9, 19], 3) == pytest.approx(np.array([[19, 39, 39]] * 2), abs=1e-3)
    # One step has left, and with it what the level of origin 0, but not of origin 1, may need.
    assert drawn([0, 1], -1, [4, 4, 9, 19], 2) == pytest.approx(np.array([[19, 39, 39]] * 2), abs=1e-3)
    assert drawn([0, 0], -1, [4, 4, 9, 19], 2) == pytest.approx(np.full((2, 3), 9.0), abs=1e-3), "the prediction"
    few = np.zeros((2, 1), np.int8)
    origins = Origins(np.array([1, 3], np.int32), few, np.zeros((1, 1), np.float32), 1, 2)
    assert [origins.gone(shift) for shift in (0, -1, -2)] == [False, False, True]


def test_predictions_are_kept_in_few_bits_nearly_as_they_are():
    """Three parts in 8 bits, each with what the rounding of those before has left: 1/254 of the largest, cubed."""
    rng = np.random.default_rng(7)
    line = np.outer(rng.standard_normal(500), np.array([3.0, 4.0])).astype(np.float32)
    numbers, parts = _compressed(line, 3)
    assert numbers.dtype == np.int8
    largest = np.abs(np.linalg.norm(line, axis=1)).max()
    assert np.abs(numbers @ parts - line).max() < 1e-6 * largest
    assert np.abs(numbers[:, :1] @ parts[:1] - line).max() == pytest.approx(0.8 * largest / 254, rel=0.05)
    assert (_compressed(np.zeros((5, 2), np.float32), 2)[0] == 0).all()


def test_steps_lie_between_the_centres_of_bins():
    at: Between = between(np.array([1, 2, 4]))  # centres 0.5, 1.5, 3
    value = np.array([0.5, 1.5, 3.0])  # a straight line stays one, flat behind the last centre
    line = value[at.left] + at.share * (value[at.right] - value[at.left])
    assert line == pytest.approx([0.5, 1.5, 2.5, 3.0])


def test_a_new_history_replaces_the_old_one_and_not_the_updates():
    kept = Kept(60.0, 1000, 0)
    kept.fit(Series(0.0, 60.0, np.full(50, 10.0)))
    for k in range(50, 60):
        kept.update(Arrivals((k + 1) * 60.0, 60.0, 20.0 * 60))
    kept.fit(Series(0.0, 60.0, np.full(58, 30.0)))
    assert kept.rates.tolist() == [30.0] * 50 + [20.0] * 10
    kept.update(Arrivals(3660.0, 60.0, 1e300))
    assert np.isfinite(kept.rates).all()
    assert len(kept.rates) == 61
    kept = Kept(60.0, 1000, 0)
    kept.fit(Series(0.0, 60.0, np.full(58, 30.0)))
    with pytest.raises(NotEnoughHistory):
        kept.fit(Series(0.0, 60.0, np.full(5, np.nan)))
    assert kept.rates.tolist() == [30.0] * 58
