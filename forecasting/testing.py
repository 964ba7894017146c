"""The suite that every forecaster passes. Import it to check your own, with any test runner:

    class TestMine(ForecasterConformance):
        def make(self) -> Forecaster:
            return Mine(step=60.0)

or ``check_forecaster(lambda: Mine(step=60.0))``. A failed check raises ``AssertionError`` and says what was wanted.
"""

# ruff: noqa: S101  a suite asserts
from __future__ import annotations

import pickle
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from forecasting.errors import NotEnoughHistory, NotReady
from forecasting.forecaster import Forecaster, Paths
from forecasting.series import Arrivals, Series

Rates = NDArray[np.float64]

_PATIENCE = 10.0  # s: a fast update needs a single quiet moment to show it


def seasonal_load(step: float, length: int, period: int, seed: int, mean: float = 20.0) -> Rates:
    """Counts / step of a wave with a spike six times as high once a period, drawn as Poisson counts; [length]."""
    at = np.arange(length) % period
    rate = mean * (1 + 0.5 * np.sin(2 * np.pi * at / period))
    rate[(at >= period // 3) & (at < period // 3 + max(1, period // 12))] *= 6
    return np.random.default_rng(seed).poisson(rate * step) / step


def feed(forecaster: Forecaster, start: float, rates: Rates) -> float:
    """Update with one count a step from ``start`` (unix s) on; NaN leaves a hole. Returns the end (unix s)."""
    step = forecaster.step
    for k, rate in enumerate(rates.tolist()):
        if rate == rate:  # noqa: PLR0124  NaN is not equal to itself
            forecaster.update(Arrivals(start + (k + 1) * step, step, rate * step))
    return start + len(rates) * step


class ForecasterConformance:
    """Inherit, and say how yours is made. Class attributes set the size of the load and the time limits."""

    period = 96  # steps; give the season of your forecaster, if it has one
    length = 96 * 6  # steps of history
    steps = 12
    count = 60
    # Best of several runs, so that a busy machine does not fail a fast forecaster; all but fits in processor time.
    update_limit = 1e-4  # s
    paths_limit = 5e-3  # s, for ``steps`` x ``count``
    fit_limit = 2.0  # s, for ``length`` steps
    most = 10.0  # paths stay below this multiple of the highest rate that ever came

    def make(self) -> Forecaster:
        """A fresh forecaster."""
        raise NotImplementedError

    # -- helpers ----------------------------------------------------------------------------------------------------

    def _load(self, seed: int = 0, length: int | None = None) -> tuple[float, Rates]:
        """Start (a multiple of the season) and rates."""
        step = self.make().step
        return 1000 * self.period * step, seasonal_load(step, length or self.length, self.period, seed)

    def _fitted(self, seed: int = 0) -> tuple[Forecaster, float]:
        """A forecaster fitted on the load, and the load's end."""
        forecaster = self.make()
        start, rates = self._load(seed)
        series = Series(start, forecaster.step, rates)
        forecaster.fit(series)
        return forecaster, series.end

    def _draw(self, forecaster: Forecaster, seed: int = 0, steps: int | None = None) -> Paths:
        return forecaster.paths(steps or self.steps, self.count, np.random.default_rng(seed))

    def _sound(self, paths: Paths, steps: int | None = None) -> None:
        assert paths.dtype == np.float32, f"dtype {paths.dtype}, wanted float32"
        assert paths.shape == (self.count, steps or self.steps), f"shape {paths.shape}"
        assert np.isfinite(paths).all(), "a path is not finite"
        assert (paths >= 0).all(), "a path is negative"

    # -- what must hold ---------------------------------------------------------------------------------------------

    def test_not_ready_before_anything_came(self) -> None:
        forecaster = self.make()
        assert not forecaster.ready
        try:
            self._draw(forecaster)
        except NotReady:
            return
        raise AssertionError("paths before anything was learned must raise NotReady")

    def test_history_without_a_known_rate_is_refused_and_changes_nothing(self) -> None:
        forecaster, end = self._fitted()
        before = self._draw(forecaster)
        for rates in (np.empty(0), np.full(50, np.nan)):
            try:
                forecaster.fit(Series(end, forecaster.step, rates))
            except NotEnoughHistory:
                continue
            raise AssertionError("a history without a known rate must raise NotEnoughHistory")
        assert np.array_equal(self._draw(forecaster), before), "a refused history changed the forecaster"

    def test_shapes(self) -> None:
        forecaster, end = self._fitted()
        feed(forecaster, end, self._load(1, 5)[1])
        for steps in (1, self.steps, 2 * self.period + 1):
            self._sound(self._draw(forecaster, steps=steps), steps)
        out = np.full((self.count, self.steps), -1, np.float32)
        result = forecaster.paths(self.steps, self.count, np.random.default_rng(0), out)
        assert result is out, "paths must be written into out"
        assert np.array_equal(out, self._draw(forecaster)), "out holds other paths than without it"

    def test_never_negative_after_extremes(self) -> None:
        forecaster, end = self._fitted()
        for value in (0.0, 1e7, 0.0, 1e-9, 3.0):
            end = feed(forecaster, end, np.full(3, value))
            self._sound(self._draw(forecaster))

    def test_all_zeros(self) -> None:
        forecaster = self.make()
        start, rates = self._load()
        forecaster.fit(Series(start, forecaster.step, np.zeros_like(rates)))
        feed(forecaster, start + len(rates) * forecaster.step, np.zeros(20))
        paths = self._draw(forecaster)
        self._sound(paths)
        assert paths.mean() * forecaster.step < 0.5, f"{paths.mean()} requests/s out of nothing"

    def test_mostly_zeros(self) -> None:
        forecaster = self.make()
        start, rates = self._load()
        sparse = np.where(np.random.default_rng(9).random(len(rates)) < 0.05, rates, 0.0)
        forecaster.fit(Series(start, forecaster.step, sparse))
        paths = self._draw(forecaster)
        self._sound(paths)
        assert paths.max() <= self.most * sparse.max(), f"{paths.max()} requests/s, and {sparse.max()} ever came"
        # An empty median would do; a mean far from what came would not.
        mean = float(paths.mean())
        assert mean < 10 * sparse.mean() + 1 / forecaster.step, f"{mean} requests/s after {sparse.mean()} of history"

    def test_growth_does_not_run_away(self) -> None:
        forecaster = self.make()
        start, rates = self._load()
        growing = np.exp(np.linspace(0.0, 6.0, len(rates)))
        forecaster.fit(Series(start, forecaster.step, growing))
        steps = 2 * self.period
        paths = self._draw(forecaster, steps=steps)
        self._sound(paths, steps)
        assert paths.max() <= self.most * growing.max(), f"{paths.max()} requests/s, and {growing.max()} ever came"

    def test_short_histories(self) -> None:
        start, rates = self._load()
        for length in (1, 2, 3, self.period + 1):
            forecaster = self.make()
            try:
                forecaster.fit(Series(start, forecaster.step, rates[:length]))
            except NotEnoughHistory:
                assert length <= 3, f"{length} known steps were refused"
                feed(forecaster, start, rates[:2])
            assert forecaster.ready, f"{length} known steps are enough to say something"
            self._sound(self._draw(forecaster))

    def test_constants(self) -> None:
        forecaster = self.make()
        start, rates = self._load()
        forecaster.fit(Series(start, forecaster.step, np.full(len(rates), 50.0)))
        feed(forecaster, start + len(rates) * forecaster.step, np.full(20, 50.0))
        middle = np.median(self._draw(forecaster), axis=0)
        assert np.all(np.abs(middle - 50) < 5), f"the median of a constant 50/s is {middle}"

    def test_gaps_in_history_and_updates(self) -> None:
        forecaster = self.make()
        start, rates = self._load()
        rng = np.random.default_rng(5)
        rates[rng.random(len(rates)) < 0.3] = np.nan
        rates[self.period : self.period + 30] = np.nan
        forecaster.fit(Series(start, forecaster.step, rates))
        self._sound(self._draw(forecaster))
        end = start + len(rates) * forecaster.step
        more = self._load(1, 60)[1]
        more[10:40] = np.nan
        end = feed(forecaster, end, more)
        self._sound(self._draw(forecaster))
        # A hole longer than everything that is remembered.
        forecaster.update(Arrivals(end + 1e6 * forecaster.step, forecaster.step, 20 * forecaster.step))
        self._sound(self._draw(forecaster))

    def test_what_is_missing_is_not_zero(self) -> None:
        """Of a constant load some steps at random, some at the same moment of each season, and the newest are missing:
        forecasts of every step stay near the constant, in the median and in the mean."""
        start, rates = self._load()
        known = np.full(len(rates), 50.0)
        known[np.random.default_rng(5).random(len(rates)) < 0.1] = np.nan
        for first in range(self.period // 2, len(rates), self.period):
            known[first : first + self.steps] = np.nan
        known[-2:] = np.nan
        fitted, updated = self.make(), self.make()
        step = fitted.step
        end = start + len(rates) * step
        fitted.fit(Series(start, step, known))
        self._near(fitted, 50.0, "a history with gaps")
        updated.fit(Series(start, step, np.full(self.period, 50.0)))
        # The newest of many steps, and of few, ends in a hole.
        for begin, stop in ((self.period, len(rates) - 5), (len(rates) - 5, len(rates) - 2)):
            feed(updated, start + begin * step, known[begin:stop])
            self._near(updated, 50.0, "updates with gaps")
        feed(fitted, end, known[: 2 * self.period + self.period // 2])
        self._near(fitted, 50.0, "gaps in updates after a history with gaps")

    def _near(self, forecaster: Forecaster, rate: float, after: str) -> None:
        """Over a season, the hole at the same moment of each included."""
        paths = self._draw(forecaster, steps=self.period)
        for what, found in (("median", np.median(paths, axis=0)), ("mean", paths.mean(axis=0))):
            low, high = float(found.min()), float(found.max())
            assert low > 0.8 * rate, (
                f"{after}: the {what} of a constant {rate}/s falls to {low}: is missing read as zero?"
            )
            if what == "median":
                assert high < 1.25 * rate, f"{after}: the {what} of a constant {rate}/s rises to {high}"

    def test_irregular_updates(self) -> None:
        forecaster, end = self._fitted()
        rng = np.random.default_rng(6)
        for _ in range(100):
            seconds = float(forecaster.step * rng.exponential(0.7) + 1e-3)
            hole = float(forecaster.step * rng.exponential(0.5)) if rng.random() < 0.2 else 0.0
            end += seconds + hole
            forecaster.update(Arrivals(end, seconds, float(rng.poisson(20 * seconds))))
        self._sound(self._draw(forecaster))

    def test_learns_from_updates_alone(self) -> None:
        forecaster = self.make()
        start, rates = self._load(length=3 * self.period)
        feed(forecaster, start, rates[:2])
        assert forecaster.ready, "two updates are enough to say something"
        self._sound(self._draw(forecaster))
        feed(forecaster, start + 2 * forecaster.step, rates[2:])
        self._sound(self._draw(forecaster))

    def test_history_may_come_after_updates(self) -> None:
        start, rates = self._load()
        first, second = self.make(), self.make()
        step = first.step
        cut = len(rates) - 20
        first.fit(Series(start, step, rates[:cut]))
        feed(first, start + cut * step, rates[cut:])
        feed(second, start + cut * step, rates[cut:])
        # The history overlaps with what was seen, and is wrong there: what was seen wins.
        overlap = rates[: cut + 5].copy()
        overlap[cut:] = 1e4
        second.fit(Series(start, step, overlap))
        assert second.ready
        a, b = np.median(self._draw(first), axis=0), np.median(self._draw(second), axis=0)
        assert np.allclose(a, b, rtol=0.3, atol=5), f"medians differ by the order of fit and update: {a}, {b}"
        feed(second, start + len(rates) * step, self._load(2, 10)[1])
        self._sound(self._draw(second))

    def test_history_of_another_step(self) -> None:
        start, rates = self._load()
        for factor in (5, 1 / 3):
            forecaster = self.make()
            step = forecaster.step * factor
            forecaster.fit(Series(start, step, np.full(int(len(rates) / factor), 20.0)))
            middle = np.median(self._draw(forecaster), axis=0)
            assert np.all(np.abs(middle - 20) < 4), f"history at {step} s: the median of a constant 20/s is {middle}"

    def test_deterministic(self) -> None:
        (first, end), (second, _) = self._fitted(), self._fitted()
        more = self._load(3, 10)[1]
        feed(first, end, more)
        feed(second, end, more)
        paths = self._draw(first, 7)
        assert np.array_equal(paths, self._draw(first, 7)), "drawing changed the forecaster"
        assert np.array_equal(paths, self._draw(second, 7)), "the same data and rng gave other paths"
        assert not np.array_equal(paths, self._draw(first, 8)), "the rng makes no difference"

    def test_pickling(self) -> None:
        forecaster, end = self._fitted()
        more = self._load(4, 20)[1]
        end = feed(forecaster, end, more[:10])
        copy = pickle.loads(pickle.dumps(forecaster))  # noqa: S301  our own bytes
        assert np.array_equal(self._draw(forecaster), self._draw(copy)), "a pickled copy draws other paths"
        feed(forecaster, end, more[10:])
        feed(copy, end, more[10:])
        assert np.array_equal(self._draw(forecaster), self._draw(copy)), "a pickled copy learns otherwise"

    def test_no_look_into_the_future(self) -> None:
        start, rates = self._load()
        step = self.make().step
        cut = len(rates) - 40
        drawn = []
        for later in (rates[cut:], rates[cut:] * 9 + 100):
            whole = np.concatenate((rates[:cut], later))
            forecaster = self.make()
            forecaster.fit(Series(start, step, whole[: cut - 20]))  # a view: the future lies right behind it
            whole[: cut - 20] = -1.0  # and what was handed over is not kept
            seen = []
            end = start + (cut - 20) * step
            for k in range(20):
                end = feed(forecaster, end, rates[cut - 20 + k : cut - 19 + k])
                seen.append(self._draw(forecaster))
            feed(forecaster, end, later)
            drawn.append(seen)
        for k, (a, b) in enumerate(zip(*drawn, strict=True)):
            assert np.array_equal(a, b), f"paths {20 - k} steps before the futures part differ already"

    def test_time_runs_forward_only(self) -> None:
        forecaster, end = self._fitted()
        end = feed(forecaster, end, np.full(5, 20.0))
        before = self._draw(forecaster)
        forecaster.update(Arrivals(end - forecaster.step, forecaster.step, 1e6))
        assert np.array_equal(before, self._draw(forecaster)), "an update from the past changed the forecast"

    def test_time_limits(self) -> None:
        start, rates = self._load()
        forecaster = self.make()
        history = Series(start, forecaster.step, rates)
        fit = _fastest(lambda: forecaster.fit(history), 3)
        assert fit < self.fit_limit, f"fit takes {fit:.3f} s, limit {self.fit_limit} s"
        paths = _fastest(lambda: self._draw(forecaster), 20, time.thread_time)
        assert paths < self.paths_limit, f"paths takes {paths * 1e3:.2f} ms, limit {self.paths_limit * 1e3} ms"
        end = history.end
        more = self._load(1, 20)[1]
        each, patience = float("inf"), time.monotonic() + _PATIENCE
        while each >= self.update_limit and time.monotonic() < patience:
            began = time.thread_time()
            end = feed(forecaster, end, more)
            each = min(each, (time.thread_time() - began) / len(more))
        assert each < self.update_limit, f"an update takes {each * 1e6:.0f} us, limit {self.update_limit * 1e6:.0f} us"


def check_forecaster(make: Callable[[], Forecaster], *, period: int = 96) -> None:
    """Run every check on forecasters made by ``make``; ``period`` is their season in steps. Raises AssertionError."""

    class Suite(ForecasterConformance):
        def make(self) -> Forecaster:
            return make()

    suite = Suite()
    suite.period, suite.length = period, 6 * period
    for name in sorted(vars(ForecasterConformance)):
        if name.startswith("test_"):
            getattr(suite, name)()


def _fastest(run: Callable[[], object], times: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Shortest of some runs (s)."""
    best = float("inf")
    for _ in range(times):
        began = clock()
        run()
        best = min(best, clock() - began)
    return best
