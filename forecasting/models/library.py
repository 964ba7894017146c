"""What the library models have in common: their own step, guarded fits, continuing, errors, paths, falling back."""

from __future__ import annotations

import importlib.util
import math

import numpy as np
from numpy.typing import NDArray

from forecasting.errors import LibraryMissing, NotReady
from forecasting.forecaster import Paths
from forecasting.guarded import Fallback, Family, Guard, InThisProcess, Outcome, Sample, guarded_fit
from forecasting.innovations import Innovations, level_stays
from forecasting.memory import Level, Memory, level_now
from forecasting.series import Arrivals, Series, step_index
from forecasting.trajectories import (
    CEILING,
    WIDEST_ERROR,
    Likeness,
    add_count_noise,
    candidates,
    draw,
    fill_forward,
    finish,
    without_errors,
)

Floats = NDArray[np.float64]

# Rows of the memory: log of (rate + calm); from _MADE on, log forecasts made at the end of that step, nearest first.
_LOG, _MADE = 1, 2

# Libraries are fitted on steps this long unless the season is short: what is finer costs time and adds noise.
_OWN_STEP = 300.0  # s
_LEAST_PER_SEASON = 24
_ON_BOUNDARY = 1e-6  # of a step


class LibraryModel:
    """A forecaster around one :class:`~forecasting.guarded.Family`, which says how to fit.

    The history is resampled to ``own_step`` (s; by default 300, or 1/24 of a short season) and cut to the newest
    ``most_steps``. The family is fitted on log(rate + calm), once on all but the newest part, whose errors are out of
    sample, and once on all. Between fits, the fitted model goes on with each complete step, and with the share of the
    running one that was seen. Paths: its forecast plus whole past error trajectories.

    ``season`` and ``longer`` (s): periods to tell the family, used when the history holds each twice. ``horizon`` (s):
    errors are measured up to here, and held beyond. ``fallback`` says why the newest level is forecast instead
    (None: it is not), ``detail`` what happened, in words.
    """

    name = "library"

    def __init__(
        self,
        family: Family,
        step: float,
        season: float | None = None,
        *,
        longer: tuple[float, ...] = (),
        own_step: float | None = None,
        horizon: float = 3600.0,
        most_steps: int = 4032,
        guard: Guard | None = None,
        drift: float = 0.1,
    ) -> None:
        self.step = step
        self.family = family
        self.guard: Guard = InThisProcess() if guard is None else guard
        self.periods: tuple[int, ...] = ()
        wanted = _OWN_STEP if own_step is None else own_step
        if season is None:
            self.own_step = max(step, wanted)
        else:
            if season < 2 * step:
                raise ValueError(f"season {season} s: it must be at least two steps of {step} s")
            least = wanted if own_step is not None else min(wanted, season / _LEAST_PER_SEASON)
            per_season = max(2, math.floor(season / max(step, least) + _ON_BOUNDARY))
            self.own_step = season / per_season
            self.periods = tuple(sorted({per_season, *(round(other / self.own_step) for other in longer)}))
        self.horizon = max(1, math.ceil(horizon / self.own_step - _ON_BOUNDARY))
        self.memory = Memory(self.own_step, most_steps, _MADE + self.horizon)
        self.level = Level(self.own_step)
        self.drift = drift * math.sqrt(self.own_step / 60)
        self.calm = 1.0 / self.own_step
        self.peak = 0.0
        self.model: Innovations | None = None
        self.fallback: Fallback | None = Fallback.NOT_FITTED
        self.detail = "no history yet"
        self._of: Floats | None = None  # transition that ``_powers`` belong to
        self._powers = np.empty((0, 0))
        self._running = (0.0, 0.0)  # seconds seen of the running step, requests in them

    # -- taking in --------------------------------------------------------------------------------------------------

    def fit(self, history: Series) -> None:
        """See :class:`~forecasting.forecaster.Forecaster`. A fit that goes wrong is no error: see ``fallback``."""
        self.memory.fit(history)
        rates = self.memory.rates[: self._complete()]
        known = rates[~np.isnan(rates)]
        self.calm = max(1.0 / self.own_step, 0.1 * float(known.mean()) if len(known) else 0.0)
        self.peak = float(np.nanmax(self.memory.rates, initial=0.0))
        self._take_logs()
        # Copies of what is known: the memory moves, and a guard may hand the sample to another process.
        values = self.memory.rows[_LOG, : len(rates)].astype(np.float64)
        known_at = np.flatnonzero(~np.isnan(values))
        skipped = int(known_at[0]) if len(known_at) else len(values)
        values = values[skipped:]
        fitting = tuple(p for p in self.periods if 2 * p <= len(values))
        whole = Sample(values, self.memory.base + skipped, self.own_step, fitting)
        outcome = guarded_fit(self.guard, self.family, whole.head(self._head(whole)), whole, self._bounds())
        self._use(outcome, whole)

    def _head(self, whole: Sample) -> int:
        """Steps of the sample to leave before those that errors are measured on: a season, or a quarter."""
        length = len(whole.values)
        kept_back = max(length // 4, min(whole.periods[0], length // 3) if whole.periods else 0)
        return max(length - kept_back, 0)

    def _bounds(self) -> tuple[float, float]:
        """Log forecasts beyond these are an explosion: twice as far as paths may go, and as far down."""
        high = math.log(2 * CEILING * self.peak + self.calm)
        return 2 * math.log(self.calm) - high, high

    def _use(self, outcome: Outcome, whole: Sample) -> None:
        """Go on with a fit, or without one: forecasts made over the steps that the head did not see, then the whole."""
        self.fallback, self.detail = outcome.reason, outcome.detail
        self.memory.rows[_MADE:] = np.nan
        if outcome.fits is None:
            self._without_fit()
            return
        self.model = outcome.fits.head
        self._go_on(self.model.at - self.memory.base)
        newest = self.memory.rows[_MADE:, max(whole.end - 1 - self.memory.base, 0)]
        self.model = outcome.fits.whole
        if len(whole.values):
            newest[:] = self._far(self.model)

    def _without_fit(self) -> None:
        """Let the level stay, from the first known step on."""
        self.model = None
        self._go_on(0)

    def _go_on(self, column: int) -> None:
        """Take in all complete steps from ``column`` on."""
        for each in range(column, self._complete()):
            self._take(each)

    def _complete(self) -> int:
        """Columns of steps that have ended; the history may end within one more."""
        memory = self.memory
        if memory.origin is None:
            return 0
        return min(memory.used, max(step_index(memory.origin, self.own_step) - memory.base, 0))

    def _take_logs(self) -> None:
        memory = self.memory
        memory.rows[_LOG, : memory.used] = np.log(memory.rates + np.float32(self.calm))

    def _take(self, column: int) -> None:
        """Move the model on by one complete step, and keep what it says of the next ones."""
        memory = self.memory
        value = float(memory.rows[_LOG, column])
        index = memory.base + column
        if self.model is None or not np.isfinite(self.model.state).all():
            if math.isnan(value):
                return
            self.model = level_stays(value, index)
        if self.model.at > index:
            return
        while self.model.at < index and index - self.model.at <= memory.capacity:
            self.model = self.model.after(math.nan)
        if self.model.at < index:  # nothing was known for longer than is remembered
            self.model = level_stays(self.model.expected(), index)
        self.model = self.model.after(value)
        memory.rows[_MADE:, column] = self._far(self.model)

    def _far(self, model: Innovations) -> Floats:
        """Its forecasts up to the horizon. The matrix that makes them of a state is kept; it seldom changes."""
        if self._of is not model.transition:
            self._of, self._powers = model.transition, model.powers(self.horizon)
        return self._powers @ model.state + model.offset(np.arange(model.at, model.at + self.horizon))

    def update(self, arrivals: Arrivals) -> None:
        """See :class:`~forecasting.forecaster.Forecaster`. Raises ``BadSeries`` for a count that cannot be."""
        memory = self.memory
        before = memory.recorder.end
        closed = memory.recorder.update(arrivals)[-memory.capacity :]
        if before is not None and arrivals.end <= before:
            return
        self.level.update(arrivals)
        self._see_running(arrivals, before)
        columns = [memory.put(index, memory.recorder.rate(index)) for index in closed]
        for index, column in zip(closed, columns, strict=True):
            rate = memory.recorder.rate(index)
            self.peak = max(self.peak, rate)  # NaN changes nothing: it is not greater
            if column >= 0:
                memory.rows[_LOG, index - memory.base] = math.log(rate + self.calm)
        for index in closed:
            if index >= memory.base:
                self._take(index - memory.base)

    def _see_running(self, arrivals: Arrivals, before: float | None) -> None:
        """Add what falls into the running step."""
        begin = arrivals.end - arrivals.seconds
        opened = step_index(arrivals.end, self.own_step) * self.own_step
        seconds, count = self._running if before is not None and before >= opened else (0.0, 0.0)
        fresh = max(arrivals.end - max(begin, opened, before if before is not None else begin), 0.0)
        self._running = (seconds + fresh, count + arrivals.count * fresh / arrivals.seconds)

    def kept(self) -> Series:
        """The newest history, updates included: what a refit is to learn from."""
        return self.memory.series()

    @property
    def ready(self) -> bool:
        """Whether any arrivals are known."""
        return not math.isnan(level_now(self.memory, self.level)[0])

    # -- drawing ----------------------------------------------------------------------------------------------------

    def paths(self, steps: int, count: int, rng: np.random.Generator, out: Paths | None = None) -> Paths:
        """See :class:`~forecasting.forecaster.Forecaster`."""
        rate, seen = level_now(self.memory, self.level)
        origin = self.memory.origin
        if math.isnan(rate) or origin is None:
            raise NotReady(f"{self.name}: nothing was learned or observed yet")
        # Centres of the paths' steps, in own steps after the beginning of the running one.
        at = origin / self.own_step
        part = min(max(at - step_index(origin, self.own_step), 0.0), 1.0)
        centres = part + (np.arange(steps) + 0.5) * (self.step / self.own_step)
        ahead = self._point(rate, part, math.ceil(centres[-1]) + 1)
        point: Floats = np.interp(centres, np.arange(len(ahead)) + 0.5, ahead)
        after: Floats = (centres - part).astype(np.float64)
        errors, lacking = self._errors(after, count, point, rate, seen, rng)
        paths = np.exp(point.astype(np.float32) + errors) - np.float32(self.calm)
        add_count_noise(paths, self.step, lacking, rng)
        return finish(paths, CEILING * max(self.peak, rate), out)

    def _point(self, rate: float, part: float, length: int) -> Floats:
        """Log forecasts of the running step (what is left of it) and those after it."""
        index = step_index(self.memory.origin or 0.0, self.own_step)
        model = self.model
        if model is None or model.at > index or index - model.at > self.memory.capacity:
            return np.full(length, math.log(rate + self.calm))
        while model.at < index:
            model = model.after(math.nan)
        expected = model.expected()
        seconds, requests = self._running if part > 0 else (0.0, 0.0)
        trust = min(seconds / self.own_step, 1.0)
        value = math.log(requests / seconds + self.calm) if trust > 0 else math.nan
        moved = model.after(value, trust)
        values = moved.ahead(length - 1)
        # What is left of the running step: as far off as the next one will be.
        shift = 0.0 if math.isnan(value) else float(model.design @ model.gain) * trust * (value - expected)
        values = np.concatenate(([expected + shift], values))
        highest = math.log(CEILING * max(self.peak, rate) + self.calm)
        values[~np.isfinite(values)] = math.log(rate + self.calm)
        return np.clip(values, math.log(self.calm), highest)

    def _errors(
        self, after: Floats, count: int, point: Floats, rate: float, seen: float, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], Floats]:
        """Log errors [count, steps] at ``after`` (own steps after the origin), and the count noise each path lacks."""
        memory = self.memory
        rows = memory.rows
        complete = self._complete()
        columns, weights = self._origins(complete, min(self.horizon, max(1, math.ceil(after[-1]))), float(point[0]))
        n = len(columns)
        assumed = round(count * 5 / (5 + n)) if n and weights.sum() > 0 else count
        drift = self.drift * math.sqrt(self.step / self.own_step)
        errors = np.empty((count, len(after)), np.float32)
        lacking = np.ones(count)
        errors[:assumed] = np.clip(
            without_errors(rate, seen, drift, len(after), assumed, rng), -WIDEST_ERROR, WIDEST_ERROR
        )
        if assumed < count:
            chosen = columns[draw(weights, count - assumed, rng)]
            came = np.minimum(chosen[:, None] + np.arange(1, self.horizon + 1)[None, :], rows.shape[1] - 1)
            past = np.where(came < complete, rows[_LOG, came] - rows[_MADE:, chosen].T, np.float32(np.nan))
            past = fill_forward(np.clip(past, -WIDEST_ERROR, WIDEST_ERROR))
            # Errors at the centres of own steps, read at the centres of the paths' steps.
            place = np.clip(after - 0.5, 0.0, self.horizon - 1)
            low = np.minimum(place.astype(np.intp), self.horizon - 1)
            high = np.minimum(low + 1, self.horizon - 1)
            share = (place - low).astype(np.float32)
            errors[assumed:] = past[:, low] * (1 - share) + past[:, high] * share
            lent = np.exp(rows[_LOG, chosen].astype(np.float64))
            held = (self.step / max(self.own_step, memory.history_step)) * (rate + self.calm) / lent
            lacking[assumed:] = np.clip(1.0 - np.nan_to_num(held), 0.0, 1.0)
        return errors, lacking

    def _origins(self, complete: int, needed: int, level: float) -> tuple[NDArray[np.intp], Floats]:
        """Columns that may lend errors over ``needed`` steps, and their weights: alike in time of day and in level."""
        rows = self.memory.rows
        made = np.flatnonzero(~np.isnan(rows[_MADE, : max(complete - needed, 0)]))
        period = self.periods[0] if self.periods else None
        if period is None or len(made) < period:
            columns, _, age = candidates(complete, None, 0, 0, max(complete, 1))
            columns, age = columns[: complete - needed], age[: complete - needed]
            weights = np.exp(-age)
        else:
            likeness = Likeness(near=max(1.0, period / 24), per_season=0.9, level=0.7)
            columns, distance, age = candidates(
                complete - 1, period, math.ceil(5 * likeness.near), complete // period + 1, 0
            )
            fits = columns + needed < complete
            columns, distance, age = columns[fits], distance[fits], age[fits]
            weights = np.exp(-distance / likeness.near) * likeness.per_season**age
        weights = weights * np.exp(-0.5 * ((rows[_MADE, columns] - level) / 0.7) ** 2)
        known = ~np.isnan(weights) & ~np.isnan(rows[_LOG, columns])
        return columns[known], weights[known].astype(np.float64)


def needs(library: str, model: str, extra: str | None = None) -> None:
    """Raise ``LibraryMissing``, which says what to install, unless ``library`` is there."""
    if importlib.util.find_spec(library) is None:
        package = f"lagcast[{extra}]" if extra else library
        raise LibraryMissing(f"the model {model} needs {library}, which is not installed: pip install '{package}'")
