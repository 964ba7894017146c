"""The peers' memory of rates, and their windows."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.series import Arrivals, Recorder, Series
from scaler.plan.observation import TopicOffsets
from simulations.policies.past import Past
from simulations.policies.windows import Largest, RateWindow, backlog, total

FEW = settings(max_examples=40, deadline=None)


def test_a_mean_is_over_what_is_known() -> None:
    past = Past(60.0, 3600.0)
    past.fill(Series(0.0, 60.0, np.array([1.0, 2.0, np.nan, 4.0])))
    assert past.mean(0.0, 120.0) == 1.5
    assert past.mean(60.0, 240.0) == 3.0
    assert past.mean(30.0, 75.0) == pytest.approx((30 * 1 + 15 * 2) / 45)
    assert past.mean(120.0, 180.0) is None
    assert past.mean(500.0, 600.0) is None


def test_own_steps_stand_and_what_is_too_old_goes() -> None:
    past = Past(60.0, 300.0)
    past.take(600.0, 660.0, 60.0)
    past.fill(Series(0.0, 60.0, np.full(11, 9.0)))
    assert past.rate(10) == 1.0
    assert past.rate(9) == 9.0
    assert math.isnan(past.rate(2))
    past.take(660.0, 1320.0, 660.0 * 3)
    assert math.isnan(past.rate(10))
    assert past.rate(21) == 3.0
    first, rates = past.column()
    assert (first, rates.tolist()) == (16, [3.0] * 6)


def test_what_was_not_seen_is_absent_and_nothing_counts_twice() -> None:
    past = Past(60.0, 3600.0)
    past.take(0.0, 20.0, 20.0)  # a third of a step
    past.take(60.0, 90.0, 60.0)
    past.take(60.0, 90.0, 60.0)
    past.take(80.0, 120.0, 40.0)  # ten of its forty seconds are known
    past.take(180.0, 240.0, 60.0)
    assert math.isnan(past.rate(0))
    assert past.rate(1) == pytest.approx((60 + 30) / 60)
    assert math.isnan(past.rate(2))
    assert past.rate(3) == 1.0


@FEW
@given(st.lists(st.tuples(st.floats(0.5, 200), st.floats(0, 1000)), min_size=1, max_size=30))
def test_it_agrees_with_the_controllers_recorder(updates: list[tuple[float, float]]) -> None:
    past, recorder = Past(60.0, 60.0 * 200), Recorder(60.0, 200)
    now = 1000.0
    for seconds, count in updates:
        past.take(now, now + seconds, count)
        now += seconds
        recorder.update(Arrivals(now, seconds, count))
    series = recorder.series()
    first = round(series.start / 60.0)
    mine = [past.rate(first + n) for n in range(len(series.rates))]
    np.testing.assert_allclose(mine, series.rates, rtol=1e-6)
    again = Past(60.0, 60.0 * 200)
    again.load(json.loads(json.dumps(past.save())))
    assert again.save() == past.save()


@FEW
@given(
    st.lists(st.tuples(st.sampled_from([0.0, 1.0, 15.0]), st.integers(-50, 50)), min_size=1, max_size=50), st.booleans()
)
def test_largest_is_the_largest_of_the_window(entries: list[tuple[float, int]], inclusive: bool) -> None:
    window, seen, now = Largest(30.0, inclusive=inclusive), [], 0.0
    for seconds, value in entries:
        now += seconds
        seen.append((now, value))
        kept = [v for at, v in seen[:-1] if (at >= now - 30.0 if inclusive else at > now - 30.0)]
        assert window.push(now, value) == max([value, *kept])


@FEW
@given(st.integers(1, 40), st.integers(0, 2**31))
def test_sums_over_few_and_many_partitions_are_the_same(partitions: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    end = rng.integers(0, 1000, partitions)
    begin, committed = rng.integers(0, 500, partitions), rng.integers(-1, 1000, partitions)
    seen = TopicOffsets(np.arange(partitions), end, begin, committed)
    waiting = sum(max(int(e) - max(int(c), int(b)), 0) for e, b, c in zip(end, begin, committed, strict=True))
    assert backlog(seen) == waiting
    assert total(end) == int(end.sum())


def test_the_rate_is_over_the_whole_window() -> None:
    def topic(end: int, partitions: int = 1) -> TopicOffsets:
        column = np.full(partitions, end, np.int64)
        return TopicOffsets(np.arange(partitions), column, column * 0, column)

    window = RateWindow(60.0)
    assert not window.take(0.0, topic(100))
    assert window.rate() is None
    for n in range(1, 9):
        window.take(n * 15.0, topic(100 + 30 * n + (300 if n > 4 else 0)))
    assert window.rate() == pytest.approx((120 + 300) / 60)  # from 60 s to 120 s
    assert window.newest() == (105.0, 120.0, 30)
    window.take(135.0, topic(400, 2))  # a partition more, with all that is in it
    assert window.rate() is not None
    assert window.take(150.0, topic(500, 1))
    assert window.rate() is None
