"""Where independent jobs run: one port, so that a sweep neither knows nor shows where its runs were made.

A job is a value, the work a function of it; both are pickled. Jobs share nothing and draw no randomness but from their
own seed, so the results do not depend on the executor, on the number of workers or on the order in which jobs end.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from forecasting.errors import BadSeries
from scaler.errors import LagcastError, where
from simulations.errors import BadSetting, SimulationError

J = TypeVar("J")
R = TypeVar("R")
Done = Callable[[int, Any], None]  # place of the job, its result
KINDS = ("local", "ray")


class JobFailed(SimulationError):
    """A job that raised, or whose worker died. The message names the job; the cause is the worker's own error."""


class Executor(Protocol):
    """Maps work over jobs. A context manager: leaving it ends every worker that it started."""

    def map(
        self, work: Callable[[J], R], jobs: Sequence[J], *, name: Callable[[J], str] = str, done: Done | None = None
    ) -> list[R]:
        """The results in the order of ``jobs``.

        ``done`` is called here, in this process, as each job ends, in whatever order they do. The first failure ends
        the rest and raises JobFailed with ``name`` of its job.
        """
        ...

    @property
    def width(self) -> int:
        """How many jobs run side by side."""
        ...

    def close(self) -> None:
        """End the workers; what still runs is given up."""
        ...

    def __enter__(self) -> Executor: ...

    def __exit__(self, *raised: object) -> None: ...


def make_executor(kind: str = "local", workers: int | None = None, address: str | None = None) -> Executor:
    """``local``: this machine's processes; with one worker, this process. ``ray``: a cluster, by default a local one.

    ``workers`` None: one a core. ``address``: of a Ray cluster that runs. Raises BadSetting.
    """
    count = len(os.sched_getaffinity(0)) if workers is None and hasattr(os, "sched_getaffinity") else workers
    count = (os.cpu_count() or 1) if count is None else count
    if count < 1:
        raise BadSetting(f"workers: found {count}; allowed: at least 1")
    if kind == "ray":
        from simulations.executors.on_ray import RayExecutor

        return RayExecutor(count, address)
    if kind != "local":
        raise BadSetting(f"executor: found {kind!r}; allowed: {', '.join(KINDS)}")
    if address is not None:
        raise BadSetting(f"ray address: found {address} with executor local; allowed: only with executor ray")
    if count == 1:
        from simulations.executors.here import Here

        return Here()
    from simulations.executors.local import LocalProcesses

    return LocalProcesses(count)


def failed(name: str, error: BaseException) -> JobFailed:
    """What is said of a job's error: its own text where it was raised for the user, else its type and place."""
    meant = isinstance(error, SimulationError | LagcastError | BadSeries)
    return JobFailed(f"{name}: {error if meant else f'internal error: {where(error)}: {error}; please report it'}")
