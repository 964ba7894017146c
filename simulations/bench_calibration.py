"""Do the default forecaster's upper quantiles cover what they say on recorded load?

``python -m simulations.bench_calibration``.
Each trace: a fit on seven days, then some days of Poisson counts each 15 s from the trace's rates (linear between its
steps), a refit each day; paths are drawn at origins 105 s apart. A cell is met within 1.5, 1 and 0.5 points of
.9, .95 and .99, or within two block-bootstrap standard errors. A horizon below a trace's step is left out.
The errors are estimates, and hardest to estimate where hardly a miss was due, so a right forecaster does not have every
cell within them: how many it has not is found by trials with random outcomes at the same origins.
``--write docs/results.md`` keeps the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from forecasting.calibration import HORIZONS, Coverage, Outcomes, coverage, perfect
from forecasting.calibration_study import follow
from forecasting.competition import Competition
from forecasting.competition_default import default_competition
from forecasting.errors import BadSeries
from forecasting.series import Series
from simulations.table import Table
from simulations.traces import find_trace, rates_at, read_trace, scaled

DAY = 86_400.0
STEP = 15.0
LEAD_TIME = 150.0  # s, at which the default's models are scored
EVERY = 7 * STEP  # between origins, which so are at every phase of load that comes each few minutes
HISTORY = 7  # days
# First day that is scored: where a trace is long, past its beginning.
FIRST = {
    "azfunc_diurnal": 7,
    "azfunc_bursty": 7,
    "azfunc_sparse": 7,
    "servegen_llm_large": 7,
    "worldcup98": 50,
    "twitter_aapl": 20,
    "nyc_taxi": 100,
}
TRIALS = 40  # of a right forecaster
SPARSE = frozenset({"azfunc_sparse"})  # to be judged with its zeros: never scaled up


@dataclass(frozen=True, slots=True)
class Studied:
    """One trace at one mean rate; ``pinball`` (requests/s) by horizon.

    ``perfect`` [trials]: of a right forecaster's as many cells, how many are not within the bootstrap's errors.
    """

    trace: str
    mean: float  # requests/s
    cells: list[Coverage]
    pinball: dict[float, float]
    perfect: tuple[int, ...]


def study(trace: str, first: int, days: int, mean: float | None, seed: int) -> Studied:
    """Score ``days`` from day ``first`` on; ``mean`` None: as recorded. Raises BadSeries for what cannot be read."""
    load = read_trace(find_trace(trace))
    if mean is not None:
        load = scaled(load, mean=mean)
    a_day = round(DAY / load.step)
    if first < HISTORY or len(load.rates) < (first + 1) * a_day:
        raise BadSeries(
            f"{trace}: {len(load.rates) / a_day:.1f} days; {HISTORY} of history and one to score are needed"
        )
    begin = load.start + first * DAY
    history = Series(begin - HISTORY * DAY, load.step, load.rates[(first - HISTORY) * a_day : first * a_day])
    rates = rates_at(load, np.arange(begin, min(begin + days * DAY, load.end), STEP) + STEP / 2)
    counts = np.random.default_rng(seed).poisson(np.nan_to_num(rates) * STEP)
    live = Series(begin, STEP, np.where(np.isnan(rates), np.nan, counts / STEP))
    model = default_competition(STEP, LEAD_TIME, seed=seed)
    model.fit(history)
    horizons = [horizon for horizon in HORIZONS if horizon >= max(load.step, STEP)]
    found = follow(
        model,
        live,
        horizons=horizons,
        every=EVERY,
        count=200,
        seed=seed,
        refit=_refit,
    )
    return Studied(
        trace,
        float(np.nanmean(live.rates)),
        [cell for outcomes in found for cell in coverage(outcomes, seed=seed)],
        {outcomes.horizon: float(outcomes.losses.mean()) for outcomes in found},
        tuple(_missed(found, np.random.default_rng((seed, crc32(trace.encode()), k))) for k in range(TRIALS)),
    )


def _missed(found: Sequence[Outcomes], rng: np.random.Generator) -> int:
    right = [cell for outcomes in found for cell in coverage(perfect(outcomes, rng), seed=int(rng.integers(2**31)))]
    return sum(not cell.within for cell in right)


def counted(studied: Sequence[Studied]) -> str:
    """How many cells are met, in what way, and how many a right forecaster would have."""
    cells = [cell for one in studied for cell in one.cells]
    within, met = sum(cell.within for cell in cells), sum(cell.met for cell in cells)
    return (
        f"{len(cells)} cells: {within} are met by the bootstrap, and {met - within} more where no error is less than "
        "that of independent outcomes."
    )


def right_table(studied: Sequence[Studied]) -> Table:
    """Cells that are not within the bootstrap's errors, beside those that a right forecaster has: a line each trace."""
    about = (
        "Of each trace's cells, how many are not within the bootstrap's errors alone; and how many of a right "
        f"forecaster's are not, in {TRIALS} trials with random outcomes at the same origins."
    )
    rows = [(one.trace, [cell.within for cell in one.cells], np.array(one.perfect)) for one in studied]
    rows.append(("all", [cell for _, within, _ in rows for cell in within], np.sum([one[2] for one in rows], axis=0)))
    lines = tuple(
        (trace, str(len(within)), str(within.count(False)), f"{trials.mean():.1f}", f"{trials.min()} to {trials.max()}")
        for trace, within, trials in rows
    )
    return Table("a right forecaster", about, ("TRACE", "CELLS", "NOT WITHIN", "RIGHT, MEAN", "RIGHT, FROM TO"), lines)


def _refit(model: Competition) -> None:
    kept = model.kept()
    if kept is not None:
        model.adopt(model.study(kept))


def calibration_table(studied: Sequence[Studied]) -> Table:
    """A line for each trace and horizon."""
    about = (
        "Share in percent of what came that was at or below the forecast's quantile, with two standard errors, over "
        "ALL hours and over the BUSY tenth of them, which had the highest forecast median. NO: off by more than 1.5, 1 "
        "and 0.5 points, and by more than two standard errors. (few): so far off by the bootstrap's error, which is "
        "small where few misses were seen, and not by that of independent outcomes. PINBALL in requests/s."
    )
    named = [f"{hours} {level}" for hours in ("ALL", "BUSY") for level in (".9", ".95", ".99")]
    lines = tuple(
        (
            done.trace,
            f"{done.mean:.3g}",
            f"{horizon / 60:g}",
            *(_shown(cell) for cell in done.cells if cell.horizon == horizon),
            f"{loss:.4g}",
        )
        for done in studied
        for horizon, loss in done.pinball.items()
    )
    return Table("calibration", about, ("TRACE", "MEAN", "MINUTES", *named, "PINBALL"), lines)


def _shown(cell: Coverage) -> str:
    far = "" if cell.within else " (few)" if cell.met else " NO"
    return f"{100 * cell.share:.1f} ± {200 * cell.error:.1f}{far}"


if __name__ == "__main__":
    from simulations.commands.bench_calibration import bench_calibration

    bench_calibration()
