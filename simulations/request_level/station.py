"""One service between two decisions: its replicas start and stop, time passes, its counters are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulations.errors import BadSetting
from simulations.request_level import kernel, tables
from simulations.request_level.setting import Discipline, RequestService
from simulations.service_times import ByBatch
from simulations.setting import Partitioned

_ROWS = 8  # replicas' rows at first; doubled when they are used up
_SERVING = {
    Discipline.PARALLEL: kernel.PARALLEL,
    Discipline.SERIAL: kernel.SERIAL,
    Discipline.SHARING: kernel.SHARING,
}


@dataclass(frozen=True, slots=True)
class Answers:
    """What was answered in a stretch of time."""

    served: int
    latency: float  # s, of all served together
    refused: int


@dataclass(frozen=True, slots=True)
class Pod:
    """A replica on its way: asked for, granted (there was room for it), serving. Seconds since the begin."""

    asked: float
    granted: float
    ready_at: float


class Station:
    """One service at one moment of its run.

    ``arrivals``: seconds since the begin, ascending, shape [n]; raises BadSetting naming the first that is not.
    Service times and partitions are drawn here, once, from ``rng``: they do not depend on what a policy does.
    """

    def __init__(self, setting: RequestService, arrivals: NDArray[np.float64], rng: np.random.Generator) -> None:
        check(setting.service.uid, arrivals)
        count = len(arrivals)
        self._requests = np.zeros(count, dtype=tables.REQUEST)
        self._requests["arrival"] = arrivals
        self._requests["work"] = setting.time.draws(count, rng)
        self._requests["begun"] = self._requests["left"] = np.nan
        self._requests["partition"] = _partitions(setting, count, rng)
        self._run, self._sizes = _rules(setting)
        self._partitions = np.zeros(setting.partitions, dtype=tables.PARTITION)
        self._due = np.empty(0)
        self._replicas = np.empty(0, dtype=tables.REPLICA)
        self._slots = np.empty((0, int(self._run["slots"][0])), dtype=tables.SLOT)
        self._queues = np.zeros(1, dtype=tables.QUEUE)
        self._grow()  # the kernel needs a row, also where there is no replica
        self._starting: dict[int, Pod] = {}  # by row, oldest first
        self._ready: list[int] = []  # rows, oldest first; those that became ready since the last call are not in yet
        for _ in range(setting.replicas):
            self._ready.append(self._open(np.inf, kernel.READY))
        self._reassign()

    @property
    def ready(self) -> int:
        return int((self._replicas["phase"] == kernel.READY).sum())

    @property
    def draining(self) -> int:
        return int((self._replicas["phase"] == kernel.DRAINING).sum())

    @property
    def granted(self) -> int:
        """Replicas that start or are ready."""
        return len(self._starting) + len(self._ready)

    @property
    def pending_since(self) -> tuple[float, ...]:
        """When each replica that starts was granted (s)."""
        return tuple(pod.granted for pod in self._starting.values())

    @property
    def waiting(self) -> int:
        return int(self._queues["waiting"].sum())

    @property
    def held(self) -> int:
        """Requests inside replicas."""
        return int(self._replicas["held"].sum())

    @property
    def arrived(self) -> NDArray[np.int64]:
        """Requests so far, by partition; the refused ones too."""
        return self._partitions["arrived"].copy()

    @property
    def started(self) -> NDArray[np.int64]:
        """Requests that a replica took, by partition."""
        return self._partitions["started"].copy()

    @property
    def gone(self) -> NDArray[np.int64]:
        """Requests that were served or refused, by partition."""
        return self._partitions["gone"].copy()

    @property
    def begun(self) -> NDArray[np.float64]:
        """When each request was taken into service (s), NaN where it never was; shape [n]."""
        return self._column("begun")

    @property
    def left(self) -> NDArray[np.float64]:
        """When each request was served or refused (s), NaN while it was not; shape [n]."""
        return self._column("left")

    @property
    def arrivals(self) -> NDArray[np.float64]:
        return self._column("arrival")

    def start(self, pod: Pod) -> None:
        """One replica more, which serves from ``pod.ready_at``."""
        self._starting[self._open(pod.ready_at, kernel.STARTING)] = pod

    def stop(self, count: int) -> None:
        """``count`` replicas fewer: first those that do not serve yet, then the newest.

        What they hold is finished, what waited for them moves on.
        """
        for _ in range(count):
            row = self._starting.popitem()[0] if self._starting else self._ready.pop()
            busy = self._replicas["held"][row] > 0
            self._replicas["phase"][row] = kernel.DRAINING if busy else kernel.FREE
            if not busy:
                self._due[row] = np.inf
        if count:
            self._reassign()

    def advance(self, until: float) -> tuple[Answers, tuple[Pod, ...]]:
        """Let all happen that happens before ``until`` (inf: all that still can).

        Returns what was answered, and the replicas that became ready, both since the last call.
        """
        kernel.advance(
            self._due,
            self._replicas,
            self._slots,
            self._queues,
            self._partitions,
            self._requests,
            self._run,
            self._sizes,
            until,
        )
        run = self._run[0]
        answers = Answers(int(run["served"]), float(run["latency"]), int(run["refused"]))
        run["served"] = run["latency"] = run["refused"] = 0
        there = [row for row in self._starting if self._replicas["phase"][row] == kernel.READY]
        self._ready.extend(there)
        return answers, tuple(self._starting.pop(row) for row in there)

    def _column(self, name: str) -> NDArray[np.float64]:
        return np.ascontiguousarray(self._requests[name])

    def _reassign(self) -> None:
        if self._run["partitioned"][0]:
            kernel.reassign(self._replicas, self._queues, self._partitions, self._requests)

    def _open(self, due: float, phase: int) -> int:
        free = np.flatnonzero(self._replicas["phase"] == kernel.FREE)
        row = int(free[0]) if len(free) else len(self._replicas)
        if row == len(self._replicas):
            self._grow()
        self._replicas["phase"][row] = phase
        self._due[row] = due
        return row

    def _grow(self) -> None:
        more = max(len(self._due), _ROWS)
        self._due = np.concatenate([self._due, np.full(more, np.inf)])
        self._replicas = np.concatenate([self._replicas, np.zeros(more, dtype=tables.REPLICA)])
        self._slots = np.concatenate([self._slots, np.zeros((more, self._slots.shape[1]), dtype=tables.SLOT)])
        self._queues = np.concatenate([self._queues, np.zeros(more, dtype=tables.QUEUE)])


def check(uid: str, arrivals: NDArray[np.float64]) -> None:
    """Raises BadSetting for arrivals that are not times in ascending order, shape [n]."""
    if np.ndim(arrivals) != 1:
        raise BadSetting(f"arrivals of {uid}: found shape {np.shape(arrivals)}; allowed: one time after the other, [n]")
    with np.errstate(invalid="ignore"):
        wrong = np.flatnonzero(~np.isfinite(arrivals) | (arrivals < 0))
        if len(wrong):
            found, allowed = arrivals[wrong[0]], "finite times of at least 0 s"
        else:
            wrong = np.flatnonzero(np.diff(arrivals) < 0) + 1
            found, allowed = (arrivals[wrong[0]] if len(wrong) else 0.0), "times in ascending order"
    if len(wrong):
        raise BadSetting(f"arrivals of {uid}: found {found} at place {wrong[0]}; allowed: {allowed}")


def _partitions(setting: RequestService, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    if setting.partitions == 1:
        return np.zeros(count, dtype=np.int64)
    weights = setting.queue.weights if isinstance(setting.queue, Partitioned) else None
    shares = None if weights is None else np.array(weights) / sum(weights)
    return rng.choice(setting.partitions, size=count, p=shares)


def _rules(setting: RequestService) -> tuple[NDArray[Any], NDArray[np.float64]]:
    run = np.zeros(1, dtype=tables.RUN)
    run["bound"] = -1 if setting.queue_bound is None else setting.queue_bound
    run["partitioned"] = isinstance(setting.queue, Partitioned)
    run["serving"], run["slots"] = _SERVING[setting.discipline], setting.slots
    sizes = np.empty(0)
    if isinstance(setting.time, ByBatch):
        run["serving"], run["slots"] = kernel.BATCH, setting.time.batch
        sizes = np.ascontiguousarray(setting.time.by_size, dtype=np.float64)
    return run, sizes
