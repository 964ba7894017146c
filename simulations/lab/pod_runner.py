"""Gives every Ready pod of one application a real consumer, and takes it away, drained, with the pod.

Runs as ``python -m simulations.lab.pod_runner --config FILE``; SIGTERM drains and ends it, SIGUSR1 makes all workers
stuck (members of the group that finish nothing), SIGUSR2 frees them again.
"""

from __future__ import annotations

import logging
import random
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Protocol

import click
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from forecasting.errors import BadSeries
from scaler.clock import SystemClock
from scaler.errors import LagcastError
from scaler.kube import Json, connect
from scaler.observe.pods import read_pod
from scaler.observe.watch import Watch
from simulations.lab.worker import Membership
from simulations.lab.workers import Workers
from simulations.service_times import ServiceTimeSpec

log = logging.getLogger(__name__)


class RunnerConfig(BaseModel):
    """What a pod runner is told. Durations in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    app: str  # also the label by which Prometheus' series are told apart
    bootstrap: str
    topic: str
    group: str
    kubeconfig: Path  # of an account that may list and watch pods
    namespace: str = "default"
    selector: str | None = None  # label selector of the pods; default: app=<app>
    service_time: ServiceTimeSpec
    results: Path  # file that every finished request is appended to
    file_sd: Path | None = None  # folder that Prometheus reads its targets from
    session: float = Field(default=6.0, ge=6.0, le=300.0)  # Kafka's brokers refuse less than 6 s
    heartbeat: float = Field(default=0.5, gt=0.0, lt=60.0)
    commit: float = Field(default=0.5, gt=0.0, le=60.0)
    drain: float = Field(default=60.0, gt=0.0, le=3600.0)  # how long the workers may take to leave at the end
    seed: int = 0


class PodWorkers(Protocol):
    """Who starts and stops a pod's worker; see :class:`Workers`."""

    def start_pod(self, pod: str) -> None: ...
    def stop_pod(self, pod: str) -> None: ...


class PodFollower:
    """A watch's handler that keeps the workers equal to the Ready pods. Called by the watch's thread only."""

    def __init__(self, workers: PodWorkers) -> None:
        self._workers = workers
        self._known: set[str] = set()

    def listed(self, objects: Sequence[Json], at: float) -> None:
        present = {item["metadata"]["name"] for item in objects}
        for name in self._known - present:
            self._workers.stop_pod(name)
        self._known &= present
        for item in objects:
            self.changed(item, at)

    def changed(self, item: Json, at: float) -> None:
        pod = read_pod(item)
        self._known.add(pod.name)
        if pod.ready is not None and pod.counts:
            self._workers.start_pod(pod.name)
        else:
            self._workers.stop_pod(pod.name)

    def removed(self, item: Json, at: float) -> None:
        name = item["metadata"]["name"]
        self._known.discard(name)
        self._workers.stop_pod(name)


class PodRunner:
    """Workers that follow the pods, from ``start`` to ``close``."""

    def __init__(self, config: RunnerConfig) -> None:
        """Raises ConfigError for a kubeconfig, BadSeries for a table of service times that cannot be used."""
        service_time = config.service_time.build()
        self._config = config
        self._client = connect(config.kubeconfig)
        membership = Membership(
            config.bootstrap, config.topic, config.group, config.session, config.heartbeat, config.commit
        )
        self.workers = Workers(config.app, membership, service_time, config.results, config.file_sd, config.seed)
        self._watch = Watch(
            self._client,
            f"/api/v1/namespaces/{config.namespace}/pods",
            PodFollower(self.workers),
            clock=SystemClock(),
            rng=random.Random(config.seed),
            selector=config.selector or f"app={config.app}",
        )

    def start(self) -> None:
        self._watch.start()

    def close(self) -> None:
        """Stop following, drain all workers, leave nothing behind."""
        self._watch.close()
        try:
            self.workers.close(self._config.drain)
        finally:
            self._client.close()

    def __enter__(self) -> PodRunner:
        self.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()


def read_config(path: Path) -> RunnerConfig:
    """Raises click.ClickException naming file and field."""
    try:
        return RunnerConfig.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as broken:
        raise click.ClickException(f"{path}: cannot be read: {broken}") from broken
    except ValidationError as wrong:
        said = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in wrong.errors())
        raise click.ClickException(f"{path}: {said}") from None


@click.command()
@click.option("--config", type=click.Path(path_type=Path), required=True, help="JSON file, see RunnerConfig.")
def main(config: Path) -> None:
    """Run one real consumer for each Ready pod until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    stop = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, end)  # before anything is begun that would have to be left behind
    signal.signal(signal.SIGINT, end)
    try:
        runner = PodRunner(read_config(config))
    except (LagcastError, BadSeries, OSError) as wrong:
        raise click.ClickException(str(wrong)) from wrong

    def stick(number: int, frame: FrameType | None) -> None:
        runner.workers.stick(number == signal.SIGUSR1)
        log.info("all workers are %s", "stuck" if runner.workers.stuck else "free")

    signal.signal(signal.SIGUSR1, stick)
    signal.signal(signal.SIGUSR2, stick)
    with runner:
        log.info("following the pods; metrics on port %d", runner.workers.metrics_port)
        stop.wait()
        log.info("draining %d workers", len(runner.workers.pods))
    log.info("all workers have left")


if __name__ == "__main__":
    main()
