"""Rolling origins: what is fitted, asked and told when; measures by hand; no look ahead."""

from __future__ import annotations

import math

import numpy as np
import pytest

from forecasting.backtest import Plan, pinball_losses, plan_of, rows, run, usual_every
from forecasting.backtest_models import LIBRARIES, MODELS, QUICK, About, missing
from forecasting.errors import BadSeries, LibraryMissing, NotEnoughHistory, NotReady
from forecasting.guarded import InThisProcess
from forecasting.models import library
from forecasting.models.level_season import LevelSeason
from forecasting.series import Arrivals, Series
from forecasting.testing import seasonal_load

STEP = 60.0


class Noted:
    """Says 10 requests/s in the first half of its paths and 20 in the others, and notes what it is handed."""

    name = "noted"
    step = STEP

    def __init__(self) -> None:
        self.fits: list[Series] = []
        self.told: list[Arrivals] = []
        self.asked: list[tuple[float, int, int]] = []

    def fit(self, history: Series) -> None:
        if np.isnan(history.rates).all():
            raise NotEnoughHistory("nothing is known")
        self.fits.append(history)

    def update(self, arrivals: Arrivals) -> None:
        self.told.append(arrivals)

    @property
    def ready(self) -> bool:
        return True

    def paths(self, steps, count, rng, out=None):
        self.asked.append((self.told[-1].end if self.told else math.nan, steps, count))
        paths = np.full((count, steps), 10, np.float32)
        paths[count // 2 :] = 20
        return paths


def test_what_is_fitted_asked_and_told() -> None:
    series = Series(600.0, STEP, np.arange(20.0))
    model, done = Noted(), []
    plan = Plan(first=8, last=17, horizons=(1, 3), history=5, refit=4, every=3, count=20)
    ticks = iter(range(100))
    found = run("noted", lambda: model, series, plan, done.append, clock=lambda: float(next(ticks)))
    # Origins 8, 11, 14; fits before 8, 12, 16, each on the five steps before it.
    assert [(f.start, f.rates.tolist()) for f in model.fits] == [
        (600 + 60 * 3, [3, 4, 5, 6, 7]),
        (600 + 60 * 7, [7, 8, 9, 10, 11]),
        (600 + 60 * 11, [11, 12, 13, 14, 15]),
    ]
    assert [(a.end, a.count) for a in model.told] == [(600 + 60 * (k + 1), 60.0 * k) for k in range(8, 17)]
    assert [a[1:] for a in model.asked] == [(3, 20)] * 3
    assert [a[0] for a in model.asked[1:]] == [600 + 60 * 11, 600 + 60 * 14]  # told of all before, and no more
    assert found.origins.tolist() == [600 + 60 * k for k in (8, 11, 14)]
    assert found.horizons.tolist() == [60, 180]
    assert found.came.tolist() == [[8, 10], [11, 13], [14, 16]]
    assert found.fit_seconds.tolist() == [1, 1, 1]
    assert done == [1, 2, 3]


def test_measures_by_hand() -> None:
    """Quantiles .1, .5, .9, .95, .99 of ten times 10 and ten times 20: 10, 15, 20, 20, 20."""
    rates = np.concatenate((np.tile([10.0, 14.0], 5), [12.0, 18.0, 30.0, np.nan]))
    series = Series(0.0, STEP, rates)
    plan = Plan(first=10, last=14, horizons=(1,), history=10, refit=10, every=1, count=20)
    found = run("noted", Noted, series, plan)
    assert found.quantiles[0, 0].tolist() == [10, 15, 20, 20, 20]
    assert pinball_losses(found)[0, 0] == pytest.approx((0.2 + 1.5 + 0.1 * 8 + 0.05 * 8 + 0.01 * 8) / 5)
    assert pinball_losses(found)[2, 0] == pytest.approx((2 + 7.5 + 0.9 * 10 + 0.95 * 10 + 0.99 * 10) / 5)
    (row,) = rows(found, series, plan)
    assert row.origins == 3  # what is not known is not scored
    assert row.pinball == pytest.approx(np.nanmean(pinball_losses(found)))
    # Medians miss by 3, 3 and 15; in the history each step was 4 from the one before.
    assert row.mase == pytest.approx((3 + 3 + 15) / 3 / 4)
    assert row.bias == pytest.approx(15 / 20 - 1)
    assert [c.level for c in row.covered] == [0.9, 0.95, 0.99]
    # Of 21 ranks 30 has the highest, so that only .99 may hold it.
    assert [c.share for c in row.covered[:2]] == pytest.approx([2 / 3, 2 / 3])


def test_a_horizon_is_the_minute_up_to_it_where_steps_are_shorter() -> None:
    series = Series(0.0, 15.0, np.arange(40.0))
    plan = Plan(first=20, last=33, horizons=(8,), history=20, refit=100, every=100, count=20)
    found = run("noted", Noted, series, plan)
    assert found.came[0, 0] == np.mean([24, 25, 26, 27])


def test_what_comes_later_changes_nothing() -> None:
    load = seasonal_load(STEP, 400, 96, 0)
    plan = Plan(first=300, last=390, horizons=(1, 5), history=300, refit=40, every=10, count=50)
    other = load.copy()
    other[350:] *= 7
    one, two = (run("x", lambda: LevelSeason(STEP, 96 * STEP), Series(0.0, STEP, r), plan) for r in (load, other))
    before = one.origins <= 350 * STEP
    assert before.sum() == 6
    assert np.array_equal(one.quantiles[before], two.quantiles[before])
    assert not np.array_equal(one.quantiles[~before], two.quantiles[~before])


def test_the_plan_in_seconds() -> None:
    series = Series(0.0, STEP, np.ones(1000))
    plan = plan_of(series, horizons=[30, 60, 300], score=6000, history=30000, refit=3600, every=600)
    assert plan == Plan(first=900, last=996, horizons=(1, 5), history=500, refit=60, every=10)
    assert len(plan.origins) == 10
    for wrong in ({"horizons": [30.0]}, {"score": 60000.0}, {"horizons": [6060.0]}):
        given = {"horizons": [60.0], "score": 6000.0} | wrong
        with pytest.raises(BadSeries, match=r"allowed|needed"):
            plan_of(series, history=30000, refit=3600, every=600, **given)


def test_without_any_history_it_says_which_model() -> None:
    series = Series(0.0, STEP, np.concatenate((np.full(10, np.nan), np.ones(10))))
    plan = Plan(first=10, last=15, horizons=(1,), history=10, refit=100, every=1, count=20)
    with pytest.raises(NotEnoughHistory, match="noted: nothing is known"):
        run("noted", Noted, series, plan)


@pytest.mark.parametrize("name", QUICK)
def test_models_by_name(name: str) -> None:
    about = About(STEP, 96 * STEP, 300.0, 400 * STEP, 180.0, InThisProcess())
    series = Series(0.0, STEP, seasonal_load(STEP, 400, 96, 1))
    plan = Plan(first=380, last=395, horizons=(1, 5), history=380, refit=100, every=5, count=40)
    found = run(name, lambda: MODELS[name](about), series, plan)
    assert np.isfinite(found.quantiles).all()
    assert (found.trusted is not None) == (name == "competition")


def test_origins_see_every_phase_of_what_comes_each_few_minutes() -> None:
    assert usual_every(60.0) == 420.0
    assert usual_every(600.0) == 600.0
    for step in (1.0, 15.0, 30.0, 60.0, 120.0, 300.0):
        apart = round(usual_every(step) / step)
        for minutes in (1, 2, 5, 10, 15, 30, 60):
            period = round(60 * minutes / step)
            if period >= 1:
                assert len({k * apart % period for k in range(period)}) == period


class Sawtooth(Noted):
    """Knows that the rate is the number of the step, from the newest update or the history's end on."""

    def paths(self, steps, count, rng, out=None):
        begin = max(self.told[-1].end if self.told else 0.0, self.fits[-1].end)
        return np.tile(np.arange(begin / STEP, begin / STEP + steps, dtype=np.float32), (count, 1))


@pytest.mark.parametrize("refit", [100, 3])
def test_after_a_gap_forecasts_are_of_the_time_that_is_scored(refit: int) -> None:
    rates = np.arange(40.0)
    rates[12:17] = np.nan
    plan = Plan(first=10, last=38, horizons=(1, 3), history=10, refit=refit, every=1, count=20)
    found = run("saw", Sawtooth, Series(0.0, STEP, rates), plan)
    assert found.silent == 2  # origins 16 and 17: nothing was known for longer than three steps
    known = ~np.isnan(found.came) & ~np.isnan(found.means)
    np.testing.assert_array_equal(found.means[known], found.came[known])
    assert known[:, 1].sum() == 28 - 5 - 2  # what came is not known at five origins, and nothing was said at two others


class Speechless(Noted):
    @property
    def ready(self) -> bool:
        return len(self.told) < 3

    def paths(self, steps, count, rng, out=None):
        if not self.ready:
            raise NotReady("nothing")
        return super().paths(steps, count, rng)


def test_a_model_that_is_not_ready_is_counted_and_not_scored() -> None:
    series = Series(0.0, STEP, np.arange(20.0))
    plan = Plan(first=8, last=17, horizons=(1,), history=5, refit=100, every=1, count=20)
    found = run("noted", Speechless, series, plan)
    assert found.silent == 6
    assert rows(found, series, plan)[0].origins == 3


def test_the_mase_of_the_newest_level_is_one_at_steps_below_a_minute() -> None:
    rates = np.random.default_rng(0).poisson(5, 6000).astype(np.float64)
    series = Series(0.0, 1.0, rates)
    plan = Plan(first=3000, last=5900, horizons=(60,), history=3000, refit=10**6, every=61, count=20)

    class Newest(Noted):
        step = 1.0

        def paths(self, steps, count, rng, out=None):
            at = round(self.told[-1].end) if self.told else 3000
            return np.full((count, steps), rates[at - 60 : at].mean(), np.float32)

    (row,) = rows(run("newest", Newest, series, plan), series, plan)
    assert row.mase == pytest.approx(1, abs=0.35)  # 48 origins


def test_a_season_is_not_made_up() -> None:
    with pytest.raises(NotEnoughHistory, match="no season"):
        MODELS["seasonal-naive"](About(STEP, None, 300.0, 400 * STEP, 180.0, InThisProcess()))


@pytest.mark.parametrize("name", MODELS)
def test_a_library_that_is_missing_is_known_before_the_model_is_made(name: str, monkeypatch) -> None:
    about = About(STEP, 3600.0, 1800.0, 86_400.0, 300.0, NothingRuns())
    gone = {needed for needed, _ in LIBRARIES.values()}
    there = library.importlib.util.find_spec
    monkeypatch.setattr(library.importlib.util, "find_spec", lambda one: None if one in gone else there(one))
    said = missing([name])
    if name not in LIBRARIES:
        assert said == {}
        MODELS[name](about)
        return
    with pytest.raises(LibraryMissing) as refused:
        MODELS[name](about)
    assert said == {name: str(refused.value)}


class NothingRuns:
    """A guard whose fits all fail."""

    limit = 1.0

    def run(self, task, modules=()):
        raise RuntimeError
