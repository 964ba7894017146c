"""Libraries are fitted on steps of their own: finer paths lie where they belong, and hear of the running step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from forecasting.guarded import Deadline, Sample
from forecasting.innovations import Innovations
from forecasting.models.library import LibraryModel
from forecasting.models.naive import Naive
from forecasting.series import Arrivals, Series


@dataclass(frozen=True)
class StraightOn:
    """The line through the newest two steps."""

    modules: tuple[str, ...] = ()

    def __call__(self, sample: Sample, deadline: Deadline) -> Innovations:
        before, last = sample.values[-2:]
        transition = np.array([[1.0, 1.0], [0.0, 1.0]])
        state = np.array([2 * last - before, last - before])
        return Innovations(transition, np.array([1.0, 0.0]), np.array([2.0, 1.0]), state, sample.end)


def ramp(start: float, stop: float, step: float) -> np.ndarray:
    """Mean rates of a load that grows by 0.006 requests/s each second; 600 at time 0."""
    begins = np.arange(start, stop, step)
    return 600 + 0.006 * (begins + step / 2)


@pytest.mark.parametrize("after", [0, 1, 2, 3, 4, 7])
def test_no_step_is_off_by_one(after):
    """The history ends at whole own steps, and inside of one; a growing load tells steps apart: 0.36 a minute."""
    model = LibraryModel(StraightOn(), 60.0, own_step=300.0)
    end = 120000.0 + after * 60
    model.fit(Series(0.0, 60.0, ramp(0, end, 60)))
    assert model.fallback is None
    middle = np.median(model.paths(20, 40_000, np.random.default_rng(0)), axis=0)
    # Beyond the first minutes (the running step has one forecast only); half a minute's growth is the tolerance.
    assert middle[5:] == pytest.approx(ramp(end, end + 1200, 60)[5:], abs=0.18)


def test_the_share_of_the_running_step_that_was_seen_counts():
    """Constant 50/s, then 100/s: the newest level moves by the share of the five minutes, in logs, and then wholly."""
    noise = np.random.default_rng(2).normal(0, 0.01, 200)
    model = Naive(60.0, own_step=300.0)
    model.fit(Series(0.0, 60.0, 50 + noise))
    calm = model.calm
    for minute in range(5):
        seen = 12000.0 + 60 * (minute + 1)
        model.update(Arrivals(seen, 60.0, 100 * 60.0))
        middle = np.median(model.paths(10, 4000, np.random.default_rng(0)), axis=0)
        share = (minute + 1) / 5
        expected = (50 + calm) ** (1 - share) * (100 + calm) ** share - calm
        assert middle == pytest.approx(expected, rel=0.03)


def test_paths_do_not_depend_on_how_updates_are_cut():
    models = [Naive(60.0, own_step=300.0) for _ in range(3)]
    rates = 50 + np.random.default_rng(3).random(100)
    for model in models:
        model.fit(Series(0.0, 300.0, rates))
    end = 30000.0
    rate = [70.0] * 5 + [140.0] * 3  # five minutes, and three of the running step
    models[0].update(Arrivals(end + 300, 300.0, 300 * 70.0))
    models[0].update(Arrivals(end + 480, 180.0, 180 * 140.0))
    for k in range(8):
        models[1].update(Arrivals(end + 60 * (k + 1), 60.0, 60 * rate[k]))
    for k in range(8):  # and what overlaps counts once
        models[2].update(Arrivals(end + 60 * (k + 1), 60.0 * (1 + k % 2), 60 * (1 + k % 2) * rate[k]))
    drawn = [np.median(model.paths(12, 300, np.random.default_rng(0)), axis=0) for model in models]
    assert drawn[1] == pytest.approx(drawn[0], rel=0.02)
    assert drawn[2] == pytest.approx(drawn[0], rel=0.02)


@pytest.mark.parametrize(
    ("step", "season", "own", "periods"),
    [
        (60.0, 86400.0, 300.0, (288,)),
        (15.0, 86400.0, 300.0, (288,)),
        (600.0, 86400.0, 600.0, (144,)),
        (60.0, 1440.0, 60.0, (24,)),
        (2.0, 300.0, 12.5, (24,)),
        (60.0, None, 300.0, ()),
    ],
)
def test_the_own_step_divides_the_season(step, season, own, periods):
    model = Naive(step, season)
    assert (model.own_step, model.periods) == (own, periods)


def test_a_season_of_less_than_two_steps_is_refused():
    with pytest.raises(ValueError, match="at least two steps"):
        Naive(60.0, 90.0)


def test_unknown_steps_before_the_first_known_one_shift_nothing():
    rates = 50 + np.random.default_rng(3).random(100)
    short, long = (LibraryModel(StraightOn(), 300.0) for _ in range(2))
    short.fit(Series(3000.0, 300.0, rates))
    long.fit(Series(0.0, 300.0, np.concatenate((np.full(10, np.nan), rates))))
    assert (short.fallback, long.fallback) == (None, None)
    assert short.model.at == long.model.at == 110
    assert np.array_equal(short.model.ahead(5), long.model.ahead(5))
