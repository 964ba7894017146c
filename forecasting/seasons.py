"""Level times season in steps of a minute, however short the steps are that it is asked in."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from forecasting.forecaster import Paths
from forecasting.models.level_season import LevelSeason
from forecasting.periods import DAY, MINUTE
from forecasting.series import Arrivals, Series
from forecasting.trajectories import add_count_noise

_SEASONS = 3  # kept by level times season: of a day each costs some 45 kB
ALONE = 7  # where there is no other model: of a day, in steps of a minute, they are 0.5 MB


class Coarse:
    """Level times season in long steps, asked in short ones: each of its steps is repeated, with the noise that counts
    in ``factor`` times shorter steps have."""

    def __init__(self, make: Callable[[], LevelSeason], factor: int) -> None:
        self.inner, self.factor = make(), factor
        self.name = self.inner.name
        self.step = self.inner.step / factor

    def fit(self, history: Series) -> None:
        """See :class:`~forecasting.forecaster.Forecaster`."""
        self.inner.fit(history)

    def update(self, arrivals: Arrivals) -> None:
        """See :class:`~forecasting.forecaster.Forecaster`."""
        self.inner.update(arrivals)

    def kept(self) -> Series:
        """The newest history, updates included, in its own long steps: what a refit is to learn from."""
        return self.inner.kept()

    @property
    def ready(self) -> bool:
        """Whether ``paths`` can be called."""
        return self.inner.ready

    def paths(self, steps: int, count: int, rng: np.random.Generator, out: Paths | None = None) -> Paths:
        """See :class:`~forecasting.forecaster.Forecaster`."""
        paths = self.inner.paths(-(-steps // self.factor), count, rng)
        fine: Paths = np.repeat(paths, self.factor, axis=1)[:, :steps]
        add_count_noise(fine, self.step, np.full(count, 1 - 1 / self.factor), rng)
        if out is None:
            return np.maximum(fine, 0.0, out=fine)
        return np.maximum(fine, 0.0, out=out)


def by_season(step: float, season: float | None = DAY, kept: int = _SEASONS) -> LevelSeason | Coarse:
    """Level times season, in steps of a minute where ``step`` (s) is a part of it and the season holds many; ``kept``
    seasons are remembered."""
    inner = step if season is not None and season < 24 * MINUTE else season_step(step)
    if inner == step:
        return LevelSeason(step, season, seasons_kept=kept)
    return Coarse(partial(LevelSeason, inner, season, seasons_kept=kept), round(inner / step))


def season_step(step: float) -> float:
    """Seconds of the steps in which a season is kept, where ``step`` (s) is asked for."""
    factor = round(MINUTE / step)
    return MINUTE if factor >= 2 and factor * step == MINUTE else step
