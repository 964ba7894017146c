"""How much of a rate may be planned for: enough for a queue of one's own, all of it where nobody waits."""

from __future__ import annotations

import numpy as np
import pytest

from scaler.plan.waiting import Waiting


def waiting(prior: float = 0.5) -> Waiting:
    return Waiting(prior, 40.0, 5760.0, 1.0)


def test_utilisation_leaves_room_for_waiting() -> None:
    one = waiting()
    real = one.utilisation(2.0, 9.5, 0.01, 0.5)
    assert 0.85 < real < 0.9
    assert one.utilisation(2.0, 9.5, 0.001, 0.5) < real
    assert one.utilisation(2.0, 0.0, 0.01, 0.5) == 0.5
    assert one.utilisation(100.0, 100.0, 0.01, 0.5) > 0.99


def test_utilisation_against_a_simulated_queue() -> None:
    """Poisson arrivals, constant service of 0.5 s, one server: at the planned load the declared share is kept."""
    rng = np.random.default_rng(3)
    service, slack, late = 0.5, 9.5, 0.01
    planned = waiting().utilisation(1 / service, slack, late, 0.5)
    gaps = rng.exponential(service / planned, 400_000)
    walk = np.cumsum(service - gaps)
    wait = walk - np.minimum.accumulate(np.minimum(walk, 0.0))
    assert float((wait > slack).mean()) <= late


def test_where_nobody_waits_all_of_the_rate_is_planned_for() -> None:
    one = waiting()
    for _ in range(400):
        one.learn(backlog=0.7 * 80.0, level=80.0, rate=2.0, replicas=50.0)  # what is not committed yet, and no more
    assert one.factor < 0.1
    assert one.utilisation(2.0, 9.5, 0.01, 0.5) > 0.97


def test_queues_that_are_as_long_as_they_should_be_are_believed() -> None:
    """Ten consumers, each 80 % busy: v u^2 / (1 - u) = 1.6 wait at each, now more and now fewer."""
    one, rng = waiting(), np.random.default_rng(1)
    for _ in range(2000):
        one.learn(backlog=16.0 * rng.exponential() + 0.2 * 16.0, level=16.0, rate=2.0, replicas=10.0)
    assert one.factor == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize("level", [1.0, 19.6, 40.0])
def test_idle_and_overloaded_consumers_tell_nothing(level: float) -> None:
    one = waiting()
    for _ in range(400):
        one.learn(backlog=0.0, level=level, rate=2.0, replicas=10.0)
    assert one.factor == 0.5


def test_never_more_than_the_prior() -> None:
    one = waiting()
    for _ in range(400):
        one.learn(backlog=1e4 * np.random.default_rng(0).random(), level=16.0, rate=2.0, replicas=10.0)
    assert one.factor == 0.5
