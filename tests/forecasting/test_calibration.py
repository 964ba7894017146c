"""Coverage by hand-made outcomes: shares, errors, busy hours, counts with ties; and a model followed over load."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.calibration import Outcomes, coverage, means_at, perfect, pinball, randomised_pit
from forecasting.calibration_study import follow
from forecasting.forecaster import Paths
from forecasting.models.naive import Naive
from forecasting.series import Arrivals, Series

HOUR = 3600.0


def outcomes(pits: np.ndarray, medians: np.ndarray | None = None, horizon: float = 60.0, every: float = 300.0):
    n = len(pits)
    medians = np.ones(n) if medians is None else medians
    return Outcomes(horizon, 7200.0 + every * np.arange(n), medians, pits, np.zeros(n))


def test_shares_are_counted_over_all_and_over_the_busiest_tenth_of_hours():
    """20 hours of 12 origins; two are busy by their forecast, and there half of the outcomes are above .9."""
    pits = np.tile((np.arange(12) + 0.5) / 12, 20)
    medians = np.ones(240)
    for hour in (4, 11):
        medians[12 * hour : 12 * hour + 12] = 5.0
        pits[12 * hour : 12 * hour + 12] = np.tile([0.5, 0.93], 6)
    found = {(c.hours, c.level): c for c in coverage(outcomes(pits, medians))}
    assert found["busy", 0.9].share == 0.5
    assert found["busy", 0.95].share == 1.0
    assert found["busy", 0.9].origins == 24
    assert found["all", 0.9].share == pytest.approx((18 * 11 + 12) / 240)  # of 12 even ones, 0.958 is above .9 and .95
    assert found["all", 0.95].share == pytest.approx((18 * 11 + 24) / 240)
    assert not found["busy", 0.9].met
    assert found["all", 0.99].share == 1.0


def test_independent_misses_have_the_binomial_error_and_spells_a_larger_one():
    rng = np.random.default_rng(0)
    pits = rng.random(12 * 24 * 14)
    binomial = np.sqrt(0.9 * 0.1 / len(pits))
    alone = coverage(outcomes(pits))[0]
    assert alone.error == pytest.approx(binomial, rel=0.25)
    assert alone.met
    spells = np.repeat(rng.random(24 * 14), 12)  # all of an hour alike: 12 times fewer outcomes
    assert coverage(outcomes(spells))[0].error == pytest.approx(binomial * np.sqrt(12), rel=0.25)
    assert coverage(outcomes(pits)) == coverage(outcomes(pits))


def test_no_miss_at_all_is_no_proof_where_few_were_to_be_expected():
    """24 outcomes of half an hour from origins five minutes apart say as much as 4: 1.0 is no contradiction to .9."""
    few = coverage(outcomes(np.full(24, 0.2), horizon=1800.0))[0]
    assert few.share == 1.0
    assert few.error == pytest.approx(np.sqrt(0.9 * 0.1 / 4))
    assert few.met
    assert not few.within, "the bootstrap of outcomes that are all alike is sure"
    assert few.bootstrap == 0.0
    many = coverage(outcomes(np.full(24 * 100, 0.2), horizon=1800.0))[0]
    assert not many.met
    assert coverage(outcomes(np.empty(0))) == []


def test_of_a_right_forecaster_nearly_every_cell_is_met_and_some_not_within_the_bootstrap():
    rng = np.random.default_rng(7)
    week = Outcomes(1800.0, 105.0 * np.arange(5760), np.sin(np.arange(5760) / 800) + 2, np.empty(0), np.empty(0))
    trials = [perfect(week, rng) for _ in range(60)]
    pits = np.stack([trial.pits for trial in trials])
    assert np.quantile(pits, [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=0.02)
    # Halfway to the horizon half of the way is common; a horizon apart nothing is.
    near, apart = (np.corrcoef(pits[:, :-k].ravel(), pits[:, k:].ravel())[0, 1] for k in (9, 17))
    assert near == pytest.approx(6 / np.pi * np.arcsin(8 / 17 / 2), abs=0.03)  # of uniforms with normal ones' 8/17
    assert abs(apart) < 0.03
    cells = [cell for trial in trials for cell in coverage(trial)]
    assert np.mean([cell.met for cell in cells]) > 0.97
    assert 0.03 < np.mean([not cell.within for cell in cells]) < 0.25


@settings(max_examples=20, deadline=None)
@given(st.floats(0.0, 3.0), st.integers(0, 10**6))
def test_counts_of_one_law_give_uniform_ranks(mean: float, seed: int):
    rng = np.random.default_rng(seed)
    pits = [randomised_pit(rng.poisson(mean, 40) / 60, rng.poisson(mean) / 60, 60.0, rng.random()) for _ in range(600)]
    for level in (0.1, 0.5, 0.9):
        assert np.mean(np.array(pits) <= level) == pytest.approx(level, abs=0.08)  # four standard errors


def test_a_rank_by_hand():
    samples = np.array([0.0, 0.001, 1.0, 2.0])  # 0.001/s in a minute is no request
    assert randomised_pit(samples, 0.0, 60.0, 0.5) == pytest.approx(1.5 / 5)
    assert randomised_pit(samples, 1.5, 60.0, 0.0) == pytest.approx(3 / 5)
    assert randomised_pit(samples, 9.0, 60.0, 0.5) == pytest.approx(4.5 / 5)


def test_windows_end_at_the_horizon():
    paths = np.arange(20.0).reshape(1, 20)
    assert means_at(paths, 15.0, 120.0)[0] == 5.5  # steps 4 to 7
    assert means_at(paths, 60.0, 300.0)[0] == 4.0
    assert means_at(paths, 15.0, 30.0)[0] == 0.5  # no more than there is
    with pytest.raises(ValueError, match="do not hold it"):
        means_at(paths, 15.0, 315.0)


def test_pinball_by_hand():
    assert pinball(np.array([10.0, 10.0]), 14.0, [0.9, 0.5]) == pytest.approx((3.6 + 2.0) / 2)
    assert pinball(np.array([10.0, 10.0]), 8.0, [0.9, 0.5]) == pytest.approx((0.2 + 1.0) / 2)


class Told:
    """Knows the truth's law: 30/s; records what it was told."""

    name, step, ready = "told", 60.0, True

    def __init__(self) -> None:
        self.ends: list[float] = []

    def fit(self, history: Series) -> None: ...

    def update(self, arrivals: Arrivals) -> None:
        self.ends.append(arrivals.end)

    def paths(self, steps: int, count: int, rng: np.random.Generator, out: Paths | None = None) -> Paths:
        self.seen = len(self.ends)
        return (rng.poisson(1800, (count, steps)) / 60).astype(np.float32)


def test_a_true_law_is_found_calibrated_gaps_left_out_and_refits_made():
    rates = np.random.default_rng(3).poisson(1800, 4 * 1440) / 60
    rates[1000:1100] = np.nan
    model, refits = Told(), []
    found = follow(
        model,
        Series(0.0, 60.0, rates),
        horizons=(60.0, 600.0),
        count=100,
        every=300.0,
        refit=lambda m: refits.append(len(m.ends)),
    )
    assert refits == [1440 - 100, 2880 - 100, 4320 - 100]
    assert len(model.ends) == len(rates) - 100 - 9
    # From 0 to 5750; within the gap, and at its end, nothing was known for longer than the longest horizon.
    assert [len(o.origins) for o in found] == [1151 - 21, 1151 - 22]
    assert all(c.met for o in found for c in coverage(o))
    again = follow(Told(), Series(0.0, 60.0, rates), horizons=(60.0, 600.0), count=100, every=300.0)
    np.testing.assert_array_equal(found[1].pits, again[1].pits)
    more = follow(Told(), Series(0.0, 60.0, 1.02 * rates), horizons=(60.0,), count=100)
    assert not any(c.met for c in coverage(more[0])[:3])


def test_after_a_short_gap_paths_are_of_the_time_that_is_scored():
    class Hand(Told):
        """Says when, in steps since what it knows: as wide as the horizon is far."""

        def paths(self, steps: int, count: int, rng: np.random.Generator, out: Paths | None = None) -> Paths:
            begin = int(self.ends[-1] / 60) if self.ends else 0
            return np.tile(np.arange(begin, begin + steps, dtype=np.float32), (count, 1))

    rates = np.arange(300.0)
    rates[100:107] = np.nan
    found = follow(Hand(), Series(0.0, 60.0, rates), horizons=(60.0, 600.0), count=3, every=60.0)
    for outcomes_of, ahead in zip(found, (0.0, 9.0), strict=True):
        assert np.array_equal(outcomes_of.medians, outcomes_of.origins / 60 + ahead)
    assert 103 * 60.0 in found[1].origins


def test_a_forecaster_is_followed_and_begins_late():
    rates = np.random.default_rng(4).poisson(1800, 600) / 60
    model = Naive(60.0)
    model.fit(Series(-36000.0, 60.0, rates))
    found = follow(model, Series(0.0, 60.0, rates), horizons=(300.0,), begin=18000.0, count=50)
    assert found[0].origins[0] == 18000.0
    assert (found[0].losses > 0).all()
    with pytest.raises(ValueError, match="steps of 15"):
        follow(model, Series(0.0, 15.0, rates))
