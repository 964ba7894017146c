"""On recorded load: LevelSeason beats the plain newest level and seasonal naive, and its upper quantiles cover.

The traces lie beside the checkout, or where LAGCAST_TRACES says. Figures are printed (``pytest -s``) and recorded as
properties of the test.
"""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from forecasting.forecaster import Forecaster
from forecasting.models.level_season import LevelSeason
from forecasting.models.seasonal_naive import SeasonalNaive
from forecasting.series import Arrivals, Series

FOLDER = Path(os.environ.get("LAGCAST_TRACES") or Path(__file__).resolve().parents[3] / "shared" / "traces")
DAY = 86400.0
STEP = 60.0
PER_DAY = 1440
TAUS = np.array([0.1, 0.5, 0.9, 0.95, 0.99])
HORIZONS = np.array([5, 10])  # steps of a minute


def trace(name: str) -> np.ndarray:
    """Counts per step [n]."""
    path = FOLDER / f"{name}.csv"
    if not path.exists():
        pytest.skip(f"no trace {path.name}: set LAGCAST_TRACES to the folder that holds it")
    with path.open() as lines:
        return np.array([float(row["value"]) for row in csv.DictReader(lines)])


class Score:
    """Mean pinball loss over TAUS and HORIZONS, share of arrivals at or below each quantile, seconds an update."""

    def __init__(self, counts: np.ndarray, model: Forecaster, days: tuple[int, int], every: int) -> None:
        start, stop = days[0] * PER_DAY, days[1] * PER_DAY
        model.fit(Series((start - 7 * PER_DAY) * STEP, STEP, counts[start - 7 * PER_DAY : start] / STEP))
        losses, below = [], []
        for origin in range(start, stop - int(HORIZONS.max())):
            if (origin - start) % every == 0:
                paths = model.paths(int(HORIZONS.max()), 100, np.random.default_rng(origin))
                quantiles = np.quantile(paths[:, HORIZONS - 1], TAUS, axis=0)  # [taus, horizons]
                error = counts[origin + HORIZONS - 1] / STEP - quantiles
                losses.append(np.maximum(TAUS[:, None] * error, (TAUS[:, None] - 1) * error))
                below.append(error <= 0)
            model.update(Arrivals((origin + 1) * STEP, STEP, counts[origin]))
        self.origins = len(losses)
        self.pinball = float(np.mean(losses))
        self.coverage = dict(zip(TAUS.tolist(), np.mean(below, axis=(0, 2)).tolist(), strict=True))


def scores(name: str, makes: dict[str, Callable[[], Forecaster]], record_property, every: int = 8) -> dict[str, Score]:
    counts = trace(name)
    result = {label: Score(counts, make(), (8, 10), every) for label, make in makes.items()}
    for label, score in result.items():
        shares = " ".join(f"{tau:g}:{share:.3f}" for tau, share in score.coverage.items())
        line = f"{name}, {score.origins} origins, {label}: pinball {score.pinball:.4f} requests/s, covered {shares}"
        print(line)  # noqa: T201
        record_property(f"{name} {label}", line)
    return result


MAKES: dict[str, Callable[[], Forecaster]] = {
    "level-season": lambda: LevelSeason(STEP, DAY),
    "level": lambda: LevelSeason(STEP, None),
    "seasonal-naive": lambda: SeasonalNaive(STEP, DAY),
}


def test_smooth_daily_load(record_property):
    found = scores("azfunc_diurnal__60s", MAKES, record_property)
    ours = found["level-season"]
    assert ours.origins >= 300
    assert ours.pinball < 0.9 * found["level"].pinball
    assert ours.pinball < 0.5 * found["seasonal-naive"].pinball
    # 360 origins on two days, two horizons each: some 180 independent ones, so that two standard errors are these.
    assert ours.coverage[0.9] == pytest.approx(0.9, abs=0.045)
    assert ours.coverage[0.95] == pytest.approx(0.95, abs=0.033)
    assert ours.coverage[0.99] > 0.97


def test_bursts_that_return(record_property):
    found = scores("azfunc_bursty__60s", MAKES, record_property)
    ours = found["level-season"]
    assert ours.pinball < 0.97 * found["level"].pinball
    assert ours.pinball < 0.6 * found["seasonal-naive"].pinball
    assert ours.coverage[0.9] == pytest.approx(0.9, abs=0.045)
    assert ours.coverage[0.95] == pytest.approx(0.95, abs=0.033)


def test_mostly_zero(record_property):
    """89 % of minutes are zero; the rest returns at its time of day."""
    makes = {label: MAKES[label] for label in ("level-season", "level")}
    found = scores("azfunc_sparse__60s", makes, record_property)
    assert found["level-season"].pinball < 0.5 * found["level"].pinball
    assert found["level-season"].coverage[0.95] > 0.92


def test_a_week_of_minutes_is_quick(record_property):
    """Fit under 0.3 s, an update under 0.1 ms, paths under 2 ms (best of some, so that a busy machine passes)."""
    counts = trace("azfunc_diurnal__60s")
    model = LevelSeason(STEP, DAY)
    history = Series(0.0, STEP, counts[: 7 * PER_DAY] / STEP)
    fit = min(_seconds(lambda: model.fit(history)) for _ in range(3))
    rng = np.random.default_rng(0)
    paths = {
        (steps, count): min(_seconds(lambda s=steps, c=count: model.paths(s, c, rng)) for _ in range(20))
        for steps, count in ((10, 100), (20, 100), (60, 200))
    }
    ends = iter(range(7 * PER_DAY, 9 * PER_DAY))
    update = min(
        _seconds(
            lambda: [
                model.update(Arrivals((k + 1) * STEP, STEP, counts[k])) for k, _ in zip(ends, range(50), strict=False)
            ]
        )
        for _ in range(20)
    )
    line = f"fit {fit * 1e3:.0f} ms, update {update / 50 * 1e6:.0f} us, paths " + ", ".join(
        f"{steps}x{count} {seconds * 1e3:.2f} ms" for (steps, count), seconds in paths.items()
    )
    print(line)  # noqa: T201
    record_property("times", line)
    assert fit < 0.3
    assert update / 50 < 1e-4
    assert max(paths.values()) < 2e-3


def _seconds(run: Callable[[], object]) -> float:
    began = time.process_time()  # not the wall's: another test runs beside this one
    run()
    return time.process_time() - began
