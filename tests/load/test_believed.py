"""What is read off a run on real consumers, and told to the simulator: worked by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from simulations.lab.believed import Compared, Served, compare, told
from simulations.lab.scenario import ScenarioSpec

START = 1_000.25


def served(rows: Sequence[tuple[str, int, float, float, float]], seconds: int) -> Served:
    """Rows of pod, partition, and seconds from the start at which it arrived, began, and was finished."""
    rows = sorted(rows, key=lambda row: row[2])
    pod, partition, arrival, begun, finished = zip(*rows, strict=True)
    return Served(
        START,
        seconds,
        np.array(pod),
        np.array(partition),
        START + np.array(arrival),
        START + np.array(begun),
        START + np.array(finished),
    )


def test_lag_and_arrivals_by_second() -> None:
    run = served(
        [("a", 0, 0.1, 0.1, 0.6), ("a", 0, 0.2, 0.6, 1.1), ("a", 1, 0.3, 1.1, 1.6), ("a", 0, 2.5, 2.5, 3.0)], 3
    )
    assert run.arrivals.tolist() == [3, 0, 1]
    assert run.lag.tolist() == [
        1,
        0,
        0,
    ]  # at the end of the first second the third one waits, in service does not count


def one_after_another(pod: str, first: float, count: int, takes: float) -> list[tuple[str, int, float, float, float]]:
    """A consumer that always has work: all its requests arrived long before."""
    return [(pod, ord(pod), -50.0, first + n * takes, first + (n + 1) * takes) for n in range(count)]


def test_the_service_time_is_from_one_begin_to_the_next() -> None:
    busy = [
        (pod, part, came, begun, done - 0.05) for pod, part, came, begun, done in one_after_another("a", 0, 200, 0.25)
    ]
    assert served(busy, 50).service_time == pytest.approx(0.25)


def test_a_rebalance_stops_who_stays_and_not_who_comes() -> None:
    before = one_after_another("a", 0.0, 40, 0.25)  # until second 10
    after = one_after_another("a", 11.5, 60, 0.25)
    run = served([*before, *after, *one_after_another("b", 11.0, 60, 0.25)], 30)
    assert run.pause == pytest.approx(1.5)
    assert run.spans() == [(START, START + 26.5), (START + 11.0, START + 26.0)]


def test_without_a_change_nothing_was_stopped() -> None:
    assert served(one_after_another("a", 0.0, 40, 0.25), 10).pause == 0.0


def test_an_overload_and_its_end_are_simulated_alike() -> None:
    """One consumer of 4 requests/s, 20 s of 6 requests/s, then 20 s of 1: a backlog of 40 that is gone 13 s later."""
    came = np.concatenate((np.arange(120) / 6, 20 + np.arange(20.0)))
    begun = np.maximum.accumulate(came - np.arange(140) * 0.25) + np.arange(140) * 0.25
    rows = [("a", 0, float(at), float(b), float(b) + 0.25) for at, b in zip(came, begun, strict=True)]
    spec = ScenarioSpec(name="worked", partitions=1, service_time=0.25, most=4, within=3.0)
    compared = compare(served(rows, 40), spec)
    assert compared.lag.max() == pytest.approx(40, abs=2)
    assert compared.lag_difference < 0.05
    assert abs(compared.p99_difference) < 0.05
    assert compared.service_time == pytest.approx(0.25, rel=0.01)
    assert compared.counts.tolist() == [1] * 40


def test_a_wrong_simulator_is_told() -> None:
    right = Compared(np.array([0.0, 10, 20, 10]), np.array([0.0, 10, 20, 10]), 4.0, 4.0, 0.0, 0.1, np.ones(4, np.int64))
    assert (right.lag_difference, right.area_difference, right.p99_difference) == (0.0, 0.0, 0.0)
    late = replace(right, simulated_lag=np.array([0.0, 0, 10, 20]), simulated_p99=5.0)
    assert late.lag_difference == pytest.approx(30 / 40)
    assert late.area_difference == pytest.approx(-0.25)
    assert late.p99_difference == pytest.approx(0.25)
    assert "+25.0%" in told(late)
    assert replace(right, counts=np.array([4, 9, 9, 10, 7, 5])).joins == 2
