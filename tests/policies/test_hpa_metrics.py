"""What metrics propose: the real HPA's rules, with numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulations.policies.hpa_metrics import Tolerance, average_value, milli, pods, together, utilization, value

FEW = settings(max_examples=40, deadline=None)


@pytest.mark.parametrize(
    ("total", "target", "existing", "replicas"),
    [
        (100, 10, 2, 10),
        (101, 10, 2, 11),  # rounded up
        (110, 10, 10, 10),  # 1.1: within the tolerance
        (111, 10, 10, 12),
        (90, 10, 10, 10),  # 0.9: within the tolerance
        (89, 10, 10, 9),
        (0, 10, 5, 0),
        (5, 10, 0, 1),  # nothing exists: no ratio
        (640, 10, 63, 63),  # near the cap a step below 10 % is never taken
        (10**13, 1, 5, 2**31 - 1),
    ],
)
def test_average_value(total: int, target: int, existing: int, replicas: int) -> None:
    assert average_value(total, target, existing) == replicas


@pytest.mark.parametrize(
    ("total", "up", "down", "replicas"),
    [
        (104, 0.03, 0.1, 11),  # 1.04 is above 1.03
        (104, 0.05, 0.1, 10),
        (92, 0.05, 0.1, 10),
        (94, 0.1, 0.05, 10),  # ceil(9.4) would be 10 as well
        (84, 0.1, 0.2, 10),
        (84, 0.2, 0.1, 9),
        (101, 0.0, 0.0, 11),
    ],
)
def test_each_direction_has_its_tolerance(total: int, up: float, down: float, replicas: int) -> None:
    assert average_value(total, 10, 10, Tolerance(up, down)) == replicas


@FEW
@given(st.integers(0, 10**9), st.integers(1, 10**6), st.integers(0, 1000))
def test_average_value_is_the_ceiling_or_what_exists(total: int, target: int, existing: int) -> None:
    replicas = average_value(total, target, existing)
    exact = -(-total // target)
    if existing and replicas == existing != exact:
        assert abs(1 - total / (target * existing)) <= 0.1 + 1e-9
    else:
        assert replicas == exact


@FEW
@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 10**4), st.integers(0, 500))
def test_more_of_a_metric_never_proposes_fewer(one: int, other: int, target: int, existing: int) -> None:
    low, high = sorted((one, other))
    assert average_value(low, target, existing) <= average_value(high, target, existing)
    assert value(low, target, existing, existing) <= value(high, target, existing, existing)


def test_value_multiplies_the_ready_pods() -> None:
    assert value(150, 100, 4, 4) == 6
    assert value(150, 100, 4, 2) == 3  # two of the four are ready
    assert value(109, 100, 4, 4) == 4
    assert value(250, 100, 0, 0) == 3  # no pod: the ratio itself
    assert value(0, 100, 3, 3) == 0


def test_thousandths_are_rounded_up_and_floating_point_is_not() -> None:
    assert milli(1.0001) == 1001
    assert milli(0.9 * 2.0) == 1800
    assert milli(1.1 * 3) == 3300  # 3.3000000000000003


@pytest.mark.parametrize(
    ("usages", "unready", "current", "replicas"),
    [
        ([200, 200], 0, 2, 4),
        ([105, 107], 0, 2, 2),  # 106 over 100
        ([100, 121], 0, 2, 2),  # the mean is a whole number: 110
        # A missing one is idle on the way up: (600 + 0) / 3 = 200, and 3 pods: 6.
        ([300, 300, None], 0, 3, 6),
        # Idle, and the ratio falls to 1.5 of 4 pods: 6, not 3 x 4.
        ([300, 300, None, None], 0, 4, 6),
        # Idle, and it turns: 120 / 2 = 60 would be down.
        ([120, None], 0, 2, 2),
        # Full on the way down: (60 + 3 x 100) / 4 = 90: within the tolerance.
        ([60, None, None, None], 0, 4, 4),
        # (20 + 20 + 100) / 3 = 46: ceil(0.46 x 3) = 2.
        ([20, 20, None], 0, 3, 2),
        # Pending ones are idle on the way up: 400 / 4 = 100: nothing changes; else it would be 4.
        ([200, 200], 2, 4, 4),
        ([400, 400], 2, 4, 8),
        # On the way down they do not count at all: ceil(0.5 x 2).
        ([50, 50], 2, 4, 1),
        # Two pods of the eight asked for are there: they alone count,
        ([150, 150], 0, 8, 3),
        # unless one is missing: 200 x 3 would be 6, fewer, on the way up.
        ([300, 300, None], 0, 8, 8),
        ([None, None], 1, 3, None),
        ([], 3, 3, None),
    ],
)
def test_pods_metric(usages: list[int | None], unready: int, current: int, replicas: int | None) -> None:
    assert pods(usages, unready, 100, current) == replicas


@pytest.mark.parametrize(
    ("usages", "unready", "target", "replicas"),
    [
        ([800, 800], 0, 50, 4),  # 80 % of 1000, target 50 %: ceil(1.6 x 2)
        ([520, 530], 0, 50, 2),  # 52 %, a whole percent: 1.04
        ([800, 800, None], 0, 50, 3),  # idle: 1600 / 3000 = 53 %: 1.06 is within; the count of three stands
        ([200, 200, None], 0, 50, 3),  # full, all it requests: 1400 / 3000 = 46 %: 0.92
        ([100, 100, 100, 100, None], 0, 50, 3),  # 1400 / 5000 = 28 %: ceil(0.56 x 5)
        ([200, None], 0, 120, 2),  # full is the target where that is more than the request: 1400 / 2000 = 70 %
        ([900], 2, 50, 3),  # idle: 900 / 3000 = 30 %: it turns
    ],
)
def test_resource_metric(usages: list[int | None], unready: int, target: int, replicas: int) -> None:
    assert utilization(usages, unready, 1000, target, len(usages) + unready) == replicas


@FEW
@given(
    st.lists(st.none() | st.integers(0, 500), min_size=1, max_size=8),
    st.integers(0, 4),
)
def test_who_is_not_heard_never_turns_the_direction(usages: list[int | None], unready: int) -> None:
    known = [usage for usage in usages if usage is not None]
    current = len(usages) + unready
    answer = pods(usages, unready, 100, current)
    if not known:
        assert answer is None
        return
    assert answer is not None
    mean = sum(known) // len(known)
    if len(known) < len(usages) and mean != 100:
        assert answer >= current if mean > 100 else answer <= current
    if not unready and len(known) == len(usages):
        assert answer == (current if 90 <= mean <= 110 else math.ceil(mean / 100 * len(known)))


def test_several_metrics_take_the_largest_and_a_failed_one_stops_only_the_way_down() -> None:
    assert together([3, 7, 5], 4) == 7
    assert together([None, 7, 5], 4) == 7  # up is still taken
    assert together([None, 4], 4) == 4
    assert together([None, 3], 4) is None  # down is not
    assert together([2, 3], 4) == 3
    assert together([None, None], 4) is None
    assert together([], 4) is None
