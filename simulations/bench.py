"""The benchmark: every cell under Lagcast, Lagcast without forecasts, the peers at their best, and the bound.

``python -m simulations.bench``, or `lagcast bench`. Each job's result is kept as it ends, so a bench that was killed
goes on where it was; another version of the code starts anew beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from simulations.bench_jobs import BenchJob, BenchWork, Kind, Tried, chosen
from simulations.compare import Outcome
from simulations.executor import Executor
from simulations.scenarios import Cell, Parameters
from simulations.store import Json, Store, from_json

LAGCAST, REACTIVE = "lagcast", "lagcast_reactive"
PEERS = ("hpa_rate", "keda_lag")  # what most people run; cost is held against the cheaper of the two
OTHERS = ("rate_and_lag",)  # the strong reactive rule: reported beside them
TUNED = (*PEERS, *OTHERS)
STATIC = "static"  # the peak, always on


@dataclass(frozen=True, slots=True, eq=False)
class CellResult:
    """One cell with one seed. ``past``: each peer with the parameter that it would have had from the days before."""

    cell: Cell
    lagcast: Outcome
    reactive: Outcome
    sweeps: dict[str, tuple[Outcome, ...]]
    past: dict[str, Outcome]
    bound: float | None  # GPU-hours; None: no schedule attains the share


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """What is run, and how."""

    cells: Sequence[Cell]
    parameters: Parameters
    version: str
    store: Store
    executor: Executor

    def run(self, show: Callable[[str, int, int], None]) -> tuple[CellResult, ...]:
        """All cells. ``show``: the phase, how many of its jobs are done, how many there are. Raises JobFailed."""
        # The slow ones first, so that at the end nobody waits for one of them.
        slow = [BenchJob(Kind.RUN, c, policy) for policy in (LAGCAST, REACTIVE) for c in self.cells]
        past = [BenchJob(Kind.PAST, self._first(c), policy) for c in self.cells for policy in TUNED]
        sweeps = [BenchJob(Kind.SWEEP, c, policy) for c in self.cells for policy in (*TUNED, STATIC)]
        bounds = [BenchJob(Kind.BOUND, c) for c in self.cells]
        known = self._results("runs and sweeps", [*slow, *dict.fromkeys(past), *sweeps, *bounds], show)
        then = {(c, p): self._then(known[BenchJob(Kind.PAST, self._first(c), p)]) for c in self.cells for p in TUNED}
        again = [BenchJob(Kind.RUN, c, policy, value) for (c, policy), value in then.items()]
        known |= self._results("peers as tuned before", again, show)

        def outcome(kind: Kind, c: Cell, policy: str, value: float | None = None) -> Outcome:
            return from_json(known[BenchJob(kind, c, policy, value)]["outcomes"][0])

        return tuple(
            CellResult(
                c,
                outcome(Kind.RUN, c, LAGCAST),
                outcome(Kind.RUN, c, REACTIVE),
                {
                    policy: tuple(from_json(o) for o in known[BenchJob(Kind.SWEEP, c, policy)]["outcomes"])
                    for policy in (*TUNED, STATIC)
                },
                {policy: outcome(Kind.RUN, c, policy, then[c, policy]) for policy in TUNED},
                known[BenchJob(Kind.BOUND, c)]["gpu_hours"],
            )
            for c in self.cells
        )

    def _first(self, cell: Cell) -> Cell:
        """The cell with its first seed: the past is tuned on once."""
        same = (cell.scenario, cell.trace, cell.day)
        return next(c for c in self.cells if (c.scenario, c.trace, c.day) == same)

    def _then(self, result: Json) -> float | None:
        return chosen([Tried(**one) for one in result["tried"]], self.parameters.share)

    def _results(
        self, phase: str, jobs: Sequence[BenchJob], show: Callable[[str, int, int], None]
    ) -> dict[BenchJob, Json]:
        work = BenchWork(self.parameters)
        known: dict[BenchJob, Json] = {}
        for job in jobs:
            kept = self.store.get(work.key(job, self.version))
            if kept is not None:
                known[job] = kept
        left = [job for job in jobs if job not in known]
        show(phase, len(known), len(jobs))

        def done(place: int, result: Json) -> None:
            self.store.put(work.key(left[place], self.version), result)
            known[left[place]] = result
            show(phase, len(known), len(jobs))

        self.executor.map(work, left, name=lambda job: job.name, done=done)
        return known


if __name__ == "__main__":
    from simulations.commands.bench import bench

    bench()
