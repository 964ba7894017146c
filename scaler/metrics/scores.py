"""How good the published forecasts were: each is held against what came when its time had come."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from scaler.metrics.curves import Curve
from scaler.plan.decision import Forecast

QUANTILES: tuple[tuple[str, str], ...] = (("0.05", "p05"), ("0.5", "p50"), ("0.95", "p95"), ("0.99", "p99"))
"""The quantiles that are published, and their fields in a Forecast."""
MOST = 4096  # forecasts that wait for their time


@dataclass(frozen=True, slots=True)
class Score:
    """One forecast whose time has come. Rates and losses in requests/s."""

    outcome: float  # the arrival rate that came
    below: tuple[bool, ...]  # for each quantile: whether the outcome was not above it
    loss: tuple[float, ...]  # pinball loss of each quantile
    naive_loss: float  # that of "as now", at 0.5


def pinball(quantile: float, forecast: float, outcome: float) -> float:
    """The pinball loss (Koenker and Bassett, 1978) of one forecast quantile."""
    error = outcome - forecast
    return max(quantile * error, (quantile - 1.0) * error)


class Scores:
    """Scores forecasts of the mean rate over ``step`` s around the time they are made for."""

    def __init__(self, step: float, gap: float) -> None:
        self._step = step
        self._gap = gap
        self._arrived = Curve(back=2 * step + gap)
        self._waiting: deque[tuple[float, Forecast, float]] = deque(maxlen=MOST)

    def step(self, time: float, arrived: float, forecast: Forecast | None, level: float | None) -> list[Score]:
        """Take in a tick: messages so far, its forecast, and its newest arrival rate (requests/s).

        Returns the scores of those whose time has come. One whose time fell into a gap of the samples is dropped.
        """
        seen_until = self._arrived.last
        if not self._arrived.add(time, np.array([arrived])):
            self._waiting.clear()
        elif time - seen_until > self._gap:  # how the load went in between is not known
            self._waiting = deque((w for w in self._waiting if w[0] - self._step / 2 >= time), maxlen=MOST)
        if forecast is not None and level is not None:
            self._waiting.append((time + forecast.at, forecast, level))
        scores = []
        later: list[tuple[float, Forecast, float]] = []
        for entry in self._waiting:
            due, made, then = entry
            start, end = due - self._step / 2, due + self._step / 2
            if end > time:
                later.append(entry)
            elif start >= self._arrived.first:
                first, last = self._arrived.at(np.array([start, end]))[:, 0].tolist()
                scores.append(_score(made, then, (last - first) / self._step))
        self._waiting = deque(later, maxlen=MOST)
        return scores


def _score(made: Forecast, level: float, outcome: float) -> Score:
    values = [float(getattr(made, field)) for _, field in QUANTILES]
    return Score(
        outcome=outcome,
        below=tuple(outcome <= value for value in values),
        loss=tuple(pinball(float(q), value, outcome) for (q, _), value in zip(QUANTILES, values, strict=True)),
        naive_loss=pinball(0.5, level, outcome),
    )
