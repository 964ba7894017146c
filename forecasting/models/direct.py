"""The default: direct ridge autoregression with calendar terms, and conditional whole error trajectories around it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from forecasting.direct.draw import Present, between, draw, outlook
from forecasting.direct.features import DAY, layout
from forecasting.direct.feedback import SAMPLES, Feedback
from forecasting.direct.kept import Kept
from forecasting.direct.learned import Growth, Learned, calm_of, learn
from forecasting.direct.present import present_of
from forecasting.errors import NotReady
from forecasting.forecaster import Paths
from forecasting.series import Arrivals, Series, step_index
from forecasting.trajectories import CEILING, add_count_noise, finish, room, without_errors

PERIODS = (300.0, 600.0, 900.0, 1800.0, 3600.0)  # s
_HORIZONS = (15.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 240.0, 300.0, 420.0, 600.0, 900.0, 1260.0, 1800.0)
_AHEAD = 1800.0  # s
_DRIFT = 0.1  # log standard deviation by which a level wanders in a minute while no errors are known


@dataclass(frozen=True, slots=True, eq=False)
class Studied:
    """What was learned; None, and the reason, when paths can only be drawn around the newest level."""

    learned: Learned | None
    reason: str | None


class Direct:
    """Log ratio of the rate ahead to the newest level = ridge regression on what is known at the origin, for each of
    some horizons directly (none is fed back into the next).

    Around it lie the errors of past origins, each measured by a regression without that origin's day. Trees choose
    origins whose features say that errors were of the present's size and direction; a path takes one origin's whole
    trajectory in steps, so that what belongs together in time stays together. Both are learned by ``fit``; ``update``
    records, and the newest features are computed when paths are drawn. To refit: ``adopt(study(kept()))``.

    About once a minute an update also judges what was said for now, and says what is expected at some horizons: each
    upper quantile covers what it says (:mod:`forecasting.direct.feedback`). That is kept across refits; the first fit
    starts it from past days, each forecast without itself.

    ``step`` (s) of the paths, ``keep`` (s) of the series that is kept, ``periods`` (s) besides the day, longest
    ``horizon`` (s) that is learned (None: half an hour, or a step; longer paths hold the last ratio), ``seed`` of the
    noise that coarse history lacks and of the trees.
    Too little history, or a regression that cannot be solved: paths around the newest level, and ``reason`` says why.
    """

    name = "direct"

    def __init__(
        self,
        step: float = 15.0,
        *,
        keep: float = 7 * DAY,
        periods: Sequence[float] = PERIODS,
        horizon: float | None = None,
        growth: Growth | None = None,
        seed: int = 0,
    ) -> None:
        horizon = max(_AHEAD, step) if horizon is None else horizon
        if not (step > 0 and keep >= 20 * step and horizon >= step and all(period > 0 for period in periods)):
            raise ValueError(f"step {step} > 0, keep {keep} >= 20 steps, horizon {horizon} >= step, periods > 0 wanted")
        self.step = step
        self.layout = layout(step, keep, periods)
        steps = sorted({round(s / step) for s in (*_HORIZONS, horizon) if step <= s <= horizon})
        self.ends = np.array(steps, dtype=np.int64)
        self.between = between(self.ends)
        self.growth = growth or Growth()
        self.seed = seed
        self.series = Kept(step, round(keep / step), seed)
        self.studied = Studied(None, "not fitted yet: paths around the newest level")
        self.feedback = Feedback(step, int(self.ends[-1]))

    def fit(self, history: Series) -> None:
        """See :class:`~forecasting.forecaster.Forecaster`."""
        self.series.fit(history)
        self.adopt(self.study(self.kept()))

    def study(self, kept: Series) -> Studied:
        """Learn from what :meth:`kept` gave, and change nothing: for a refit in another thread or process while this
        forecaster goes on; then :meth:`adopt` what comes back. Raises ``ValueError`` for another step.
        """
        if kept.step != self.step:
            raise ValueError(f"a series in steps of {kept.step} s; what is kept has steps of {self.step} s")
        rates = kept.rates.astype(np.float32)
        base = step_index(kept.start, self.step)
        first = self.feedback if self.feedback.told < 0 else None  # later refits keep what it has learned
        try:
            learned = learn(rates, base, self.step, self.layout, self.ends, self.growth, self.seed, first)
        except np.linalg.LinAlgError as failed:
            return Studied(None, f"the regression failed ({failed}): paths around the newest level")
        if learned is None:
            hours = np.count_nonzero(~np.isnan(rates)) * self.step / 3600
            return Studied(
                None, f"{hours:.1f} h of known history are too few (8 h, with gaps more): paths around the newest level"
            )
        return Studied(learned, None)

    def adopt(self, studied: Studied) -> None:
        """Draw from ``studied`` from now on."""
        learned = studied.learned
        if learned is not None and learned.factors is not None:
            self.feedback.begin(learned.factors)
            studied = replace(studied, learned=replace(learned, factors=None))
        self.studied = studied

    @property
    def reason(self) -> str | None:
        """Why paths are around the newest level only; None when they come from the regression."""
        return self.studied.reason

    def update(self, arrivals: Arrivals) -> None:
        """See :class:`~forecasting.forecaster.Forecaster`. Raises ``BadSeries`` for a count that cannot be."""
        series = self.series
        series.update(arrivals)
        learned = self.studied.learned
        if learned is None or not self.feedback.due(series.base + series.used):
            return
        samples = None
        if (present := self._present(learned)) is not None:
            ends, width = self.feedback.factors.ends, self.feedback.width
            samples = np.empty((1, len(ends), SAMPLES), np.float32)
            outlook(
                present.forest,
                present.features[None],
                present.origins,
                present.rates,
                present.shift,
                np.array([present.level], np.float32),
                present.predicted[None],
                present.between,
                present.calm,
                present.ceiling,
                ends,
                width,
                samples,
            )
        self.feedback.take(series.rates, series.base, samples, learned.calm, learned.busy)

    def kept(self) -> Series:
        """The newest history, updates included: what a refit is to learn from."""
        return self.series.series()

    @property
    def ready(self) -> bool:
        """Whether any arrivals are known."""
        return not math.isnan(self.series.newest)

    def paths(self, steps: int, count: int, rng: np.random.Generator, out: Paths | None = None) -> Paths:
        """See :class:`~forecasting.forecaster.Forecaster`. Begins at the end of the step that the newest update filled
        at least half: at most half a step away from its end."""
        series, learned = self.series, self.studied.learned
        if math.isnan(series.newest):
            raise NotReady(f"{self.name}: nothing was learned or observed yet")
        uniforms, order = rng.random(count), rng.permutation(count)
        if learned is None:
            return self._around_level(steps, count, rng, out)
        present = self._present(learned)
        if present is None:
            return self._around_level(steps, count, rng, out)
        out = room(out, count, steps)
        draw(order, uniforms, present, out)
        self.feedback.widen(out, learned.calm, learned.busy, present.ceiling)
        return out

    def _present(self, learned: Learned) -> Present | None:
        """See :func:`~forecasting.direct.present.present_of`."""
        series = self.series
        return present_of(learned, self.layout, self.between, series.rates, series.base, series.peak)

    def _around_level(self, steps: int, count: int, rng: np.random.Generator, out: Paths | None) -> Paths:
        """The newest known level, uncertain as its count says, that wanders."""
        rates, width = self.series.rates, self.layout.width
        newest = rates[max(len(rates) - width, 0) :]
        known = newest[~np.isnan(newest)]
        level = float(known.mean()) if len(known) else self.series.newest
        calm = calm_of(rates, self.step)
        drift = _DRIFT * math.sqrt(self.step / 60)
        errors = without_errors(level, max(len(known), 1) * self.step, drift, steps, count, rng)
        paths = np.exp(math.log(level + calm) + errors).astype(np.float32) - np.float32(calm)
        np.maximum(paths, 0.0, out=paths)
        add_count_noise(paths, self.step, np.ones(count), rng)
        return finish(paths, CEILING * max(self.series.peak, level), out)
