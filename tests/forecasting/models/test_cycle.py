"""Load that comes by the minute: the next burst is as high as the newest ones, and nothing is thrown off by one."""

from __future__ import annotations

import numpy as np
import pytest

from forecasting.competition_default import default_competition
from forecasting.competition_scores import State
from forecasting.errors import NoCycle
from forecasting.models.cycle import Cycle
from forecasting.own_cycle import OwnCycle
from forecasting.series import Series
from forecasting.testing import feed

STEP, PERIOD, BURST = 15.0, 40, 8  # s; steps: two minutes of every ten
START = 1000 * PERIOD * STEP
HIGH = 1000.0
SHAPE = np.array([0.15, 0.4, 0.7, 1.0, 1.0, 0.7, 0.4, 0.15])


def bursts(heights: np.ndarray | list[float]) -> np.ndarray:
    """Requests/s in each step of so many cycles, each with a burst at its middle."""
    cycles = np.zeros((len(heights), PERIOD))
    cycles[:, PERIOD // 2 : PERIOD // 2 + BURST] = np.asarray(heights)[:, None] * SHAPE
    return cycles.ravel()


def usual(cycles: int, seed: int = 0) -> np.ndarray:
    """Heights that differ by 3 %."""
    return HIGH * np.exp(0.03 * np.random.default_rng(seed).standard_normal(cycles))


def fitted(rates: np.ndarray) -> tuple[Cycle, float]:
    model = Cycle(STEP, STEP * PERIOD)
    history = Series(START, STEP, rates)
    model.fit(history)
    return model, history.end


def next_bursts(model: Cycle, cycles: int = 1) -> np.ndarray:
    """The highest rate of each of 100 paths."""
    return model.paths(cycles * PERIOD, 100, np.random.default_rng(0)).max(axis=1)


def test_the_next_burst_is_foreseen_at_every_moment_of_the_cycle() -> None:
    model, end = fitted(bursts(usual(60)))
    for at in range(PERIOD):
        peaks = next_bursts(model)
        assert np.median(peaks) == pytest.approx(HIGH, rel=0.06), f"{at} steps after the cycle began"
        assert np.quantile(peaks, 0.95) < 1.2 * HIGH
        step = model.paths(PERIOD, 100, np.random.default_rng(0)).mean(axis=0).argmax()
        assert (at + step) % PERIOD in (PERIOD // 2 + 3, PERIOD // 2 + 4)
        end = feed(model, end, bursts([HIGH])[at : at + 1])


def test_bursts_that_grow_are_followed() -> None:
    model, end = fitted(bursts(usual(60)))
    feed(model, end, bursts(1.5 * usual(2, seed=1)))
    assert np.median(next_bursts(model)) == pytest.approx(1.5 * HIGH, rel=0.1)


def test_a_burst_that_does_not_come_is_no_end_of_all_bursts() -> None:
    model, end = fitted(bursts(usual(60)))
    end = feed(model, end, bursts([0.0]))
    assert np.median(next_bursts(model)) == pytest.approx(HIGH, rel=0.1)
    feed(model, end, bursts([0.0, 0.0]))
    assert np.quantile(next_bursts(model), 0.9) < 0.1 * HIGH, "three that did not come are"


def test_a_burst_that_is_early_is_not_counted_beside_the_one_before_it() -> None:
    model, end = fitted(bursts(usual(60)))
    early = bursts([HIGH])[3:]  # 45 s
    for step in early[: PERIOD // 2 + BURST]:
        end = feed(model, end, np.array([step]))
        assert np.quantile(next_bursts(model), 0.9) < 1.25 * HIGH


def test_what_is_farther_than_the_newest_cycle_knows_repeats_it() -> None:
    model, _ = fitted(bursts([HIGH] * 4))
    paths = model.paths(3 * PERIOD, 100, np.random.default_rng(0))
    for cycle in range(3):
        peaks = paths[:, cycle * PERIOD : (cycle + 1) * PERIOD].max(axis=1)
        assert np.median(peaks) == pytest.approx(HIGH, rel=0.35)


def test_a_hole_in_the_history_is_no_hole_in_what_comes() -> None:
    rates = bursts(usual(60))
    rates[-3 * PERIOD : -PERIOD] = np.nan
    model, _ = fitted(rates)
    assert np.median(next_bursts(model)) == pytest.approx(HIGH, rel=0.1)


@pytest.mark.parametrize("cycles", [4, 60])
def test_cycles_after_which_nothing_is_known_lend_nothing(cycles: int) -> None:
    """An outage is not nothing: no path is, where there never was nothing."""
    rates = 100.0 + bursts(usual(cycles + 1))
    rates[cycles * PERIOD : -4] = np.nan
    model, _ = fitted(rates)
    for steps in (10, 20, PERIOD):
        assert model.paths(steps, 100, np.random.default_rng(0)).max(axis=1).min() > 10.0


def test_what_came_after_a_history_that_is_read_again_is_kept() -> None:
    found, history = OwnCycle(STEP), Series(START, STEP, bursts(usual(72)))
    found.fit(history)
    feed(found, history.end, bursts([HIGH])[:18])
    before = found.paths(PERIOD, 100, np.random.default_rng(0)).mean(axis=0).argmax()
    found.fit(history)
    assert found.paths(PERIOD, 100, np.random.default_rng(0)).mean(axis=0).argmax() == before


def test_a_history_too_short_to_tell_is_no_verdict() -> None:
    """The cycle is found when there is more, and starts with an honest trial then."""
    competition = default_competition(STEP, 150.0)
    short = Series(START, STEP, bursts(usual(2)))
    competition.fit(short)
    assert competition.standings["cycle"].state is State.UNPROVEN
    feed(competition, short.end, bursts(usual(48, seed=1)))
    assert competition.weights["cycle"] == 0.0
    kept = competition.kept()
    assert kept is not None
    competition.adopt(competition.study(kept))
    assert competition.weights["cycle"] >= 0.9


def test_a_period_that_is_no_two_steps_is_refused() -> None:
    with pytest.raises(ValueError, match="two whole steps"):
        Cycle(STEP, 20.0)


def test_of_several_cycles_the_longest_is_taken() -> None:
    """Bursts every ten minutes, and a higher one between them every hour."""
    load = bursts(usual(144))
    load[6 : len(load) : 6 * PERIOD] += 3 * HIGH
    load[7 : len(load) : 6 * PERIOD] += 3 * HIGH
    found = OwnCycle(STEP)
    found.fit(Series(START, STEP, load))
    assert found.inner is not None
    assert found.inner.period == 6 * PERIOD
    assert np.median(next_bursts(found.inner, 6)) == pytest.approx(3 * HIGH, rel=0.1)


def each(period: float) -> Series:
    """Two days of requests/s, with a burst of a minute each ``period`` s, as seconds are counted in steps."""
    seconds = np.arange(2 * 86400)
    rates = np.where(seconds % period < 60.0, HIGH, 5.0)
    return Series(START, STEP, np.random.default_rng(0).poisson(rates).reshape(-1, round(STEP)).mean(axis=1))


def test_of_a_period_that_is_no_whole_number_of_steps_the_least_multiple_is_taken() -> None:
    """500 s are no steps of 15 s; three times as many are a hundred of them."""
    found = OwnCycle(STEP)
    found.fit(each(500.0))
    assert found.inner is not None
    assert found.inner.period == 100


def test_a_period_of_which_no_multiple_is_a_whole_number_of_steps_is_named() -> None:
    found = OwnCycle(STEP)
    with pytest.raises(NoCycle, match=r"repeats itself each 78\d s"):
        found.fit(each(787.0))
    assert not found.ready


@pytest.mark.parametrize("load", ["noise", "a day's wave"])
def test_a_load_without_a_short_cycle_has_no_such_model(load: str) -> None:
    steps = np.arange(5760)
    rates = np.full(5760, 50.0) if load == "noise" else 50.0 + 40.0 * np.sin(2 * np.pi * steps / 5760)
    counts = np.random.default_rng(0).poisson(rates * STEP) / STEP
    found = OwnCycle(STEP)
    with pytest.raises(NoCycle, match="2 to 60 minutes"):
        found.fit(Series(START, STEP, counts))
    assert not found.ready


def test_the_default_draws_from_the_cycle_where_there_is_one() -> None:
    competition = default_competition(STEP, 150.0)
    history = Series(START, STEP, bursts(usual(144)))
    competition.fit(history)
    assert competition.weights["cycle"] >= 0.9
    feed(competition, history.end, bursts(usual(12, seed=1)))
    assert competition.standings["cycle"].state is State.PROVEN
    peaks = competition.paths(PERIOD, 100, np.random.default_rng(0)).max(axis=1)
    assert np.quantile(peaks, 0.95) < 1.25 * HIGH


@pytest.mark.slow
def test_the_default_goes_on_without_one_where_there_is_none() -> None:
    competition = default_competition(STEP, 150.0)
    competition.fit(Series(START, STEP, np.random.default_rng(0).poisson(50.0 * STEP, 5760) / STEP))
    assert competition.standings["cycle"].state is State.FAILED
    assert competition.weights["cycle"] == 0.0
    assert competition.trusted, "the direct one is believed until it is shown to be worse"


@pytest.mark.slow
def test_a_refit_finds_a_cycle_that_began_since() -> None:
    """It has to be seen to be right, live, before it has a path."""
    competition = default_competition(STEP, 150.0)
    flat = Series(START, STEP, np.random.default_rng(0).poisson(50.0 * STEP, 5760) / STEP)
    competition.fit(flat)
    end = feed(competition, flat.end, bursts(usual(144)))
    kept = competition.kept()
    assert kept is not None
    competition.adopt(competition.study(kept))
    assert competition.standings["cycle"].state is State.DEMOTED
    feed(competition, end, bursts(usual(60, seed=2)))
    assert competition.standings["cycle"].state is State.PROVEN
    assert competition.weights["cycle"] >= 0.9
