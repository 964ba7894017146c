"""Exponential smoothing (statsmodels): additive on the log scale, a damped trend where it pays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecasting.guarded import Deadline, Guard, Sample
from forecasting.innovations import Innovations, Offset
from forecasting.models.library import LibraryModel
from forecasting.models.usual import usual_shape

Floats = NDArray[np.float64]

# A season of its own has a state for each of its steps; longer ones are an offset (forecasting.models.usual).
LONGEST_SEASON = 24
_ITERATIONS = 100


@dataclass(frozen=True, slots=True)
class EtsFit:
    """ETS(A,N,*) and ETS(A,Ad,*), the one with the lower AICc; the season is additive up to 24 steps."""

    modules: tuple[str, ...] = ("statsmodels.tsa.exponential_smoothing.ets",)

    def __call__(self, sample: Sample, deadline: Deadline) -> Innovations:
        """See :class:`~forecasting.guarded.Family`."""
        from statsmodels.tsa.exponential_smoothing.ets import ETSModel

        own, offset = own_season(sample)
        values = sample.filled() - offset(np.arange(sample.first, sample.end))
        season: dict[str, Any] = {"seasonal": "add", "seasonal_periods": own} if own else {}
        fitted = []
        for trend in ({}, {"trend": "add", "damped_trend": True}):
            model = ETSModel(values, error="add", initialization_method="heuristic", **trend, **season)
            fitted.append(model.fit(disp=False, maxiter=_ITERATIONS, callback=deadline))
            deadline()
        best = min(fitted, key=lambda result: float(result.aicc))
        params = dict(zip(best.param_names, best.params, strict=True))
        trended = "damping_trend" in params
        states = np.atleast_2d(best.states)
        newest = states[-1]
        return ets_innovations(
            level=float(newest[0]),
            slope=float(newest[1]) if trended else 0.0,
            seasons=states[: -own - 1 : -1, -1] if own else np.empty(0),
            alpha=float(params["smoothing_level"]),
            beta=float(params.get("smoothing_trend", 0.0)),
            gamma=float(params.get("smoothing_seasonal", 0.0)),
            phi=float(params.get("damping_trend", 0.0)),
            at=sample.end,
            offset=offset,
        )


def own_season(sample: Sample) -> tuple[int, Offset]:
    """The season that ETS smooths itself (steps; 0 for none), and the offset for one that is too long for it."""
    if sample.periods and sample.periods[0] <= LONGEST_SEASON:
        return sample.periods[0], Offset()
    return 0, usual_shape(sample)


def ets_innovations(
    *,
    level: float,
    slope: float,
    seasons: Floats,
    alpha: float,
    beta: float,
    gamma: float,
    phi: float,
    at: int,
    offset: Offset,
) -> Innovations:
    """Additive ETS as innovations (Hyndman et al. 2008, equations 3.9): level, slope, then the seasons newest first.

    ``phi`` is 0 without a trend, 1 for one that is not damped. ``beta`` multiplies the error itself.
    """
    m = len(seasons)
    state = np.concatenate(([level, slope], seasons))
    transition = np.zeros((2 + m, 2 + m))
    transition[0, :2] = 1.0, phi
    transition[1, 1] = phi
    design = np.zeros(2 + m)
    design[:2] = 1.0, phi
    gain = np.zeros(2 + m)
    gain[:2] = alpha, beta
    if m:
        design[-1] = 1.0
        transition[2, -1] = 1.0  # the season from m steps ago comes again
        transition[np.arange(3, 2 + m), np.arange(2, 1 + m)] = 1.0
        gain[2] = gamma
    return Innovations(transition, design, gain, state, at, offset)


class Ets(LibraryModel):
    """statsmodels' ETS. See :class:`~forecasting.models.library.LibraryModel` for the arguments."""

    name = "ets"

    def __init__(
        self,
        step: float,
        season: float | None = None,
        *,
        own_step: float | None = None,
        horizon: float = 3600.0,
        most_steps: int = 2016,
        guard: Guard | None = None,
    ) -> None:
        super().__init__(EtsFit(), step, season, own_step=own_step, horizon=horizon, most_steps=most_steps, guard=guard)
