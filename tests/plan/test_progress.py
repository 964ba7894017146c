"""What two samples of offsets tell: arrivals, progress, backlog, and how old the oldest message is."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.plan.observation import TopicOffsets
from scaler.plan.progress import TimeLagTracker, backlog, difference


def offsets(end, committed, begin=None, partitions=None) -> TopicOffsets:
    end = np.array(end, dtype=np.int64)
    begin = np.zeros_like(end) if begin is None else np.array(begin, dtype=np.int64)
    number = np.arange(len(end)) if partitions is None else np.array(partitions)
    return TopicOffsets(number.astype(np.int64), end, begin, np.array(committed, dtype=np.int64))


def test_arrivals_progress_and_backlog() -> None:
    progress = difference(offsets([100, 50], [90, -1]), 10.0, offsets([130, 50], [120, 20]), 14.0)
    assert progress is not None
    assert progress.seconds == 4.0
    assert progress.arrived is not None
    assert progress.arrived.tolist() == [30, 0]
    assert progress.arrivals == 30
    assert progress.consumed.tolist() == [30, 20], "nothing committed counts from the log start"
    assert progress.backlog_before.tolist() == [10, 50]
    assert progress.backlog_after.tolist() == [10, 30]
    assert not progress.recreated


def test_nothing_committed_counts_from_the_log_start_and_backlog_is_never_negative() -> None:
    assert backlog(offsets([100, 100, 5], [-1, 40, 9], begin=[30, 60, 0])).tolist() == [70, 40, 0]


def test_an_outage_is_one_long_interval() -> None:
    progress = difference(offsets([100], [100]), 0.0, offsets([700], [650]), 60.0)
    assert progress is not None
    assert progress.arrivals == 600
    assert progress.seconds == 60.0


@pytest.mark.parametrize(
    "after",
    [
        pytest.param(offsets([99, 200], [0, 0]), id="an end went back"),
        pytest.param(offsets([300], [0]), id="a partition went away"),
        pytest.param(offsets([100, 200], [0, 0], partitions=[0, 2]), id="another partition instead"),
        pytest.param(offsets([100, 200], [0, 0], begin=[4, 0]), id="a log start went back"),
    ],
)
def test_a_recreated_topic_tells_no_arrivals(after: TopicOffsets) -> None:
    before = offsets([100, 100], [50, 50], begin=[5, 5])
    progress = difference(before, 0.0, after, 10.0)
    assert progress is not None
    assert progress.recreated
    assert progress.arrived is None
    assert progress.arrivals is None
    assert progress.consumed.sum() == 0


def test_added_partitions_are_no_new_topic() -> None:
    progress = difference(offsets([10], [10]), 0.0, offsets([12, 3], [12, -1]), 1.0)
    assert progress is not None
    assert not progress.recreated
    assert progress.arrivals == 5
    assert progress.backlog_before.tolist() == [0, 0]


def test_what_retention_took_away_was_not_consumed() -> None:
    progress = difference(offsets([100], [10]), 0.0, offsets([100], [10], begin=[60]), 1.0)
    assert progress is not None
    assert progress.consumed.tolist() == [0]
    assert progress.backlog_after.tolist() == [40]


def test_no_time_no_change() -> None:
    assert difference(offsets([1], [1]), 5.0, offsets([2], [1]), 5.0) is None
    assert difference(offsets([1], [1]), 5.0, offsets([2], [1]), 4.0) is None


def test_time_lag_is_when_the_committed_offset_was_the_head() -> None:
    tracker = TimeLagTracker(100)
    for t, end in ((0.0, 0), (10.0, 99), (20.0, 99), (30.0, 400)):
        tracker.add(t, offsets([end], [0]))
    lag = tracker.lag(30.0, offsets([400], [49]))
    assert lag.seconds == pytest.approx(25.0), "the middle one of 99 arrived half way between 0 s and 10 s, on average"
    lag = tracker.lag(30.0, offsets([400], [99]))
    assert lag.seconds == pytest.approx(10.0, abs=0.05), "the next came after the quiet time, not before it"
    assert tracker.lag(30.0, offsets([400], [400])).seconds == 0.0


def test_time_lag_is_the_worst_partition() -> None:
    tracker = TimeLagTracker(100)
    tracker.add(0.0, offsets([0, 0], [0, 0]))
    tracker.add(10.0, offsets([99, 99], [0, 0]))
    assert tracker.lag(10.0, offsets([99, 99], [90, 19])).seconds == pytest.approx(8.0)


@pytest.mark.parametrize("many", [1, 3])
def test_time_lag_of_the_only_messages_of_a_tick_is_not_the_whole_tick(many: int) -> None:
    """When they came is not known: dated to the sample before, each partition of few messages would be a tick late."""
    tracker = TimeLagTracker(100)
    tracker.add(0.0, offsets([10], [10]))
    tracker.add(15.0, offsets([10 + many], [10]))
    assert tracker.lag(15.0, offsets([10 + many], [10])).seconds == pytest.approx(15.0 * many / (many + 1))


def test_time_lag_before_the_memory_is_not_known_but_bounded() -> None:
    tracker = TimeLagTracker(100)
    assert tracker.lag(0.0, offsets([5], [0])).seconds is None
    tracker.add(0.0, offsets([50], [0]))
    tracker.add(10.0, offsets([60], [0]))
    lag = tracker.lag(12.0, offsets([60], [20]))
    assert lag.seconds is None
    assert lag.at_least == pytest.approx(12.0)


def test_time_lag_follows_partitions_that_come_and_a_topic_made_anew() -> None:
    tracker = TimeLagTracker(8)
    tracker.add(0.0, offsets([50], [50]))
    tracker.add(10.0, offsets([50, 9], [50, 0]))
    assert tracker.lag(10.0, offsets([50, 9], [50, 0])).seconds == pytest.approx(9.0)
    with pytest.raises(ValueError, match="clear"):
        tracker.add(11.0, offsets([50], [50]))
    tracker.clear()
    tracker.add(12.0, offsets([3], [3]))
    assert tracker.lag(12.0, offsets([3], [3])).seconds == 0.0


@given(st.lists(st.integers(0, 50), min_size=30, max_size=120), st.floats(0.0, 1.0))
def test_time_lag_with_a_thinned_memory_is_right_within_the_samples_kept(counts: list[int], where: float) -> None:
    fine, coarse = TimeLagTracker(1000), TimeLagTracker(16)
    ends = np.concatenate([[0], np.cumsum(counts)])
    for k, end in enumerate(ends):
        fine.add(float(k), offsets([end], [0]))
        coarse.add(float(k), offsets([end], [0]))
    now, sample = float(len(counts)), offsets([ends[-1]], [int(where * ends[-1])])
    exact, rough = fine.lag(now, sample), coarse.lag(now, sample)
    assert exact.seconds is not None
    if rough.seconds is not None:
        assert abs(rough.seconds - exact.seconds) <= len(counts) / 4 + 2
        if exact.seconds <= 4:
            assert rough.seconds == pytest.approx(exact.seconds), "the newest part is kept in full"
    else:
        assert rough.at_least <= exact.seconds + 1e-9


def test_time_lag_is_exact_while_a_backlog_grows_and_goes_and_its_memory_is_small_again_after_it() -> None:
    rng = np.random.default_rng(3)
    counts = rng.integers(1, 50, 1500)
    ends = np.concatenate([[0], np.cumsum(counts)])
    behind = np.concatenate([np.full(400, 3), np.arange(3, 123, 1), np.arange(123, 3, -2), np.full(920, 3)])
    tracker, sizes = TimeLagTracker(512), []
    for k, end in enumerate(ends[:1500]):
        at = max(ends[max(k - behind[k], 0)] - 7, 0) if k else 0
        sample = offsets([end], [at])
        tracker.add(float(k), sample)
        last = min(int(np.searchsorted(ends[: k + 1], at, side="right")) - 1, max(k - 1, 0))  # each tick had arrivals
        came = last + (at - ends[last] + 1) / (ends[last + 1] - ends[last] + 1)
        expected = k - came if at < end else 0.0
        assert tracker.lag(float(k), sample).seconds == pytest.approx(expected, abs=1e-9)
        sizes.append(len(pickle.dumps(tracker)))
    assert max(sizes[64:390]) == sizes[64] < 2_000, "64 samples do while all are young"
    assert sizes[64] < max(sizes) < 9_000, "512 samples at the worst"
    assert sizes[-1] == sizes[64], "and no more than before, afterwards"
    long_ago = tracker.lag(1500.0, offsets([ends[1499]], [ends[700]]))
    assert long_ago.seconds == pytest.approx(800.0, rel=0.2), "what is consumed again has an age, if not to the tick"
