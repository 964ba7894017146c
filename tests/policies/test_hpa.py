"""The HPA's arithmetic against the worked facts of the real one."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulations.policies.hpa import Behavior, Condition, Hpa, Rate, Rules, Select
from simulations.policies.hpa_metrics import Tolerance

FEW = settings(max_examples=40, deadline=None)


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


@FEW
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


@FEW
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


def test_a_rate_counts_what_was_added_and_removed_in_its_own_period() -> None:
    # At most 3 pods in 60 s, or 50 percent in 30 s, whichever is more; syncs of 15 s; 10 replicas, far more wanted.
    up = Rules(0.0, (Rate(3, 60.0), Rate(50, 30.0, percent=True)))
    # 0 s: max(13, 15). 15 s: the starts are 10: max(13, 15): none. 30 s: the event is just out: ceil(15 x 1.5) = 23.
    assert climb(Hpa(1, 100, Behavior(up=up)), 10, 90, 5) == [15, 15, 23, 23, 35]
    # Removed in the period counts back: from 10 to 5, and then up again at once: 10 x 2, not 5 x 2.
    hpa = Hpa(1, 100, Behavior(down=Rules(0.0, (Rate(50, 60.0, percent=True),))))
    assert hpa.sync(0.0, 10, 1).desired == 5
    assert hpa.sync(5.0, 5, 90).desired == 20


def test_a_new_event_takes_the_place_of_the_last_that_its_own_direction_has_outlived() -> None:
    up, down = Rules(0.0, (Rate(20, 15.0),)), Rules(0.0, (Rate(50, 60.0, percent=True),))
    hpa = Hpa(1, 100, Behavior(up=up, down=down))
    assert [hpa.sync(at, *counts).desired for at, counts in ((0.0, (10, 12)), (10.0, (12, 17)))] == [12, 17]
    assert hpa.sync(40.0, 17, 25).desired == 25  # both are older than 15 s: the 5 of 10 s are forgotten, the 2 are not
    # In the down policy's 60 s there are 2 + 8 then, not 15: from 25 - 10 it may halve.
    assert hpa.sync(50.0, 25, 1).desired == 7


def test_the_smallest_change_of_two_policies_and_both_windows() -> None:
    down = Rules(30.0, (Rate(1, 60.0), Rate(50, 60.0, percent=True)), Select.MIN)
    hpa = Hpa(1, 100, Behavior(down=down))
    outcomes = [hpa.sync(n * 15.0, current, 2) for n, current in enumerate([10, 10, 10, 9, 9, 9, 9])]
    # The count at the start leaves the window after 30 s; then one pod a minute.
    assert [outcome.desired for outcome in outcomes] == [10, 10, 9, 9, 9, 9, 8]
    assert outcomes[2].limited is Condition.SCALE_DOWN_LIMIT


def test_tolerances_by_direction_have_the_controllers_as_default() -> None:
    behavior = Behavior(up=Rules(0.0, (Rate(4, 15.0),), tolerance=0.02))
    assert behavior.tolerance(0.1) == Tolerance(0.02, 0.1)
    assert Behavior().tolerance(0.25) == Tolerance(0.25, 0.25)


def test_a_count_of_zero_at_the_start_is_a_recommendation_too() -> None:
    hpa = Hpa(1, 100, Behavior(up=Rules(60.0, (Rate(100, 15.0, percent=True),))))
    assert hpa.sync(0.0, 0, 5).desired == 0
    assert hpa.sync(15.0, 4, 8).desired == 4  # somebody started it; the zero is in the up window
    assert hpa.sync(60.0, 4, 8).desired == 8


class Plain:
    """Stabilisation as the real one is written: every recommendation kept, and looked through."""

    def __init__(self, up: float, down: float, current: int) -> None:
        self.up, self.down = up, down
        self.past: list[tuple[float, int]] = [(0.0, current)]

    def stabilize(self, now: float, current: int, proposal: int) -> int:
        least = min([proposal, *(count for at, count in self.past if at > now - self.up)])
        most = max([proposal, *(count for at, count in self.past if at > now - self.down)])
        self.past.append((now, proposal))
        return min(max(current, least), most)


@FEW
@given(
    st.lists(st.tuples(st.sampled_from([1.0, 5.0, 15.0, 40.0]), st.integers(1, 40)), min_size=1, max_size=40),
    st.sampled_from([0.0, 15.0, 60.0]),
    st.sampled_from([0.0, 30.0, 300.0]),
)
def test_windows_answer_as_if_all_recommendations_were_looked_through(
    syncs: list[tuple[float, int]], up: float, down: float
) -> None:
    free = (Rate(1000, 15.0),)
    hpa, plain = Hpa(1, 100, Behavior(Rules(up, free), Rules(down, free))), Plain(up, down, 10)
    now, current = 0.0, 10
    hpa.sync(now, current, None)
    for seconds, proposal in syncs:
        now += seconds
        expected = plain.stabilize(now, current, proposal)
        current = hpa.sync(now, current, proposal).desired
        assert current == expected


@FEW
@given(
    st.lists(st.tuples(st.sampled_from([2.0, 5.0, 15.0, 20.0]), st.integers(1, 400)), min_size=2, max_size=40),
    st.integers(1, 20),
)
def test_in_no_period_is_more_added_than_double_or_four(syncs: list[tuple[float, int]], first: int) -> None:
    hpa = Hpa(1, 400, Behavior())
    now, current = 0.0, first
    events: list[tuple[float, int]] = []  # (time, change)
    for seconds, proposal in syncs:
        now += seconds
        desired = hpa.sync(now, current, proposal).desired
        if desired > current:
            recent = sum(change for at, change in events if at > now - 15.0)
            assert desired <= max(2 * (current - recent), current - recent + 4)
        events.append((now, desired - current))
        current = desired


@FEW
@given(st.lists(st.integers(0, 60), min_size=2, max_size=40), st.integers(1, 39), st.booleans())
def test_a_saved_one_goes_on_the_same(proposals: list[int], cut: int, behaves: bool) -> None:
    behavior = Behavior(up=Rules(45.0, Behavior().up.rates)) if behaves else None
    first, second = Hpa(1, 50, behavior), Hpa(1, 50, behavior)
    current = 5
    for n, proposal in enumerate(proposals):
        if n == cut:
            second.load(json.loads(json.dumps(first.save())))
        before = current
        current = first.sync(n * 7.5, before, proposal).desired
        if n >= cut:
            assert second.sync(n * 7.5, before, proposal).desired == current
