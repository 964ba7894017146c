"""A group at its limit serves the same whatever arrives, as long as something waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.plan.capacity import ServiceRate
from scaler.plan.plateau import Plateau
from scaler.plan.progress import Progress
from scaler.plan.serving import Serving
from scaler.plan.settings import PlanSettings
from tests.plan.loop import REAL

TICK = 15.0
IN_HAND = 0.5  # s
CONSUMERS = 20
RATE = 2.0  # requests/s of each


def interval(came: float, served: float, before: float, after: float, seconds: float = TICK) -> Progress:
    """Messages of an interval; the consumers have a partition each."""
    even = np.full(CONSUMERS, 1.0 / CONSUMERS)
    return Progress(0.0, seconds, even * came, even * served, even * before, even * after, False)


def queued(load: Sequence[float], capacity: np.ndarray, seed: int) -> list[Progress]:
    """Intervals of 15 s in which Poisson arrivals of ``load`` requests/s (a second each) wait for consumers that serve
    ``capacity`` [seconds, queues] messages, in a queue of their own each."""
    rng, queues = np.random.default_rng(seed), capacity.shape[1]
    arrived = rng.poisson(np.array(load)[:, None] / queues, (len(load), queues))
    # What is left is how far the sum is above the lowest that it ever was: a step for each second would be slow.
    sums = np.cumsum(arrived - capacity[: len(load)], axis=0)
    left = sums - np.minimum(np.minimum.accumulate(sums, axis=0), 0.0)
    came, waits = np.cumsum(arrived.sum(axis=1)), left.sum(axis=1)
    ends = np.arange(int(TICK) - 1, len(load), int(TICK))
    after = waits[ends] + IN_HAND * np.array(load)[ends]
    parts = (np.diff(came[ends], prepend=0.0), np.diff((came - waits)[ends], prepend=0.0))
    before = np.concatenate(([0.0], after[:-1]))
    return [interval(*(float(part[k]) for part in (*parts, before, after))) for k in range(len(ends))]


def told(intervals: Sequence[Progress]) -> list[float]:
    """What is told of a consumer's rate."""
    plateau = Plateau()
    found = [plateau.add(one, CONSUMERS, IN_HAND) for one in intervals]
    return [one[0] / CONSUMERS for one in found if one is not None]


SECONDS = 3 * 3600


def swinging(share: float) -> list[float]:
    """Requests/s that swing by a tenth around a share of what all can serve."""
    return [CONSUMERS * RATE * share * (1.0 + 0.1 * np.sin(second / 300.0)) for second in range(SECONDS)]


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 100))
def test_at_the_limit_of_one_queue_the_rate_is_exact(seed: int) -> None:
    found = told(queued(swinging(0.97), np.full((SECONDS, 1), CONSUMERS * RATE), seed))
    assert len(found) > 20
    assert found == pytest.approx([RATE] * len(found), rel=0.05)
    assert np.mean(found) == pytest.approx(RATE, rel=0.005)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 100))
def test_at_the_limit_of_a_queue_for_each_it_is_nearly(seed: int) -> None:
    found = told(queued(swinging(0.97), np.full((SECONDS, CONSUMERS), RATE), seed))
    assert found
    assert np.mean(found) == pytest.approx(RATE, rel=0.02)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 100), st.booleans(), st.sampled_from([0.5, 0.8]))
def test_who_keeps_up_tells_nothing(seed: int, alone: bool, share: float) -> None:
    capacity = np.full((SECONDS, CONSUMERS), RATE) if alone else np.full((SECONDS, 1), CONSUMERS * RATE)
    assert told(queued(swinging(share), capacity, seed)) == []


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 100), st.booleans(), st.sampled_from([0.7, 0.95]))
def test_nor_does_a_service_time_that_varies_as_much_as_arrivals_do(seed: int, alone: bool, share: float) -> None:
    rng = np.random.default_rng(seed + 1)
    capacity = rng.poisson(RATE, (SECONDS, CONSUMERS)) if alone else rng.poisson(CONSUMERS * RATE, (SECONDS, 1))
    assert len(told(queued(swinging(share), capacity, seed))) <= 1


def test_consumers_of_which_some_are_at_their_limit_tell_nothing() -> None:
    """Four of 20 serve 120 messages whatever comes; the others serve their part of what comes."""
    came = np.random.default_rng(0).poisson(500.0, 40)
    assert told([interval(float(c), 120.0 + 0.8 * c, 200.0 + k, 210.0 + k) for k, c in enumerate(came)]) == []


def test_without_a_queue_or_with_arrivals_that_do_not_vary_nothing_is_told() -> None:
    came = np.random.default_rng(0).poisson(600.0, 40).astype(float)
    assert told([interval(c, 600.0, 100.0, 100.0) for c in came])
    assert told([interval(c, 600.0, 20.0, 20.0) for c in came]) == [], "as much as is always in hand"
    assert told([interval(600.0, 600.0, 100.0, 100.0)] * 40) == []


def test_a_run_begins_anew_with_other_consumers_after_a_pause_and_at_another_pace() -> None:
    came = np.random.default_rng(0).poisson(600.0, 3).astype(float)
    few = [interval(c, 600.0, 100.0, 100.0) for c in came]

    def of(*between: Progress, consumers: int = CONSUMERS) -> list[object]:
        plateau = Plateau()
        found = [plateau.add(one, CONSUMERS, IN_HAND) for one in few]
        return [*found, *(plateau.add(one, consumers, IN_HAND) for one in (*between, *few))]

    assert any(one is not None for one in of())
    assert not any(one is not None for one in of(interval(600.0, 600.0, 100.0, 10.0)))
    assert not any(one is not None for one in of(consumers=CONSUMERS - 1))
    slower = [interval(2 * c, 1200.0, 100.0, 100.0, 2 * TICK) for c in came]
    plateau = Plateau()
    assert [plateau.add(one, CONSUMERS, IN_HAND) for one in (*few, *slower)] == [None] * 6


def test_what_is_told_first_is_the_mean_of_all_and_then_of_each_interval() -> None:
    plateau, came = Plateau(), [580.0, 640.0, 610.0, 560.0, 600.0]
    served = [600.0, 601.0, 600.0, 601.0, 600.0]
    few = [interval(c, s, 90.0, 90.0) for c, s in zip(came, served, strict=True)]
    found = [plateau.add(one, CONSUMERS, IN_HAND) for one in few]
    assert found[:3] == [None] * 3
    assert found[3] == pytest.approx((600.5 / TICK, 4 * TICK))
    assert found[4] == pytest.approx((600.0 / TICK, TICK))


@pytest.mark.parametrize("declared", [1.0, 2.0, 4.0])
def test_the_service_rate_is_sure_after_it(declared: float) -> None:
    """From 4 requests/s: each interval moves it by a factor of two at most."""
    rate = ServiceRate(declared, 5 * TICK, 2.0, 20.0)
    for one in queued(swinging(1.02)[:1800], np.full((SECONDS, 1), CONSUMERS * RATE), 0):
        rate.learn_limit(one, CONSUMERS, 1.0)
    assert rate.sure
    assert rate.rate == pytest.approx(RATE, rel=0.01)


def test_an_interval_that_teaches_nothing_in_between_ends_the_run() -> None:
    came = np.random.default_rng(0).poisson(600.0, 6).astype(float)
    rate = ServiceRate(1.0, 5 * TICK, 2.0, 20.0)
    for k, c in enumerate(came):
        if k == 3:
            rate.disturbed()
        rate.learn_limit(interval(c, 600.0, 100.0, 100.0), CONSUMERS, 1.0)
    assert rate.rate == 1.0


def test_consumers_without_a_part_of_the_load_tell_of_no_limit() -> None:
    """All keys are in half of the partitions: half of the consumers serve nothing, whatever they could."""
    came = np.random.default_rng(0).poisson(300.0, 40).astype(float)
    rates = {}
    for worth in (None, 0.5 * CONSUMERS, 0.95 * CONSUMERS):
        rate = ServiceRate(2.0, 5 * TICK, 2.0, 20.0)
        for c in came:
            rate.learn_limit(interval(c, 300.0, 100.0, 100.0), CONSUMERS, 1.0, worth)
        rates[worth] = rate.rate
    assert rates == {None: pytest.approx(1.0, rel=0.02), 10.0: 2.0, 19.0: pytest.approx(1.0, rel=0.02)}


@pytest.mark.parametrize("takes", [1.0, 15.0, 30.0, 60.0, 120.0])
def test_what_is_served_a_service_time_after_it_came_is_no_limit(takes: float) -> None:
    """600 replicas, a fifth of which are busy; the load trebles within a minute, and nobody waits."""
    service = replace(REAL, service_time=takes, service_rate=10.0 / takes, within=10.0 * takes)
    for seed in range(5):
        serving, rng = Serving(service, PlanSettings()), np.random.default_rng(seed)
        load = [20.0 * (1.0 + 2.0 * min(max(second - 1800.0, 0.0) / 60.0, 1.0)) for second in range(3600)]
        came = rng.poisson(load).astype(float)
        arrived = np.concatenate(([0.0], np.cumsum(came)))
        done = np.interp(np.arange(3601) - takes, np.arange(3601), arrived)
        even = np.full(600, 1 / 600)
        for end in range(15, 3601, 15):
            parts = arrived[end] - arrived[end - 15], done[end] - done[end - 15]
            left = arrived[end - 15] - done[end - 15], arrived[end] - done[end]
            seen = Progress(1e6 + end, TICK, *(even * part for part in (*parts, *left)), False)
            serving.learn(seen, None, 600, True, takes + 2.0, None, 600.0)
        assert serving.rate >= 0.99 * service.service_rate
