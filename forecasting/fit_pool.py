"""Fits in the background: a few processes that import ``forecasting`` only, and a short queue before them.

They are started by exec, never by fork (:mod:`forecasting.worker`), so that no thread or library of the caller's is
copied into them, and none of its modules are imported there.
"""

from __future__ import annotations

import logging
import os
import pickle
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from forecasting.errors import said
from forecasting.fitting import Done, FitJob, FitRun, Fitted, not_fitted
from forecasting.forecaster import Forecaster
from forecasting.guarded import Deadline, FitTimedOut
from forecasting.worker import Worker, WorkerEnded

log = logging.getLogger(__name__)

NICE = 10  # a fit takes what decisions leave
MODULES = ("forecasting.competition_default",)  # loaded before a fit's time begins
_CLOSE_TIME = 1.0  # s


@dataclass(frozen=True, slots=True)
class _Packed:
    """A job as bytes: what the forecaster was when it was begun, however long it waits."""

    job: bytes

    def __call__(self, _: Deadline) -> Forecaster:
        os.setpriority(os.PRIO_PROCESS, 0, max(NICE, os.getpriority(os.PRIO_PROCESS, 0)))  # never back up
        job: FitJob = pickle.loads(self.job)  # noqa: S301  our own bytes
        return job()


class _Run:
    """A fit that waits or runs; then what became of it."""

    def __init__(self, of: str, task: _Packed) -> None:
        self.of = of
        self.task: _Packed | None = task
        self.outcome: Fitted | None = None

    def end(self, outcome: Fitted) -> None:
        self.task, self.outcome = None, outcome


class FitPool:
    """``workers`` processes, each started when there is something to fit and ended after ``idle`` s without.

    ``limit``: seconds a fit; what takes longer is stopped, and what dies takes nothing with it: both are outcomes
    that say ``again``. ``waiting`` fits are accepted for each process, so that many forecasters are fitted one after
    another, and what waits takes little memory. ``told`` hears of each fit's seconds and outcome, on another thread.
    """

    def __init__(
        self,
        workers: int = 1,
        *,
        limit: float = 120.0,
        waiting: int = 16,
        idle: float = 60.0,
        told: Callable[[float, Fitted], None] | None = None,
    ) -> None:
        if workers < 1 or waiting < 1 or not (limit > 0 and idle > 0):
            raise ValueError(f"workers {workers}, waiting {waiting}, limit {limit} s, idle {idle} s: all must be > 0")
        self._waiting: queue.Queue[_Run] = queue.Queue(workers * waiting)
        self._idle = idle
        self._told = told
        self._closed = threading.Event()
        self._workers = [Worker(limit) for _ in range(workers)]
        self._threads = [
            threading.Thread(target=self._serve, args=(worker,), name=f"fits {n}", daemon=True)
            for n, worker in enumerate(self._workers)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Fits that have not begun."""
        return self._waiting.qsize()

    def start(self, job: FitJob) -> FitRun | None:
        """See :class:`~forecasting.fitting.Fitter`. The forecaster is copied now: later updates are not in it."""
        if self._waiting.full() or self._closed.is_set():  # before the work of packing it
            return None
        try:
            run = _Run(job.of, _Packed(pickle.dumps(job)))
        except MemoryError:
            return Done(Fitted(None, "out of memory while it was handed to another process", again=True))
        except Exception as broken:  # noqa: BLE001  a model of somebody else's
            return Done(Fitted(None, f"it cannot be handed to another process: {type(broken).__name__}: {broken}"))
        try:
            self._waiting.put_nowait(run)
        except queue.Full:  # another thread was faster
            return None
        return run

    def close(self) -> None:
        """End the processes; what waits or runs is lost."""
        self._closed.set()
        for worker in self._workers:
            worker.kill()
        end = time.monotonic() + _CLOSE_TIME
        for thread in self._threads:
            thread.join(max(end - time.monotonic(), 0.0))

    def __enter__(self) -> FitPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _serve(self, worker: Worker) -> None:
        used = time.monotonic()
        while not self._closed.is_set():
            try:
                run = self._waiting.get(timeout=min(self._idle, 0.5))
            except queue.Empty:
                if time.monotonic() - used >= self._idle:
                    _put_away(worker)
                continue
            began = time.monotonic()
            outcome = _fitted(worker, run)
            used = time.monotonic()
            if self._closed.is_set():
                break
            run.end(outcome)  # before all that is told of it
            try:
                self._tell(run.of, used - began, outcome)
            except Exception as broken:  # noqa: BLE001  who is told of a fit must not keep the next from coming
                log.error("%s: what became of its fit could not be told (%s)", run.of, type(broken).__name__)
        _put_away(worker)

    def _tell(self, of: str, seconds: float, outcome: Fitted) -> None:
        if outcome.error:
            log.warning("%s: the fit of its forecaster failed: %s%s", of, outcome.error, _next(outcome))
        else:
            log.info("%s: its forecaster was fitted in %.1f s", of, seconds)
        if self._told is not None:
            self._told(seconds, outcome)


def _fitted(worker: Worker, run: _Run) -> Fitted:
    """What became of it. Raises nothing: a thread that ended would leave fits that never come."""
    assert run.task is not None  # noqa: S101  for mypy: a run is served once
    try:
        return Fitted(worker.run(run.task, MODULES))
    except (FitTimedOut, WorkerEnded, OSError, MemoryError) as lost:  # the last two: the machine has no room for it now
        return Fitted(None, str(lost) or "out of memory", again=True)
    except Exception as broken:  # noqa: BLE001  a model may raise anything, also what cannot say what it is
        return not_fitted(broken)


def _put_away(worker: Worker) -> None:
    """End its process; one that cannot be ended now is found ended, or ended, before the next fit."""
    try:
        worker.close()
    except Exception as broken:  # noqa: BLE001  as above
        log.warning("the process that fits could not be put away (%s: %s)", type(broken).__name__, said(broken))


def _next(outcome: Fitted) -> str:
    return "; it is tried again" if outcome.again else "; what was learned before stays in use"
