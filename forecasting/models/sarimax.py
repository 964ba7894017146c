"""SARIMAX (statsmodels) with Fourier terms: a season of 288 steps as lags would take minutes, as waves it is free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from forecasting.guarded import Deadline, Guard, Sample
from forecasting.innovations import Innovations, Offset
from forecasting.models.library import LibraryModel
from forecasting.models.usual import fourier

_MOST_STEPS = 1008  # newest ones that the likelihood is taken over
_ITERATIONS = 25
_SETTLED = 1e-9  # change of the state's variance below which the gain is taken as settled


@dataclass(frozen=True, slots=True)
class SarimaxFit:
    """Fourier terms and a mean by least squares, then an ARMA of ``order`` (p, d, q) for what they leave.

    Least squares first, rather than all at once by likelihood, is consistent too and some tenfold faster.
    """

    order: tuple[int, int, int] = (1, 0, 1)
    harmonics: int = 6
    modules: tuple[str, ...] = ("statsmodels.tsa.statespace.sarimax",)

    def __call__(self, sample: Sample, deadline: Deadline) -> Innovations:
        """See :class:`~forecasting.guarded.Family`."""
        from statsmodels.tsa.statespace.sarimax import SARIMAX

        offset = fourier_offset(sample, self.harmonics)
        left = sample.values - offset(np.arange(sample.first, sample.end))
        model = SARIMAX(left[-_MOST_STEPS:], order=self.order, concentrate_scale=True)
        return state_space(model, deadline, sample.end, offset)


def fourier_offset(sample: Sample, harmonics: int) -> Offset:
    """Least squares of a mean and waves of each period; ridge-like tiny weight, so that gaps do no harm."""
    steps = np.arange(sample.first, sample.end)
    counts = [min(harmonics, (period - 1) // 2) for period in sample.periods]
    waves = [fourier(steps, period, count) for period, count in zip(sample.periods, counts, strict=True)]
    features = np.concatenate([np.ones((len(steps), 1)), *waves], axis=1)
    known = ~np.isnan(sample.values)
    x, y = features[known], sample.values[known]
    weights = np.linalg.solve(x.T @ x + 1e-6 * len(y) * np.eye(x.shape[1]), x.T @ y)
    tables, first = [], 1
    for period, count in zip(sample.periods, counts, strict=True):
        tables.append(fourier(np.arange(period), period, count) @ weights[first : first + 2 * count])
        first += 2 * count
    return Offset(level=float(weights[0]), tables=tuple(tables))


def state_space(model: Any, deadline: Deadline, at: int, offset: Offset) -> Innovations:
    """Fit a statsmodels state-space model by likelihood; its last Kalman gain stands for all that come.

    Raises ``FitTimedOut`` between two iterations.
    """
    model.ssm.tolerance = _SETTLED
    result = model.fit(disp=False, maxiter=_ITERATIONS, cov_type="none", callback=deadline, low_memory=False)
    found = result.filter_results
    known = np.flatnonzero(~np.isnan(np.asarray(model.endog)[:, 0]))
    return Innovations(
        transition=np.array(found.transition[:, :, -1], np.float64),
        design=np.array(found.design[0, :, -1], np.float64),
        gain=np.array(found.kalman_gain[:, 0, known[-1]], np.float64),
        state=np.array(found.predicted_state[:, -1], np.float64),
        at=at,
        offset=offset,
    )


class Sarimax(LibraryModel):
    """statsmodels' SARIMAX. See :class:`~forecasting.models.library.LibraryModel` for the arguments."""

    name = "sarimax"

    def __init__(
        self,
        step: float,
        season: float | None = None,
        *,
        longer: tuple[float, ...] = (),
        order: tuple[int, int, int] = (1, 0, 1),
        harmonics: int = 6,
        own_step: float | None = None,
        horizon: float = 3600.0,
        most_steps: int = 4032,
        guard: Guard | None = None,
    ) -> None:
        super().__init__(
            SarimaxFit(order, harmonics),
            step,
            season,
            longer=longer,
            own_step=own_step,
            horizon=horizon,
            most_steps=most_steps,
            guard=guard,
        )
