"""Started from a rate that is wrong by a factor of two: how long that costs, and that no rule is broken meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest

from scaler.plan.observation import Freshness, LatencySample, Reading, ServiceObservation
from scaler.plan.reasons import Reason
from scaler.plan.service import Service
from tests.plan.loop import REAL, Loop, policy_for

HOUR = 3600.0
LIMITS = {Reason.MAX_REPLICAS, Reason.SCALE_OUT_LIMIT, Reason.PARTITIONS}


def played(
    true: Service, declared: Service, load: float, histogram: bool = False, started: float = 0.0, **settings: float
) -> Loop:
    """A loop in which replicas are ``true`` and the plan was told ``declared``; steady Poisson load, 240 partitions.

    The replicas that are there at the start would do if each served ``started`` requests/s, or what was declared.
    """
    done = [0.0]

    def measured(t: float, observed: ServiceObservation) -> ServiceObservation:
        served, done[0] = float(loop.done.sum()) - done[0], float(loop.done.sum())
        busy = served * (true.concurrency or 1.0) / true.service_rate
        sample = LatencySample(None, None, None, served, busy, true.tick)
        return replace(observed, latency=Reading(sample, t, Freshness.FRESH))

    unchanged: Callable[[float, ServiceObservation], ServiceObservation] = lambda t, o: o  # noqa: E731
    policy = policy_for(declared, lambda t: load, **settings)
    loop = Loop(
        true,
        policy,
        lambda t: load,
        start_replicas=max(round(1.3 * load / (started or declared.service_rate)), 1),
        partitions=240,
        dt=1.0,
        change=measured if histogram else unchanged,
    )
    return loop


def cost(loop: Loop, seconds: float) -> float:
    """Mean replicas over the next ``seconds``."""
    before = loop.seconds
    loop.run(seconds)
    return (loop.seconds - before) / seconds


@cache
def steady(rate: float, load: float) -> float:
    """Mean replicas when the declared rate is the true one and nothing is tried out."""
    service = replace(REAL, service_rate=rate, service_time=min(0.5, 1 / rate))
    loop = played(service, service, load, experiments=False)
    loop.run(HOUR)
    return cost(loop, HOUR / 2)


def check_rules(loop: Loop) -> None:
    """Nothing is ordered below what the present needs (rule 4), nor given up while something is not known."""
    for decision in loop.decisions:
        assert decision.desired is not None
        floor = decision.numbers.floor_replicas
        assert floor is None or decision.desired >= floor or LIMITS & set(decision.reasons)


@pytest.mark.parametrize("concurrency", [1.0, 4.0])
@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_with_the_histogram_within_a_tenth_of_the_steady_cost_after_half_an_hour(
    factor: float, concurrency: float
) -> None:
    true = replace(REAL, concurrency=concurrency)
    loop = played(true, replace(true, service_rate=2.0 * factor), 30.0, histogram=True, started=2.0)
    loop.run(HOUR / 2)
    assert cost(loop, HOUR / 2) == pytest.approx(steady(2.0, 30.0), rel=0.1)
    assert loop.attainment() >= 0.99
    check_rules(loop)


@pytest.mark.parametrize(("rate", "load"), [(2.0, 30.0), (2.0, 8.0), (5.0, 40.0)])
def test_without_it_experiments_get_there_within_two_hours(rate: float, load: float) -> None:
    true = replace(REAL, service_rate=rate, service_time=min(0.5, 1 / rate))
    loop = played(true, replace(true, service_rate=rate / 2), load)
    loop.run(2 * HOUR)
    assert any(Reason.EXPERIMENT in decision.reasons for decision in loop.decisions)
    usual = steady(rate, load)
    assert cost(loop, HOUR / 2) <= max(1.1 * usual, usual + 1.01), "a tenth, or one replica"
    assert loop.attainment() >= 0.99
    check_rules(loop)


def test_too_high_a_rate_is_found_by_its_backlog_within_half_an_hour() -> None:
    loop = played(REAL, replace(REAL, service_rate=4.0), 30.0)
    loop.run(HOUR / 2)
    assert cost(loop, HOUR / 2) == pytest.approx(steady(2.0, 30.0), rel=0.12)
    assert loop.attainment(HOUR / 2) >= 0.99
    check_rules(loop)


def test_a_rate_that_is_right_costs_little_to_make_sure_of() -> None:
    loop = played(REAL, REAL, 30.0)
    loop.run(2 * HOUR)
    assert loop.decisions[-1].numbers.service_rate == pytest.approx(2.0, rel=0.06)
    assert loop.attainment() >= 0.99
    assert loop.seconds / (2 * HOUR) <= 1.1 * steady(2.0, 30.0)
    check_rules(loop)
