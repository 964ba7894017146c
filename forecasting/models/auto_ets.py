"""AutoETS (statsforecast): Hyndman's automatic choice among the additive ETS models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from forecasting.guarded import Deadline, Guard, Sample
from forecasting.innovations import Innovations, Offset
from forecasting.models.ets import ets_innovations, own_season
from forecasting.models.library import LibraryModel, needs

_MOST_STEPS = 2016  # the library does not look at the clock, so this is what bounds its time


@dataclass(frozen=True, slots=True)
class AutoEtsFit:
    """Additive error, trend and season as AICc likes; on the log scale nothing multiplicative is left to choose."""

    modules: tuple[str, ...] = ("statsforecast.models",)

    def __call__(self, sample: Sample, deadline: Deadline) -> Innovations:
        """See :class:`~forecasting.guarded.Family`."""
        from statsforecast.models import AutoETS

        own, offset = own_season(sample)
        values = sample.filled() - offset(np.arange(sample.first, sample.end))
        model = AutoETS(season_length=max(own, 1), model="AZA" if own else "AZN")
        fitted: dict[str, Any] = model.fit(values[-_MOST_STEPS:]).model_
        return of_statsforecast(fitted, sample.end, offset)


def of_statsforecast(fitted: dict[str, Any], at: int, offset: Offset) -> Innovations:
    """Innovations of a fitted statsforecast ETS. Its states are: level, slope if any, the seasons newest first."""
    error, trend, season, damped = fitted["components"]
    if error != "A" or "M" in (trend, season):
        raise ValueError(f"ETS({error},{trend},{season}) is not additive")
    alpha, beta, gamma, phi = (float(np.nan_to_num(value)) for value in fitted["par"][:4])
    newest = np.asarray(fitted["states"])[-1].astype(np.float64)
    seasons_at = 1 if trend == "N" else 2
    if trend == "N":
        beta = phi = 0.0
    elif damped == "N":
        phi = 1.0
    return ets_innovations(
        level=float(newest[0]),
        slope=float(newest[1]) if trend == "A" else 0.0,
        seasons=newest[seasons_at : seasons_at + int(fitted["m"])] if season == "A" else np.empty(0),
        alpha=alpha,
        beta=beta,
        gamma=gamma,
        phi=phi,
        at=at,
        offset=offset,
    )


class AutoEts(LibraryModel):
    """statsforecast's AutoETS. See :class:`~forecasting.models.library.LibraryModel` for the arguments.

    Raises ``LibraryMissing`` without the extra ``models``.
    """

    name = "auto-ets"

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
        needs("statsforecast", self.name, "models")
        super().__init__(
            AutoEtsFit(), step, season, own_step=own_step, horizon=horizon, most_steps=most_steps, guard=guard
        )
