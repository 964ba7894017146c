"""Unobserved components (statsmodels): a wandering level, an autoregression about it, and waves of each period."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecasting.guarded import Deadline, Guard, Sample
from forecasting.innovations import Innovations
from forecasting.models.library import LibraryModel
from forecasting.models.sarimax import fourier_offset, state_space

_MOST_STEPS = 1008  # newest ones that the likelihood is taken over


@dataclass(frozen=True, slots=True)
class UnobservedFit:
    """Local level + AR(1) + noise (Harvey 1989), after fixed waves by least squares.

    As components of their own the waves make the state fivefold larger, the fit tenfold slower, and it no better.
    """

    harmonics: int = 6
    modules: tuple[str, ...] = ("statsmodels.tsa.statespace.structural",)

    def __call__(self, sample: Sample, deadline: Deadline) -> Innovations:
        """See :class:`~forecasting.guarded.Family`."""
        from statsmodels.tsa.statespace.structural import UnobservedComponents

        offset = fourier_offset(sample, self.harmonics)
        left = sample.values - offset(np.arange(sample.first, sample.end))
        model = UnobservedComponents(left[-_MOST_STEPS:], level="local level", autoregressive=1)
        return state_space(model, deadline, sample.end, offset)


class Unobserved(LibraryModel):
    """statsmodels' UnobservedComponents. See :class:`~forecasting.models.library.LibraryModel` for the arguments."""

    name = "unobserved"

    def __init__(
        self,
        step: float,
        season: float | None = None,
        *,
        longer: tuple[float, ...] = (),
        harmonics: int = 6,
        own_step: float | None = None,
        horizon: float = 3600.0,
        most_steps: int = 4032,
        guard: Guard | None = None,
    ) -> None:
        super().__init__(
            UnobservedFit(harmonics),
            step,
            season,
            longer=longer,
            own_step=own_step,
            horizon=horizon,
            most_steps=most_steps,
            guard=guard,
        )
