"""The demo's queue: nothing lost, first in first out, uneven splits cost what they cost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulations.queue import PartitionedQueue, assignment, measure


@given(partitions=st.integers(1, 20), consumers=st.integers(1, 30))
def test_every_partition_has_one_consumer_and_the_split_is_even(partitions: int, consumers: int) -> None:
    counts = np.bincount(assignment(partitions, consumers))
    assert counts.sum() == partitions
    assert counts.max() - counts.min() <= 1
    assert len(counts) == min(partitions, consumers)


@given(
    load=st.lists(st.lists(st.floats(0, 50), min_size=3, max_size=3), min_size=1, max_size=40),
    consumers=st.lists(st.integers(0, 5), min_size=40, max_size=40),
)
def test_requests_are_conserved(load: list[list[float]], consumers: list[int]) -> None:
    queue = PartitionedQueue(3, rate=2.0)
    served = np.zeros(3)
    for arrivals, members in zip(load, consumers, strict=False):
        gone = queue.step(np.array(arrivals), members)
        assert (gone >= 0).all()
        assert gone.sum() <= 2.0 * members + 1e-9
        served += gone
    assert served + queue.waiting == pytest.approx(np.sum(load, axis=0))


def test_sixteen_partitions_on_nine_consumers_drain_no_faster_than_on_eight() -> None:
    def empty_after(consumers: int) -> int:
        queue = PartitionedQueue(16, rate=1.0, pause=0.0)
        queue.step(np.full(16, 10.0), consumers)
        seconds = 1
        while queue.waiting.sum() > 1e-9:
            queue.step(np.zeros(16), consumers)
            seconds += 1
        return seconds

    assert empty_after(9) == empty_after(8) == 20
    assert empty_after(16) == 10


def test_a_membership_change_stops_the_group_for_the_pause() -> None:
    queue = PartitionedQueue(1, rate=10.0, pause=0.5)
    first = queue.step(np.array([100.0]), 1)
    second = queue.step(np.array([0.0]), 1)
    assert (first[0], second[0]) == (5.0, 10.0)


def test_a_queue_needs_partitions_and_a_rate() -> None:
    with pytest.raises(ValueError, match="partitions >= 1"):
        PartitionedQueue(0, 1.0)


def test_lateness_is_told_from_the_cumulative_curves() -> None:
    # 30 at once, 2 a second: with 10 s and no service time, those beyond the first 22 (11 s of service) are late.
    arrived = np.zeros((30, 1))
    arrived[0] = 30
    queue = PartitionedQueue(1, rate=2.0, pause=0.0)
    served = np.array([queue.step(a, 1) for a in arrived])
    result = measure(arrived, served, within=10.0, service_time=0.0)
    assert result.requests == 30
    assert result.late == 30 - 22
    assert result.longest_time_lag == 14


def test_what_is_never_served_is_late_once_it_is_too_old_and_until_then_is_not_counted() -> None:
    result = measure(np.full((5, 1), 1.0), np.zeros((5, 1)), within=1.0, service_time=0.0)
    assert (result.requests, result.late) == (4, 4)
    assert result.attainment == 0.0
    young = measure(np.full((5, 1), 1.0), np.zeros((5, 1)), within=60.0, service_time=0.0)
    assert (young.requests, young.late) == (0, 0)
    assert np.isnan(young.attainment)


def test_no_requests_is_no_attainment_rather_than_a_perfect_one() -> None:
    assert np.isnan(measure(np.zeros((5, 1)), np.zeros((5, 1)), 1.0, 0.0).attainment)
