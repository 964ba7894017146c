"""The HPA's arithmetic against the worked facts of the real one."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulations.policies.hpa import Behavior, Condition, Hpa, Rate, Rules, Select, average_value


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
    ],
)
def test_average_value(total: int, target: int, existing: int, replicas: int) -> None:
    assert average_value(total, target, existing) == replicas


@given(st.integers(0, 10**9), st.integers(1, 10**6), st.integers(0, 1000))
def test_average_value_is_the_ceiling_or_what_exists(total: int, target: int, existing: int) -> None:
    replicas = average_value(total, target, existing)
    exact = -(-total // target)
    if existing and replicas == existing != exact:
        assert abs(1 - total / (target * existing)) <= 0.1 + 1e-9
    else:
        assert replicas == exact


def climb(hpa: Hpa, current: int, proposal: int, syncs: int, period: float = 15.0, start: float = 0.0) -> list[int]:
    counts = []
    for n in range(syncs):
        current = hpa.sync(start + n * period, current, proposal).desired
        counts.append(current)
    return counts


def test_without_behavior_two_goes_to_ten_as_the_real_one_does() -> None:
    # Seen of the real HPA: 2 -> 4 -> 8 -> 10 at lag 100, target 10; and 1 -> 4 -> 8 -> 12 for KEDA's at lag 120.
    assert climb(Hpa(1, 20), 2, 10, 4) == [4, 8, 10, 10]
    assert climb(Hpa(1, 20), 1, 12, 4) == [4, 8, 12, 12]


def test_default_behavior_adds_four_or_doubles_a_period() -> None:
    assert climb(Hpa(1, 100, Behavior()), 1, 60, 5) == [5, 10, 20, 40, 60]


def test_default_behavior_counts_what_it_added_within_the_period() -> None:
    # At a sync of 5 s the start of the period was 1 replica: four more are the limit until it has passed.
    assert climb(Hpa(1, 100, Behavior()), 1, 60, 7, period=5.0) == [5, 5, 5, 10, 10, 10, 20]


def test_an_unseen_change_is_not_counted() -> None:
    hpa = Hpa(1, 100, Behavior())
    assert hpa.sync(0.0, 10, 60).desired == 20
    # The write failed: the count is still 10, and the limit is that of 10.
    outcome = hpa.sync(5.0, 10, 60)
    assert outcome.desired == 20
    assert outcome.limited is Condition.SCALE_UP_LIMIT


def test_percent_rounds_up_on_the_way_up_and_down_on_the_way_down() -> None:
    up = Behavior(up=Rules(0.0, (Rate(10, 60.0, percent=True),)))
    assert Hpa(1, 100, up).sync(0.0, 5, 50).desired == 6  # ceil(5.5)
    assert Hpa(1, 100, up).sync(0.0, 10, 50).desired == 11
    # There it is 100 x (1 + 10/100) in floating point, 110.00000000000001, and so it is here.
    assert Hpa(1, 200, up).sync(0.0, 100, 190).desired == 111
    down = Behavior(down=Rules(0.0, (Rate(10, 60.0, percent=True),)))
    assert Hpa(1, 100, down).sync(0.0, 5, 1).desired == 4  # trunc(4.5)


@pytest.mark.parametrize(("select", "up", "down"), [("Max", 20, 5), ("Min", 14, 8), ("Disabled", 10, 10)])
def test_select_takes_the_largest_change_the_smallest_or_none(select: str, up: int, down: int) -> None:
    ups = Rules(0.0, (Rate(4, 15.0), Rate(100, 15.0, percent=True)), Select(select))
    downs = Rules(0.0, (Rate(2, 15.0), Rate(50, 15.0, percent=True)), Select(select))
    assert Hpa(1, 100, Behavior(ups, downs)).sync(0.0, 10, 99).desired == up
    assert Hpa(1, 100, Behavior(ups, downs)).sync(0.0, 10, 1).desired == down


@pytest.mark.parametrize("behavior", [None, Behavior()])
def test_scale_down_waits_for_the_whole_window(behavior: Behavior | None) -> None:
    hpa = Hpa(1, 100, behavior)
    current, counts = 10, []
    for n in range(24):
        outcome = hpa.sync(n * 15.0, current, 3)
        current = outcome.desired
        counts.append(current)
        if current == 10:
            assert outcome.able is Condition.SCALE_DOWN_STABILIZED
    # The count at the start is a recommendation, too; an HPA without behavior still counts one exactly 300 s old.
    first = 21 if behavior is None else 20
    assert counts == [10] * first + [3] * (24 - first)


def test_scale_down_goes_to_the_largest_recommendation_of_the_window() -> None:
    hpa = Hpa(1, 100, Behavior())
    current = 10
    for n in range(40):
        current = hpa.sync(n * 15.0, current, 7 if n == 10 else 3).desired
        assert current == (10 if n < 20 else 7 if n < 30 else 3)


def test_an_up_window_takes_the_smallest_recommendation() -> None:
    hpa = Hpa(1, 100, Behavior(up=Rules(60.0, (Rate(100, 15.0, percent=True),))))
    outcomes = [hpa.sync(n * 15.0, 4, proposal) for n, proposal in enumerate([8, 6, 8, 8, 8])]
    # Until the count at the start has left the window it holds; then the 6 is the least.
    assert [outcome.desired for outcome in outcomes] == [4, 4, 4, 4, 6]
    assert outcomes[3].able is Condition.SCALE_UP_STABILIZED


def test_old_recommendations_do_not_raise_with_behavior_but_do_without() -> None:
    with_behavior, without = Hpa(1, 100, Behavior()), Hpa(1, 100)
    for hpa in (with_behavior, without):
        hpa.sync(0.0, 4, 40)
    assert with_behavior.sync(15.0, 4, 2).desired == 4
    assert without.sync(15.0, 4, 2).desired == 8


def test_bounds_and_their_conditions() -> None:
    outcome = Hpa(2, 6).sync(0.0, 5, 50)
    assert (outcome.desired, outcome.limited) == (6, Condition.TOO_MANY_REPLICAS)
    outcome = Hpa(2, 6, Behavior()).sync(0.0, 5, 50)
    assert (outcome.desired, outcome.limited) == (6, Condition.TOO_MANY_REPLICAS)
    # Outside the bounds, the metric is not asked.
    assert Hpa(2, 6).sync(0.0, 9, None).desired == 6
    assert Hpa(2, 6).sync(0.0, 1, None).desired == 2
    hpa = Hpa(2, 6, window=0.0)
    hpa.sync(0.0, 2, 0)
    outcome = hpa.sync(15.0, 2, 0)
    assert (outcome.desired, outcome.limited) == (2, Condition.TOO_FEW_REPLICAS)


def test_zero_replicas_disable_it_and_a_missing_metric_holds_it() -> None:
    outcome = Hpa(1, 6).sync(0.0, 0, 5)
    assert (outcome.desired, outcome.active) == (0, Condition.SCALING_DISABLED)
    hpa = Hpa(1, 6)
    assert all(hpa.sync(n * 15.0, 5, None).desired == 5 for n in range(100))
    assert hpa.sync(1500.0, 5, None).active is Condition.FAILED_GET_METRIC


@pytest.mark.parametrize(("least", "most"), [(0, 5), (3, 2)])
def test_bounds_that_cannot_be_are_refused(least: int, most: int) -> None:
    with pytest.raises(ValueError, match="allowed: 1 <= least <= most"):
        Hpa(least, most)


@given(
    st.lists(st.tuples(st.floats(0.1, 100), st.none() | st.integers(0, 300)), min_size=1, max_size=40),
    st.integers(1, 5),
    st.integers(5, 60),
    st.booleans(),
)
def test_the_count_stays_in_bounds_and_below_twice_or_four_more(
    syncs: list[tuple[float, int | None]], least: int, most: int, behaves: bool
) -> None:
    hpa = Hpa(least, most, Behavior() if behaves else None)
    now, current = 0.0, least
    for seconds, proposal in syncs:
        now += seconds
        desired = hpa.sync(now, current, proposal).desired
        assert least <= desired <= most
        assert desired <= max(2 * current, current + 4)
        assert proposal is not None or desired == current
        current = desired


@given(st.lists(st.integers(0, 300), min_size=1, max_size=60))
def test_it_never_goes_below_what_any_proposal_of_the_window_asked(proposals: list[int]) -> None:
    hpa = Hpa(1, 300, Behavior())
    current = 10
    for n, proposal in enumerate(proposals):
        desired = hpa.sync(n * 15.0, current, proposal).desired
        if desired < current:
            assert desired >= max(1, *proposals[max(0, n - 19) : n + 1])
        current = desired


def test_scaled_behavior_is_as_fast_as_its_time() -> None:
    slow, fast = Hpa(1, 500, Behavior()), Hpa(1, 500, Behavior().scaled(0.1))
    proposals = [3, 50, 200, 200, 200, 10] + [5] * 30
    at_slow = at_fast = 3
    for n, proposal in enumerate(proposals):
        at_slow = slow.sync(n * 15.0, at_slow, proposal).desired
        at_fast = fast.sync(n * 1.5, at_fast, proposal).desired
        assert at_slow == at_fast
    assert math.isclose(Behavior().scaled(0.1).down.window, 30.0)
