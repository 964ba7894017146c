"""What HPA, KEDA and last week would have said, worked by hand; each with its assumption, or why it says nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scaler.explain.others import hpa, keda, last_week
from scaler.plan.nodes_need import PoolSpec
from scaler.plan.observation import Freshness, Reading
from tests.explain.made import NOW, NUMBERS, SERVICE, observation, offsets, tick


@pytest.mark.parametrize(
    ("rate", "current", "count"),
    [
        (18.0, 4, 8),  # 18 / 2.5 = 7.2
        (18.0, 7, 7),  # 18 / (2.5 x 7) = 1.03: within 10 %
        (19.3, 7, 8),  # 1.103: outside of it
        (15.7, 7, 7),  # 0.897: outside of it, and 6.28 is 7 again
        (14.9, 7, 6),
        (0.0, 7, 1),  # min
        (1000.0, 7, 30),  # max
    ],
)
def test_hpa_on_arrivals(rate: float, current: int, count: int) -> None:
    said = hpa(tick(current=current, numbers=replace(NUMBERS, arrival_rate=rate)))
    assert said.value == count
    assert "2.5 requests/s a replica, tolerance 10 %" in said.note


def test_hpa_says_nothing_without_a_rate_or_a_count_and_at_zero_replicas() -> None:
    assert hpa(tick(numbers=replace(NUMBERS, arrival_rate=None))).note.endswith("the arrival rate is not known")
    assert hpa(tick(current=None)).note.endswith("the current count is not known")
    zero = hpa(tick(current=0))
    assert zero.value is None
    assert zero.note.endswith("an HPA does nothing at 0 replicas")


@pytest.mark.parametrize(
    ("waiting", "current", "count"),
    [
        ([30, 0, 0, 0], 1, 3),
        ([31, 0, 0, 0], 1, 4),
        ([31, 0, 0, 0], 3, 3),  # 31 / 30: within 10 %
        ([90, 90, 90, 90], 1, 4),  # 36, but there are 4 partitions
        ([0, 0, 0, 0], 9, 1),
        ([3, 0, 0, 0], 0, 1),  # activated
    ],
)
def test_keda_on_lag_at_its_default(waiting: list[int], current: int, count: int) -> None:
    seen = observation(offsets=Reading(offsets(*waiting), NOW, Freshness.FRESH))
    said = keda(tick(seen, current=current))
    assert said.value == count
    assert "lagThreshold's default" in said.note


def test_keda_counts_one_for_a_partition_without_a_commit_and_scales_to_zero_without_lag() -> None:
    free = replace(SERVICE, min_replicas=0)
    one = observation(offsets=Reading(offsets(0, 0, 0, uncommitted=1), NOW, Freshness.FRESH))
    assert keda(tick(one, current=0, service=free)).value == 1, "its 100 messages count as 1, which is above 0"
    assert keda(tick(one, current=1, service=free)).value == 1, "a lag of 1, not of 101"
    none = observation(offsets=Reading(offsets(0, 0, 0), NOW, Freshness.FRESH))
    assert keda(tick(none, current=3, service=free)).value == 0


def test_keda_says_nothing_without_lag() -> None:
    away = observation(offsets=Reading(None, NOW, Freshness.ERROR))
    assert keda(tick(away)).value is None


def test_last_week() -> None:
    said = last_week(tick(last_week=15.1))
    assert said.value == 7, "15.1 / 2.5 = 6.04"
    assert "a week ago, 90 s ahead" in said.note
    assert last_week(tick()).value is None
    assert last_week(tick()).note.endswith("that time is not known")


def test_last_week_on_nodes_is_as_far_ahead_where_a_policy_tells_no_lead_time() -> None:
    on_nodes = replace(SERVICE, lead_time=480.0, pool=PoolSpec("gpus", 8, 420.0))
    told = last_week(tick(service=on_nodes, last_week=15.1, numbers=replace(NUMBERS, lead_time=60.0)))
    assert last_week(tick(service=on_nodes, last_week=15.1, numbers=replace(NUMBERS, lead_time=None))) == told
