"""From Ready to holding partitions, told from the counts of ready replicas and of the group's members."""

from __future__ import annotations

import numpy as np
import pytest

from scaler.plan.joining import Joining
from scaler.plan.lead_time import LeadTimes
from scaler.plan.observation import LeadTime


def test_replicas_that_became_ready_are_waited_for_until_the_group_counts_them() -> None:
    joining = Joining(60.0)
    assert joining.step(0.0, 3, 3, 12) == []
    assert joining.step(2.0, 5, 3, 12) == []
    assert joining.step(4.0, 7, 3, 12) == []
    assert joining.step(6.0, 7, 5, 12) == [4.0]
    assert joining.step(8.0, 7, 7, 12) == [4.0]
    assert joining.step(10.0, 7, 7, 12) == []


def test_the_first_look_tells_nothing() -> None:
    assert Joining(60.0).step(0.0, 3, 0, 12) == []


def test_a_group_that_cannot_be_counted_teaches_nothing() -> None:
    joining = Joining(60.0)
    joining.step(0.0, 1, 1, 12)
    joining.step(2.0, 3, None, 12)
    assert joining.step(4.0, 3, 3, 12) == []


def test_replicas_beyond_the_partitions_are_not_waited_for() -> None:
    joining = Joining(60.0)
    joining.step(0.0, 3, 3, 4)
    joining.step(2.0, 9, 3, 4)
    assert joining.step(5.0, 9, 4, 4) == [3.0]


def test_who_left_or_never_joined_is_forgotten() -> None:
    joining = Joining(10.0)
    joining.step(0.0, 1, 1, 12)
    joining.step(2.0, 5, 1, 12)
    assert joining.step(4.0, 2, 2, 12) == []
    joining.step(6.0, 4, 2, 12)
    assert joining.step(30.0, 4, 4, 12) == []


def test_a_clock_that_is_set_back_teaches_nothing() -> None:
    joining = Joining(120.0)
    joining.step(1_000.0, 1, 1, 12)
    joining.step(1_002.0, 3, 1, 12)
    assert joining.step(900.0, 3, 3, 12) == [], "not -102 s"


def test_joining_is_part_of_the_lead_time() -> None:
    times = LeadTimes(declared=10.0, prior=1, size=50)
    times.learn([LeadTime(f"p{n}", 0.0, 1.0, 5.0, None, 0.0) for n in range(10)])
    assert times.quantile(0.95) == pytest.approx(6.0)
    times.learn_joins([2.0, 2.0, 3.0])
    assert times.quantile(0.95) == pytest.approx(8.0)
    assert times.ready_share(0.0, np.array([7.9, 8.1])).tolist() == [0.0, 1.0]


def test_a_pod_whose_own_joining_was_seen_counts_more_than_the_group() -> None:
    times = LeadTimes(declared=10.0, prior=1, size=50)
    times.learn([LeadTime("p", 0.0, 1.0, 5.0, 1.0, 0.0)])
    times.learn_joins([9.0])
    assert times.quantile(0.95) == pytest.approx(7.0)
