"""Is Lagcast ever worse than without forecasts? What it forecasts from, or what forecasts, is made wrong on purpose.

``python -m simulations.bench_rubbish``. The history is shuffled or inverted while the live load is as it is: the whole
day is judged. Or all the default's models are sound and trusted until the sixth hour of the day, and return rubbish
from then on: what comes from then on is judged. Each run stands beside one of the same plan without forecasts, over the
same load and history, and the same hours. Where what differs by chance is too much to tell, there are more seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from functools import partial

import numpy as np
from scipy.special import stdtrit

from forecasting.competition_default import Incumbent, default_competition
from forecasting.forecaster import Forecaster, Paths
from forecasting.series import Arrivals, Series
from scaler.plan.decision import Policy
from scaler.plan.service import Service
from simulations.bench_days import scored_days
from simulations.bench_runner import Show, results_of
from simulations.compare import OWN, Job, Work
from simulations.executor import Executor
from simulations.record import Record
from simulations.scenarios import DEFAULTS, Cell, cells, make
from simulations.store import Json, Store
from simulations.table import Table, percent

MOST_BELOW = 0.001  # of the attainment without forecasts
MOST_COST = 1.15  # times its GPU-hours
_SURE = 0.975  # of what chance does to a mean of days, that much is less
SOUND = 6 * 3600.0  # s for which a forecaster is sound before it returns rubbish


class Wrong(StrEnum):
    """What is made wrong."""

    SHUFFLED = "history shuffled"
    INVERTED = "history inverted"
    TENFOLD = "forecasts tenfold"
    NOISE = "forecasts noise"
    ZERO = "forecasts zero"
    NAN = "forecasts NaN"


HISTORIES = (Wrong.SHUFFLED, Wrong.INVERTED)


class Broken:
    """A model, sound until ``since`` (unix s)."""

    def __init__(self, make: Callable[[], Forecaster], how: Wrong, since: float) -> None:
        self.inner, self.how, self.since = make(), how, since
        self.name, self.step = self.inner.name, self.inner.step
        self.now = -np.inf  # unix s

    def fit(self, history: Series) -> None:
        """See :class:`~forecasting.forecaster.Forecaster`."""
        self.inner.fit(history)

    def update(self, arrivals: Arrivals) -> None:
        """See :class:`~forecasting.forecaster.Forecaster`."""
        self.inner.update(arrivals)
        self.now = arrivals.end

    @property
    def ready(self) -> bool:
        """Whether ``paths`` can be called."""
        return self.inner.ready

    def paths(self, steps: int, count: int, rng: np.random.Generator, out: Paths | None = None) -> Paths:
        """See :class:`~forecasting.forecaster.Forecaster`; rubbish in time."""
        paths = self.inner.paths(steps, count, rng, out)
        if self.now >= self.since:
            if self.how is Wrong.TENFOLD:
                paths *= 10
            elif self.how is Wrong.NOISE:
                paths[:] = rng.random(paths.shape) * 10 * float(paths.mean())
            else:
                paths[:] = 0.0 if self.how is Wrong.ZERO else np.nan
        return paths


def spoiled(history: Series, wrong: Wrong) -> Series:
    """The history with its steps in another order, or with highs for lows; as it is where that is not what is wrong."""
    rates = history.rates
    if wrong is Wrong.SHUFFLED:
        return replace(history, rates=np.random.default_rng(1).permutation(rates))
    if wrong is Wrong.INVERTED:
        return replace(history, rates=np.nanmax(rates) + np.nanmin(rates) - rates)
    return history


@dataclass(frozen=True, slots=True)
class RubbishJob:
    """One day. ``foreseen``: whether the plan has forecasts."""

    cell: Cell
    wrong: Wrong
    foreseen: bool

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.cell.name} {self.wrong}{'' if self.foreseen else ', without forecasts'}"


@dataclass(frozen=True, slots=True)
class Day:
    """What a day came to."""

    attainments: tuple[float, ...]  # of each service
    gpu_hours: float  # of all


@dataclass(frozen=True, slots=True)
class Judged:
    """What was wrong for a service of a cell, over all the cell's scored days and their seeds: its attainments, and all
    GPU-hours over those without forecasts."""

    scenario: str
    trace: str  # of the cell
    service: str  # its own trace
    wrong: Wrong
    attainment: float
    without: float
    cost: float
    days: int
    seeds: int  # of each day
    error: float  # standard error of the attainments' difference: over days, or one's seeds; infinite of one of each

    @property
    def sure(self) -> bool:
        """Whether the attainments' difference is on its side of what is allowed by more than chance (Student's t)."""
        drawn = self.days if self.days > 1 else self.seeds
        if drawn < 2:
            return False
        return abs(self.attainment - self.without + MOST_BELOW) > float(stdtrit(drawn - 1, _SURE)) * self.error

    @property
    def met(self) -> bool:
        """Whether it is not worse than without forecasts."""
        return self.attainment >= self.without - MOST_BELOW and self.cost <= MOST_COST


Found = Mapping[RubbishJob, Day]


def jobs_of(on: Sequence[Cell], wrongs: Sequence[Wrong]) -> tuple[RubbishJob, ...]:
    """With forecasts and without."""
    return tuple(RubbishJob(cell, wrong, foreseen) for cell in on for wrong in wrongs for foreseen in (False, True))


def chosen_cells(
    scenarios: Sequence[str], traces: Sequence[str], seeds: int, days: int | None = None
) -> tuple[Cell, ...]:
    """The benchmark's cells of these scenarios, and of these traces, if any are named; on so many scored ``days`` of
    each, or the day that the benchmark has. Raises BadSeries where there is none."""
    on = [c for c in cells(range(seeds)) if c.scenario in scenarios and (not traces or c.trace in traces)]
    if days is None:
        return tuple(on)
    scored = {trace: scored_days(trace, days) for trace in dict.fromkeys(c.trace for c in on)}
    return tuple(replace(c, day=day) for c in on for day in scored[c.trace])


def jobs_of_unsure(judged: Sequence[Judged], seeds: int, days: int | None = None) -> tuple[RubbishJob, ...]:
    """Four times the seeds, and ``seeds`` at most, of those cells of which chance leaves too little to tell; ``days``
    as they were chosen."""
    more = [
        job
        for one in judged
        if not one.sure and one.seeds < seeds
        for job in jobs_of(chosen_cells([one.scenario], [one.trace], min(4 * one.seeds, seeds), days), [one.wrong])
    ]
    return tuple(dict.fromkeys(more))  # of several services one may ask for what another asks for


def run_rubbish_job(job: RubbishJob) -> Json:
    """One simulated day."""
    from scaler.plan.policy import PredictivePolicy

    setting, loads = make(job.cell)
    loads = tuple(
        load if load.history is None else replace(load, history=spoiled(load.history, job.wrong)) for load in loads
    )
    forecaster = partial(_forecaster, job.wrong, loads[0].start + SOUND) if job.foreseen else _nothing

    def policy(services: Sequence[Service]) -> Policy:
        return PredictivePolicy(services, forecaster)

    _, record = Work(setting, loads, policy).recorded(Job(OWN))
    return asdict(_judged(record, 0 if job.wrong in HISTORIES else round(SOUND)))


def _judged(record: Record, since: int) -> Day:
    """From the second ``since`` on; what arrived late in the day and may yet be in time counts as in time."""
    setting, services = record.setting, record.services
    known = [~np.isnan(service.arrived) for service in services]
    for some in known:
        some[:since] = False
    attainments = [
        1.0 - float(service.late[some].sum() / service.arrived[some].sum())
        for service, some in zip(services, known, strict=True)
    ]
    if record.pool is not None and setting.pool is not None:
        gpus = record.pool.asked * setting.pool.size
    else:
        (service,) = services
        gpus = (service.ready + service.pending) * setting.services[0].weight
    return Day(tuple(attainments), float(gpus[known[0]].sum()) / 3600)


def _forecaster(wrong: Wrong, since: float, service: Service) -> Forecaster:
    if wrong in HISTORIES:
        return default_competition(service.step, service.lead_time)
    sound = default_competition(service.step, service.lead_time)
    return Incumbent([partial(Broken, m.make, wrong, since) for m in sound.members], lead_time=service.lead_time)


def _nothing(service: Service) -> None:
    """Without forecasts."""


def run_all(jobs: Sequence[RubbishJob], version: str, store: Store, executor: Executor, show: Show) -> Found:
    """Every job's result; those of ``version`` that are kept are not run again. Raises JobFailed."""
    # Without forecasts nothing knows what is wrong with them: one run serves all.
    same = {job: job if job.foreseen or job.wrong in HISTORIES else replace(job, wrong=Wrong.NAN) for job in jobs}
    keys: dict[RubbishJob, Json] = {
        job: {"version": version, "parameters": repr(DEFAULTS), "rubbish": asdict(job)}
        for job in dict.fromkeys(same.values())
    }
    results = results_of("days", keys, run_rubbish_job, store, executor, show)
    days = {one: Day(tuple(kept["attainments"]), kept["gpu_hours"]) for one, kept in results.items()}
    return {job: days[one] for job, one in same.items()}


def judge(found: Found) -> tuple[Judged, ...]:
    """Each kind of rubbish for each service of each scenario and trace, over all days and seeds: mean attainments, and
    costs in sum."""
    groups: dict[tuple[str, str, Wrong], list[Cell]] = {}
    for job in found:
        if job.foreseen:
            groups.setdefault((job.cell.scenario, job.cell.trace, job.wrong), []).append(job.cell)
    judged = []
    for (scenario, trace, wrong), some in groups.items():
        ours = [found[RubbishJob(cell, wrong, True)] for cell in some]
        without = [found[RubbishJob(cell, wrong, False)] for cell in some]
        cost = sum(day.gpu_hours for day in ours) / sum(day.gpu_hours for day in without)
        days = sorted({cell.day for cell in some})
        of_day = [np.array([cell.day == day for cell in some]) for day in days]
        for place, service in enumerate(trace.split("+")):
            reached = np.array([day.attainments[place] for day in ours])
            bare = np.array([day.attainments[place] for day in without])
            apart = reached - bare
            # The seeds of one day share its load: what they have in common is drawn once.
            drawn = np.array([apart[those].mean() for those in of_day]) if len(days) > 1 else apart
            error = float(np.std(drawn, ddof=1)) / len(drawn) ** 0.5 if len(drawn) > 1 else np.inf
            means = float(reached.mean()), float(bare.mean())
            seeds = len(some) // len(days)
            judged.append(Judged(scenario, trace, service, wrong, *means, cost, len(days), seeds, error))
    return tuple(judged)


def rubbish_table(judged: Sequence[Judged]) -> Table:
    """A line for each."""
    about = (
        "IN TIME and COST against the same plan WITHOUT forecasts, over the same load and history; of the shared pool "
        "each service, and what all cost. MET: at most "
        f"{100 * MOST_BELOW:g} points fewer in time, at most {MOST_COST:g} times its GPU-hours. Of a wrong history the "
        f"whole day counts; of wrong forecasts what comes after {SOUND / 3600:g} h, from when on they are wrong. "
        f"POINTS with their standard error over the DAYS, or the SEEDS of a single one: more seeds while chance may be "
        f"what keeps them above or below -{100 * MOST_BELOW:g}."
    )
    lines = tuple(
        (
            f"{one.scenario} {one.service}",
            str(one.wrong),
            percent(one.attainment),
            percent(one.without),
            f"{100 * (one.attainment - one.without):+.2f}"
            + ("" if np.isinf(one.error) else f" +- {100 * one.error:.2f}"),
            f"{one.cost:.3f}",
            str(one.days),
            str(one.seeds),
            "yes" if one.met else "NO",
        )
        for one in judged
    )
    columns = ("CELL", "WRONG", "IN TIME", "WITHOUT", "POINTS", "COST", "DAYS", "SEEDS", "MET")
    return Table("rubbish", about, columns, lines)


if __name__ == "__main__":
    from simulations.commands.bench_rubbish import bench_rubbish

    bench_rubbish()
