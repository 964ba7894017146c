"""Jobs on a Ray cluster: one that runs, or one of this machine's own, started here and ended with ``close``.

A cluster's machines need the same version of lagcast. A local cluster listens on loopback only, without dashboard, and
sends no usage statistics.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from simulations.errors import BadSetting
from simulations.executor import Done, failed
from simulations.executors.local import THREADS

J = TypeVar("J")
R = TypeVar("R")
STORE_BYTES = 100 << 20  # of the local cluster's objects: a load and its results are a few MB
LOOPBACK = "127.0.0.1"


class RayExecutor:
    """``workers`` cores of a local cluster, or all of the cluster at ``address``."""

    def __init__(self, workers: int, address: str | None = None) -> None:
        # Ray reads these when it is imported or starts.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # what Ray warns to set, without GPUs
        if address is None:
            # Ray turns a loopback address into the machine's own, unless it takes this for a system without clusters.
            os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        try:
            import ray
        except ImportError as error:
            raise BadSetting(f"executor ray: cannot be imported ({error}); install lagcast[ray]") from error
        self._ray: Any = ray
        env = {"env_vars": dict.fromkeys(THREADS, "1")}
        quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False, "runtime_env": env}
        # Its own processes' handles are left open on purpose when a cluster is started or shut down.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                if address is not None:
                    ray.init(address=address, **quiet)
                    return
                ray.init(
                    address="local",
                    num_cpus=workers,
                    num_gpus=0,
                    include_dashboard=False,
                    object_store_memory=STORE_BYTES,
                    _node_ip_address=LOOPBACK,
                    **quiet,
                )
            except (ConnectionError, RuntimeError, ValueError) as error:
                where = "a local one" if address is None else address
                raise BadSetting(f"executor ray: no cluster ({where}): {error}") from error

    def map(
        self, work: Callable[[J], R], jobs: Sequence[J], *, name: Callable[[J], str] = str, done: Done | None = None
    ) -> list[R]:
        """See simulations.executor.Executor."""
        ray = self._ray
        run = ray.remote(num_cpus=1, max_retries=2)(_run)  # a node that is lost costs its jobs a second try
        shared = ray.put(work)
        places = {run.remote(shared, job): place for place, job in enumerate(jobs)}
        waiting = list(places)
        results: dict[int, R] = {}
        try:
            while waiting:
                (ended, *_), waiting = ray.wait(waiting, num_returns=1)
                place = places[ended]
                try:
                    results[place] = ray.get(ended)
                except Exception as error:
                    cause = getattr(error, "cause", None) or error
                    raise failed(name(jobs[place]), cause) from error
                if done is not None:
                    done(place, results[place])
        finally:
            for reference in waiting:
                ray.cancel(reference, force=False)
        return [results[place] for place in range(len(jobs))]

    @property
    def width(self) -> int:
        """Cores of the cluster as it is now; a job takes one."""
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def close(self) -> None:
        """Leave the cluster; end it where it was started here."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._ray.shutdown()

    def __enter__(self) -> RayExecutor:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()


def _run(work: Callable[[J], R], job: J) -> R:
    return work(job)
