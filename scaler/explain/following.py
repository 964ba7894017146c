"""What following the recommendations would have cost and missed, against what happened: from the rows of a journal."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from scaler.explain.facts import Facts, lead_time
from scaler.metrics.attainment import Attainment, Judged
from scaler.metrics.followed import Capacity, Followed
from scaler.plan.observation import Freshness

GAP_TICKS = 4.0  # ticks, and
GAP = 300.0  # s: more than both between two rows is an outage, and nothing is said about it
HOUR = 3600.0  # s


@dataclass(frozen=True, slots=True)
class Course:
    """How it went. ``below`` and ``above``: shares of the time with fewer, or more, replicas than the arrivals needed;
    None where no arrivals were known.
    """

    replica_hours: float
    due: float  # requests whose time was up
    late: float  # of them, those that were not done by then
    below: float | None
    above: float | None
    changes: int  # of the count

    @property
    def attainment(self) -> float | None:
        """Share of the requests in time; None without any."""
        return 1.0 - self.late / self.due if self.due > 0 else None


@dataclass(frozen=True, slots=True)
class Report:
    """One scaler's time, as it ran and as it would have been. Times in unix s."""

    namespace: str
    name: str
    mode: str  # the newest
    start: float
    end: float
    hours: float  # of which something is known: outages are left out
    rows: int
    as_it_ran: Course
    followed: Course

    @property
    def grain(self) -> float:
        """s between rows, in the mean."""
        return self.hours * HOUR / max(self.rows - 1, 1)


def reports(rows: Iterable[Facts]) -> tuple[Report, ...]:
    """A report of each scaler, in the order in which they first appear."""
    tallies: dict[tuple[str, str], _Tally] = {}
    for row in rows:
        key = (row.namespace, row.name)
        if key not in tallies:
            tallies[key] = _Tally(row)
        tallies[key].step(row)
    return tuple(tally.report() for tally in tallies.values())


class _Side:
    """One of the two courses, while it is counted."""

    def __init__(self) -> None:
        self.replica_seconds = self.due = self.late = 0.0
        self.below = self.above = self.compared = 0.0  # s
        self.changes = 0

    def judged(self, requests: Judged) -> None:
        self.due += requests.due
        self.late += requests.late

    def compare(self, count: int, needed: int, seconds: float) -> None:
        self.compared += seconds
        self.below += seconds if count < needed else 0.0
        self.above += seconds if count > needed else 0.0

    def course(self) -> Course:
        seconds = self.compared
        return Course(
            replica_hours=self.replica_seconds / HOUR,
            due=self.due,
            late=self.late,
            below=self.below / seconds if seconds > 0 else None,
            above=self.above / seconds if seconds > 0 else None,
            changes=self.changes,
        )


class _Tally:
    """One scaler, row by row."""

    def __init__(self, first: Facts) -> None:
        within = first.service.within
        self._gap = max(GAP_TICKS * first.service.tick, GAP)
        self._attainment = Attainment(within, self._gap)
        self._follow = Followed(within, self._gap)
        self._first = self._last = first
        self._rows = 0
        self._known = 0.0  # s
        self._ran, self._followed = _Side(), _Side()

    def step(self, row: Facts) -> None:
        seconds = row.decision.time - self._last.decision.time
        if self._rows and 0.0 < seconds <= self._gap:
            self._known += seconds
            self._between(self._last, row, seconds)
        self._rows += 1
        self._last = row
        offsets = row.offsets
        if offsets is None or _freshness(row) is not Freshness.FRESH:
            return
        time, end = row.decision.time, float(offsets.end)
        self._ran.judged(self._attainment.step(time, np.array([end]), np.array([float(offsets.committed)])))
        current = row.decision.current
        if current is not None:
            paid, requests = self._follow.step(time, end, current, _capacity(row))
            self._followed.replica_seconds += paid
            self._followed.judged(requests)

    def _between(self, before: Facts, after: Facts, seconds: float) -> None:
        """What held from one row to the next. What following would have paid is counted where its queue is."""
        old, new = before.decision, after.decision
        needed = _needed(before, after, seconds)
        if old.current is not None:
            self._ran.replica_seconds += old.current * seconds
            self._ran.changes += new.current is not None and new.current != old.current
            if needed is not None:
                self._ran.compare(old.current, needed, seconds)
        if old.desired is not None:
            self._followed.changes += new.desired is not None and new.desired != old.desired
            if needed is not None:
                self._followed.compare(old.desired, needed, seconds)

    def report(self) -> Report:
        return Report(
            namespace=self._first.namespace,
            name=self._first.name,
            mode=self._last.mode,
            start=self._first.decision.time,
            end=self._last.decision.time,
            hours=self._known / HOUR,
            rows=self._rows,
            as_it_ran=self._ran.course(),
            followed=self._followed.course(),
        )


def _freshness(row: Facts) -> Freshness | None:
    return next((source.freshness for source in row.sources if source.name == "kafka"), None)


def _needed(before: Facts, after: Facts, seconds: float) -> int | None:
    """Replicas that what arrived between two rows needed, at least."""
    if before.offsets is None or after.offsets is None or after.offsets.end < before.offsets.end:
        return None
    rate = (after.offsets.end - before.offsets.end) / seconds
    return math.ceil(rate / _service_rate(after) - 1e-9)


def _service_rate(row: Facts) -> float:
    """Requests/s of a replica: as learned, or as declared where the decision does not say."""
    return row.decision.numbers.service_rate or row.service.service_rate


def _capacity(row: Facts) -> Capacity | None:
    numbers, desired = row.decision.numbers, row.decision.desired
    if desired is None:
        return None
    most = numbers.useful_replicas if numbers.useful_replicas is not None else numbers.partitions
    return Capacity(desired, _service_rate(row), lead_time(row.decision, row.service), most)
