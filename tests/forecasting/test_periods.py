"""Periods are found where there are some, cron-like spikes included, and nowhere else."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.errors import BadSeries
from forecasting.periods import DAY, HOUR, MINUTE, find_periods
from forecasting.series import Series

START = 20_000 * DAY


def wandering(n, step, seconds, spread, rng):
    """A log rate that wanders around 0 and forgets in ``seconds``; [n]."""
    keep = np.exp(-step / seconds)
    noise = rng.standard_normal(n) * np.sqrt(1 - keep**2)
    x = np.empty(n)
    x[0] = rng.standard_normal()
    for k in range(1, n):
        x[k] = keep * x[k - 1] + noise[k]
    return spread * x


def load(days, step, spikes=(), daily=0.0, weekly=0.0, red=0.0, base=20.0, seed=0):
    """Poisson counts of a wave a day, weekends with less, spikes (period, width, size), and a level that wanders."""
    rng = np.random.default_rng(seed)
    n = round(days * DAY / step)
    t = START + (np.arange(n) + 0.5) * step
    rate = base * np.exp(daily * np.sin(2 * np.pi * t / DAY))
    rate[(t // DAY) % 7 >= 5] *= 1 - weekly
    if red:
        rate *= np.exp(wandering(n, step, HOUR, red, rng))
    for period, width, size in spikes:
        at = t % period - 0.3 * period
        rate[(at >= 0) & (at < max(width, step))] *= size
    return Series(START, step, rng.poisson(rate * step) / step)


def lengths(series, **options):
    return [period.seconds for period in find_periods(series, **options)]


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        ({"spikes": [(5 * MINUTE, 30, 2)], "red": 0.3}, [5 * MINUTE]),
        ({"spikes": [(HOUR, 60, 4)], "daily": 0.6}, [HOUR, DAY]),
        ({"spikes": [(15 * MINUTE, 60, 2), (HOUR, 120, 3)], "daily": 0.5}, [15 * MINUTE, HOUR, DAY]),
        ({"spikes": [(6 * HOUR, 300, 4)], "red": 0.2}, [6 * HOUR]),
        ({"spikes": [(DAY, 120, 6)], "red": 0.1}, [DAY]),
        ({"spikes": [(HOUR, 120, 6)], "daily": 0.4, "base": 0.2}, [HOUR, DAY]),
        ({"spikes": [(5 * MINUTE, 60, 1.5)], "daily": 2.0, "base": 2.0}, [5 * MINUTE, DAY]),  # nights say little
    ],
)
def test_spikes_and_waves_of_schedules(made, wanted):
    assert lengths(load(7, 60.0, **made)) == wanted


@pytest.mark.parametrize("period", [7 * MINUTE, 45 * MINUTE, 1.5 * HOUR])
def test_a_period_that_is_on_no_list(period):
    assert lengths(load(7, 60.0, spikes=[(period, 120, 3)], daily=0.5)) == [period, DAY]


def test_a_period_of_no_whole_steps():
    found = lengths(load(2, 15.0, spikes=[(500.0, 60, 3)]))
    assert found[0] == 500.0


def test_the_week_when_there_are_three_of_them():
    made = {"daily": 0.5, "weekly": 0.6, "red": 0.1}
    assert lengths(load(28, 600.0, **made)) == [DAY, 7 * DAY]
    assert 7 * DAY not in lengths(load(20, 600.0, **made))


def test_no_day_out_of_two_days():
    assert lengths(load(2.9, 60.0, daily=0.8)) == []


def test_strength_is_what_the_other_cycles_explain():
    clear = find_periods(load(7, 60.0, spikes=[(HOUR, 60, 4)], base=1000))[0]
    hidden = find_periods(load(7, 60.0, spikes=[(HOUR, 60, 4)], red=0.5))[0]
    assert clear.strength > 0.95
    assert 0.05 < hidden.strength < 0.6
    assert clear.cycles == 168
    assert clear.width == MINUTE


def test_every_second_cycle_a_spike_is_the_longer_period():
    assert lengths(load(4, 60.0, spikes=[(HOUR, 180, 2)], red=0.2)) == [HOUR]
    # Half an hour explains half of it, and is not named.
    assert lengths(load(4, 60.0, spikes=[(HOUR, 180, 8)], base=500)) == [HOUR]


def test_a_job_that_pauses():
    rng = np.random.default_rng(0)
    n = round(7 * DAY / MINUTE)
    busy = np.repeat(rng.random(n // 180) < 0.7, 180)
    rate = np.where(busy & (np.arange(n) % 5 == 1), 40.0, 20.0)
    rate *= np.exp(np.where(busy, rng.normal(0, 0.3, n), 0.0))  # calm while it pauses
    assert lengths(Series(START, MINUTE, rng.poisson(rate * MINUTE) / MINUTE)) == [5 * MINUTE]


def _jumps(n, step, rng):
    at = np.cumsum(rng.random(n) < step / (4 * HOUR))
    return np.log(20) + 0.7 * rng.standard_normal(at[-1] + 1)[at]


def _spikes(n, step, rng):
    rate = np.zeros(n)
    for k in np.flatnonzero(rng.random(n) < step / (2 * HOUR)).tolist():
        rate[k : k + 1 + int(rng.integers(0, 10 * MINUTE / step))] = np.log(6)
    return np.log(20) + rate


NOTHING = {
    "white": lambda n, step, rng: np.log(20) + 0.5 * rng.standard_normal(n),
    "poisson": lambda n, step, rng: np.full(n, np.log(20.0)),
    "sparse": lambda n, step, rng: np.full(n, np.log(0.01)),
    "red, an hour": lambda n, step, rng: np.log(20) + wandering(n, step, HOUR, 0.5, rng),
    "red, a day": lambda n, step, rng: np.log(20) + wandering(n, step, DAY, 0.7, rng),
    "walk": lambda n, step, rng: np.clip(np.cumsum(rng.standard_normal(n) * 0.3 * np.sqrt(step / HOUR)), -9, 9),
    "jumps": _jumps,
    "spikes at random": _spikes,
    "growth": lambda n, step, rng: np.linspace(0, 6, n),
    "one crowd": lambda n, step, rng: np.log(20 + 2000 * np.exp(-((np.arange(n) - n / 3) ** 2) / (HOUR / step) ** 2)),
}


@pytest.mark.parametrize("kind", NOTHING)
def test_nothing_where_there_is_none(kind):
    for seed, (days, step) in enumerate([(1, 60.0), (7, 300.0), (14, 600.0)]):
        rng = np.random.default_rng(seed)
        n = round(days * DAY / step)
        rates = rng.poisson(np.exp(NOTHING[kind](n, step, rng)) * step) / step
        assert lengths(Series(START, step, rates)) == [], (kind, days, step)


@pytest.mark.parametrize("rates", [np.empty(0), np.full(5000, np.nan), np.zeros(5000), np.full(5000, 7.0), [3.0]])
def test_what_says_nothing_has_no_period(rates):
    assert lengths(Series(START, 60.0, np.array(rates))) == []


def test_holes_do_not_hide_a_period_and_do_not_make_one():
    series = load(7, 60.0, spikes=[(HOUR, 120, 4)], daily=0.5)
    series.rates[np.random.default_rng(1).random(len(series.rates)) < 0.3] = np.nan
    series.rates[2000:3500] = np.nan
    assert lengths(series) == [HOUR, DAY]
    noise = load(7, 60.0, red=0.3)
    noise.rates[np.arange(len(noise.rates)) % 60 < 20] = np.nan  # every hour a hole
    assert lengths(noise) == []


def test_bounds_and_most():
    series = load(7, 60.0, spikes=[(15 * MINUTE, 60, 2), (HOUR, 120, 3)], daily=0.5)
    assert lengths(series, shortest=HOUR) == [HOUR, DAY]
    assert lengths(series, longest=HOUR) == [15 * MINUTE, HOUR]
    assert lengths(series, most=1) == [15 * MINUTE]


def test_a_series_that_cannot_be_read_is_refused():
    with pytest.raises(BadSeries, match=r"rates\[1\]"):
        find_periods(Series(START, 60.0, np.array([1.0, -1.0])))


@settings(max_examples=5, deadline=None)
@given(st.floats(0.2, 5), st.integers(0, 1439), st.sampled_from([10 * MINUTE, HOUR, 3 * HOUR]))
def test_scale_and_phase_do_not_matter(scale, shift, period):
    series = load(3, 60.0, spikes=[(period, 120, 5)], base=50)
    moved = Series(series.start + shift * 60.0, 60.0, np.roll(series.rates, 17) * scale)
    assert lengths(moved) == [period]


def test_a_week_of_short_steps_is_searched_fast_enough_for_a_refit():
    series = load(7, 15.0, spikes=[(HOUR, 60, 4)], daily=0.6)
    for _ in range(5):  # the best of some, on a busy machine
        began = time.thread_time()
        find_periods(series)
        took = time.thread_time() - began
        if took < 0.5:
            return
    raise AssertionError(f"{took:.2f} s of processor time")
