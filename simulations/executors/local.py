"""Jobs in processes of this machine.

Processes are started afresh (forkserver, else spawn), never forked from this one: librdkafka and compiled code's
threads do not survive that. They live until ``close``, so that each pays its imports once; what numba compiled is read
from its cache on disk.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from simulations.executor import Done, JobFailed, failed

J = TypeVar("J")
R = TypeVar("R")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def _begin() -> None:
    """In a worker, before numpy comes: each has one core, and sums do not depend on a number of threads."""
    import signal

    for name in THREADS:
        os.environ[name] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that hands out the work
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker, in the middle of a job, once the process that hands out the work is gone, however it ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class LocalProcesses:
    """A pool of ``workers`` processes, made when the first jobs come."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._pool: ProcessPoolExecutor | None = None

    def map(
        self, work: Callable[[J], R], jobs: Sequence[J], *, name: Callable[[J], str] = str, done: Done | None = None
    ) -> list[R]:
        """See simulations.executor.Executor."""
        pool = self._started()
        futures: dict[Future[R], int] = {}
        results: dict[int, R] = {}
        try:
            for place, job in enumerate(jobs):
                futures[pool.submit(work, job)] = place
            for future in as_completed(futures):
                place = futures[future]
                results[place] = self._result(future, jobs[place], name)
                if done is not None:
                    done(place, results[place])
        except BrokenProcessPool as error:
            self._pool = None
            left = [name(job) for place, job in enumerate(jobs) if place not in results]
            raise JobFailed(
                f"a worker process died (killed, or out of memory: try fewer workers); {len(left)} jobs were not done, "
                f"the first of them {left[0]}"
            ) from error
        finally:
            for future in futures:
                future.cancel()
        return [results[place] for place in range(len(jobs))]

    @staticmethod
    def _result(future: Future[R], job: J, name: Callable[[J], str]) -> R:
        try:
            return future.result()
        except BrokenProcessPool:
            raise
        except Exception as error:
            raise failed(name(job), error) from error

    @property
    def width(self) -> int:
        """A job for each process."""
        return self._workers

    def close(self) -> None:
        """End the processes; a job that runs is not waited for."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            known = multiprocessing.get_all_start_methods()
            context = multiprocessing.get_context("forkserver" if "forkserver" in known else "spawn")
            self._pool = ProcessPoolExecutor(self._workers, mp_context=context, initializer=_begin)
        return self._pool

    def __enter__(self) -> LocalProcesses:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()
