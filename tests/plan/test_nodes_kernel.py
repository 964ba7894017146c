"""The compiled parts against numbers worked out by hand, and against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.plan import nodes_kernel as kernel
from scaler.plan.nodes_leads import NodeLeadTimes, PodLeadTimes, distribution, quantile, quantiles
from scaler.plan.nodes_placed import Placement
from scaler.plan.paths import Medians
from tests.plan.nodes_cases import NOW, need, steady


def gpus_needed(
    rates: np.ndarray,
    step: float,
    age: float,
    dt: float,
    steps: int,
    middle: np.ndarray,
    factor: float,
    inverse: np.ndarray,
    per: float,
) -> np.ndarray:
    """[N, steps] with the same factor on the residuals near and far."""
    out = np.empty((len(rates), steps))
    kernel.gpus_needed(rates, step, age, dt, middle, 0.0, 1.0, factor, factor, inverse, per, 0, steps, out)
    return out


def test_rates_become_gpus_in_the_plans_own_steps() -> None:
    """Steps of 60 s that began 30 s ago, into 20 s: 30 s are left of the first. The last rate goes on."""
    inverse = np.array([0.0, 2.0, 8.0])  # 10 requests/s take 2 GPUs, 20 take 8
    rates = np.array([[5.0, 15.0]])
    out = gpus_needed(rates, 60.0, 30.0, 20.0, 5, rates[0], 1.0, inverse, 10.0)
    assert out[0].tolist() == pytest.approx([1.0, 2.0, 5.0, 5.0, 5.0])
    out = gpus_needed(rates * 10, 60.0, 30.0, 20.0, 5, rates[0] * 10, 1.0, inverse, 10.0)
    assert out[0].tolist() == [8.0] * 5, "no replicas give more than the most"


def test_steps_finer_than_the_plans_are_averaged() -> None:
    rates, inverse = np.array([[1.0, 2.0, 3.0, 6.0]]), np.array([0.0, 100.0])
    out = gpus_needed(rates, 5.0, 0.0, 10.0, 2, rates[0], 1.0, inverse, 100.0)
    assert out[0].tolist() == pytest.approx([1.5, 4.5])


def test_only_what_lies_above_the_median_is_inflated() -> None:
    rates = np.array([[4.0], [1.0], [2.0]])
    inverse = np.array([0.0, 100.0])
    out = gpus_needed(rates, 15.0, 0.0, 15.0, 1, Medians(rates).upper(1), 2.0, inverse, 100.0)
    assert out[:, 0].tolist() == [6.0, 1.0, 2.0]


def test_lead_times_are_conditional_on_age() -> None:
    """Evenly between 40 and 140 s; of those that are 90 s old half are up after 25 s more."""
    cdf = distribution(np.linspace(40.0, 140.0, 1001), 200)
    assert kernel.share_up(cdf, 90.0, 0.0) == pytest.approx(0.5, abs=0.01)
    assert kernel.share_up(cdf, 25.0, 90.0) == pytest.approx(0.5, abs=0.02)
    assert kernel.share_up(cdf, 0.0, 90.0) == 0.0
    assert kernel.share_up(cdf, 90.0, 500.0) == pytest.approx(0.5, abs=0.01), "another median, for what is overdue"


def test_a_pod_on_a_new_node_waits_for_both() -> None:
    """Nodes take 100 or 200 s, pods 50 s."""
    nodes, cdf = np.array([100.0, 200.0]), distribution(np.array([50.0]), 100)
    at = [kernel.share_on_node(nodes, cdf, t, 0.0) for t in (140.0, 152.0, 240.0, 252.0)]
    assert at == pytest.approx([0.0, 0.5, 0.5, 1.0])
    assert kernel.share_on_node(nodes, cdf, 152.0, 150.0) == pytest.approx(1.0), "the fast half would be there"
    assert kernel.share_on_node(nodes, cdf, 90.0, 150.0) == pytest.approx(0.0)


def plain(needed: np.ndarray, backlog: float, slack: float, capacity: np.ndarray, dt: float) -> float:
    """Late GPU-seconds of one service, path by path."""
    total = 0.0
    for path in needed:
        left = backlog
        for k, rate in enumerate(path[: len(capacity)]):
            left = max(left + rate * dt - capacity[k] * dt, 0.0)
            total += min(max(left - capacity[min(k + 1, len(capacity) - 1)] * slack, 0.0), rate * dt)
    return total / len(needed)


def late_alone(
    counts: list[int], needed: np.ndarray, services: np.ndarray, ages: np.ndarray, coming: np.ndarray, cdf: np.ndarray
) -> list[float]:
    """Price of the first service's late work with each of ``counts``, in steps of 15 s."""
    out = np.empty(len(counts))
    kernel.late_alone(0, np.array(counts), needed, services, ages, coming, 15.0, cdf, out)
    made: list[float] = out.tolist()
    return made


@given(st.integers(0, 2**32 - 1), st.floats(0.0, 500.0), st.floats(0.0, 60.0))
@settings(max_examples=25, deadline=None)
def test_late_work_is_what_a_plain_loop_says(seed: int, backlog: float, slack: float) -> None:
    rng = np.random.default_rng(seed)
    needed, capacity = rng.uniform(0, 20, (1, 6, 10)), rng.uniform(0, 20, 10)
    one = np.array([[backlog, slack, 3.0, 1.0, 0.0]])
    expected = 3.0 * plain(needed[0], backlog, slack, capacity, 15.0)
    assert kernel.late_cost(needed, one, capacity, 15.0) == pytest.approx(expected)
    # The same service with its pods' own lead time: none is starting, so capacity is what the nodes bring.
    cdf = distribution(np.array([50.0]), 10)
    assert late_alone([0], needed, one, np.empty(0), capacity, cdf) == pytest.approx([expected])


def test_the_least_patient_service_is_served_first() -> None:
    """10 GPUs, both need 8: one without patience is in time, the other lacks 6 of 8 from the first step on."""
    needed = np.full((2, 1, 4), 8.0)
    services = np.array([[0.0, 0.0, 1.0, 1.0, 0.0], [0.0, 30.0, 1.0, 1.0, 0.0]])
    late = kernel.late_cost(needed, services, np.full(4, 10.0), 15.0)
    # What is left of the second: 90, 180, 270, 360 GPU-seconds; 2 GPUs clear 60 of it within its 30 s.
    assert late == pytest.approx((90 - 60) + (180 - 60) + 120 + 120)


def test_pods_that_go_are_the_youngest_that_do_not_serve() -> None:
    """Of 4 ready and 2 starting, 5 stay: 4, and the one that is about to serve."""
    cdf = distribution(np.linspace(60.0, 61.0, 50), 400)
    needed = np.full((1, 1, 4), 5.0)
    one = np.array([[0.0, 0.0, 1.0, 1.0, 4.0]])
    ages = np.array([58.0, 2.0])
    nothing = np.zeros(4)
    four, five, six = late_alone([4, 5, 6], needed, one, ages, nothing, cdf)
    # All within half a minute: the old one serves from 2 or 3 s on, the young one from 58 s.
    assert five == pytest.approx(0.0)
    assert six == pytest.approx(0.0)
    assert four == pytest.approx(15.0 + 30.0 + 45.0 + 60.0)


def test_quantiles_of_lead_times() -> None:
    points = np.arange(1.0, 101.0)
    assert (quantile(points, 0.95), quantile(points, 0.05), quantile(points, 1.0)) == (95.0, 5.0, 100.0)
    assert quantiles(points, 4).tolist() == [13.0, 38.0, 63.0, 88.0]
    assert quantiles(np.zeros(1), 4).tolist() == [1e-3]


def test_node_lead_times_begin_with_what_was_declared() -> None:
    leads = NodeLeadTimes(400.0, prior=3, size=4)
    leads.learn([100.0, float("nan"), -1.0])
    assert leads.points.tolist() == [100.0, 400.0, 400.0]
    leads.learn([50.0, 60.0, 70.0, 80.0])
    assert leads.points.tolist() == [50.0, 60.0, 70.0, 80.0]
    with pytest.raises(ValueError, match="lead time"):
        NodeLeadTimes(0.0, 3, 4)


def test_pod_lead_times_are_of_each_service_and_of_all() -> None:
    pods = PodLeadTimes(10)
    pods.learn([np.array([10.0, 30.0]), np.array([20.0])])
    assert pods.points.tolist() == [10.0, 20.0, 30.0]
    assert pods.each.shape == (2, 12)
    assert kernel.share_up(pods.each[1], 25.0, 0.0) == 1.0


def test_room_goes_to_the_oldest_pod_whosever_it_is() -> None:
    placement = Placement()
    a = need(steady(1.0), 5, ready=2, pending_since=(NOW - 100.0, NOW - 10.0, NOW - 10.0))
    b = need(steady(1.0), 1, uid="two", ready=0, pending_since=(NOW - 50.0,), gpus=2)
    placed = placement.follow(NOW, 3, [a, b])
    assert [ages.tolist() for ages in placed.ages] == [[100.0], [50.0]]
    assert placed.waiting == ((NOW - 10.0, 1), (NOW - 10.0, 1))
    # A tick later a node has come: since about the middle of the tick.
    placed = placement.follow(NOW + 16.0, 5, [a, b])
    assert [ages.tolist() for ages in placed.ages] == [[116.0, 8.0, 8.0], [66.0]]
    # One of those created at once serves: the one that had its node first.
    a = need(steady(1.0), 5, ready=4, pending_since=(NOW - 10.0,))
    placed = placement.follow(NOW + 32.0, 3, [a, b])
    assert [ages.tolist() for ages in placed.ages] == [[24.0], [82.0]]


def test_of_pods_created_at_once_the_one_that_had_its_node_first_is_ready_first() -> None:
    placement = Placement()
    pods = need(steady(1.0), 2, ready=0, pending_since=(NOW, NOW))
    assert placement.follow(NOW, 1, [pods]).ages[0].tolist() == [0.0]
    assert placement.follow(NOW + 60.0, 2, [pods]).ages[0].tolist() == [60.0, 30.0]
    one = need(steady(1.0), 2, ready=1, pending_since=(NOW,))
    assert placement.follow(NOW + 90.0, 1, [one]).ages[0].tolist() == [60.0]


def test_pods_that_are_seen_to_wait_do_so_whatever_room_there_seems_to_be() -> None:
    placement = Placement()
    old, new = NOW - 100.0, NOW - 10.0
    pods = need(steady(1.0), 5, ready=1, pending_since=(old, old, old, new), unscheduled_since=(old, old))
    placed = placement.follow(NOW, 10, [pods])
    assert placed.ages[0].tolist() == [100.0, 10.0], "one of the old ones, and the one of which it cannot be told yet"
    assert placed.waiting == ((old, 1), (old, 1))
    pods = need(steady(1.0), 5, ready=1, pending_since=(old, old, old, new))
    placed = placement.follow(NOW + 20.0, 10, [pods])
    assert placed.ages[0].tolist() == [120.0, 30.0, 10.0, 10.0], "room came some time in the tick"


def test_replicas_that_do_not_exist_yet_are_new() -> None:
    placed = Placement().follow(NOW, 2, [need(steady(1.0), 4, ready=1, pending_since=(NOW - 30.0,))])
    assert placed.ages[0].tolist() == [30.0, 0.0]
    assert placed.waiting == ((NOW, 1),)
