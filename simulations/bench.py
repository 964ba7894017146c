"""The benchmark: every cell under Lagcast, Lagcast without forecasts, the peers at their best, and the bound.

``python -m simulations.bench``, or `lagcast bench`. Each job's result is kept as it ends, so a bench that was killed
goes on where it was; a job whose code is another starts anew beside it (``version.version_of``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simulations.bench_jobs import BenchJob, Kind
from simulations.bench_runner import Runner, Show
from simulations.compare import Outcome
from simulations.scenarios import Cell
from simulations.store import Json, from_json

LAGCAST, REACTIVE = "lagcast", "lagcast_reactive"
PEERS = ("hpa_rate", "keda_lag")  # what most people run; cost is held against the cheaper of the two
OTHERS = ("rate_and_lag",)  # the strong reactive rule: reported beside them
TUNED = (*PEERS, *OTHERS)
STATIC = "static"  # the peak, always on
SWEPT = (REACTIVE, *TUNED, STATIC)


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
    runner: Runner

    def seconds(self) -> float:
        """About how long what is left of it takes."""
        return self.runner.seconds(self._jobs())

    def run(self, show: Show) -> tuple[CellResult, ...]:
        """All cells. Raises JobFailed."""
        known = self.runner.results("runs and sweeps", self._jobs(), show)
        past = {(c, p): self.runner.value_of(known[_past(first(self.cells, c), p)]) for c in self.cells for p in TUNED}
        again = [BenchJob(Kind.RUN, c, policy, value) for (c, policy), value in past.items()]
        known |= self.runner.results("peers as tuned before", again, show)
        return tuple(
            CellResult(
                c,
                outcome(known, BenchJob(Kind.RUN, c, LAGCAST)),
                outcome(known, BenchJob(Kind.RUN, c, REACTIVE)),
                {policy: swept(known, c, policy) for policy in SWEPT},
                {policy: outcome(known, BenchJob(Kind.RUN, c, policy, past[c, policy])) for policy in TUNED},
                known[BenchJob(Kind.BOUND, c)]["gpu_hours"],
            )
            for c in self.cells
        )

    def _jobs(self) -> list[BenchJob]:
        """All but the peers as tuned before, which follow from them."""
        # The slow ones first, so that at the end nobody waits for one of them.
        slow = [BenchJob(Kind.RUN, c, policy) for policy in (LAGCAST, REACTIVE) for c in self.cells]
        past = [_past(first(self.cells, c), policy) for c in self.cells for policy in TUNED]
        sweeps = [BenchJob(Kind.SWEEP, c, policy) for policy in SWEPT for c in self.cells]
        return [*slow, *past, *sweeps, *(BenchJob(Kind.BOUND, c) for c in self.cells)]


def first(cells: Sequence[Cell], cell: Cell) -> Cell:
    """The cell with its first seed: the past is tuned on once."""
    same = (cell.scenario, cell.trace, cell.day)
    return next(c for c in cells if (c.scenario, c.trace, c.day) == same)


def outcome(known: dict[BenchJob, Json], job: BenchJob) -> Outcome:
    """Of a job that is one run."""
    return from_json(known[job]["outcomes"][0])


def swept(known: dict[BenchJob, Json], cell: Cell, policy: str) -> tuple[Outcome, ...]:
    """All runs of a policy's sweep."""
    return tuple(from_json(o) for o in known[BenchJob(Kind.SWEEP, cell, policy)]["outcomes"])


def _past(cell: Cell, policy: str) -> BenchJob:
    return BenchJob(Kind.PAST, cell, policy)


if __name__ == "__main__":
    from simulations.commands.bench import bench

    bench()
