"""MSTL (statsforecast): several seasons by LOESS, each repeated; exponential smoothing of what they leave."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from forecasting.guarded import Deadline, Guard, Sample
from forecasting.innovations import Innovations, Offset
from forecasting.models.auto_ets import of_statsforecast
from forecasting.models.library import LibraryModel, needs


@dataclass(frozen=True, slots=True)
class MstlFit:
    """Seasons of the periods that fit twice (AutoETS alone without one), as in Bandara et al. 2021."""

    modules: tuple[str, ...] = ("statsforecast.models",)

    def __call__(self, sample: Sample, deadline: Deadline) -> Innovations:
        """See :class:`~forecasting.guarded.Family`."""
        from statsforecast.models import MSTL, AutoETS

        values = sample.filled()
        smoothing = AutoETS(model="AZN")
        if not sample.periods:
            return of_statsforecast(smoothing.fit(values).model_, sample.end, Offset())
        fitted = MSTL(list(sample.periods), trend_forecaster=smoothing, stl_kwargs=loess(sample.periods)).fit(values)
        deadline()
        tables = []
        for period in sample.periods:
            name = "seasonal" if len(sample.periods) == 1 else f"seasonal{period}"
            newest = np.asarray(fitted.model_[name], np.float64)[-period:]
            tables.append(np.roll(newest, (sample.end - period) % period))  # by phase, from the epoch
        form = of_statsforecast(fitted.trend_forecaster.model_, sample.end, Offset())
        return replace(form, offset=Offset(tables=tuple(tables)))


def loess(periods: tuple[int, ...]) -> dict[str, int]:
    """Smooth curves are computed at every tenth of their width, and are lines between: some thirtyfold faster."""
    jump = max(1, periods[0] // 10)
    return {"trend_jump": jump, "low_pass_jump": jump}


class Mstl(LibraryModel):
    """statsforecast's MSTL. See :class:`~forecasting.models.library.LibraryModel` for the arguments.

    Raises ``LibraryMissing`` without the extra ``models``.
    """

    name = "mstl"

    def __init__(
        self,
        step: float,
        season: float | None = None,
        *,
        longer: tuple[float, ...] = (),
        own_step: float | None = None,
        horizon: float = 3600.0,
        most_steps: int = 4032,
        guard: Guard | None = None,
    ) -> None:
        needs("statsforecast", self.name, "models")
        super().__init__(
            MstlFit(),
            step,
            season,
            longer=longer,
            own_step=own_step,
            horizon=horizon,
            most_steps=most_steps,
            guard=guard,
        )
