"""The bound in whole replicas and whole nodes: the program of ``bound``, mixed-integer, solved by HiGHS.

With nodes, the nodes are what is paid: each from when it is asked for, all of its GPUs. A replica that starts takes its
place on a node for its own lead time before it serves, rounded to steps. Nodes may change at any step, and nothing is
paid for one that empties. In addition to the columns of ``bound``, nodes m and nodes asked for v, of ``size`` GPUs::

    least   sum over t of  size (step m[t] + lead v[t])
    with    size m[t] >= weight (n[t] + u[t+1] + ... + u[t+k])      k: steps of a replica's lead time
            v[t] >= m[t] - m[t-1]

It is sharper than the linear one, and may need long: it is stopped in time, and says what is proven.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulations.bound import HOUR, Bound, Excuse, Floats, Program, Terms, failed, solve
from simulations.errors import BadSetting, SimulationError

_SOLVED, _STOPPED = 0, 1  # scipy's status; stopped at a limit
_NEARLY = 1e-6


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes that replicas stand on. ``lead_time`` in s; ``nodes`` are Ready at the start, None: any, free."""

    size: int  # GPUs
    lead_time: float
    weight: int = 1  # GPUs of a replica
    max_nodes: int | None = None
    nodes: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.weight <= self.size:
            raise BadSetting(f"weight: found {self.weight}; allowed: 1 to a node's size, {self.size}")
        if not 0 <= self.lead_time < math.inf:
            raise BadSetting(f"lead_time: found {self.lead_time}; allowed: at least 0 s")


def whole_bound(
    arrivals: Floats,
    terms: Terms,
    nodes: Nodes | None = None,
    excuse: Excuse = Excuse.OVERDUE,
    time_limit: float = 60.0,
    gap: float = 0.0,
) -> Bound:
    """The program over ``arrivals`` (requests of each second, shape [seconds]), for at most ``time_limit`` s.

    ``gap``: stop when no more than this part is not proven. With ``nodes``, ``terms.start`` is the replica's own lead
    time, and hours are those of GPUs. Raises BadSetting when no schedule meets the objective, SimulationError when none
    was found in time.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    began = time.perf_counter()
    program = Program.of(arrivals, terms, excuse)
    steps, columns = program.steps, len(program.costs)
    whole = np.zeros(columns)
    whole[:steps] = 1
    if nodes is not None:
        program, whole = _on_nodes(program, whole, terms, nodes)
    solved = milp(
        program.costs,
        integrality=whole,
        bounds=Bounds(program.low, program.high),
        constraints=LinearConstraint(program.rows, -np.inf, program.most),
        options={"time_limit": time_limit, "mip_rel_gap": gap},
    )
    if solved.status not in (_SOLVED, _STOPPED):
        raise failed(solved, terms)
    found, least = solved.x, _finite(solved.mip_dual_bound)
    if solved.status == _STOPPED:
        rounded, relaxed = _rounded(program, terms, nodes)
        least = max(least, relaxed)
        if rounded is not None and (found is None or program.costs @ rounded < program.costs @ found):
            found = rounded
    if found is None:
        raise SimulationError(f"no whole schedule was found within {time_limit:g} s; allow more time, or a longer step")
    return Bound(
        replica_hours=float(program.costs @ found) / HOUR,
        least_hours=least / HOUR,
        replicas=np.round(found[:steps]),
        step=terms.step,
        starts=float(found[steps : 2 * steps].sum()),
        seconds=time.perf_counter() - began,
        nodes=None if nodes is None else np.round(found[columns : columns + steps]),
    )


def _finite(bound: float | None) -> float:
    return bound if bound is not None and math.isfinite(bound) else 0.0


def _rounded(program: Program, terms: Terms, nodes: Nodes | None) -> tuple[Floats | None, float]:
    """The columns with all of the linear program's replicas rounded up, and what that program costs (s).

    None where rounding up goes beyond a limit.
    """
    steps = program.steps
    solved = solve(program)
    if solved.status != _SOLVED:
        raise failed(solved, terms)
    columns = np.array(solved.x)
    replicas = np.ceil(columns[:steps] - _NEARLY)
    starts = _starts(replicas, terms.replicas)
    columns[:steps], columns[steps : 2 * steps] = replicas, starts
    if nodes is not None:
        places = replicas.copy()
        for ahead in range(1, min(_lead_steps(terms), steps - 1) + 1):
            places[:-ahead] += starts[ahead:]
        kept = np.ceil(nodes.weight * places / nodes.size - _NEARLY)
        columns[-2 * steps : -steps], columns[-steps:] = kept, _starts(kept, nodes.nodes)
    return (None if (columns > program.high + _NEARLY).any() else columns), float(solved.fun)


def _starts(counts: Floats, before: float | None) -> Floats:
    return np.maximum(np.diff(counts, prepend=counts[0] if before is None else before), 0.0)


def _lead_steps(terms: Terms) -> int:
    return round(terms.start / terms.step)


def _on_nodes(program: Program, whole: Floats, terms: Terms, nodes: Nodes) -> tuple[Program, Floats]:
    from scipy import sparse

    steps, before = program.steps, len(program.costs)
    one, none = sparse.eye_array(steps, format="csr"), sparse.csr_array((steps, steps))
    soon: Any = none
    for ahead in range(1, _lead_steps(terms) + 1):
        if ahead < steps:
            soon = soon + sparse.eye_array(steps, k=ahead, format="csr")
    rest = sparse.csr_array((steps, before - 2 * steps))
    change = (one - sparse.eye_array(steps, k=-1, format="csr")).tocsr()
    at_first = np.zeros(steps)
    if nodes.nodes is None:
        change[[0], [0]] = 0.0
    else:
        at_first[0] = nodes.nodes
    rows = sparse.block_array(
        [
            [program.rows, None, None],
            [sparse.hstack([nodes.weight * one, nodes.weight * soon, rest]), -nodes.size * one, none],
            [sparse.csr_array((steps, before)), change, -one],
        ],
        format="csr",
    )
    paid = np.concatenate([np.full(steps, nodes.size * terms.step), np.full(steps, nodes.size * nodes.lead_time)])
    high = np.full(2 * steps, np.inf)
    high[:steps] = math.inf if nodes.max_nodes is None else nodes.max_nodes
    extended = Program(
        steps,
        np.concatenate([np.zeros(before), paid]),
        rows,
        np.concatenate([program.most, np.zeros(steps), at_first]),
        np.concatenate([program.low, np.zeros(2 * steps)]),
        np.concatenate([program.high, high]),
    )
    return extended, np.concatenate([whole, np.ones(steps), np.zeros(steps)])
