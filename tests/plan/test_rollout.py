"""The rollout against a queue served request by request, and what makes one count cheaper than another."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scaler.plan.capacity import PartitionSplit
from scaler.plan.lead_time import LeadTimes
from scaler.plan.paths import Futures, Medians, quantiles
from scaler.plan.rollout import STEPS, Queue, Rollout, Standing, Terms, coming, left_at, ready_share, spread


def table(partitions: int = 5040, most: int = 100) -> np.ndarray:
    made = PartitionSplit(most, 1e9, 0.1)
    made.known(partitions)  # 5040: so many that the split is fair for every count
    return made.table


def terms(**changes: float) -> Terms:
    base = {"rate": 2.0, "slack": 5.0, "window": 105.0, "price": 10.0, "pause": 0.0, "inflation": 1.0}
    return Terms(**{**base, **changes})


LEAD = LeadTimes(90.0, 5, 100).points
NONE = Queue(0.0, 0.0)


def rollout(rates, step, standing, queue=NONE, points=LEAD, of=None, partitions=5040) -> Rollout:
    futures = Futures(np.asarray(rates, float), step, 0.0)
    return Rollout(futures, queue, standing, table(partitions), points, of or terms())


def brute(rates: np.ndarray, step: float, capacity: float, backlog: float, age: float, slack: float, until: float):
    """Late requests, by following fluid parcels of a thousandth of a second through one queue."""
    dt = 0.001
    n = round(until / dt)
    arrived = backlog + np.concatenate([[0.0], np.cumsum(np.repeat(rates, round(step / dt))[:n]) * dt])
    done = np.zeros(n + 1)
    for k in range(n):
        done[k + 1] = min(arrived[k + 1], done[k] + capacity * dt)
    shift = round(slack / dt)
    past = backlog * np.clip(1 - np.arange(shift, 0, -1) * dt / max(age, 1e-9), 0, 1)
    due = np.concatenate([past, arrived])[: n + 1]
    late = (due[1:] > done[1:] + 1e-6) * np.diff(due)
    return late.sum()


@settings(max_examples=25, deadline=None)
@given(
    rates=st.lists(st.floats(0, 20), min_size=6, max_size=6),
    count=st.integers(1, 8),
    backlog=st.floats(0, 60),
    age=st.floats(0.1, 8),
    slack=st.floats(0, 5),
)
@example(rates=[0.0] * 6, count=2, backlog=3.0, age=0.5, slack=0.625)  # all due within two steps
def test_late_requests_are_those_of_the_queue(rates, count, backlog, age, slack) -> None:
    until = 12.0
    of = terms(slack=slack, window=until - slack)
    made = rollout([rates], 2.0, Standing(count, count, ()), Queue(backlog, age), of=of)
    exact = brute(np.array(rates), 2.0, 2.0 * count, backlog, age, slack, until)
    # Within a grid step the curves are taken as straight: at the ends of a busy period that costs a part of one step.
    assert made.late(count) == pytest.approx(exact, abs=2 * max(*rates, backlog / age) * until / STEPS + 0.1)


def test_arrivals_are_those_of_the_path_and_the_residuals_above_the_median_are_wider() -> None:
    rates = np.array([[1.0, 1.0], [2.0, 2.0], [4.0, 8.0]])
    arrived, due = np.empty((3, 5)), np.empty((3, 5))
    middle = Medians(rates).path(2)
    spread(rates, 10.0, 5.0, 1.5, 7.0, 2.0, 10.0, 5.0, middle, arrived, due)
    assert middle.tolist() == [2.0, 2.0]
    assert arrived[0].tolist() == [7.0, 12.0, 17.0, 22.0, 27.0], "from now on; the last rate goes on"
    assert arrived[2].tolist() == [7.0, 7.0 + 25.0, 7.0 + 25.0 + 55.0, 142.0, 197.0], "4 -> 5 and 8 -> 11"
    assert due[0].tolist() == [0.0, 0.0, 7.0, 12.0, 17.0], "the backlog is two seconds old: due between 8 and 10"


def test_pending_replicas_come_when_their_lead_times_say() -> None:
    pending, fresh = np.empty((4, 3)), np.empty(3)
    coming(np.array([80.0, 20.0, 0.0]), LEAD, 30.0, pending, fresh)  # at 15, 45 and 75 s
    assert pending.tolist() == [[0, 0, 0], [1, 1, 1], [1, 1, 2], [1, 1, 2]]
    assert fresh.tolist() == [0, 0, 0]
    seen = np.array([60.0, 80.0, 100.0, 120.0])
    assert ready_share(seen, 0.0, 85.0) == 0.5
    assert ready_share(seen, 70.0, 15.0) == pytest.approx(1 / 3), "given that it does not serve yet"
    assert ready_share(seen, 130.0, 70.0) == 0.0
    assert ready_share(seen, 130.0, 85.0) == 1.0, "older than all: another median"


@pytest.mark.parametrize(("count", "late"), [(2, 180.0), (3, 90.0), (4, 0.0), (6, 0.0)])
def test_a_lower_count_acts_at_once_and_takes_the_youngest_pending_first(count: int, late: float) -> None:
    standing = Standing(5, 3, (80.0, 0.0))
    of = terms(slack=0.0, window=80.0)
    made = rollout([[8.0] * 8], 10.0, standing, of=of)
    # Three serve 6/s, the fourth comes after 10 s: what is late until then stays late for as long as all four are busy.
    by_hand = {2: 8 * 80, 3: 8 * 80, 4: 8 * 80, 6: 8 * 80}
    assert made.late(count) <= by_hand[count]
    assert made.late(count) >= made.late(count + 1)
    if count == 2:
        assert made.late(2) == pytest.approx(640, abs=1), "never catches up: all that falls due is late"


def test_a_certain_spike_within_the_lead_time_is_ordered_and_one_beyond_it_is_not() -> None:
    def best(start: float) -> int:
        fine = np.where(np.arange(60) * 5.0 >= start, 40.0, 8.0)
        return rollout(np.tile(fine, (20, 1)), 5.0, Standing(5, 5, ())).cheapest(3, 30)

    assert best(95.0) >= 12, "the queue's slack may carry a part until the next order"
    assert best(140.0) <= 5


def test_what_half_of_the_paths_reach_is_foreseen() -> None:
    """A spike that comes before any order could: no count is worth more than another, but what is needed is known."""
    rates = np.full((21, 60), 8.0)
    rates[:11, 12:] = 40.0
    made = rollout(rates, 5.0, Standing(5, 5, ()), of=terms(price=0.05))
    assert made.cheapest(3, 30) <= 5
    assert made.foreseen == 40.0
    rates[10] = 8.0
    assert rollout(rates, 5.0, Standing(5, 5, ()), of=terms(price=0.05)).foreseen == 8.0


def test_an_unlikely_spike_is_ordered_only_at_its_price() -> None:
    rates = np.full((100, 40), 8.0)
    rates[:3, 20:] = 40.0
    standing = Standing(4, 4, ())
    assert rollout(rates, 5.0, standing, of=terms(price=0.5)).cheapest(3, 30) == 4
    assert rollout(rates, 5.0, standing, of=terms(price=500.0)).cheapest(3, 30) >= 8
    plain, wide = (rollout(rates, 5.0, standing, of=terms(price=150.0, inflation=f)) for f in (1.0, 3.0))
    assert wide.cheapest(3, 60) > plain.cheapest(3, 60)


@settings(max_examples=60, deadline=None)
@given(
    high=st.floats(8, 60),
    many=st.integers(1, 60),
    start=st.integers(0, 30),
    price=st.floats(0.1, 100),
    top=st.integers(6, 60),
    now=st.integers(1, 60),
    slack=st.floats(0.2, 5.0),
    pause=st.sampled_from([0.0, 3.0]),
)
def test_the_scan_finds_what_looking_at_every_count_finds(high, many, start, price, top, now, slack, pause) -> None:
    rates = np.full((60, 30), 8.0)
    rates[:many, start:] = high
    made = rollout(rates, 5.0, Standing(now, now, ()), of=terms(price=price, slack=slack, pause=pause))
    costs = [made.cost(count) for count in range(1, top + 1)]
    assert made.cost(made.cheapest(1, top)) <= 1.01 * min(costs), "giving up, standing still, or having enough"


def test_a_pause_of_the_group_costs_what_it_delays() -> None:
    standing, flat = Standing(5, 5, ()), [[7.9] * 30]
    still, pausing = (rollout(flat, 5.0, standing, of=terms(slack=1.0, pause=p)) for p in (0.0, 3.0))
    assert pausing.late(5) == still.late(5) == 0.0, "nothing changes, nothing pauses"
    assert still.late(4) < pausing.late(4)


def test_counts_that_serve_the_same_are_never_worth_more() -> None:
    made = rollout([[17.5] * 40] * 10, 5.0, Standing(8, 8, ()), partitions=16, points=LeadTimes(10.0, 5, 100).points)
    assert made.late(15) == pytest.approx(made.late(8))
    assert made.late(16) <= made.late(15)
    assert made.cheapest(8, 15) == 8


def test_the_backlog_that_is_left_when_capacity_comes() -> None:
    none = np.zeros(0)
    assert left_at(10.0, 600.0, 5, 5, none, LEAD, table(), 2.0, 90.0) == pytest.approx(600.0)
    assert left_at(10.0, 600.0, 10, 10, none, LEAD, table(), 2.0, 90.0) == 0.0
    late = left_at(10.0, 0.0, 5, 4, np.array([45.0]), LEAD, table(), 2.0, 90.0)
    assert late == pytest.approx(2.0 * 45.0, rel=0.1), "the fifth comes half-way"


@given(values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), q=st.floats(0, 1))
def test_quantiles_are_numpys(values, q) -> None:
    assert quantiles(np.array(values), (q,))[0] == pytest.approx(float(np.quantile(values, q)), abs=1e-6, rel=1e-9)


@given(count=st.integers(1, 9), steps=st.lists(st.integers(1, 12), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_the_middle_path_is_numpys_median(count: int, steps: list[int], seed: int) -> None:
    """However far it is looked at, and in whatever order."""
    rates = np.random.default_rng(seed).random((count, 12))
    ordered, medians = np.sort(rates, axis=0), Medians(rates)
    for far in steps:
        assert medians.path(far).tolist() == np.median(rates, axis=0)[:far].tolist()
        assert medians.upper(far).tolist() == ordered[count // 2, :far].tolist()


def test_paths_are_read_from_now_whatever_their_step_and_age() -> None:
    futures = Futures(np.array([[1.0, 3.0, 5.0]]), 60.0, 30.0)
    arrived, due = np.empty((1, 8)), np.empty((1, 8))
    middle = futures.medians.path(3)
    spread(futures.rates, futures.step, futures.age, 1.0, 0.0, 0.0, 0.0, 30.0, middle, arrived, due)
    assert arrived[0, [0, 1, 2, 5, 7]].tolist() == [0.0, 30.0, 120.0, 510.0, 810.0]
    assert futures.rate_at(0.0).tolist() == [1.0]
    assert futures.rate_at(31.0).tolist() == [3.0]
    assert futures.rate_at(1e6).tolist() == [5.0]
    assert np.diff(arrived[0], 2).nonzero()[0].tolist() == [0, 2], "rates change 30 s and 90 s ahead"


def until(path: list[float], step: float, at: float) -> float:
    """Cumulative arrivals of a path at a time since its begin, by the plain formula."""
    sums = [0.0]
    for rate in path:
        sums.append(sums[-1] + rate * step)
    k = min(int(at / step), len(path) - 1)
    return sums[k] + path[k] * (at / step - k) * step


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    step=st.sampled_from([5.0, 15.0, 60.0]),
    part=st.floats(0.0, 1.5),
    slack=st.floats(0.0, 100.0),
    backlog=st.sampled_from([0.0, 7.3, 400.0]),
    backlog_age=st.sampled_from([0.0, 3.3, 50.0]),
)
def test_curves_are_those_of_the_plain_formula_to_the_last_bit(seed, step, part, slack, backlog, backlog_age) -> None:
    rates = np.exp(np.random.default_rng(seed).normal(3.0, 1.0, (5, 8)))
    age, dt, middle = part * step, 11.4, np.sort(rates, axis=0)[2, :6]
    arrived, due = np.empty((5, 9)), np.empty((5, 9))
    peak = spread(rates, step, age, 1.8, backlog, backlog_age, slack, dt, middle, arrived, due)
    wide = [
        [r + (1.8 - 1.0) * max(r - m, 0.0) for r, m in zip(row[:6], middle.tolist(), strict=True)]
        for row in rates.tolist()
    ]
    assert peak == max(max(path) for path in wide)
    for path, came, fell_due in zip(wide, arrived.tolist(), due.tolist(), strict=True):
        before = until(path, step, age)
        assert came == [backlog + until(path, step, age + k * dt) - before for k in range(9)]
        assert fell_due == [
            backlog + until(path, step, age + (k * dt - slack)) - before
            if k * dt - slack >= 0
            else backlog * max(0.0, 1.0 + (k * dt - slack) / max(backlog_age, 1e-9))
            for k in range(9)
        ]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), current=st.integers(1, 20), lowest=st.integers(1, 12))
def test_what_is_late_with_the_cheapest_count_is_known_from_looking_for_it(seed, current, lowest) -> None:
    rates = np.exp(np.random.default_rng(seed).normal(2.5, 0.5, (6, 12)))
    standing = Standing(current, current, ())
    found = rollout(rates, 15.0, standing)
    count = found.cheapest(lowest, 30)
    assert found.late_share(count) == rollout(rates, 15.0, standing).late_share(count)
