"""The rollout against a queue served request by request, and what makes one count cheaper than another."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scaler.plan.capacity import PartitionSplit
from scaler.plan.lead_time import LeadTimes
from scaler.plan.paths import Futures, inflated
from scaler.plan.rollout import Queue, Standing, Terms, costs, due_by, grid, late_requests, replicas_over_time, served


def plain_split(most: int = 100) -> PartitionSplit:
    made = PartitionSplit(most, 1e9, 0.1)
    made.known(5040)  # so many that the split is fair for every count
    return made


def terms(**changes: float) -> Terms:
    base = {
        "rate": 2.0,
        "slack": 5.0,
        "answers_until": 125.0,
        "until": 180.0,
        "tick": 15.0,
        "lead": 90.0,
        "price": 10.0,
        "pause": 0.0,
        "drain": 60.0,
    }
    return Terms(**{**base, **changes})


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
    capacity=st.floats(0.5, 15),
    backlog=st.floats(0, 60),
    age=st.floats(0.1, 8),
    slack=st.floats(0, 5),
)
@example(rates=[0.0] * 6, capacity=3.0, backlog=3.0, age=0.5, slack=0.625)  # all due within two steps
def test_late_requests_are_those_of_the_queue(rates, capacity, backlog, age, slack) -> None:
    step, until = 2.0, 12.0
    futures = Futures(np.array([rates]), step, 0.0)
    times = grid(until, 40, futures.knots)
    arrived = futures.arrived(times) + backlog
    service = served(arrived, (capacity * np.diff(times))[None, :])
    due = due_by(times, futures, Queue(backlog, age), slack)
    late = late_requests(due, service)[0]
    exact = brute(np.array(rates), step, capacity, backlog, age, slack, until)
    # Within a step the curves are taken as straight: at the ends of a busy period that costs a part of one step.
    assert late == pytest.approx(exact, abs=float(np.diff(due[0]).max()) + 0.1)


def test_service_is_never_ahead_of_arrivals_nor_of_capacity() -> None:
    rng = np.random.default_rng(0)
    arrived = 7.0 + np.concatenate([np.zeros((50, 1)), np.cumsum(rng.gamma(1, 3, (50, 40)), axis=1)], axis=1)
    capacity = rng.uniform(0, 6, (8, 40))
    service = served(arrived, capacity)
    assert service.shape == (8, 41, 50)
    assert np.all(service <= arrived.T[None] + 1e-9)
    steps = np.diff(service, axis=1)
    assert np.all(steps >= -1e-9)
    assert np.all(steps <= capacity[:, :, None] + 1e-9)
    one = 0.0
    for k in range(40):
        one = min(arrived[3, k + 1], one + capacity[2, k])
        assert service[2, k + 1, 3] == pytest.approx(one)


def test_pending_replicas_come_when_their_lead_times_say() -> None:
    lead = LeadTimes(90.0, 5, 100)
    times = np.array([5.0, 15.0, 85.0, 95.0])
    standing = Standing(current=6, ready=3, pending_ages=(80.0, 20.0, 0.0))
    serving = replicas_over_time(np.array([2, 4, 6, 8]), standing, lead, times)
    assert serving[2].tolist() == [3, 4, 5, 6]
    assert serving[3].tolist() == [3, 4, 5, 8], "the new ones after a whole lead time"
    assert serving[1].tolist() == [3, 4, 4, 4], "the youngest pending ones go first"
    assert serving[0].tolist() == [2, 2, 2, 2], "a lower count acts at once"


def test_a_certain_spike_within_the_lead_time_is_ordered_and_one_beyond_it_is_not() -> None:
    lead, split = LeadTimes(90.0, 5, 100), plain_split()
    standing, candidates = Standing(5, 5, ()), np.arange(3, 31)

    def best(start: float) -> int:
        fine = np.where(np.arange(60) * 5.0 >= start, 40.0, 8.0)
        futures = Futures(np.tile(fine, (20, 1)), 5.0, 0.0)
        return costs(candidates, standing, Queue(0, 0), futures, split, lead, terms(), 40).cheapest

    assert best(100.0) == 16, "the queue's slack carries the rest until the next order"
    assert best(140.0) == 4


def test_a_spike_that_comes_before_any_order_could_is_not_given_up() -> None:
    """Late whatever is done: no candidate is worth more than another, but what is needed then is known."""
    fine = np.where(np.arange(60) * 5.0 >= 60.0, 40.0, 8.0)
    futures = Futures(np.tile(fine, (20, 1)), 5.0, 0.0)
    args = (np.arange(3, 31), Standing(5, 5, ()), Queue(0, 0), futures, plain_split(), LeadTimes(90.0, 5, 100))
    priced = costs(*args, terms(), 40)
    assert priced.cheapest <= 5
    assert priced.late_share(30) > 0.01
    left = (40 - 10) * 30.0
    assert np.median(priced.needed) == pytest.approx((40 + left / 60) / 2, rel=0.05)


def test_an_unlikely_spike_is_ordered_only_at_its_price() -> None:
    lead, split = LeadTimes(90.0, 5, 100), plain_split()
    rates = np.full((100, 40), 8.0)
    rates[:3, 20:] = 40.0
    futures = Futures(rates, 5.0, 0.0)
    args = (np.arange(3, 31), Standing(4, 4, ()), Queue(0, 0), futures, split, lead)
    assert costs(*args, terms(price=0.5), 40).cheapest == 4
    assert costs(*args, terms(price=500.0), 40).cheapest == 16


def test_replicas_that_are_soon_needed_again_are_not_given_back() -> None:
    lead, split = LeadTimes(90.0, 5, 100), plain_split()

    def best(high_from: int) -> int:
        rates = np.full((20, 40), 8.0)
        rates[:, high_from:] = 20.0
        futures = Futures(rates, 5.0, 0.0)
        # No lateness in this one: what keeps the replicas is that they would be started again.
        priced = costs(np.arange(2, 16), Standing(10, 10, ()), Queue(0, 0), futures, split, lead, terms(slack=60.0), 40)
        assert priced.late_share(10) == 0
        return priced.cheapest

    assert best(16) == 10, "idle for less than a lead time"
    assert best(30) == 4, "idle for longer than starting takes"


def test_counts_that_serve_the_same_are_never_worth_more() -> None:
    lead = LeadTimes(10.0, 5, 100)
    split = PartitionSplit(40, 1e9, 0.1)
    split.known(16)
    futures = Futures(np.full((10, 40), 17.5), 5.0, 0.0)
    priced = costs(np.arange(6, 20), Standing(8, 8, ()), Queue(0, 0), futures, split, lead, terms(lead=10.0), 40)
    by_count = dict(zip(priced.counts.tolist(), priced.late.tolist(), strict=True))
    assert by_count[15] == pytest.approx(by_count[8])
    assert by_count[16] < by_count[15]


def test_inflation_widens_only_upwards() -> None:
    rates = np.array([[1.0, 1.0], [2.0, 2.0], [4.0, 8.0]])
    wide = inflated(rates, 1.5)
    assert wide.tolist() == [[1.0, 1.0], [2.0, 2.0], [5.0, 11.0]]
    assert inflated(rates, 1.0).tolist() == rates.tolist()


def test_paths_are_read_from_now_whatever_their_step_and_age() -> None:
    futures = Futures(np.array([[1.0, 3.0, 5.0]]), 60.0, 30.0)
    assert futures.arrived(np.array([0.0, 30.0, 60.0, 150.0, 210.0]))[0].tolist() == [0.0, 30.0, 120.0, 510.0, 810.0]
    assert futures.rate_at(0.0).tolist() == [1.0]
    assert futures.rate_at(31.0).tolist() == [3.0]
    assert futures.rate_at(1e6).tolist() == [5.0]
    assert futures.knots.tolist() == [30.0, 90.0]
