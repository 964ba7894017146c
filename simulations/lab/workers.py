"""All pods' workers in one process: threads that mostly sleep, one results file, one metrics endpoint."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, Histogram, start_http_server

from simulations.lab.results import ResultsFile
from simulations.lab.worker import Membership, Request, Worker
from simulations.service_times import ServiceTime

log = logging.getLogger(__name__)

FLUSH = 0.5  # s between writes of the results file
BUCKETS = tuple(round(0.005 * 1.5**k, 4) for k in range(26))  # s: 5 ms to 126 s, each half as long again as the last


class Workers:
    """Starts and stops the workers of one application by pod name.

    ``stop_pod`` returns at once; the worker drains in its own thread and is gone from ``pods`` when it has left the
    group. Use it as a context manager, or call ``close``, which drains all.
    """

    def __init__(
        self,
        app: str,
        membership: Membership,
        service_time: ServiceTime,
        results: Path,
        file_sd: Path | None = None,
        seed: int = 0,
    ) -> None:
        self._app = app
        self._membership = membership
        self._service_time = service_time
        self._seed = seed
        self._lock = threading.Lock()
        self._workers: dict[str, Worker] = {}
        self._draining: dict[str, Worker] = {}
        self._again: set[str] = set()
        self._stuck = threading.Event()
        self._closing = threading.Event()
        self._results = ResultsFile(results)
        self._metrics()
        self._server, self._server_thread = start_http_server(0, addr="127.0.0.1", registry=self._registry)
        self._target = None if file_sd is None else file_sd / f"workers-{app}-{self.metrics_port}.json"
        if self._target is not None:
            _write_target(self._target, f"127.0.0.1:{self.metrics_port}")
        self._keeper = threading.Thread(target=self._keep, name=f"workers of {app}", daemon=True)
        self._keeper.start()

    def _metrics(self) -> None:
        self._registry = CollectorRegistry()
        self._latency = Histogram(
            "inference_latency_seconds",
            "Time that a request was in service.",
            ("pod", "app"),
            buckets=BUCKETS,
            registry=self._registry,
        )
        running = Gauge("lab_workers", "Workers that are members of the group.", ("app",), registry=self._registry)
        running.labels(self._app).set_function(lambda: len(self.pods))

    @property
    def metrics_port(self) -> int:
        return int(self._server.server_port)

    @property
    def pods(self) -> frozenset[str]:
        """Pods whose worker is at work or still draining."""
        with self._lock:
            return frozenset(self._workers) | frozenset(self._draining)

    def partitions(self) -> dict[str, frozenset[int]]:
        """What each pod's worker holds now."""
        with self._lock:
            return {pod: worker.partitions for pod, worker in self._workers.items()}

    def start_pod(self, pod: str) -> None:
        """Start the pod's worker, unless it has one; when its last one is still draining, as soon as that has left."""
        with self._lock:
            if self._closing.is_set() or pod in self._workers:
                return
            if pod in self._draining:
                self._again.add(pod)
                return
            worker = Worker(pod, self._membership, self._service_time, self._serve, self._stuck, self._seed)
            self._workers[pod] = worker
        self._latency.labels(pod, self._app)  # born at zero, so that its first request is an increase
        worker.start()

    def stop_pod(self, pod: str) -> None:
        """Let the pod's worker finish what it has in hand, commit and leave. Nothing happens when it has none."""
        with self._lock:
            self._again.discard(pod)
            worker = self._workers.pop(pod, None)
            if worker is not None:
                self._draining[pod] = worker
        if worker is not None:
            worker.stop()

    def wait_left(self, pods: Sequence[str], timeout: float) -> bool:
        """Wait until the workers of these pods have left; False when one is still there after ``timeout`` s."""
        end = time.monotonic() + timeout
        while self.pods & set(pods):
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True

    def stick(self, stuck: bool) -> None:
        """Whether the workers stay members, and poll, but finish and commit nothing."""
        if stuck:
            self._stuck.set()
        else:
            self._stuck.clear()

    @property
    def stuck(self) -> bool:
        return self._stuck.is_set()

    def close(self, timeout: float = 30.0) -> None:
        """Drain all workers and end everything. Raises RuntimeError naming the pods that did not leave in time."""
        self._closing.set()
        for pod in self.partitions():
            self.stop_pod(pod)
        left = self.wait_left(sorted(self.pods), timeout)
        self._keeper.join(1.0)  # it ends with the last worker; one that hangs is told below
        if self._target is not None:
            self._target.unlink(missing_ok=True)
        self._server.shutdown()
        self._server.server_close()
        self._server_thread.join()
        self._results.close()
        if not left:
            raise RuntimeError(f"these workers did not leave within {timeout:g} s: {', '.join(sorted(self.pods))}")

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _serve(self, pod: str, batch: Sequence[Request], begun: float, finished: float) -> None:
        latency = self._latency.labels(pod, self._app)
        for request in batch:
            latency.observe(finished - begun)
            self._results.add(pod, request.partition, request.offset, request.arrival, begun, finished)

    def _keep(self) -> None:
        """Write the results out, and forget the workers that have left."""
        while True:
            closing = self._closing.wait(FLUSH if not self._draining else 0.05)
            with self._lock:
                gone = [pod for pod, worker in self._draining.items() if not worker.running]
                failed = [pod for pod, worker in self._workers.items() if worker.failure is not None]
                for pod in gone:
                    del self._draining[pod]
                again = self._again.intersection(gone)
                self._again -= again
                for pod in failed:
                    del self._workers[pod]
                more = bool(self._workers or self._draining)
            for pod in (*gone, *failed):
                self._latency.remove(pod, self._app)
            for pod in again:
                self.start_pod(pod)
            for pod in failed:
                log.error("the worker of pod %s failed; a new one is started", pod)
                self.start_pod(pod)
            self._results.flush()
            if closing:
                if not more:
                    return
                time.sleep(0.02)


def _write_target(path: Path, target: str) -> None:
    """In one step, so that Prometheus never reads half a file (it takes only what ends in .json)."""
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps([{"targets": [target], "labels": {"job": "workers"}}]))
    draft.replace(path)
