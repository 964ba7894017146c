"""Are the defaults good on load that they were not chosen on? Each trace is left out once (cross-validation).

``python -m simulations.bench_defaults``. The candidates are the defaults with one constant lower or higher. For each
trace, the candidate that is best on the other traces is chosen, and shown on the trace that was left out beside the
defaults: where the choice does no better there, the constant was not tuned to that trace. The days are those before
the scored ones of `lagcast bench`, so that nothing here is chosen on what is reported there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from forecasting.forecaster import Forecaster
from scaler.plan.decision import Policy
from scaler.plan.service import Service
from scaler.plan.settings import PlanSettings
from simulations.bench_runner import Show, results_of
from simulations.compare import OWN, Job, Work, geometric_mean
from simulations.executor import Executor
from simulations.scenarios import DEFAULTS, Cell, cells, make
from simulations.store import Json, Store
from simulations.table import Table, mean, number, percent

LEAST_MEAN, LEAST = 0.99, 0.98  # attainment that a candidate must have, in the mean and in each cell
DEFAULT = "defaults"
RANK = "forest rank"
NODES = "nodes."  # before the constants of NodeSettings
VALUES: Mapping[str, tuple[float, ...]] = {
    "price_scale": (0.3, 0.6),
    "inflation": (1.5, 2.2),
    "aim": (0.35, 0.7),
    "held_leads": (2.0, 8.0),
    "attained_memory": (10_800.0, 86_400.0),
    "attained_prior": (1_800.0, 14_400.0),
    RANK: (6, 12),
}
POOLED: Mapping[str, tuple[float, ...]] = {  # of what runs on nodes only
    "pool_price": (1.7, 3.7),
    "pool_correction": (1.0, 3.0),
    f"{NODES}inflation_near": (1.6, 2.5),
    f"{NODES}inflation_far": (1.0, 1.5),
    f"{NODES}overlap": (30.0, 120.0),
    f"{NODES}release": (0.05, 0.2),
    f"{NODES}present": (0.8, 1.0),
    f"{NODES}held_leads": (1.5, 4.0),
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """The defaults with one constant at another value; ``constant`` empty: the defaults."""

    constant: str = ""
    value: float = 0.0

    @property
    def name(self) -> str:
        """As in the tables."""
        return f"{self.constant} {self.value:g}" if self.constant else DEFAULT

    @property
    def settings(self) -> PlanSettings:
        """The plan's constants."""
        if self.constant in ("", RANK):
            return PlanSettings()
        changed: dict[str, Any] = {self.constant.removeprefix(NODES): self.value}
        usual = PlanSettings()
        if self.constant.startswith(NODES):
            return replace(usual, nodes=replace(usual.nodes, **changed))
        return replace(usual, **changed)

    def __call__(self, services: Sequence[Service]) -> Policy:
        """Lagcast's policy with it."""
        from scaler.plan.policy import PredictivePolicy
        from simulations.policies.lagcast import forecaster

        ranked = partial(_ranked, round(self.value))
        return PredictivePolicy(services, ranked if self.constant == RANK else forecaster, self.settings)


@dataclass(frozen=True, slots=True)
class DefaultsJob:
    """A candidate in a cell."""

    cell: Cell
    candidate: Candidate

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.cell.name} {self.candidate.name}"


@dataclass(frozen=True, slots=True)
class Reached:
    """What a candidate came to in a cell. ``attainment`` is that of the worst service."""

    attainment: float
    gpu_hours: float


Found = Mapping[DefaultsJob, Reached]


def run_defaults_job(job: DefaultsJob) -> Json:
    """One simulated day."""
    outcome = Work(*make(job.cell), job.candidate)(Job(OWN))
    return asdict(Reached(outcome.attainment, outcome.gpu_hours))


def candidates(scenario: str) -> tuple[Candidate, ...]:
    """The defaults first."""
    tried = {**VALUES, **POOLED} if scenario == "nodes" else VALUES
    return (Candidate(), *(Candidate(constant, value) for constant, some in tried.items() for value in some))


def jobs_on(on: Sequence[Cell]) -> list[DefaultsJob]:
    """Every candidate in each cell."""
    return [DefaultsJob(cell, one) for cell in on for one in candidates(cell.scenario)]


def days_before() -> tuple[Cell, ...]:
    """The benchmark's cells of one service, each a day earlier and at that day's own scale."""
    return tuple(replace(c, day=c.day - 1) for c in cells((0,)) if c.scenario != "pool")


def run_all(jobs: Sequence[DefaultsJob], version: str, store: Store, executor: Executor, show: Show) -> Found:
    """Every job's result; those of ``version`` that are kept are not run again. Raises JobFailed."""
    keys: dict[DefaultsJob, Json] = {
        job: {"version": version, "parameters": repr(DEFAULTS), "defaults": asdict(job)} for job in jobs
    }
    results = results_of("candidates", keys, run_defaults_job, store, executor, show)
    return {job: Reached(**result) for job, result in results.items()}


def best(found: Found, among: Sequence[Candidate], on: Sequence[Cell]) -> Candidate:
    """The cheapest that attains enough on these cells; where none does, the one that attains most."""

    def attained(one: Candidate) -> list[float]:
        return [found[DefaultsJob(cell, one)].attainment for cell in on]

    fit = [one for one in among if sum(attained(one)) >= LEAST_MEAN * len(on) and min(attained(one)) >= LEAST]
    if fit:
        return min(fit, key=lambda one: cost(found, one, on) or 0.0)
    return max(among, key=lambda one: sum(attained(one)))


def cost(found: Found, one: Candidate, on: Sequence[Cell]) -> float | None:
    """GPU-hours over those at the defaults, as a geometric mean over the cells."""
    return geometric_mean(
        found[DefaultsJob(cell, one)].gpu_hours / found[DefaultsJob(cell, Candidate())].gpu_hours for cell in on
    )


def defaults_tables(found: Found, on: Sequence[Cell]) -> tuple[Table, ...]:
    """Each trace left out once, and every candidate on all of them."""
    left_out = []
    every = []
    for scenario in dict.fromkeys(cell.scenario for cell in on):
        here = [cell for cell in on if cell.scenario == scenario]
        among = list(dict.fromkeys(job.candidate for job in found if job.cell in here))
        for trace in dict.fromkeys(cell.trace for cell in here):
            out = [cell for cell in here if cell.trace == trace]
            chosen = best(found, among, [cell for cell in here if cell.trace != trace])
            left_out.append((f"{scenario} {trace} {out[0].day}", chosen.name, number(cost(found, chosen, out), ".3f"),
                             *(_attained(found, one, out) for one in (chosen, Candidate()))))  # fmt: skip
        for one in among:
            low = min(found[DefaultsJob(cell, one)].attainment for cell in here)
            every.append((scenario, one.name, number(cost(found, one, here), ".3f"), _attained(found, one, here),
                          percent(low)))  # fmt: skip
    about = (
        f"CHOSEN: of the candidates below, the cheapest on all other traces that attains {LEAST_MEAN:.0%} there in "
        f"the mean and {LEAST:.0%} in each. COST: its GPU-hours over those of the defaults, on the trace left out; "
        "above 1, the choice would have cost more there than the defaults do."
    )
    return (
        Table("left out", about, ("LEFT OUT", "CHOSEN ON THE OTHERS", "COST", "IN TIME", "DEFAULTS"), tuple(left_out)),
        Table("candidates", "On all traces: the defaults, and one constant lower or higher.",
              ("SCENARIO", "CANDIDATE", "COST", "MEAN IN TIME", "LOWEST"), tuple(every)),
    )  # fmt: skip


def _attained(found: Found, one: Candidate, on: Sequence[Cell]) -> str:
    return percent(mean(found[DefaultsJob(cell, one)].attainment for cell in on))


def _ranked(rank: int, service: Service) -> Forecaster:
    from forecasting.competition_default import default_competition
    from forecasting.direct.learned import Growth

    return default_competition(service.step, service.lead_time, growth=Growth(rank=rank))


if __name__ == "__main__":
    from simulations.commands.bench_defaults import bench_defaults

    bench_defaults()
