"""The bound: the fewest replica-hours with which any schedule could have met the objective, known afterwards.

A clairvoyant linear program, solved by HiGHS. In steps of 30 s it chooses replicas, in fractions, and what is served;
a start costs its lead time, ending costs nothing, nodes have no size. Every schedule that meets the objective is a
solution of it, so that none costs less. As in ``measures``, nothing is paid in seconds of which nothing is known (at
the edges of such a gap, what lies within a step is not told apart), and a last step that is cut short is paid and
serves for its own seconds. ``whole_bound`` counts whole replicas and nodes. ``python -m simulations.bound`` compares
with the reference cells.

In units of what one replica serves in a step, with arrivals a, replicas n, starts u, backlog B at a step's end::

    least   sum over t of  paid[t] n[t] + lead[t] u[t]   the known seconds of the step, and of the lead time before it
    with    served[t] n[t] >= a[t] + B[t-1] - B[t] - x[t]      what is served needs replicas; served: 1 in a whole step
            u[t] >= n[t] - n[t-1]
            B[t] <= young[t] + excused               young: what came within the objective before the step's end

Two ways to excuse requests. OVERDUE, the reference's: at no time more than the excused share of all requests waits
beyond the objective (x = 0). ONCE: each late request is set aside once (x[t] >= 0, their sum at most the excused
share, and no ``excused`` in the third line). ONCE allows less and so is the higher, sharper bound; both hold for every
schedule. On calm load they agree within a hundredth; where a few hours bring most requests OVERDUE lets a whole burst
wait for hours, and says little.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulations.errors import BadSetting, SimulationError
from simulations.setting import Load, NodePool, ServiceSetting, Setting

Floats = NDArray[np.float64]
HOUR = 3600.0
STEP = 30.0  # s
_SOLVED, _INFEASIBLE = 0, 2  # scipy's status


class Excuse(StrEnum):
    """How late requests are counted against the share."""

    OVERDUE = "overdue"
    ONCE = "once"


@dataclass(frozen=True, slots=True)
class Terms:
    """What a schedule has to meet, and what it pays. Durations in s, rates in requests/s."""

    service_rate: float
    service_time: float
    within: float
    share: float
    start: float  # s paid for each replica started: its mean lead time, with its node's
    min_replicas: float = 0.0
    max_replicas: float = math.inf
    replicas: float | None = None  # ready at the start; None: as many as wanted, free
    step: float = STEP

    def __post_init__(self) -> None:
        _require(0 < self.service_rate < math.inf, "service_rate", self.service_rate, "more than 0 requests/s")
        _require(0 <= self.service_time < math.inf, "service_time", self.service_time, "at least 0 s")
        _require(self.service_time <= self.within, "within", self.within, "at least the service time")
        _require(0 <= self.share <= 1, "share", self.share, "0 to 1")
        _require(0 <= self.start < math.inf, "start", self.start, "at least 0 s")
        _require(0 <= self.min_replicas <= self.max_replicas, "min_replicas", self.min_replicas, "0 to max_replicas")
        _require(self.replicas is None or self.replicas >= 0, "replicas", self.replicas, "at least 0")
        _require(self.step >= 1 and self.step == int(self.step), "step", self.step, "whole seconds, at least 1")


@dataclass(frozen=True, slots=True, eq=False)
class Bound:
    """``replicas`` has one entry for each ``step`` s; ``least_hours`` is proven, ``replica_hours`` that schedule's.

    They are equal but for a mixed-integer program that was stopped early. ``seconds``: what solving took.
    """

    replica_hours: float  # with what starting costs
    least_hours: float
    replicas: Floats
    step: float
    starts: float
    seconds: float
    nodes: Floats | None = None

    @property
    def gap(self) -> float:
        """Part of ``replica_hours`` that is not proven to be needed."""
        return 0.0 if self.replica_hours == 0 else 1.0 - self.least_hours / self.replica_hours


def terms_of(one: ServiceSetting, pool: NodePool | None = None, step: float = STEP) -> Terms:
    """The terms that a scenario sets its service: lead times at their means, the node's added to the pod's."""
    start = (one.lead_time.low + one.lead_time.high) / 2
    if pool is not None:
        start += (pool.lead_time.low + pool.lead_time.high) / 2
    declared = one.service
    return Terms(
        service_rate=one.rate,
        service_time=one.time,
        within=declared.within,
        share=declared.share,
        start=start,
        min_replicas=float(declared.min_replicas),
        max_replicas=float(declared.max_replicas),
        replicas=float(one.replicas),
        step=step,
    )


def bounds(setting: Setting, loads: tuple[Load, ...], excuse: Excuse = Excuse.OVERDUE) -> tuple[Bound, ...]:
    """One bound for each service. Since node sizes are ignored, those of services on one pool add up."""
    return tuple(
        bound(load.arrivals, terms_of(one, setting.pool), excuse)
        for one, load in zip(setting.services, loads, strict=True)
    )


def bound(arrivals: Floats, terms: Terms, excuse: Excuse = Excuse.OVERDUE) -> Bound:
    """The linear program over ``arrivals`` (requests of each second, shape [seconds]).

    A second in a gap (NaN) asks for nothing and is not paid. Raises BadSetting when no schedule meets the objective
    with ``max_replicas``.
    """
    began = time.perf_counter()
    program = Program.of(arrivals, terms, excuse)
    solved = solve(program)
    if solved.status != _SOLVED:
        raise failed(solved, terms)
    steps = program.steps
    return Bound(
        replica_hours=float(solved.fun) / HOUR,
        least_hours=float(solved.fun) / HOUR,
        replicas=solved.x[:steps],
        step=terms.step,
        starts=float(solved.x[steps : 2 * steps].sum()),
        seconds=time.perf_counter() - began,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """``costs`` (s of replicas) times the columns is to be least, with rows x columns <= most, low <= columns <= high.

    Columns: replicas, starts, backlog, and with ONCE what is set aside; each has ``steps`` entries.
    """

    steps: int
    costs: Floats
    rows: Any  # scipy's sparse array
    most: Floats
    low: Floats
    high: Floats

    @classmethod
    def of(cls, arrivals: Floats, terms: Terms, excuse: Excuse) -> Program:
        """Raises BadSetting without arrivals."""
        from scipy import sparse

        came, young, served, excused = in_steps(arrivals, terms)
        steps = len(came)
        begins = np.arange(steps, dtype=np.float64) * terms.step
        one, none = sparse.eye_array(steps, format="csr"), sparse.csr_array((steps, steps))
        change = (one - sparse.eye_array(steps, k=-1, format="csr")).tocsr()
        began = change.copy()
        if terms.replicas is None:  # nothing is paid for those of the first step
            began[[0], [0]] = 0.0
        before = np.zeros(steps)
        before[0] = terms.replicas or 0.0
        rows = [[-sparse.diags_array(served, format="csr"), none, -change], [began, -one, none]]
        most = [-came, before]
        low, high = np.zeros(3 * steps), np.full(3 * steps, np.inf)
        low[:steps], high[:steps] = terms.min_replicas, terms.max_replicas
        high[2 * steps :] = young + (excused if excuse is Excuse.OVERDUE else 0.0)
        paid = paid_seconds(arrivals, begins, begins + terms.step)
        lead = paid_seconds(arrivals, begins - terms.start, begins)
        costs = np.concatenate([paid, lead, np.zeros(steps)])
        if excuse is Excuse.ONCE:
            rows = [[*rows[0], -one], [*rows[1], none], [None, None, None, sparse.csr_array(np.ones((1, steps)))]]
            most.append(np.array([excused]))
            low, high = np.append(low, np.zeros(steps)), np.append(high, np.full(steps, np.inf))
            costs = np.append(costs, np.zeros(steps))
        return cls(steps, costs, sparse.block_array(rows, format="csr"), np.concatenate(most), low, high)


def solve(program: Program) -> Any:
    """scipy's result of the linear program."""
    from scipy.optimize import linprog

    limits = np.stack([program.low, program.high], axis=1)
    # The interior point method is four times as fast on a week; where it is not sure, the simplex method is asked.
    solved = linprog(program.costs, A_ub=program.rows, b_ub=program.most, bounds=limits, method="highs-ipm")
    if solved.status not in (_SOLVED, _INFEASIBLE):
        solved = linprog(program.costs, A_ub=program.rows, b_ub=program.most, bounds=limits, method="highs-ds")
    return solved


def in_steps(arrivals: Floats, terms: Terms) -> tuple[Floats, Floats, Floats, float]:
    """Of each step: arrivals, those still young at its end, and its part of a whole step; and how many are excused.

    Requests in what a replica serves in a whole step. The last step ends with the arrivals.
    """
    steps = math.ceil(len(arrivals) / terms.step)
    _require(steps >= 1, "arrivals", "none", "at least one second")
    total = np.concatenate([[0.0], np.cumsum(np.nan_to_num(arrivals, nan=0.0))])
    ends = np.minimum((np.arange(steps) + 1) * terms.step, len(arrivals))
    by_end = total[ends.astype(np.int64)]
    due = np.interp(ends - (terms.within - terms.service_time), np.arange(len(total)), total)
    unit = terms.service_rate * terms.step
    served = np.diff(ends, prepend=0.0) / terms.step
    excused = (1 - terms.share) * float(total[-1]) / unit
    return np.diff(by_end, prepend=0.0) / unit, (by_end - due) / unit, served, excused


def paid_seconds(arrivals: Floats, begins: Floats, ends: Floats) -> Floats:
    """Known seconds from each of ``begins`` to its one of ``ends`` (s): not in a gap, nor after the last arrivals.

    What lies before the first second counts: a start at the begin is paid whole.
    """
    known = np.concatenate([[0.0], np.cumsum(~np.isnan(arrivals))])

    def until(at: Floats) -> Floats:
        inside: Floats = np.interp(at, np.arange(len(known)), known)
        return inside + np.minimum(at, 0.0)

    return until(ends) - until(begins)


def failed(solved: Any, terms: Terms) -> SimulationError:
    """What a program without a solution means."""
    if solved.status == _INFEASIBLE:
        return BadSetting(
            f"max_replicas: found {terms.max_replicas:g}; no schedule with so few reaches {terms.share:.4%} within "
            f"{terms.within:g} s; allow more replicas"
        )
    return SimulationError(f"the bound was not found: HiGHS says: {solved.message}")


def _require(fine: bool, field: str, found: object, allowed: str) -> None:
    if not fine:
        raise BadSetting(f"{field}: found {found}; allowed: {allowed}")


def compare_with_references(shown: Any) -> None:
    """Write each reference cell's bound, as it is known and as it is found, to the text stream ``shown``."""
    import json

    from simulations.scenarios import Cell, make
    from simulations.traces import traces_folder

    known = json.loads((traces_folder() / "reference_cells.json").read_text(encoding="utf-8"))["cells"]
    shown.write(f"{'CELL':<34}{'REFERENCE':>10}{'BOUND':>9}{'DIFFERENCE':>12}{'ONCE':>9}{'SECONDS':>9}\n")
    for one in known:
        cell = Cell(one["scenario"], one["trace"], one["day"])
        (found,), (sharp,) = (bounds(*make(cell), excuse) for excuse in (Excuse.OVERDUE, Excuse.ONCE))
        there, hours = one["bound_replica_hours"], found.replica_hours
        shown.write(
            f"{cell.name:<34}{there:>10.1f}{hours:>9.1f}{hours / there - 1:>+12.2%}"
            f"{sharp.replica_hours:>9.1f}{found.seconds:>9.1f}\n"
        )
        shown.flush()


if __name__ == "__main__":
    import sys

    try:
        compare_with_references(sys.stdout)
    except OSError as missing:
        sys.exit(f"the reference cells cannot be read: {missing}; see LAGCAST_TRACES")
