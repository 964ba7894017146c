"""What is compiled, kept or cut short gives what the plain formula gives, to the last bit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.plan import guard
from scaler.plan.capacity import PartitionSplit, usable_table
from scaler.plan.lead_time import Distribution
from scaler.plan.observation import TopicOffsets
from scaler.plan.partition_shares import moved, shrunk_shares
from scaler.plan.paths import checked, quantiles, steps_for
from scaler.plan.progress import Progress, TimeLag, TimeLagTracker, backlog, consumed_up_to, difference
from scaler.plan.rollout import Standing, left_at
from scaler.plan.saturation import saturated

COMPILED = settings(deadline=None)  # the first call compiles
FEW = settings(max_examples=40, deadline=None)
NEXT = st.tuples(st.integers(0, 30), st.integers(0, 25), st.integers(0, 40))  # arrived, log start, committed: onward


@st.composite
def histories(draw, longest: int = 12) -> list[TopicOffsets]:
    """Samples of one topic; a group that commits beyond the end, or consumes again, among them."""
    partitions = draw(st.integers(1, 9))
    number = np.arange(partitions)
    end, begin = np.zeros((2, partitions), dtype=np.int64)
    committed = np.full(partitions, -1)
    found = []
    for _ in range(draw(st.integers(2, longest))):
        onward = np.array(draw(st.lists(NEXT, min_size=partitions, max_size=partitions)))
        end = end + onward[:, 0]
        begin = np.minimum(begin + onward[:, 1], end)
        committed = np.minimum(committed + onward[:, 2], end + 2) - draw(st.sampled_from([0, 0, 0, 5]))
        found.append(TopicOffsets(number, end, begin, np.maximum(committed, -1)))
    return found


@COMPILED
@given(histories(2))
def test_the_change_between_two_samples(samples: list[TopicOffsets]) -> None:
    before, after = samples
    found = difference(before, 3.0, after, 7.5)
    assert found is not None
    assert found.arrived is not None
    consumed = consumed_up_to(after) - np.maximum(consumed_up_to(before), after.begin)
    plain = [after.end - before.end, np.maximum(consumed, 0), backlog(before), backlog(after)]
    shown = [found.arrived, found.consumed, found.backlog_before, found.backlog_after]
    assert [one.tolist() for one in shown] == [one.tolist() for one in plain]
    totals = (found.arrivals, found.served, found.waiting_before, found.waiting)
    assert totals == tuple(float(one.sum()) for one in plain)
    again = Progress(7.5, 4.5, found.arrived, *shown[1:], recreated=False)
    assert (again.arrivals, again.served, again.waiting_before, again.waiting) == totals
    # The same partitions by another array are the same ones.
    copied = TopicOffsets(after.partitions.copy(), after.end, after.begin, after.committed)
    other = difference(before, 3.0, copied, 7.5)
    assert other is not None
    assert other.consumed.tolist() == found.consumed.tolist()
    if found.arrivals:
        back = difference(after, 3.0, before, 7.5)
        assert back is not None
        assert back.recreated
        assert back.waiting == float(backlog(before).sum())


@FEW
@given(histories(24))
def test_the_age_of_the_oldest_message(samples: list[TopicOffsets]) -> None:
    tracker = TimeLagTracker(100)
    times = np.cumsum(np.random.default_rng(len(samples)).uniform(0.1, 20.0, len(samples)))
    ends = np.array([one.end for one in samples])
    for time, sample in zip(times, samples, strict=True):
        tracker.add(float(time), sample)
    newest = samples[-1]
    # Also by offsets that were committed long ago.
    for committed in [one.committed for one in samples]:
        sample = TopicOffsets(newest.partitions, newest.end, newest.begin, committed)
        assert tracker.lag(1000.0, sample) == _plain_lag(1000.0, times, ends, sample)


def _plain_lag(now: float, times: np.ndarray, ends: np.ndarray, offsets: TopicOffsets) -> TimeLag:
    position, oldest = consumed_up_to(offsets), math.inf
    for p in np.flatnonzero(offsets.end > position):
        last = int(np.searchsorted(ends[:, p], position[p], side="right")) - 1
        if last < 0:
            return TimeLag(None, max(now - float(times[0]), 0.0))
        after = min(last + 1, len(times) - 1)
        part = (position[p] - ends[last, p] + 1) / (max(ends[after, p] - ends[last, p], 1) + 1)
        oldest = min(oldest, float(times[last] + part * (times[after] - times[last])))
    age = 0.0 if math.isinf(oldest) else max(now - oldest, 0.0)
    return TimeLag(age, age)


counts = st.lists(st.one_of(st.integers(0, 30), st.integers(200, 300), st.just(5000)), min_size=1, max_size=40)


def _plain_shares(given: np.ndarray) -> np.ndarray:
    n, total = len(given), np.cumsum(given)[-1]  # one after the other, as numpy's sum does not
    if n < 2 or total <= 0:
        return np.full(n, 1.0 / n)
    mean = total / n
    squares = np.cumsum((given - mean) ** 2)[-1]
    signal = max(squares / (n - 1) - mean * (1.0 + 3.0 * math.sqrt(2.0 / (n - 1))), 0.0)
    weight = signal / (signal + mean)
    return 1.0 / n + weight * (given / total - 1.0 / n) if weight > 0 else np.full(n, 1.0 / n)


@COMPILED
@given(st.lists(counts, min_size=1, max_size=6), st.floats(1.0, 1e4), st.integers(0, 2**32))
def test_the_split_that_is_learned(ticks: list[list[int]], memory: float, seed: int) -> None:
    partitions = len(ticks[0])
    made = PartitionSplit(20, memory, 0.1)
    made.known(partitions)
    used, kept = np.full(partitions, 1.0 / partitions), np.zeros(partitions)
    rng = np.random.default_rng(seed)
    for tick in ticks:
        mean = np.resize(np.array(tick, dtype=np.float64), partitions)
        arrived = rng.poisson(mean).astype(np.float64) if seed % 2 else mean
        made.learn(arrived, 15.0)
        kept = kept * math.exp(-15.0 / memory) + arrived
        shares = _plain_shares(kept)
        assert shrunk_shares(kept).tolist() == shares.tolist()
        if np.abs(shares - used).max() > 0.1 / partitions:
            used = shares
        assert made.table.tolist() == usable_table(used, 20).tolist()


@pytest.mark.parametrize("partitions", [1, 2, 15, 480, 3024])
@pytest.mark.parametrize("skew", [0.0, 0.03, 0.05, 0.3])
def test_the_split_of_counts_on_either_side_of_what_noise_explains(partitions: int, skew: float) -> None:
    rng = np.random.default_rng(partitions)
    mean = 400.0 * np.exp(rng.normal(0.0, skew, partitions))
    for _ in range(20):
        kept, arrived = rng.poisson(mean).astype(np.float64), rng.poisson(mean / 100.0).astype(np.float64)
        plain = _plain_shares(kept * 0.99 + arrived)
        taken = kept.copy()
        off = moved(taken, arrived, 0.99, np.full(partitions, 1.0 / partitions), 0.01 / partitions)
        assert taken.tolist() == (kept * 0.99 + arrived).tolist()
        assert shrunk_shares(taken).tolist() == plain.tolist()
        assert off == (np.abs(plain - 1.0 / partitions).max() > 0.01 / partitions)


@COMPILED
@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=24),
    st.integers(1, 30),
    st.sampled_from([None, "range", "roundrobin", "sticky"]),
)
def test_whether_every_consumer_had_work(waiting: list[tuple[int, int]], ready: int, assignor: str | None) -> None:
    ends = np.array(waiting, dtype=np.float64).T.copy()
    seen = Progress(0.0, 10.0, ends[0], ends[0], *ends, recreated=False)
    consumers = min(ready, len(waiting))
    if assignor == "roundrobin":
        held = [ends[:, c::consumers] for c in range(consumers)]
    else:
        held = np.array_split(ends, consumers, axis=1)
    assert saturated(seen, ready, 2.0, assignor) == all(bool(one.sum(axis=1).min() >= 10.0) for one in held)


@COMPILED
@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=40), st.integers(1, 60), st.floats(0.0, 70.0))
def test_what_replicas_are_worth(weights: list[float], most: int, needed: float) -> None:
    made = PartitionSplit(most, 1e9, 0.0)
    made.learn(np.array(weights) * 1e6, 1.0)
    table = made.table
    for replicas in (0, 1, most // 2, most, most + 5):
        assert made.worth(replicas) == table[min(replicas, most)]
        assert made.useful(replicas) == int(table.searchsorted(made.worth(replicas) * (1.0 - 1e-9)))
    for of in (needed, *table.tolist()):
        count = int(table.searchsorted(of - 1e-9))
        assert made.least(of) == (count if count <= most else max(count, math.ceil(of)))


@COMPILED
@given(st.lists(st.floats(0.0, 500.0), min_size=1, max_size=40), st.floats(0.0, 1.0))
def test_a_quantile_of_lead_times_is_the_same_each_time(seconds: list[float], q: float) -> None:
    seen = Distribution(np.sort(np.array(seconds)))
    index = min(max(math.ceil(q * len(seconds)) - 1, 0), len(seconds) - 1)
    for _ in range(2):
        assert seen.quantile(q) == max(sorted(seconds)[index], 1e-3)
        assert seen.quantile(0.5) == max(sorted(seconds)[math.ceil(0.5 * len(seconds)) - 1], 1e-3)


@COMPILED
@given(st.lists(st.floats(0.0, 1e6), min_size=1, max_size=130))
def test_quantiles_of_paths(values: list[float]) -> None:
    at, ordered = (0.0, 0.05, 0.5, 0.95, 0.99, 1.0), np.sort(np.array(values))
    last = len(values) - 1
    plain = []
    for q in at:
        low = int(q * last)
        plain.append(ordered[low] + (ordered[min(low + 1, last)] - ordered[low]) * (q * last - low))
    assert quantiles(np.repeat(np.array(values), 3)[::3], at) == tuple(plain)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_paths_are_copied_and_looked_at(kind: type) -> None:
    paths = np.random.default_rng(1).gamma(2.0, 30.0, (7, 11)).astype(kind)
    for laid_out in (paths, paths.T.copy().T, np.repeat(paths, 2, axis=0)[::2]):
        rates = checked(laid_out, 7, 11)
        assert rates.dtype == np.float64
        assert rates.flags.c_contiguous
        assert rates.tolist() == paths.astype(np.float64).tolist()
    for wrong in (math.nan, math.inf, -math.inf, -1e-9):
        for at in (0, 38, 76):
            spoiled = paths.copy()
            spoiled.flat[at] = wrong
            with pytest.raises(ValueError, match="finite"):
                checked(spoiled, 7, 11)
    with pytest.raises(ValueError, match="shape"):
        checked(paths, 7, 12)


@given(st.floats(0.0, 1e5), st.floats(0.0, 1e4), st.floats(0.1, 3600.0))
def test_steps_of_a_horizon(horizon: float, age: float, step: float) -> None:
    assert steps_for(horizon, age, step) == max(int(np.ceil((horizon + age) / step)), 1)


@COMPILED
@given(
    st.floats(0.0, 50.0),
    st.sampled_from([0.0, 0.0, 3.0, 400.0]),
    st.integers(0, 20),
    st.lists(st.floats(0.0, 200.0), max_size=3),
    st.floats(0.5, 3.0),
)
def test_what_the_present_needs_where_what_is_ready_keeps_up(
    level: float, waiting: float, ready: int, ages: list[float], rate: float
) -> None:
    standing = Standing(ready + len(ages), ready, tuple(sorted(ages, reverse=True)))
    split = PartitionSplit(30, 1e9, 0.1)
    split.known(12)
    leads = Distribution(np.linspace(20.0, 200.0, 10))
    of = (standing.current, ready, np.array(standing.pending_ages), leads.points, split.table)
    left = left_at(level, waiting, *of, rate, leads.quantile(0.95))
    least = split.least((level + left / 60.0) / rate)
    needed = max(least, 1) if level > 0 or waiting > 0 else least
    assert guard.reactive_floor(level, waiting, standing, split, leads, rate, 60.0) == needed
