"""Unobserved components (statsmodels): a wandering level, an autoregression about it, and waves of each period."""

from __future__ import annotations

from dataclasses import dataclass

from forecasting.guarded import Deadline, Guard, Sample
from forecasting.innovations import Innovations, Offset
from forecasting.models.library import LibraryModel
from forecasting.models.sarimax import state_space


@dataclass(frozen=True, slots=True)
class UnobservedFit:
    """Local level + AR(1) + noise + fixed trigonometric seasons (Harvey 1989) of the periods that fit twice."""

    harmonics: int = 4
    most_steps: int = 1008
    modules: tuple[str, ...] = ("statsmodels.tsa.statespace.structural",)

    def __call__(self, sample: Sample, deadline: Deadline) -> Innovations:
        """See :class:`~forecasting.guarded.Family`."""
        from statsmodels.tsa.statespace.structural import UnobservedComponents

        values = sample.values[-self.most_steps :]
        periods = [p for p in sample.periods if 2 * p <= len(values)]
        waves = [{"period": p, "harmonics": min(self.harmonics, (p - 1) // 2)} for p in periods]
        model = UnobservedComponents(
            values,
            level="local level",
            autoregressive=1,
            freq_seasonal=waves or None,
            stochastic_freq_seasonal=[False] * len(waves) or None,
        )
        return state_space(model, deadline, sample.end, Offset())


class Unobserved(LibraryModel):
    """statsmodels' UnobservedComponents. See :class:`~forecasting.models.library.LibraryModel` for the arguments."""

    name = "unobserved"

    def __init__(
        self,
        step: float,
        season: float | None = None,
        *,
        longer: tuple[float, ...] = (),
        harmonics: int = 4,
        own_step: float | None = None,
        horizon: float = 3600.0,
        most_steps: int = 2016,
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
