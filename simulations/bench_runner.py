"""Runs a benchmark's jobs that are not known yet, and keeps each result as it ends."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from simulations.bench_jobs import BenchJob, BenchWork, Kind, Tried, chosen
from simulations.executor import Executor
from simulations.scenarios import SILENT_TRACES, Parameters
from simulations.store import Json, Store

Show = Callable[[str, int, int], None]  # a phase, how many of its jobs are done, how many there are


@dataclass(frozen=True, slots=True, eq=False)
class Runner:
    """Jobs under one set of ``parameters``.

    ``version_of`` a policy is of all that its results depend on; empty: the bound's.
    """

    parameters: Parameters
    version_of: Callable[[str], str]
    store: Store
    executor: Executor

    def results(self, phase: str, jobs: Iterable[BenchJob], show: Show) -> dict[BenchJob, Json]:
        """Every job's result, the kept ones included. Raises JobFailed."""
        work = BenchWork(self.parameters)
        return results_of(phase, self._keys(jobs), work, self.store, self.executor, show)

    def seconds(self, jobs: Iterable[BenchJob]) -> float:
        """About how long what is left of them takes, on cores that nobody else uses."""
        _, left = _parted(self._keys(jobs), self.store)
        return sum(typical_seconds(job) for job in left) / max(self.executor.width, 1)

    def value_of(self, past: Json) -> float | None:
        """What an operator would have chosen, from the result of a job on the days before."""
        return chosen([Tried(**one) for one in past["tried"]], self.parameters.share)

    def _keys(self, jobs: Iterable[BenchJob]) -> dict[BenchJob, Json]:
        work = BenchWork(self.parameters)
        return {job: work.key(job, self.version_of(job.policy)) for job in jobs}


class NamedJob(Hashable, Protocol):
    """A job that an error can name."""

    @property
    def name(self) -> str:
        """For messages."""
        ...


J = TypeVar("J", bound=NamedJob)


def results_of(
    phase: str, keys: Mapping[J, Json], work: Callable[[J], Json], store: Store, executor: Executor, show: Show
) -> dict[J, Json]:
    """The result of each job, whose ``keys`` name all that it depends on: the kept ones, and the others as they are run
    and kept. Raises JobFailed.
    """
    known, left = _parted(keys, store)
    show(phase, len(known), len(keys))

    def done(place: int, result: Json) -> None:
        store.put(keys[left[place]], result)
        known[left[place]] = result
        show(phase, len(known), len(keys))

    executor.map(work, left, name=lambda job: job.name, done=done)
    return known


def _parted(keys: Mapping[J, Json], store: Store) -> tuple[dict[J, Json], Sequence[J]]:
    """The results that are kept, and the jobs that are left."""
    known: dict[J, Json] = {}
    left: list[J] = []
    for job, key in keys.items():
        kept = store.get(key)
        if kept is None:
            left.append(job)
        else:
            known[job] = kept
    return known, left


def typical_seconds(job: BenchJob) -> float:
    """What a job takes on a core of its own, from what they took; a sweep's runs included."""
    ours = job.policy.startswith("lagcast")
    on_nodes = {"pods": 1.0, "nodes": 1.6, "pool": 3.2}[job.cell.scenario]
    silent = 3.0 if job.cell.trace in SILENT_TRACES else 1.0
    match job.kind:
        case Kind.RUN if job.policy == "lagcast":
            return 16.0 * on_nodes
        case Kind.RUN:
            return (4.0 if ours else 0.3) * on_nodes * silent
        case Kind.SWEEP:
            return (16.0 if ours else 3.0) * on_nodes * silent
        case Kind.PAST:
            return 5.0 * on_nodes * silent
        case Kind.BOUND:
            return 0.6
    raise AssertionError(job.kind)
