"""Newest level times a seasonal ratio; errors drawn as whole trajectories."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from forecasting.compiled import compiled
from forecasting.errors import NotReady
from forecasting.forecaster import Paths
from forecasting.memory import level_now
from forecasting.models.base import Stepwise, seasons_that_fit, whole_period
from forecasting.profile import profile_at, profile_of, profile_without_own, rolling_mean, smooth
from forecasting.reversion import Reversion
from forecasting.series import step_index
from forecasting.trajectories import (
    CEILING,
    WIDEST_ERROR,
    Likeness,
    add_count_noise,
    candidates,
    draw,
    fill_forward,
    finish,
    known_mean,
    without_errors,
)

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

# Rows of the memory. Logs are of rate + calm.
_LOG, _USUAL, _LEVEL, _USUAL_LEVEL, _LONG, _USUAL_LONG = range(1, 7)

# Weights of each of the two neighbouring steps in the profile, among which a fit chooses; before it, the second.
_NEIGHBOURS = (0.0, 0.05, 0.15, 0.3)
_CHOOSE_AT = 5  # steps ahead at which they are compared


class LevelSeason(Stepwise):
    """Forecast = newest level x profile ahead / profile now, each plus ``calm``; around it, past errors.

    The profile is the median over the seasons kept, at each time of day. A level that disagrees with it (a spike that
    did not come, a jump nobody knew) returns to it as fast as such disagreements did in the past
    (:class:`~forecasting.reversion.Reversion`); a day that is one and a half times another stays so.

    Errors are log ratios of what came to what was forecast, at all steps of one past origin together, measured against
    a profile without the origin's own season. Origins at a like time of day, in newer seasons and at a like level
    lend theirs more often. With fewer than two seasons known the ratio is 1 and errors come from all origins alike.

    ``step``, ``season``, ``level_window`` in seconds; ``season`` None means no season. ``horizon``: steps up to which
    the return is learned (longer paths hold the last value). ``neighbour``: weight of each neighbouring step in the
    profile, so that a spike that shifts by a step is still seen; chosen by past errors unless given. ``calm`` is a rate
    (requests/s) that keeps ratios of small numbers near 1; one request a step unless given. ``drift``: log standard
    deviation per square root of a minute by which the level wanders while there are no past errors.
    """

    name = "level-season"

    def __init__(
        self,
        step: float,
        season: float | None = None,
        *,
        level_window: float | None = None,
        horizon: int = 60,
        seasons_kept: int = 7,
        neighbour: float | None = None,
        likeness: Likeness | None = None,
        calm: float | None = None,
        drift: float = 0.1,
    ) -> None:
        period = None if season is None else whole_period(season, step)
        if level_window is None:
            level_window = 60.0 if season is None else min(60.0, season / 30)
        if horizon < 1 or seasons_kept < 2 or (calm is not None and not calm > 0):
            raise ValueError(f"horizon {horizon} >= 1, seasons_kept {seasons_kept} >= 2 and calm {calm} > 0 are wanted")
        if period is not None:
            seasons_kept = seasons_that_fit(seasons_kept, period)
        self.level_window = max(level_window, step)
        self.unseasonal = 2000  # origins that may lend errors without a season
        capacity = self.unseasonal + horizon if period is None else seasons_kept * period + period // 2 + horizon
        super().__init__(step, self.level_window, capacity, 7)
        self.period = period
        self.seasons_kept = seasons_kept
        self.horizon = horizon
        self.neighbour = _NEIGHBOURS[1] if neighbour is None else neighbour
        self.choices = _NEIGHBOURS if neighbour is None else (neighbour,)
        self.calm = 1.0 / step if calm is None else calm
        self.drift = drift * math.sqrt(step / 60)
        self.width = max(1, round(self.level_window / step))  # of the level, in steps
        self.long_width = 10 * self.width
        self.likeness = likeness or Likeness(near=max(1.0, (period or 1) / 48), per_season=0.9, level=1.0)
        self.returns = Reversion(horizon, 7.0 * (period or self.unseasonal))
        self.returns_unseasonal = Reversion(horizon, 7.0 * (period or self.unseasonal))
        self.peak = 0.0

    # -- learning ---------------------------------------------------------------------------------------------------

    def _learn_all(self) -> None:
        """Fill the model's rows for every step, and the returns, from the rates."""
        memory = self.memory
        rates, calm = memory.rates, np.float32(self.calm)
        rows = memory.rows[:, : memory.used]
        rows[_LOG] = np.log(rates + calm)
        self._fill_levels(rates, _LEVEL, _LONG)
        usual = np.full(memory.used, np.nan, np.float32)
        if self.period is not None:
            usual = profile_without_own(rates, memory.base % self.period, self.period)
        if not np.isnan(usual).all():
            self._choose_smoothing(usual)
        self._fill_usual(smooth(usual, self.neighbour))
        self.peak = float(np.nanmax(rates, initial=0.0))
        self._learn_returns()

    def _fill_levels(self, values: Singles, level: int, long: int) -> None:
        rows = self.memory.rows[:, : self.memory.used]
        rows[level] = np.log(rolling_mean(values, self.width) + np.float32(self.calm))
        rows[long] = np.log(rolling_mean(values, self.long_width) + np.float32(self.calm))

    def _fill_usual(self, usual: Singles) -> None:
        self.memory.rows[_USUAL, : self.memory.used] = np.log(usual + np.float32(self.calm))
        self._fill_levels(usual, _USUAL_LEVEL, _USUAL_LONG)

    def _choose_smoothing(self, usual: Singles) -> None:
        """Take the smoothing whose ratios erred least in the past: noise wants much of it, bursts to the step none."""
        rows = self.memory.rows[:, : self.memory.used]
        ahead, now = slice(_CHOOSE_AT, None), slice(None, -_CHOOSE_AT)
        least = math.inf
        for neighbour in self.choices if len(self.choices) > 1 and len(usual) > _CHOOSE_AT else ():
            self._fill_usual(smooth(usual, neighbour))
            errors = rows[_LOG, ahead] - rows[_LEVEL, now] - rows[_USUAL, ahead] + rows[_USUAL_LEVEL, now]
            known = ~np.isnan(errors)
            error = float(np.abs(errors[known]).mean()) if known.any() else math.inf
            if error < least:
                least, self.neighbour = error, neighbour

    def _learn_returns(self) -> None:
        rows = self.memory.rows[:, : self.memory.used].astype(np.float64)
        self.returns.clear()
        self.returns_unseasonal.clear()
        short = rows[_LEVEL] - rows[_USUAL_LEVEL]
        long = rows[_LONG] - rows[_USUAL_LONG] - short
        long_unseasonal = rows[_LONG] - rows[_LEVEL]
        seasonal = not np.isnan(rows[_USUAL]).all()
        for step in range(min(self.horizon, self.memory.used - 1)):
            ahead, now = slice(step + 1, None), slice(None, -step - 1)
            grown = rows[_LOG, ahead] - rows[_LEVEL, now]
            if not seasonal:
                self.returns_unseasonal.learn(step, grown, np.zeros_like(grown), long_unseasonal[now])
            else:
                usual = rows[_USUAL, ahead] - rows[_USUAL_LEVEL, now]
                self.returns.learn(step, grown - usual, short[now], long[now])

    def _learn_newest(self, column: int) -> None:
        """Fill the model's rows for one step that is complete now, and learn how earlier forecasts of it erred."""
        memory = self.memory
        rows, seasons = memory.rows, self.seasons_kept if self.period else 0
        rate = float(rows[0, column])
        self.peak = max(self.peak, rate)  # NaN changes nothing: it is not greater
        fill_newest(
            rows, memory.used, column, self.period or 1, seasons, self.neighbour, self.width, self.long_width, self.calm
        )
        if math.isnan(rate):
            return
        seen = min(self.horizon, column)
        if math.isnan(rows[_USUAL, column]):
            self.returns_unseasonal.update(*since_unseasonal(rows, column, seen))
        else:
            self.returns.update(*since(rows, column, seen))

    # -- drawing ----------------------------------------------------------------------------------------------------

    def paths(self, steps: int, count: int, rng: np.random.Generator, out: Paths | None = None) -> Paths:
        """See :class:`~forecasting.forecaster.Forecaster`."""
        rate, seen = level_now(self.memory, self.level)
        if math.isnan(rate):
            raise NotReady(f"{self.name}: nothing was learned or observed yet")
        log_level = math.log(rate + self.calm)
        usual, usual_level = self._usual_ahead(steps)
        seasonal = not math.isnan(usual_level)
        newest = self.memory.used - 1
        latest = self.memory.rows[:, newest].astype(np.float64) if newest >= 0 else np.full(7, np.nan)
        if seasonal:
            short = log_level - usual_level
            long = _or_zero(latest[_LONG] - latest[_USUAL_LONG] - short)
            ahead = log_level + usual - usual_level + self.returns.pull(short, long, steps)
        else:
            ahead = log_level + self.returns_unseasonal.pull(0.0, _or_zero(latest[_LONG] - log_level), steps)
        errors, lacking = self._errors(steps, count, log_level, seasonal, rate, seen, rng)
        paths = np.exp(ahead.astype(np.float32) + errors) - np.float32(self.calm)
        add_count_noise(paths, self.step, lacking, rng)
        return finish(paths, CEILING * max(self.peak, rate), out)

    def _usual_ahead(self, steps: int) -> tuple[Floats, float]:
        """Log profile of the steps ahead, and over the level's window; NaN for the latter without two seasons."""
        origin = self.memory.origin
        if self.period is None or origin is None:
            return np.zeros(steps), math.nan
        first = step_index(origin, self.step)
        part = min(max(origin / self.step - first, 0.0), 1.0)  # the origin lies this far within its step
        begin = first - self.width - 1
        length = self.width + steps + 3
        column = begin - self.memory.base
        profile = profile_at(self.memory.rates, column, length, self.period, self.seasons_kept, 2)
        profile = smooth(profile, self.neighbour).astype(np.float64)
        shifted = (1 - part) * profile[:-1] + part * profile[1:]  # element j covers [begin + j + part, + 1)
        window, ahead = shifted[1 : 1 + self.width], shifted[1 + self.width : 1 + self.width + steps]
        known = ~np.isnan(window)
        if not known.any() or np.isnan(ahead).all():
            return np.zeros(steps), math.nan
        usual_level = math.log(float(window[known].mean()) + self.calm)
        logs = np.log(ahead + self.calm)
        if np.isnan(logs).any():
            logs = fill_forward((logs - usual_level)[None, :].astype(np.float32))[0].astype(np.float64) + usual_level
        return logs, usual_level

    def _errors(
        self,
        steps: int,
        count: int,
        log_level: float,
        seasonal: bool,
        rate: float,
        seen: float,
        rng: np.random.Generator,
    ) -> tuple[Singles, Floats]:
        """Log errors [count, steps], and for each path the share of count noise that it lacks."""
        memory, likeness = self.memory, self.likeness
        origin = memory.origin or 0.0
        at = round(origin / self.step) - 1 - memory.base
        reach = math.ceil(5 * likeness.near)
        period = self.period if seasonal else None
        columns, distance, age = candidates(at, period, reach, self.seasons_kept, self.unseasonal)
        rows = memory.rows
        weights, known = lent_weights(
            rows[_LEVEL],
            rows[_USUAL_LEVEL if seasonal else _LEVEL],
            columns,
            distance,
            age,
            memory.used - steps,
            log_level,
            (likeness.near, math.log(likeness.per_season), likeness.level),
        )
        # Few errors to draw from: some paths come from what is assumed without them.
        assumed = count if known == 0 or weights.sum() <= 0 else round(count * 5 / (5 + known))
        parts, lacking = [], []
        if assumed:
            parts.append(without_errors(rate, seen, self.drift, steps, assumed, rng).astype(np.float32))
            lacking.append(np.ones(assumed))
        if assumed < count:
            chosen = columns[draw(weights, count - assumed, rng)]
            parts.append(self._errors_of(chosen, steps, seasonal))
            lent = np.exp(rows[_LEVEL, chosen].astype(np.float64))
            whole = chosen + memory.base > memory.history_until
            held = np.where(whole, 1.0, self.step / memory.history_step) * (rate + self.calm) / lent
            lacking.append(np.clip(1.0 - held, 0.0, 1.0))
        return np.concatenate(parts), np.concatenate(lacking)

    def _errors_of(self, origins: NDArray[np.intp], steps: int, seasonal: bool) -> Singles:
        """Log errors of the forecasts from these origins, each with what was known at it."""
        rows = self.memory.rows
        at = origins[:, None] + np.arange(1, steps + 1)[None, :]
        level = rows[_LEVEL, origins].astype(np.float64)
        long = rows[_LONG, origins] - level
        errors = rows[_LOG, at] - rows[_LEVEL, origins][:, None]
        if seasonal:
            usual_level = rows[_USUAL_LEVEL, origins]
            short = level - usual_level
            long = np.nan_to_num(rows[_LONG, origins] - rows[_USUAL_LONG, origins] - short)
            errors -= rows[_USUAL, at] - usual_level[:, None]
            pulled = self.returns.pull(short[:, None], long[:, None], steps)
        else:
            pulled = self.returns_unseasonal.pull(0.0, np.nan_to_num(long)[:, None], steps)
        errors -= pulled.astype(np.float32)
        np.clip(errors, -WIDEST_ERROR, WIDEST_ERROR, out=errors)
        return fill_forward(errors)


@compiled
def lent_weights(
    levels: Singles,
    usual: Singles,
    columns: NDArray[np.intp],
    distance: Floats,
    age: Floats,
    end: int,
    log_level: float,
    likeness: tuple[float, float, float],
) -> tuple[Floats, int]:
    """Weights [n] of the origins at ``columns``, ``distance`` (steps in time of day) and ``age`` (seasons) away, for
    one at ``log_level``, and how many are known; 0 from column ``end`` on, or where a level or what is usual is not.

    ``likeness``: steps at which a weight has fallen to 1/e, log of that of a season, log level at which to e^-1/2.
    """
    near, per_season, level = likeness
    weights, known = np.zeros(len(columns)), 0
    for i in range(len(columns)):
        column = columns[i]
        if column >= end or math.isnan(levels[column]) or math.isnan(usual[column]):
            continue
        known += 1
        apart = (levels[column] - log_level) / level
        weights[i] = math.exp(-distance[i] / near + per_season * age[i] - 0.5 * apart * apart)
    return weights, known


@compiled
def fill_newest(
    rows: Singles,
    used: int,
    column: int,
    period: int,
    seasons: int,
    neighbour: float,
    width: int,
    long_width: int,
    calm: float,
) -> None:
    """The logs, in the rows of ``column``, of its rate and its profile, and of what both were over each level's window;
    the profile is not known of no ``seasons``."""
    rows[_LOG, column] = math.log(rows[0, column] + calm)
    usual = profile_of(rows[0, :used], column, period, seasons, neighbour)
    rows[_USUAL, column] = math.log(usual + calm)
    after = column + 1
    rates = np.exp(rows[_USUAL, max(after - long_width, 0) : after])
    rows[_USUAL_LEVEL, column] = math.log(known_mean(rates, len(rates) - width, len(rates)))
    rows[_USUAL_LONG, column] = math.log(known_mean(rates, 0, len(rates)))
    rows[_LEVEL, column] = math.log(known_mean(rows[0], after - width, after) + calm)
    rows[_LONG, column] = math.log(known_mean(rows[0], after - long_width, after) + calm)


@compiled
def since(rows: Singles, column: int, seen: int) -> tuple[Floats, Floats, Floats]:
    """How the rate of ``column`` erred, as seen from each of ``seen`` steps before, the newest first; and how far from
    the profile the levels were then, see :class:`~forecasting.reversion.Reversion`."""
    errors, short, long = np.empty(seen), np.empty(seen), np.empty(seen)
    for k in range(seen):
        at = column - 1 - k
        level, usual_level = float(rows[_LEVEL, at]), float(rows[_USUAL_LEVEL, at])
        short[k] = level - usual_level
        long[k] = float(rows[_LONG, at]) - float(rows[_USUAL_LONG, at]) - short[k]
        errors[k] = rows[_LOG, column] - level - (rows[_USUAL, column] - usual_level)
    return errors, short, long


@compiled
def since_unseasonal(rows: Singles, column: int, seen: int) -> tuple[Floats, Floats, Floats]:
    """The same where no profile is known."""
    errors, short, long = np.empty(seen), np.zeros(seen), np.empty(seen)
    for k in range(seen):
        level = float(rows[_LEVEL, column - 1 - k])
        long[k] = float(rows[_LONG, column - 1 - k]) - level
        errors[k] = rows[_LOG, column] - level
    return errors, short, long


def _or_zero(value: float) -> float:
    return 0.0 if math.isnan(value) else float(value)
