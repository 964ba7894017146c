"""The forecaster behind a guard: whatever a model does, the plan goes on without it."""

from __future__ import annotations

import numpy as np

from forecasting.competition import Judged, Studying
from forecasting.forecaster import Forecaster
from forecasting.series import Arrivals, Series
from scaler.plan.paths import Futures, checked, steps_for


class Foresight:
    """Sample paths of one service, or none.

    ``count`` paths from ``seed``: the same random numbers at every tick, so that two counts, and two ticks, are
    compared over the same chances. What was learned is learned again every ``refit`` s.
    """

    def __init__(self, forecaster: Forecaster | None, count: int, seed: int, refit: float) -> None:
        self._forecaster = forecaster
        anything: object = forecaster
        self._judged = anything if isinstance(anything, Judged) else None  # once: the check asks for its reasons
        self._count = count
        self._seed = seed
        self._refit = refit
        self._failed = False  # it raised since it was last fitted
        self._updated_at: float | None = None  # unix s of the newest arrivals that it knows
        self._fitted_at: float | None = None  # unix s

    @property
    def name(self) -> str:
        """Of the forecaster; empty where there is none."""
        return self._forecaster.name if self._forecaster is not None else ""

    def fit(self, history: Series, now: float) -> None:
        """Learn from ``history``; what goes wrong leaves the plan without a forecast, or with the old one."""
        if self._forecaster is None:
            return
        try:
            self._forecaster.fit(history)
            self._failed, self._fitted_at = False, now
        except Exception:  # noqa: BLE001 - whatever a model does, the plan goes on without it
            self._failed = not self._ready()

    def update(self, arrivals: Arrivals) -> None:
        """Take in the newest arrivals, and learn anew when it is time."""
        if self._forecaster is None:
            return
        try:
            self._forecaster.update(arrivals)
            # Forecasters leave out what ends before what they know, after a clock that was set back.
            self._updated_at = max(arrivals.end, self._updated_at or arrivals.end)
            if self._fitted_at is not None and self._updated_at - self._fitted_at >= self._refit:
                self._fitted_at = self._updated_at
                if isinstance(self._forecaster, Studying):
                    self._forecaster.adopt(self._forecaster.study(self._forecaster.kept()))
        except Exception:  # noqa: BLE001 - as above
            self._failed = True

    def futures(self, now: float, until: float) -> Futures | None:
        """The sample paths from now on, as far as ``until`` s; None where none can be drawn, or none is worth it."""
        forecaster = self._forecaster
        if forecaster is None or self._failed or self._updated_at is None or not self._ready():
            return None
        if now < self._updated_at - forecaster.step:  # the clock was set back: its paths begin in the future
            return None
        age = max(now - self._updated_at, 0.0)
        if age > until:  # so old a forecast has seen nothing of what is planned for
            return None
        try:
            if self._judged is not None and not self._judged.trusted:
                return None
            steps = steps_for(until, age, forecaster.step)
            rng = np.random.default_rng(self._seed)
            rates = checked(forecaster.paths(steps, self._count, rng), self._count, steps)
            return Futures(rates, forecaster.step, age)
        except Exception:  # noqa: BLE001 - as above; it may be well again at the next tick
            return None

    def _ready(self) -> bool:
        try:
            return self._forecaster is not None and bool(self._forecaster.ready)
        except Exception:  # noqa: BLE001 - as above
            return False
