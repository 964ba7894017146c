"""A load's own cycle of more than an hour: a week, or hours that are no part of a day; none where there is none."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

import numpy as np
import pytest

from forecasting.calendar import Calendar
from forecasting.calendar_time import LocalTime
from forecasting.competition_default import default_competition
from forecasting.direct.learned import Growth
from forecasting.errors import NoCycle, NotEnoughHistory
from forecasting.own_cycle import WEEK, OwnCycle, own_season
from forecasting.periods import DAY, HOUR
from forecasting.seasons import Coarse
from forecasting.series import Series
from forecasting.testing import feed

STEP = 300.0
MONDAY = datetime(2026, 3, 2, tzinfo=UTC).timestamp()
QUIET, BUSY = 20.0, 200.0


def office(times: np.ndarray) -> np.ndarray:
    """Requests/s at local seconds: many on weekdays from nine to five."""
    day, hour = (times - MONDAY) // DAY % 7, times % DAY / HOUR
    return np.where((day < 5) & (hour >= 9) & (hour < 17), BUSY, QUIET)


def spikes(times: np.ndarray) -> np.ndarray:
    """As much each day as on another, but for an hour of much more on Tuesday and Friday nights."""
    day, hour = (times - MONDAY) // DAY % 7, times % DAY / HOUR
    return np.where(((day == 1) | (day == 4)) & (hour >= 3) & (hour < 4), 400.0, 30.0)


def until(end: float, load=office, days: float = 28, step: float = STEP, seed: int = 0) -> Series:
    """So many days of counts before ``end``, some 10 % higher or lower than usual on each."""
    since = (np.arange(round(days * DAY / step)) + 0.5) * step
    rng = np.random.default_rng(seed)
    levels = np.exp(0.1 * rng.standard_normal(round(days) + 2))
    rates = load(end - days * DAY + since) * np.interp(since / DAY, np.arange(len(levels)), levels)
    return Series(end - days * DAY, step, rng.poisson(rates * step) / step)


def fitted(history: Series) -> OwnCycle:
    model = OwnCycle(history.step)
    model.fit(history)
    return model


def median(model, minutes: float) -> float:
    """What is expected so many minutes ahead."""
    steps = round(minutes * 60 / model.step)
    return float(np.median(model.paths(steps, 200, np.random.default_rng(0))[:, -1]))


# Days and hours from the fourth Monday on, and what comes a quarter of an hour later.
MOMENTS = [(0, 8 + 5 / 6, BUSY), (4, 8 + 5 / 6, BUSY), (4, 16 + 5 / 6, QUIET), (5, 8 + 5 / 6, QUIET), (6, 11.0, QUIET)]


@pytest.mark.parametrize(("day", "hour", "comes"), MOMENTS)
def test_weekends_are_not_weekdays(day: int, hour: float, comes: float) -> None:
    model = fitted(until(MONDAY + (28 + day) * DAY + hour * HOUR))
    assert median(model, 15) == pytest.approx(comes, rel=0.25)


@pytest.mark.parametrize(("day", "comes"), [(0, 30.0), (1, 400.0), (2, 30.0), (4, 400.0), (5, 30.0)])
def test_what_comes_on_some_days_of_the_week_is_foreseen_on_those(day: int, comes: float) -> None:
    model = fitted(until(MONDAY + (28 + day) * DAY + 2 * HOUR + 50 * 60, spikes))
    assert median(model, 20) == pytest.approx(comes, rel=0.25)


@pytest.mark.slow
@pytest.mark.parametrize(("day", "hour", "comes"), [MOMENTS[0], MOMENTS[3]])
def test_the_default_knows_weekdays_from_four_weeks(day: int, hour: float, comes: float) -> None:
    history = until(MONDAY + (28 + day) * DAY + hour * HOUR, step=600.0)
    competition = default_competition(600.0, 600.0, keep=28 * DAY, growth=Growth(trees=4))
    competition.fit(history)
    assert median(competition, 20) == pytest.approx(comes, rel=0.25)


def test_the_week_is_that_of_the_clock_on_the_wall() -> None:
    """Nine is nine on the Monday after the clock was put forward."""
    berlin = Calendar("Europe/Berlin")
    monday = datetime(2026, 3, 30, 6, 50, tzinfo=UTC).timestamp()  # 08:50 there
    history = until(monday, lambda times: office(berlin.to_local(times)))
    model = LocalTime(partial(OwnCycle, STEP), berlin)
    model.fit(history)
    assert median(model, 15) == pytest.approx(BUSY, rel=0.25)
    plain = fitted(history)
    assert median(plain, 15) < 0.5 * BUSY, "without a zone it comes an hour later"


def test_a_week_that_is_known_but_for_holes_is_found() -> None:
    history = until(MONDAY + 33 * DAY + 8.75 * HOUR)
    rates = history.rates.copy()
    day = round(DAY / STEP)
    rates[3 * day : 4 * day + day // 2] = np.nan
    rates[-day - 20 : -20] = np.nan  # of the last day, too little to find a short cycle in
    assert median(fitted(Series(history.start, STEP, rates)), 20) == pytest.approx(QUIET, rel=0.25)


@pytest.mark.parametrize("days", [7, 14, 20])
def test_less_than_three_weeks_do_not_show_a_week(days: int) -> None:
    with pytest.raises(NoCycle, match="the time of day does not tell"):
        fitted(until(MONDAY + 28 * DAY, days=days))


def test_hardly_any_history_is_no_verdict() -> None:
    with pytest.raises(NotEnoughHistory):
        fitted(until(MONDAY, days=0.1))


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 6))])
@pytest.mark.parametrize("each_day", [True, False], ids=["days of any level", "weekdays in any order"])
def test_days_that_differ_by_chance_are_no_week(each_day: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    chance = np.exp(0.6 * rng.standard_normal(60)) if each_day else rng.permutation(np.arange(60) % 7 < 5)

    def load(times: np.ndarray) -> np.ndarray:
        day, hour = (times - MONDAY).astype(int) // round(DAY) % 60, times % DAY / HOUR
        shape = 1 + np.clip(np.sin(2 * np.pi * (hour - 9) / 24), -0.8, 1)
        return 40.0 * shape * chance[day] if each_day else np.where(chance[day], 20 + 80 * shape, QUIET)

    assert own_season(until(MONDAY + 28 * DAY, load, seed=seed), STEP) is None


def rota(hours: float):
    """Half an hour of much more each so many hours, on a wave of a day."""
    return lambda t: np.where(
        (t - MONDAY) % (hours * HOUR) < HOUR / 2, 240.0, 40 + 20 * np.sin(2 * np.pi * (t % DAY) / DAY)
    )


def test_seven_hours_are_found_in_a_week_and_followed() -> None:
    turn = 26 * 7 * HOUR  # after MONDAY
    model = fitted(until(MONDAY + turn - HOUR / 4, rota(7), days=7, step=60.0))
    assert median(model, 10) < 80
    assert median(model, 25) == pytest.approx(240.0, rel=0.25)
    assert median(model, 25 + 7 * 60) == pytest.approx(240.0, rel=0.25)


def test_at_short_steps_it_goes_in_minutes() -> None:
    model = OwnCycle(15.0)
    model.fit(until(MONDAY + 26 * 7 * HOUR - HOUR / 4, rota(7), days=7, step=60.0))
    assert isinstance(model.inner, Coarse)
    assert median(model, 25) == pytest.approx(240.0, rel=0.25)


@pytest.mark.parametrize("hours", [2, 3, 8, 12, 24])
def test_parts_of_a_day_are_left_to_the_time_of_day(hours: int) -> None:
    assert own_season(until(MONDAY + 14 * DAY, rota(hours), days=7), STEP) is None


@pytest.mark.slow
def test_the_default_draws_from_seven_hours() -> None:
    """The direct model does not know them."""
    competition = default_competition(STEP, 600.0)
    history = until(MONDAY + 26 * 7 * HOUR - HOUR / 4, rota(7), days=7)
    competition.fit(history)
    assert competition.leading == "cycle"
    assert median(competition, 25) == pytest.approx(240.0, rel=0.25)


def test_what_came_after_a_history_that_is_read_again_is_kept() -> None:
    history = until(MONDAY + 26 * 7 * HOUR - 3 * HOUR, rota(7), days=7)
    model = fitted(history)
    feed(model, history.end, np.full(6, 150.0))
    before = median(model, 5)
    model.fit(history)
    assert median(model, 5) == pytest.approx(before, rel=0.05)
    assert before == pytest.approx(150.0, rel=0.25)


def test_a_week_is_found_in_history_of_any_step() -> None:
    for step in (15.0, 60.0, 1800.0):
        assert own_season(until(MONDAY + 28 * DAY, step=step), step) == WEEK
