"""Every count that Deployments had, and when: asked for (spec.replicas), and there (status.replicas)."""

from __future__ import annotations

import bisect
import random
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scaler.clock import SystemClock
from scaler.kube import Json, connect
from scaler.observe.watch import Watch
from simulations.lab.errors import LabError

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


class ReplicaWatch:
    """Watches the Deployments with the label ``selector``; use as a context manager. They must stay until its end."""

    def __init__(self, kubeconfig: Path, selector: str) -> None:
        self._lock = threading.Lock()
        self._times: dict[str, list[float]] = {}
        self._counts: dict[str, list[tuple[int, int]]] = {}
        self._client = connect(kubeconfig)
        self._watch = Watch(
            self._client, DEPLOYMENTS, self, clock=SystemClock(), rng=random.Random(0), selector=selector
        )

    def __enter__(self) -> ReplicaWatch:
        self._watch.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._watch.close()
        self._client.close()

    def listed(self, objects: Sequence[Json], at: float) -> None:
        """See :class:`scaler.observe.watch.Handler`."""
        for item in objects:
            self.changed(item, at)

    def changed(self, item: Json, at: float) -> None:
        """See :class:`scaler.observe.watch.Handler`."""
        name, status = item["metadata"]["name"], item.get("status") or {}
        counts = (item["spec"]["replicas"], status.get("replicas", 0))
        with self._lock:
            known = self._counts.setdefault(name, [])
            if not known or known[-1] != counts:
                self._times.setdefault(name, []).append(at)
                known.append(counts)

    def removed(self, item: Json, at: float) -> None:
        """See :class:`scaler.observe.watch.Handler`."""

    def newest(self, name: str) -> tuple[int, int] | None:
        """spec.replicas and status.replicas now; None for a Deployment that was not seen yet."""
        with self._lock:
            return self._counts[name][-1] if name in self._counts else None

    def at(self, name: str, when: float) -> tuple[int, int]:
        """spec.replicas and status.replicas at unix s ``when``. Raises LabError when it was not watched by then."""
        with self._lock:
            place = bisect.bisect_right(self._times.get(name, []), when) - 1
            if place < 0:
                raise LabError(f"Deployment {name} was not watched yet at {when:.0f}")
            return self._counts[name][place]

    def asked(self, name: str, start: float, seconds: int) -> NDArray[np.int64]:
        """spec.replicas at each second from unix s ``start`` on, shape [seconds]. Raises LabError as ``at``."""
        return np.array([self.at(name, start + n)[0] for n in range(seconds)], dtype=np.int64)
