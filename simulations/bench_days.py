"""Several scored days a trace: Lagcast at its defaults against the peers as tuned on the three days before each.

What an operator can do, on more days than one. Each day is at its own scale, as everywhere in the benchmark: its mean
is 40 replicas' work, and the days before it run at that scale too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from forecasting.errors import BadSeries
from simulations.bench import LAGCAST, TUNED, first, outcome
from simulations.bench_jobs import PAST_DAYS, BenchJob, Kind
from simulations.bench_runner import Runner, Show
from simulations.compare import Outcome
from simulations.scenarios import DAY, Cell
from simulations.traces import find_trace, read_trace

HISTORY_DAYS = 7
MISSING = 0.01  # of a day's steps, at most


@dataclass(frozen=True, slots=True, eq=False)
class DayResult:
    """One scored day with one seed. ``past``: each peer with the parameter chosen on the days before."""

    cell: Cell
    lagcast: Outcome
    past: dict[str, Outcome]


@dataclass(frozen=True, slots=True, eq=False)
class Days:
    """Scored days, and how they are run."""

    cells: Sequence[Cell]
    runner: Runner

    def seconds(self) -> float:
        """About how long what is left of it takes."""
        return self.runner.seconds(self._jobs())

    def run(self, show: Show) -> tuple[DayResult, ...]:
        """All of them. Raises JobFailed."""
        known = self.runner.results("days and the days before", self._jobs(), show)
        pairs = [(c, policy) for c in self.cells for policy in TUNED]
        past = {(c, p): self.runner.value_of(known[BenchJob(Kind.PAST, first(self.cells, c), p)]) for c, p in pairs}
        again = [BenchJob(Kind.RUN, c, policy, past[c, policy]) for c, policy in pairs]
        known |= self.runner.results("peers as tuned before", again, show)
        return tuple(
            DayResult(
                c,
                outcome(known, BenchJob(Kind.RUN, c, LAGCAST)),
                {policy: outcome(known, BenchJob(Kind.RUN, c, policy, past[c, policy])) for policy in TUNED},
            )
            for c in self.cells
        )

    def _jobs(self) -> list[BenchJob]:
        runs = [BenchJob(Kind.RUN, c, LAGCAST) for c in self.cells]
        return runs + [BenchJob(Kind.PAST, first(self.cells, c), policy) for c in self.cells for policy in TUNED]


def scored_days(trace: str, count: int) -> tuple[int, ...]:
    """At most ``count`` days of a trace, spread evenly over those that can be scored; of a cell that has several, as
    the shared pool's, over those on which all can be.

    A day can be with seven days of history, and when it and the three days before it are whole and not silent.
    Raises BadSeries for a trace without such a day, or traces that have none in common.
    """
    fit = sorted(set.intersection(*(set(_fit_days(one)) for one in trace.split("+"))))
    if not fit:
        raise BadSeries(f"{trace}: no day that can be scored in each of these traces; choose others")
    places = np.unique(np.round(np.linspace(0, len(fit) - 1, min(count, len(fit)))).astype(int))
    return tuple(fit[place] for place in places)


def _fit_days(trace: str) -> list[int]:
    path = find_trace(trace)
    series = read_trace(path)
    steps = round(DAY / series.step)
    first_day = math.ceil(series.start / DAY)
    offset = round((first_day * DAY - series.start) / series.step)
    whole = (len(series.rates) - offset) // steps
    by_day = series.rates[offset : offset + whole * steps].reshape(whole, steps)
    sound = (np.isnan(by_day).mean(axis=1) <= MISSING) & (np.nansum(by_day, axis=1) > 0)
    fit = [first_day + d for d in range(HISTORY_DAYS, whole) if sound[d - PAST_DAYS : d + 1].all()]
    if not fit:
        raise BadSeries(f"{path}: no day with {HISTORY_DAYS} days of history before it; a trace must be longer")
    return fit


def day_cells(chosen: Sequence[Cell], count: int) -> tuple[Cell, ...]:
    """The cells' scenarios, traces and seeds on ``count`` scored days each; services on a pool are left out."""
    alone = [c for c in chosen if c.scenario != "pool"]
    days = {trace: scored_days(trace, count) for trace in dict.fromkeys(c.trace for c in alone)}
    return tuple(replace(c, day=day) for c in alone for day in days[c.trace])
