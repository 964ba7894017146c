"""The bound in whole replicas and whole nodes: the program of ``bound``, mixed-integer, solved by HiGHS.

With nodes, the nodes are what is paid: each from when it is asked for, all of its GPUs. A replica that starts takes its
place on a node for its own lead time before it serves, to the second: where that is no whole number of steps, k and a
part, each step falls into two pieces, and in the second one, as long as that part, those starting k + 1 steps on stand
there, too. Nodes may change at any piece, and nothing is paid for one that empties. In addition to the columns of
``bound``, by piece p (of step t), nodes m and nodes asked for v, of ``size`` GPUs::

    least   sum over p of  size (paid[p] m[p] + lead[p] v[p])      known seconds of the piece, of the node's lead time
    with    size m[p] >= weight (n[t] + u[t+1] + ... + u[t+k] (+ u[t+k+1] in a second piece))
            v[p] >= m[p] - m[p-1]

It is sharper than the linear one, and may need long: it is stopped in time, and says what is proven.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulations.bound import HOUR, Bound, Excuse, Floats, Program, Terms, failed, paid_seconds, solve
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
    time, hours are those of GPUs, and the result's nodes are the most of each step. Raises BadSetting when no schedule
    meets the objective, SimulationError when none was found in time.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    began = time.perf_counter()
    program, pieces = Program.of(arrivals, terms, excuse), None
    steps, columns = program.steps, len(program.costs)
    whole = np.zeros(columns)
    whole[:steps] = 1
    if nodes is not None:
        pieces = _Pieces.of(terms, steps)
        program, whole = _on_nodes(program, whole, arrivals, pieces, nodes)
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
        rounded, relaxed = _rounded(program, terms, pieces, nodes)
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
        nodes=None if pieces is None else np.round(found[columns : columns + pieces.count]).reshape(steps, -1).max(1),
    )


def _finite(bound: float | None) -> float:
    return bound if bound is not None and math.isfinite(bound) else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class _Pieces:
    """The pieces that steps fall into, one or two each, and who stands on nodes in them.

    ``begins`` and ``ends`` in s, shape [pieces]; ``serving`` and ``starting``, of shape [pieces, steps], count n and u.
    """

    begins: Floats
    ends: Floats
    serving: Any  # scipy's sparse arrays
    starting: Any

    @property
    def count(self) -> int:
        return len(self.begins)

    @classmethod
    def of(cls, terms: Terms, steps: int) -> _Pieces:
        from scipy import sparse

        whole, rest = divmod(terms.start, terms.step)
        cuts = [0.0] if rest == 0 else [0.0, terms.step - rest]
        begins = (np.arange(steps)[:, None] * terms.step + np.array(cuts)).ravel()
        ends = np.append(begins[1:], steps * terms.step)
        step = np.repeat(np.arange(steps), len(cuts))
        serving = sparse.csr_array((np.ones(len(step)), (np.arange(len(step)), step)), shape=(len(step), steps))
        # Those that serve from a step's begin stand there from their lead time before it.
        at, of = [], []
        for ahead in range(1, min(int(whole) + len(cuts) - 1, steps - 1) + 1):
            there = np.flatnonzero(
                (begins >= (step + ahead) * terms.step - terms.start - _NEARLY) & (step + ahead < steps)
            )
            at.append(there)
            of.append(step[there] + ahead)
        rows, columns = (np.concatenate(x) if x else np.empty(0, np.int64) for x in (at, of))
        starting = sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(step), steps))
        return cls(begins, ends, serving, starting)


def _rounded(
    program: Program, terms: Terms, pieces: _Pieces | None, nodes: Nodes | None
) -> tuple[Floats | None, float]:
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
    if nodes is not None and pieces is not None:
        places = pieces.serving @ replicas + pieces.starting @ starts
        kept = np.ceil(nodes.weight * places / nodes.size - _NEARLY)
        columns[-2 * pieces.count : -pieces.count], columns[-pieces.count :] = kept, _starts(kept, nodes.nodes)
    return (None if (columns > program.high + _NEARLY).any() else columns), float(solved.fun)


def _starts(counts: Floats, before: float | None) -> Floats:
    return np.maximum(np.diff(counts, prepend=counts[0] if before is None else before), 0.0)


def _on_nodes(
    program: Program, whole: Floats, arrivals: Floats, pieces: _Pieces, nodes: Nodes
) -> tuple[Program, Floats]:
    from scipy import sparse

    count, before = pieces.count, len(program.costs)
    one, none = sparse.eye_array(count, format="csr"), sparse.csr_array((count, count))
    rest = sparse.csr_array((count, before - 2 * program.steps))
    change = (one - sparse.eye_array(count, k=-1, format="csr")).tocsr()
    at_first = np.zeros(count)
    if nodes.nodes is None:
        change[[0], [0]] = 0.0
    else:
        at_first[0] = nodes.nodes
    places = sparse.hstack([nodes.weight * pieces.serving, nodes.weight * pieces.starting, rest])
    rows = sparse.block_array(
        [
            [program.rows, None, None],
            [places, -nodes.size * one, none],
            [sparse.csr_array((count, before)), change, -one],
        ],
        format="csr",
    )
    paid = paid_seconds(arrivals, pieces.begins, pieces.ends)
    lead = paid_seconds(arrivals, pieces.begins - nodes.lead_time, pieces.begins)
    high = np.full(2 * count, np.inf)
    high[:count] = math.inf if nodes.max_nodes is None else nodes.max_nodes
    extended = Program(
        program.steps,
        nodes.size * np.concatenate([np.zeros(before), paid, lead]),
        rows,
        np.concatenate([program.most, np.zeros(count), at_first]),
        np.concatenate([program.low, np.zeros(2 * count)]),
        np.concatenate([program.high, high]),
    )
    return extended, np.concatenate([whole, np.ones(count), np.zeros(count)])
