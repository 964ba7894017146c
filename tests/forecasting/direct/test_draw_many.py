"""What is drawn for many paths at once is, to the last bit, what one path after the other comes to."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from forecasting.direct.draw import Between, Origins, Present, between, draw
from forecasting.direct.features import level_at
from forecasting.direct.feedback import LEVELS, _moved, windows
from forecasting.direct.forest import Forest
from forecasting.trajectories import possible

CALM = 0.3
ENDS = np.array([1, 2, 4, 8, 20])


def one_leaf(members: list[int]) -> Forest:
    """A tree that asks nothing."""
    nothing = np.empty(0, np.int8), np.empty(0, np.float32), np.empty(0, np.uint16)
    return Forest(*nothing, np.zeros(2, np.int32), np.array([members], np.uint16))


@st.composite
def origins(draw: st.DrawFn) -> tuple[np.ndarray, Origins]:
    """Rates with gaps and zeros, and origins in them."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rates = rng.gamma(0.5, 20.0, 200).astype(np.float32)
    rates[rng.random(200) < draw(st.sampled_from([0.0, 0.2, 0.9]))] = 0.0
    rates[rng.random(200) < draw(st.sampled_from([0.0, 0.1, 0.6]))] = np.nan
    columns = np.sort(rng.choice(np.arange(40, 200), 8, replace=False)).astype(np.uint16)
    predicted = rng.integers(-128, 128, (8, 3)).astype(np.int8)
    parts = (0.02 * rng.standard_normal((3, len(ENDS)))).astype(np.float32)
    return rates, Origins(columns, predicted, parts, 4, 40)


def one_by_one(
    picked: list[int], known: Origins, rates: np.ndarray, level: float, said: np.ndarray, at: Between, most: float
) -> np.ndarray:
    """Paths [picked, steps], step by step."""
    paths = np.empty((len(picked), len(at.left)), np.float32)
    for p, origin in enumerate(picked):
        column = int(known.columns[origin])
        towards = np.float32(level - level_at(rates, column, CALM, known.width, known.longest)) + said
        for times, part in zip(known.predicted[origin], known.parts, strict=True):
            towards = towards - np.float32(times) * part
        newest = math.exp(level + float(said[0]))
        for k in range(paths.shape[1]):
            rate = rates[column + k] if column + k < len(rates) else np.float32(np.nan)
            if not np.isnan(rate):
                left, right = towards[at.left[k]], towards[at.right[k]]
                factor = float(left + at.share[k] * (right - left))
                factor = factor if rate > 0 else min(factor, 0.0)
                newest = (float(rate) + CALM) * float(np.exp(np.float64(factor)))
            paths[p, k] = min(max(newest - CALM, 0.0), most)
    return paths


@settings(max_examples=60, deadline=None)
@given(origins(), st.floats(-2.0, 6.0), st.integers(0, 2**32 - 1), st.sampled_from([3.0, 1e6]))
def test_paths_are_those_of_one_origin_each(
    made: tuple[np.ndarray, Origins], level: float, seed: int, most: float
) -> None:
    rates, known = made
    rng = np.random.default_rng(seed)
    members, count = rng.integers(0, 8, 4).tolist(), 7
    said, at = (0.5 * rng.standard_normal(len(ENDS))).astype(np.float32), between(ENDS)
    places, uniforms = rng.permutation(count), rng.random(count)
    out = np.full((count, int(ENDS[-1])), np.nan, np.float32)
    features = np.zeros(1, np.float32)
    present = Present(one_leaf(members), features, known, rates, 0, level, said, at, CALM, most)
    draw(places, uniforms, present, out)
    picked = [members[min(int((places[p] + uniforms[p]) / count * 4), 3)] for p in range(count)]
    expected = one_by_one(picked, known, rates, level, said, at, most)
    lost = [math.isnan(level_at(rates, int(known.columns[origin]), CALM, 4, 40)) for origin in picked]
    assume(not any(lost))  # of those that are learned from the level is known
    assert out.tobytes() == expected.tobytes()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 30), st.integers(1, 7), st.integers(0, 2**32 - 1))
def test_means_over_windows(steps: int, width: int, seed: int) -> None:
    paths = np.random.default_rng(seed).gamma(0.5, 9.0, (5, steps)).astype(np.float32)
    expected = np.empty((-(-steps // width), 5), np.float32)
    for w in range(len(expected)):
        for p in range(5):
            own = paths[p, w * width : (w + 1) * width]
            expected[w, p] = sum(own.astype(np.float64).tolist()) / len(own)
    assert windows(paths, width).tobytes() == expected.tobytes()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_distances_lie_on_straight_lines_between_the_quantiles(seed: int, flat: bool) -> None:
    rng = np.random.default_rng(seed)
    raw = np.zeros(len(LEVELS)) if flat else np.cumsum(rng.gamma(0.5, 3.0, len(LEVELS)))
    raw[1] = raw[0] if rng.random() < 0.2 else raw[1]
    to, median = np.cumsum(rng.gamma(0.5, 3.0, len(LEVELS))), float(rng.gamma(1.0, 5.0))
    means = rng.gamma(1.0, median + 1.0, 40).astype(np.float32)
    means[:2] = 0.0, median
    found = np.empty(40)
    _moved(means, median, raw, to, found)
    for mean, ratio in zip(means, found, strict=True):
        distance = float(mean) - median
        if not distance > 0.0:
            assert ratio == 1.0
            continue
        before = corrected = 0.0
        for k in range(len(LEVELS)):
            if distance <= raw[k]:
                corrected += (distance - before) / (raw[k] - before) * (to[k] - corrected)
                break
            before, corrected = raw[k], to[k]
        else:
            corrected += (distance - before) * max(1.0, to[-1] / raw[-1] if raw[-1] > 0.0 else 1.0)
        assert ratio == (median + corrected) / float(mean)


@pytest.mark.parametrize("wrong", [math.nan, -0.1, math.inf, -math.inf])
def test_one_number_that_is_no_rate_is_found_among_many(wrong: float) -> None:
    paths = np.random.default_rng(1).gamma(1.0, 5.0, (20, 33)).astype(np.float32)
    assert possible(paths)
    assert possible(np.zeros((1, 1)))
    assert not possible(np.zeros((0, 3), np.float32))
    for place in ((0, 0), (19, 32), (7, 11)):
        other = paths.copy()
        other[place] = wrong
        assert not possible(other)
