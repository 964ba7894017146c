"""A pool that cannot grow any more: how many requests are in time, under Lagcast and where each service has a peer.

``python -m simulations.bench_full``. The services of the shared pool, with fewer nodes than they need: the peers scale
each service as if it were alone, and a pod has what is free when it is made; Lagcast divides what there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from simulations.bench import LAGCAST, REACTIVE, TUNED, outcome, swept
from simulations.bench_jobs import BenchJob, Kind
from simulations.bench_rubbish import chosen_cells
from simulations.bench_runner import Runner, Show
from simulations.compare import Outcome
from simulations.scenarios import Cell
from simulations.store import Json
from simulations.table import Table, mean, number, percent

OURS = (LAGCAST, REACTIVE)
HOURS = 24.0  # of a cell


@dataclass(frozen=True, slots=True, eq=False)
class FullResult:
    """One day with one seed and so many nodes. ``outcomes`` of each policy: a peer's at the value of its parameter that
    had most requests in time, in hindsight."""

    nodes: int
    cell: Cell
    outcomes: dict[str, Outcome]


def full_cells(days: int, seeds: int) -> tuple[Cell, ...]:
    """The shared pool's, on so many scored days. Raises BadSeries where there is none."""
    return chosen_cells(("pool",), (), seeds, days)


def run_full(runner: Runner, nodes: Sequence[int], on: Sequence[Cell], show: Show) -> tuple[FullResult, ...]:
    """Each cell with each most of nodes. Raises JobFailed, also where the day's begin needs more nodes than that."""
    results = []
    for most in nodes:
        limited = replace(runner, parameters=replace(runner.parameters, max_nodes=most))
        known = limited.results(f"{most} nodes", _jobs(on), show)
        results += [FullResult(most, cell, _outcomes(known, cell)) for cell in on]
    return tuple(results)


def _jobs(on: Sequence[Cell]) -> list[BenchJob]:
    ours = [BenchJob(Kind.RUN, c, policy) for policy in OURS for c in on]
    return ours + [BenchJob(Kind.SWEEP, c, policy) for policy in TUNED for c in on]


def _outcomes(known: dict[BenchJob, Json], cell: Cell) -> dict[str, Outcome]:
    ours = {policy: outcome(known, BenchJob(Kind.RUN, cell, policy)) for policy in OURS}
    return ours | {policy: max(swept(known, cell, policy), key=in_time) for policy in TUNED}


def in_time(one: Outcome) -> float:
    """The share of all services' requests that were in time; 0 where there were none."""
    requests = sum(m.requests for m in one.measures)
    return sum(m.requests * m.attainment for m in one.measures if m.requests > 0) / requests if requests else 0.0


def full_table(results: Sequence[FullResult]) -> Table:
    """A line for each most of nodes and policy: means over the days."""
    services = [m.uid for m in results[0].outcomes[LAGCAST].measures]
    lines = []
    for most in dict.fromkeys(r.nodes for r in results):
        for policy in (*OURS, *TUNED):
            some = [r.outcomes[policy] for r in results if r.nodes == most]
            each = (percent(mean(o.measures[k].attainment for o in some)) for k in range(len(services)))
            hours = mean(o.gpu_hours for o in some)
            changes = mean(sum(m.changes for m in o.measures) / HOURS for o in some)
            all_in_time = percent(mean(in_time(o) for o in some))
            lines.append((str(most), policy, all_in_time, *each, number(hours, ".0f"), number(changes, ".1f")))
    about = (
        "Requests IN TIME, of all services and of each, where the pool has at most so many NODES; their load needs 15 "
        "on average and far more at times. Peers: at the value of their parameter with most in time on that day, in "
        "hindsight. CHANGES of a replica count an hour, of all services."
    )
    return Table("full", about, ("NODES", "POLICY", "IN TIME", *services, "GPU-HOURS", "CHANGES"), tuple(lines))


def behind(results: Sequence[FullResult]) -> tuple[str, ...]:
    """Where a peer had more requests in time, in the mean over the days: such as ``26 nodes: keda_lag``."""
    found = []
    for most in dict.fromkeys(r.nodes for r in results):
        some = [r.outcomes for r in results if r.nodes == most]
        ours = sum(in_time(o[LAGCAST]) for o in some)
        found += [f"{most} nodes: {p}" for p in TUNED if sum(in_time(o[p]) for o in some) > ours]
    return tuple(found)


if __name__ == "__main__":
    from simulations.commands.bench_full import bench_full

    bench_full()
