"""The benchmark's jobs: what is run in a cell, each a value that names itself, with a result that is plain JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any

from simulations.compare import MOST, BoundWork, Job, Outcome, Work, coarse, refined, sweep
from simulations.scenarios import Cell, Made, Parameters, make
from simulations.store import Json, to_json

PAST_DAYS = 3  # what an operator tunes on


class Kind(StrEnum):
    """What a job does in its cell."""

    RUN = "run"  # one policy as it is, or with its parameter at ``value``
    SWEEP = "sweep"  # one policy over its own parameter
    PAST = "past"  # the same over the three days before: which value would have been chosen then
    BOUND = "bound"  # the clairvoyant schedule


@dataclass(frozen=True, slots=True)
class BenchJob:
    """One job. ``policy`` is empty for the bound; ``value`` None: the policy as it is."""

    kind: Kind
    cell: Cell
    policy: str = ""
    value: float | None = None

    @property
    def name(self) -> str:
        """For messages."""
        value = "" if self.value is None else f" at {self.value:g}"
        return f"{self.cell.name} {self.kind} {self.policy}{value}".rstrip()


@dataclass(frozen=True, slots=True)
class BenchWork:
    """Does a job under the scenarios' ``parameters``."""

    parameters: Parameters

    def __call__(self, job: BenchJob) -> Json:
        """The result, as JSON's types."""
        if job.kind is Kind.PAST:
            return self._past(job)
        setting, loads = _made(job.cell, self.parameters)
        if job.kind is Kind.BOUND:
            return {"gpu_hours": BoundWork(setting, loads)(self.parameters.share)}
        work = Work(setting, loads)
        if job.kind is Kind.RUN:
            return {"outcomes": [to_json(work(at(job.policy, job.value)))]}
        return {"outcomes": [to_json(o) for o in climb(work, sweep(job.policy))]}

    def _past(self, job: BenchJob) -> Json:
        """Every value that was tried on the days before, in all of them together."""
        cells = [job.cell.before(days) for days in range(PAST_DAYS, 0, -1)]
        works = [Work(*_made(cell, self.parameters)) for cell in cells]
        ladder = sweep(job.policy)
        found = tried(ladder, lambda one: together([work(one) for work in works]), self.parameters.share)
        return {"tried": [asdict(one) for one in found]}

    def key(self, job: BenchJob, version: str) -> Json:
        """All that the job's result depends on."""
        document: dict[str, Any] = asdict(job)
        return {"version": version, "parameters": repr(self.parameters), "job": document}


@dataclass(frozen=True, slots=True)
class Tried:
    """One value of a policy's parameter over several days."""

    value: float | None
    attainment: float | None
    gpu_hours: float


@lru_cache(maxsize=4)
def _made(cell: Cell, parameters: Parameters) -> Made:
    return make(cell, parameters)


def at(policy: str, value: float | None) -> Job:
    """The policy's job with its parameter at ``value``; None: as it is."""
    if value is None:
        return Job(policy)
    return next(job for job in sweep(policy) if job.value == value)


def climb(run: Callable[[Job], Outcome], ladder: Sequence[Job]) -> tuple[Outcome, ...]:
    """A sweep from cheap to safe that ends where ``MOST`` is attained, with all that ``refined`` adds; in order."""
    known: dict[Job, Outcome] = {}
    for job in coarse(ladder):
        known[job] = run(job)
        if known[job].attainment >= MOST:
            break
    for job in refined(ladder, known.values()):
        known[job] = run(job)
    return tuple(known[job] for job in ladder if job in known)


def tried(ladder: Sequence[Job], run: Callable[[Job], Tried], share: float) -> tuple[Tried, ...]:
    """The first value from cheap to safe that attains ``share``, found by halving, with all that was run on the way.

    Halving takes attainment to grow along the ladder, as an operator would; days are many, and each value runs on three
    of them.
    """
    known: dict[int, Tried] = {}
    low, high = 0, len(ladder) - 1
    while low <= high:
        place = (low + high) // 2
        known[place] = replace(run(ladder[place]), value=ladder[place].value)
        if (known[place].attainment or 0.0) >= share:
            high = place - 1
        else:
            low = place + 1
    return tuple(known[place] for place in sorted(known))


def together(days: Iterable[Outcome]) -> Tried:
    """Several days of one setting as one: all requests of each service, all GPU-hours; the worst service counts."""
    outcomes = list(days)
    late: dict[str, float] = {}
    requests: dict[str, float] = {}
    for measures in (m for outcome in outcomes for m in outcome.measures):
        late[measures.uid] = late.get(measures.uid, 0.0) + measures.late
        requests[measures.uid] = requests.get(measures.uid, 0.0) + measures.requests
    attained = [1.0 - late[uid] / requests[uid] for uid in requests if requests[uid] > 0]
    return Tried(None, min(attained) if attained else None, sum(o.gpu_hours for o in outcomes))


def chosen(found: Sequence[Tried], share: float) -> float | None:
    """What an operator would have set: the cheapest value that attained ``share``, else the one that attained most."""
    fit = [t for t in found if (t.attainment or 0.0) >= share]
    if fit:
        return min(fit, key=lambda t: t.gpu_hours).value
    return max(found, key=lambda t: (t.attainment or -math.inf, -t.gpu_hours)).value
