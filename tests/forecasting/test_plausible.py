"""A history in another order, or of another load, is told from one that is only unlike what one expects."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.plausible import HOUR, Joins, in_order
from forecasting.series import Arrivals, Series
from forecasting.testing import seasonal_load

MINUTE = 60.0
A_DAY = 1440


def minutes(rates: np.ndarray) -> Series:
    return Series(0.0, MINUTE, rates)


def burst_each_hour(days: int) -> np.ndarray:
    """A minute of 50 requests/s in each hour, and next to nothing."""
    rates = np.full(days * A_DAY, 0.1)
    rates[::60] = 50.0
    return rates


def wandering(n: int, memory: float, seed: int) -> np.ndarray:
    """Log rates that forget by ``memory`` a step, requests/s."""
    rng, log, logs = np.random.default_rng(seed), 0.0, []
    for noise in rng.normal(size=n):
        log = memory * log + noise
        logs.append(log)
    return rng.poisson(np.exp(np.array(logs)) * 10.0 * MINUTE) / MINUTE


LOADS = {
    "a day's cycle": seasonal_load(20.0, 7 * A_DAY, A_DAY, 0),
    "a burst each hour": burst_each_hour(7),
    "a level that lasts for some minutes": wandering(3 * A_DAY, 0.8, 0),
    "one that has just begun to last": wandering(2 * A_DAY, 0.5, 1),
}


@pytest.mark.parametrize("rates", LOADS.values(), ids=LOADS)
def test_real_load_is_in_order_and_shuffled_is_not(rates: np.ndarray) -> None:
    assert in_order(minutes(rates))
    assert not in_order(minutes(np.random.default_rng(0).permutation(rates)))


@pytest.mark.parametrize("rates", LOADS.values(), ids=LOADS)
def test_gaps_change_nothing(rates: np.ndarray) -> None:
    rng = np.random.default_rng(2)
    holes = rates.copy()
    holes[rng.random(len(rates)) < 0.2] = np.nan
    holes[len(rates) // 2 : len(rates) // 2 + len(rates) // 5] = np.nan
    assert in_order(minutes(holes))
    assert not in_order(minutes(rng.permutation(holes)))


@settings(max_examples=30, deadline=None)
@given(st.floats(0.001, 1000.0), st.integers(0, 10_000), st.integers(0, 3000))
def test_an_even_level_is_in_order(rate: float, seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    assert in_order(minutes(rng.poisson(rate * MINUTE, n) / MINUTE))
    assert in_order(minutes(rate * np.exp(0.2 * rng.normal(size=n))))


@pytest.mark.parametrize("n", [0, 1, 999])
def test_of_a_short_history_nothing_is_said(n: int) -> None:
    rates = np.random.default_rng(0).permutation(LOADS["a day's cycle"])[:n]
    assert in_order(minutes(rates))
    assert in_order(minutes(np.full(2000, np.nan)))


@pytest.mark.parametrize("n", [200, 500, 1000, 3000])
def test_a_level_that_hardly_lasts_is_in_order(n: int) -> None:
    """What comes has a little to do with the minute before: so little that few steps do not show it."""
    assert all(in_order(minutes(wandering(n, 0.3, seed))) for seed in range(10))


@pytest.mark.parametrize("share", [0.1, 0.2])
def test_a_cycle_of_which_little_is_known_is_in_order(share: float) -> None:
    rates = np.where(
        np.random.default_rng(0).random(14 * A_DAY) < share, seasonal_load(20.0, 14 * A_DAY, A_DAY, 0), np.nan
    )
    assert in_order(minutes(rates))


def first_hour(history: Series, rate: float, step: float = 15.0) -> bool | None:
    joins = Joins.on(history)
    assert joins is not None
    told = None
    for k in range(round(HOUR / step)):
        assert told is None
        told = joins.told(Arrivals(history.end + (k + 1) * step, step, rate * step))
    return told


def test_an_hour_of_a_third_of_what_any_hour_was_does_not_join_on() -> None:
    history = minutes(np.repeat([10.0, 30.0], 7 * A_DAY // 2))
    found = {rate: first_hour(history, rate) for rate in (3.0, 3.4, 10.0, 3000.0)}
    assert found == {3.0: False, 3.4: True, 10.0: True, 3000.0: True}, "more may be a launch"


def test_a_few_requests_are_no_evidence() -> None:
    """Producers that are down, most of all: nothing is forgotten for that."""
    history = minutes(np.repeat([10.0, 30.0], 7 * A_DAY // 2))
    assert first_hour(history, 0.0)
    assert first_hour(history, 0.02)


def test_what_the_history_knows_already_is_not_live() -> None:
    history = minutes(np.repeat([10.0, 30.0], 7 * A_DAY // 2))
    joins = Joins.on(history)
    assert joins is not None
    assert joins.told(Arrivals(history.end, 2 * HOUR, 1e9)) is None
    assert joins.told(Arrivals(history.end + 2 * HOUR, 2 * HOUR, 2 * HOUR * 20.0)) is True


def test_of_less_than_a_day_of_hours_nothing_is_said() -> None:
    history = minutes(np.full(23 * 60, 10.0))
    assert Joins.on(history) is None
    holes = np.full(2 * A_DAY, 10.0)
    holes[: 30 * 60] = np.nan
    assert Joins.on(replace(history, rates=holes)) is None
    assert Joins.on(Series(0.0, 6 * HOUR, np.full(40, 10.0))) is None, "nor of steps that are no hours"
