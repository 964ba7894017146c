"""The level stays: what every other model has to beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecasting.guarded import Deadline, Guard, Sample
from forecasting.innovations import Innovations, level_stays
from forecasting.models.library import LibraryModel


@dataclass(frozen=True, slots=True)
class LevelStays:
    """The newest known step, for ever."""

    modules: tuple[str, ...] = ()

    def __call__(self, sample: Sample, deadline: Deadline) -> Innovations:
        """See :class:`~forecasting.guarded.Family`."""
        return level_stays(float(sample.values[~np.isnan(sample.values)][-1]), sample.end)


class Naive(LibraryModel):
    """Forecast = the newest rate. ``season`` only tells which past errors are alike."""

    name = "naive"

    def __init__(
        self,
        step: float,
        season: float | None = None,
        *,
        own_step: float | None = None,
        horizon: float = 3600.0,
        most_steps: int = 4032,
        guard: Guard | None = None,
    ) -> None:
        super().__init__(
            LevelStays(), step, season, own_step=own_step, horizon=horizon, most_steps=most_steps, guard=guard
        )
