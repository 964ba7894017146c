"""Prophet: a piecewise trend and Fourier seasons; what they leave is smoothed, as Prophet itself never looks at it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecasting.guarded import Deadline, FitTimedOut, Guard, Sample
from forecasting.innovations import Innovations, Offset
from forecasting.models.library import LibraryModel, needs

_MOST_STEPS = 2016
_DAY = 86400.0
_TREND_HELD = 12  # steps that the last slope goes on; hours of it would run away
_WEIGHTS = (0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
_AHEAD = 6  # steps


@dataclass(frozen=True, slots=True)
class ProphetFit:
    """Prophet's posterior mode (seeded), its seasons made tables, its last slope a line, what they leave smoothed."""

    harmonics: int = 8
    changepoints: int = 10
    modules: tuple[str, ...] = ("forecasting.models.prophet_import",)

    def __call__(self, sample: Sample, deadline: Deadline) -> Innovations:
        """See :class:`~forecasting.guarded.Family`."""
        import pandas as pd  # type: ignore[import-untyped]  # no stubs among our needs

        from forecasting.models.prophet_import import prophet, silent

        steps = np.arange(sample.first, sample.end)[-_MOST_STEPS:]
        values = sample.values[-_MOST_STEPS:]

        def times(at: NDArray[np.int64]) -> pd.DataFrame:
            return pd.DataFrame({"ds": pd.to_datetime(at * sample.step, unit="s")})

        periods = [p for p in sample.periods if 2 * p <= len(values)]
        with silent():
            model = prophet.Prophet(
                n_changepoints=self.changepoints,
                daily_seasonality=False,
                weekly_seasonality=False,
                yearly_seasonality=False,
                uncertainty_samples=0,
            )
            for period in periods:
                waves = min(self.harmonics, (period - 1) // 2)
                model.add_seasonality(f"period{period}", period * sample.step / _DAY, waves)
            try:
                model.fit(times(steps).assign(y=values), seed=1, timeout=max(deadline.left, 0.1))
            except TimeoutError as late:
                raise FitTimedOut(f"the fit took longer than its {deadline.limit:g} s") from late
            deadline()
            tables = [
                np.asarray(model.predict(times(np.arange(period)))[f"period{period}"], np.float64) for period in periods
            ]
            trend = np.asarray(model.predict(times(np.append(steps, sample.end)))["trend"], np.float64)
        seasons = Offset(tables=tuple(tables))
        left = values - seasons(steps) - trend[:-1]
        weight, level = _newest_level(left)
        return Innovations(
            transition=np.ones((1, 1)),
            design=np.ones(1),
            gain=np.array([weight]),
            state=np.array([level]),
            at=sample.end,
            offset=Offset(float(trend[-1]), tuple(tables), float(trend[-1] - trend[-2]), sample.end, _TREND_HELD),
        )


def _newest_level(left: NDArray[np.float64]) -> tuple[float, float]:
    """Exponential smoothing of what the curves leave: the weight that foretells it best half a dozen steps ahead, and
    the newest level."""
    found = []
    for weight in _WEIGHTS:
        level, levels = 0.0, []
        for value in left.tolist():
            if value == value:  # noqa: PLR0124  NaN is not equal to itself
                level += weight * (value - level)
            levels.append(level)
        error = float(np.nanmean(np.abs(left[_AHEAD:] - np.array(levels)[:-_AHEAD])))
        found.append((error, weight, level))
    _, weight, level = min(found)
    return weight, level


class ProphetModel(LibraryModel):
    """Prophet. See :class:`~forecasting.models.library.LibraryModel` for arguments. Wants a writable temp folder."""

    name = "prophet"

    def __init__(
        self,
        step: float,
        season: float | None = None,
        *,
        longer: tuple[float, ...] = (),
        harmonics: int = 8,
        changepoints: int = 10,
        own_step: float | None = None,
        horizon: float = 3600.0,
        most_steps: int = 2016,
        guard: Guard | None = None,
    ) -> None:
        needs("prophet", self.name)
        super().__init__(
            ProphetFit(harmonics, changepoints),
            step,
            season,
            longer=longer,
            own_step=own_step,
            horizon=horizon,
            most_steps=most_steps,
            guard=guard,
        )
