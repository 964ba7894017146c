"""Do upper quantiles cover what they say? Shares covered, with block-bootstrap errors, over all and over busy hours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Hours = Literal["all", "busy"]

LEVELS = (0.9, 0.95, 0.99)
ALLOWED = (0.015, 0.01, 0.005)  # how far from its level the share that each of LEVELS covers may be
HORIZONS = (60.0, 300.0, 600.0, 1800.0)  # s
WINDOW = 60.0  # s up to the horizon over which arrivals are averaged, where a step is not longer
BUSY = 0.1  # share of hours
_HOUR = 3600.0
_BLOCK = 6  # hours; misses come in spells of minutes to hours
_DRAWS = 400


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """What came after each origin at one horizon, against the forecast of it; all [n], origins ascending."""

    horizon: float  # s
    origins: Floats  # unix s
    medians: Floats  # requests/s, forecast
    pits: Floats  # randomised probability integral transforms: uniform on [0, 1] when calibrated
    losses: Floats  # mean pinball loss (requests/s) over the levels that were asked for


@dataclass(frozen=True, slots=True)
class Coverage:
    """Share of outcomes at or below one quantile."""

    horizon: float  # s
    hours: Hours
    level: float
    share: float
    error: float  # standard error of ``share``, no less than that of independent outcomes
    bootstrap: float  # standard error of ``share`` by the block bootstrap alone
    origins: int
    allowed: float  # distance from ``level`` that is called calibrated in any case

    @property
    def met(self) -> bool:
        """Whether the share is within what is allowed, or within two standard errors."""
        return self._near(self.error)

    @property
    def within(self) -> bool:
        """The same by the block bootstrap alone, which is sure where next to no miss was seen."""
        return self._near(self.bootstrap)

    def _near(self, error: float) -> bool:
        return abs(self.share - self.level) <= max(self.allowed, 2 * error)


def means_at(paths: NDArray[np.floating], step: float, horizon: float, window: float = WINDOW) -> Floats:
    """Mean rate (requests/s) of each path [..., steps] over the ``window`` s that end ``horizon`` s after the origin.

    Whole steps, one at least. Raises ``ValueError`` when the paths end before.
    """
    end = round(horizon / step)
    begin = end - min(max(1, round(window / step)), max(end, 1))
    if end < 1 or end > paths.shape[-1]:
        raise ValueError(f"horizon {horizon} s: paths of {paths.shape[-1]} steps of {step} s do not hold it")
    return np.asarray(paths[..., begin:end].mean(axis=-1, dtype=np.float64))


def randomised_pit(samples: Floats, outcome: float, seconds: float, uniform: float) -> float:
    """Where ``outcome`` lies among ``samples`` [m] (rates, requests/s, over ``seconds``), in [0, 1].

    Both are compared as whole counts, and ``uniform`` in [0, 1) decides within ties and between neighbours: uniform
    when outcome and samples have one law (Czado, Gneiting, Held, 2009; the ranks of an ensemble: Hamill, 2001).
    """
    counts, count = np.round(samples * seconds), round(outcome * seconds)
    below, equal = int(np.count_nonzero(counts < count)), int(np.count_nonzero(counts == count))
    return (below + uniform * (equal + 1)) / (len(samples) + 1)


def pinball(samples: Floats, outcome: float, levels: Sequence[float]) -> float:
    """Mean pinball loss (requests/s) of the quantiles of ``samples`` [m] at ``levels``."""
    wanted = np.asarray(levels, dtype=np.float64)
    above = outcome - np.quantile(samples, wanted)
    return float(np.maximum(wanted * above, (wanted - 1) * above).mean())


def coverage(
    outcomes: Outcomes,
    *,
    levels: Sequence[float] = LEVELS,
    allowed: Sequence[float] = ALLOWED,
    seed: int = 0,
) -> list[Coverage]:
    """Each level over all hours, then over the tenth of hours with the highest forecast median.

    An hour's is that of its first origin. A mean over the hour would pick hours in which load jumped after some of its
    forecasts were made, and those forecasts for having been too low: nothing could be calibrated there.
    Standard errors: the circular block bootstrap (Politis, Romano, 1992) of six-hour blocks. Where next to no miss was
    seen that says 0, however few outcomes there are, so no error is below that of as many independent outcomes, were
    the level right, as horizons fit between the origins (a score test's: by chance a share is so far off).
    """
    if not len(outcomes.origins):
        return []
    hours = np.floor(outcomes.origins / _HOUR).astype(np.int64)
    hours -= hours[0]
    count = int(hours[-1]) + 1
    origins = np.bincount(hours, minlength=count).astype(np.float64)
    covered = np.stack(
        [np.bincount(hours, outcomes.pits <= level, minlength=count) for level in levels], axis=1
    )  # [hours, levels]
    seen = origins > 0
    firsts = np.unique(hours, return_index=True)[1]
    busiest = np.zeros(count, dtype=np.bool_)
    chosen = np.argsort(-outcomes.medians[firsts], kind="stable")[: max(1, round(BUSY * len(firsts)))]
    busiest[hours[firsts[chosen]]] = True
    every = float(np.median(np.diff(outcomes.origins))) if len(outcomes.origins) > 1 else outcomes.horizon
    apart = min(1.0, every / outcomes.horizon)  # of an outcome, the share that the one before it does not hold

    found = []
    named: tuple[tuple[Hours, NDArray[np.bool_]], ...] = (("all", seen), ("busy", busiest))
    for name, picked in named:
        n = float(origins[picked].sum())
        shares = covered[picked].sum(axis=0) / n
        errors = _errors(np.where(picked[:, None], covered, 0.0), np.where(picked, origins, 0.0), seed)
        for k, level in enumerate(levels):
            least = math.sqrt(level * (1 - level) / max(n * apart, 1.0))
            bootstrap = float(errors[k])
            told = (float(shares[k]), max(bootstrap, least), bootstrap, round(n), float(allowed[k]))
            found.append(Coverage(outcomes.horizon, name, level, *told))
    return found


def perfect(outcomes: Outcomes, rng: np.random.Generator) -> Outcomes:
    """What a right forecaster could have had at these origins, which lie evenly in time: uniform pits.

    Two origins nearer than the horizon share part of what happens up to their outcomes, and their pits are as alike:
    each is a mean of normal numbers, one for each step between origins, put through its distribution (a Gaussian
    copula). A load that returns to its mean has less in common.
    """
    from scipy.special import ndtr

    n = len(outcomes.origins)
    every = float(np.median(np.diff(outcomes.origins))) if n > 1 else outcomes.horizon
    way = max(1, round(outcomes.horizon / every))  # origins
    walk = np.cumsum(np.concatenate(([0.0], rng.standard_normal(n + way - 1))))
    return replace(outcomes, pits=ndtr((walk[way:] - walk[:-way]) / math.sqrt(way)))


def _errors(covered: Floats, origins: Floats, seed: int) -> Floats:
    """Standard error of covered / origins, both by hour [hours, levels] and [hours]; [levels]."""
    count = len(origins)
    starts = np.random.default_rng(seed).integers(0, count, (_DRAWS, -(-count // _BLOCK)))
    hours = (starts[:, :, None] + np.arange(_BLOCK)).reshape(_DRAWS, -1)[:, :count] % count
    n = origins[hours].sum(axis=1)
    shares = covered[hours].sum(axis=1)[n > 0] / n[n > 0, None]
    return np.asarray(shares.std(axis=0)) if len(shares) else np.full(covered.shape[1], math.nan)
