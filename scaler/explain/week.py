"""A coarse week of arrival rates, so that `lagcast explain` can say what the same time last week was like."""

from __future__ import annotations

import math

import numpy as np

from forecasting.errors import BadSeries
from forecasting.series import Series, resample, step_index
from scaler.explain.facts import lead_time
from scaler.plan.decision import ServiceDecision
from scaler.plan.observation import ServiceObservation
from scaler.plan.service import Service

STEP = 300.0  # s: finer says no more about a week ago, and costs
WEEK = 7 * 86_400.0  # s
STEPS = int(WEEK / STEP)  # 2016
_UNKNOWN = np.float32(math.nan)


class Week:
    """Mean arrival rates (requests/s) of the steps of the last week: 2016 float32, about 8 kB. Unknown is NaN.

    A reading's rate counts for the step in which it ends; a step's mean is over the readings that ended in it.
    """

    __slots__ = ("_count", "_open", "_rates", "_sum")

    def __init__(self) -> None:
        self._rates = np.full(STEPS, _UNKNOWN, np.float32)  # of the closed steps, at their number modulo STEPS
        self._open: int | None = None  # number of the step that is being filled
        self._sum = 0.0
        self._count = 0

    def take(self, time: float, rate: float) -> None:
        """``rate`` requests/s was read at unix s ``time``. No number, or one before the open step, is left out."""
        if not (math.isfinite(rate) and rate >= 0 and math.isfinite(time)):
            return
        step = step_index(time, STEP)
        if self._open is None:
            self._open = step
        if step < self._open:
            return
        if step > self._open:
            self._close(step)
        self._sum += rate
        self._count += 1

    def fill(self, history: Series) -> None:
        """Take in what was before. What was read here stands; a history that cannot be read is left out."""
        try:
            coarse = resample(history, STEP)
        except BadSeries:
            return
        first = step_index(coarse.start, STEP)
        if self._open is None:
            self._open = step_index(history.end, STEP)  # the step in which it ends goes on here
        oldest = self._open - STEPS
        for step in range(max(first, oldest), min(first + len(coarse.rates), self._open)):
            if math.isnan(self._rates[step % STEPS]):
                self._rates[step % STEPS] = coarse.rates[step - first]

    def before(self, time: float) -> float | None:
        """Mean rate (requests/s) of the step a week before unix s ``time``; None: it is not known."""
        if self._open is None:
            return None
        step = step_index(time - WEEK, STEP)
        if not self._open - STEPS <= step < self._open:
            return None
        rate = float(self._rates[step % STEPS])
        return None if math.isnan(rate) else rate

    def _close(self, step: int) -> None:
        """Keep the mean of the open step, forget what is older than a week before ``step``, and open it."""
        before = step if self._open is None else self._open
        self._rates[before % STEPS] = self._sum / self._count if self._count else _UNKNOWN
        gone = min(step - before - 1, STEPS)
        for missed in range(step - gone, step):
            self._rates[missed % STEPS] = _UNKNOWN
        self._open = step
        self._sum, self._count = 0.0, 0


def remember(week: Week, observed: ServiceObservation, decision: ServiceDecision, service: Service) -> float | None:
    """Take in a tick; the arrival rate (requests/s) a week before a replica asked for now would serve, where known."""
    if observed.history is not None and observed.history.value is not None:
        week.fill(observed.history.value)
    if decision.numbers.arrival_rate is not None:
        week.take(decision.time, decision.numbers.arrival_rate)
    return week.before(decision.time + lead_time(decision, service))
