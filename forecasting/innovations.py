"""What every fitted library model is reduced to: a linear innovations state-space model, small, picklable and O(1).

    y[t] = offset(t) + design . x[t] + e[t],    x[t + 1] = transition x[t] + gain e[t]

Additive ETS is of this form (Hyndman et al., *Forecasting with exponential smoothing*, 2008, chapter 3), and so is
every time-invariant state-space model once its Kalman gain has settled (ARIMA, unobserved components). So a fit can be
continued with new observations without the library, and without refitting. Seasons and trends that do not depend on
the newest observations (Fourier terms, STL, Prophet) are the offset.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Steps = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Offset:
    """``level + slope x (step - since)`` plus, for each table, its value at ``step`` modulo its length.

    Steps are numbered from the epoch. ``slope`` is held over ``reach`` steps beyond ``since``, then the line is flat:
    a trend that goes on for ever is not believed.
    """

    level: float = 0.0
    tables: tuple[Floats, ...] = ()
    slope: float = 0.0
    since: int = 0
    reach: int = 0

    def __call__(self, steps: Steps) -> Floats:
        values = np.full(len(steps), self.level)
        if self.slope:
            values += self.slope * np.minimum(steps - self.since, self.reach)
        for table in self.tables:
            values += table[steps % len(table)]
        return values

    def one(self, step: int) -> float:
        """The same for one step, without numpy's overhead."""
        value = self.level + self.slope * min(step - self.since, self.reach)
        for table in self.tables:
            value += table.item(step % len(table))
        return value


@dataclass(frozen=True, slots=True, eq=False)
class Innovations:
    """A fitted model and the state that it forecasts step ``at`` from. Shapes: transition [m, m], the others [m]."""

    transition: Floats
    design: Floats
    gain: Floats
    state: Floats
    at: int
    offset: Offset = field(default_factory=Offset)

    def expected(self) -> float:
        """Forecast of step ``at``."""
        return self.offset.one(self.at) + float(self.design @ self.state)

    def after(self, value: float, trust: float = 1.0) -> Innovations:
        """Moved on by one step in which ``value`` was observed (NaN: nothing was).

        ``trust`` in 0 .. 1 is the share of the step that was seen: a half-seen step moves the state half as much.
        """
        state = self.transition @ self.state
        error = value - self.expected()
        if error == error:  # noqa: PLR0124  NaN is not equal to itself
            state = state + self.gain * (trust * error)
        return replace(self, state=state, at=self.at + 1)

    def powers(self, steps: int) -> Floats:
        """[steps, m]: row k times the state is the forecast k steps after ``at``, less the offset."""
        rows = np.empty((steps, len(self.design)))
        row = self.design
        for k in range(steps):
            rows[k] = row
            row = row @ self.transition
        return rows

    def ahead(self, steps: int) -> Floats:
        """Forecasts of steps ``at`` .. ``at + steps - 1``."""
        return self.powers(steps) @ self.state + self.offset(np.arange(self.at, self.at + steps))


def level_stays(value: float, at: int) -> Innovations:
    """The naive model: every later step is expected to be what the newest one was."""
    one = np.ones(1)
    return Innovations(np.ones((1, 1)), one, one, np.array([value]), at)
