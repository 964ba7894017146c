"""What the models that learn step by step have in common: taking in history and updates."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

from forecasting.memory import Level, Memory, level_now
from forecasting.series import Arrivals, Series

# A hole of more steps than this is taken in at once; fewer, one by one.
_AT_ONCE = 200

# Steps that are remembered at most (some 50 bytes each), unless the least number of seasons has more.
_MOST_STEPS = 120_000


def seasons_that_fit(wanted: int, period: int, least: int = 2) -> int:
    """Seasons of ``period`` steps to keep: ``wanted``, or as many as memory is meant for, but ``least``."""
    return max(least, min(wanted, _MOST_STEPS // period))


def whole_period(season: float, step: float) -> int:
    """``season`` (s) in steps. Raises ``ValueError`` unless it is two whole steps or more."""
    period = round(season / step)
    if period < 2 or abs(period * step - season) > 1e-6 * step:
        raise ValueError(f"season {season} s: it must be at least two whole steps of {step} s")
    return period


class Stepwise(ABC):
    """Feeds :class:`~forecasting.memory.Memory`, and the model's own rows as each step is complete."""

    def __init__(self, step: float, level_window: float, capacity: int, rows: int) -> None:
        self.step = step
        self.memory = Memory(step, capacity, rows)
        self.level = Level(level_window)

    def fit(self, history: Series) -> None:
        """See :class:`~forecasting.forecaster.Forecaster`."""
        self.memory.fit(history)
        self._learn_all()

    def update(self, arrivals: Arrivals) -> None:
        """See :class:`~forecasting.forecaster.Forecaster`. Raises ``BadSeries`` for a count that cannot be."""
        memory = self.memory
        closed = memory.recorder.update(arrivals)[-memory.capacity :]
        self.level.update(arrivals)
        for index in closed:
            column = memory.put(index, memory.recorder.rate(index))
            if column >= 0 and len(closed) <= _AT_ONCE:
                self._learn_newest(column)
        if len(closed) > _AT_ONCE:
            self._learn_all()

    def kept(self) -> Series:
        """The newest history, updates included: what a refit is to learn from."""
        return self.memory.series()

    @property
    def ready(self) -> bool:
        """Whether any arrivals are known."""
        return not math.isnan(level_now(self.memory, self.level)[0])

    @abstractmethod
    def _learn_all(self) -> None:
        """Fill the model's rows for every step in the memory."""

    @abstractmethod
    def _learn_newest(self, column: int) -> None:
        """Fill the model's rows for one step that is complete now."""
