"""What came one season ago; errors drawn as whole trajectories."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from forecasting.compiled import compiled
from forecasting.errors import NotReady
from forecasting.forecaster import Paths
from forecasting.memory import level_now
from forecasting.models.base import Stepwise, seasons_that_fit, whole_period
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
    without_errors,
)

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

# Rows of the memory: log of (rate + calm), log of (forecast + calm).
_LOG, _FORECAST = 1, 2


class SeasonalNaive(Stepwise):
    """Forecast = the rate one season before (the mean over the last ``average`` seasons, when that is above 1).

    Steps whose past is not known take over the step before them, or the newest level. Errors are log ratios of what
    came to that forecast, at all steps of a path together, from origins at a like time of day, newer ones more often.
    ``step`` and ``season`` in seconds. ``seasons_kept``: how many seasons of errors are kept. ``calm``: requests/s.
    """

    name = "seasonal-naive"

    def __init__(
        self,
        step: float,
        season: float,
        *,
        average: int = 1,
        seasons_kept: int = 7,
        calm: float | None = None,
        drift: float = 0.1,
    ) -> None:
        if average < 1:
            raise ValueError(f"average {average}: at least one season is wanted")
        self.period = whole_period(season, step)
        self.average = average
        self.seasons_kept = seasons_that_fit(seasons_kept, self.period, average + 1)
        super().__init__(step, max(step, min(60.0, season / 30)), (self.seasons_kept + 1) * self.period, 3)
        self.calm = 1.0 / step if calm is None else calm
        self.drift = drift * math.sqrt(step / 60)
        self.likeness = Likeness(near=max(1.0, self.period / 96), per_season=0.9, level=math.inf)
        self.peak = 0.0

    def paths(self, steps: int, count: int, rng: np.random.Generator, out: Paths | None = None) -> Paths:
        """See :class:`~forecasting.forecaster.Forecaster`."""
        rate, seen = level_now(self.memory, self.level)
        if math.isnan(rate):
            raise NotReady(f"{self.name}: nothing was learned or observed yet")
        memory, likeness = self.memory, self.likeness
        at = (memory.origin or 0.0) / self.step
        ahead = self._ahead(at, steps, math.log(rate + self.calm))
        columns, distance, age = candidates(
            round(at) - 1 - memory.base, self.period, math.ceil(5 * likeness.near), self.seasons_kept, 0
        )
        fits = columns + steps < memory.used
        columns, distance, age = columns[fits], distance[fits], age[fits]
        known = ~np.isnan(memory.rows[_FORECAST, columns])
        weights = np.where(known, np.exp(-distance / likeness.near) * likeness.per_season**age, 0.0)
        n = int(np.count_nonzero(known))
        assumed = round(count * 5 / (5 + n)) if n else count
        errors = np.empty((count, steps), np.float32)
        lacking = np.ones(count)
        errors[:assumed] = without_errors(rate, seen, self.drift, steps, assumed, rng)
        if assumed < count:
            chosen = columns[draw(weights, count - assumed, rng)]
            after = chosen[:, None] + np.arange(1, steps + 1)[None, :]
            past = memory.rows[_LOG, after] - memory.rows[_FORECAST, after]
            errors[assumed:] = np.clip(fill_forward(past), -WIDEST_ERROR, WIDEST_ERROR)
            measured = np.exp(memory.rows[_FORECAST, chosen].astype(np.float64))
            whole = chosen + memory.base > memory.history_until
            held = np.where(whole, 1.0, self.step / memory.history_step) * math.exp(ahead[0]) / measured
            lacking[assumed:] = np.clip(1.0 - held, 0.0, 1.0)
        paths = np.exp(ahead.astype(np.float32) + errors) - np.float32(self.calm)
        add_count_noise(paths, self.step, lacking, rng)
        return finish(paths, CEILING * max(self.peak, rate), out)

    def _ahead(self, at: float, steps: int, log_level: float) -> Floats:
        """Log forecast of the steps from ``at`` (in steps since the epoch) on."""
        first = step_index(at, 1.0)
        part = min(max(at - first, 0.0), 1.0)
        past = _season_before(self.memory.rates, first - self.memory.base, steps + 1, self.period, self.average)
        logs = np.log((1 - part) * past[:-1] + part * past[1:] + self.calm)
        held: Floats = fill_forward((logs - log_level)[None, :].astype(np.float32))[0].astype(np.float64)
        return held + log_level

    def _learn_all(self) -> None:
        memory, calm = self.memory, np.float32(self.calm)
        memory.rows[_LOG, : memory.used] = np.log(memory.rates + calm)
        before = _season_before(memory.rates, 0, memory.used, self.period, self.average)
        memory.rows[_FORECAST, : memory.used] = np.log(before + calm)
        self.peak = float(np.nanmax(memory.rates, initial=0.0))

    def _learn_newest(self, column: int) -> None:
        rows = self.memory.rows
        rate = float(rows[0, column])
        self.peak = max(self.peak, rate)  # NaN changes nothing: it is not greater
        rows[_LOG, column] = math.log(rate + self.calm)
        before = _season_before(self.memory.rates, column, 1, self.period, self.average)
        rows[_FORECAST, column] = math.log(float(before[0]) + self.calm)


@compiled
def _season_before(rates: Singles, first: int, length: int, period: int, average: int) -> Floats:
    """Mean of what is known of the ``average`` seasons before columns ``first`` .. ``first + length - 1``."""
    means = np.empty(length)
    for column in range(first, first + length):
        total, known = 0.0, 0
        for season in range(1, average + 1):
            at = column - season * period
            if 0 <= at < len(rates) and not math.isnan(rates[at]):
                total += rates[at]
                known += 1
        means[column - first] = total / known
    return means
