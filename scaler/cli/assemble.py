"""The controller put together from its parts, run until it is told to end, and taken apart."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from scaler.act.apply import Actor
from scaler.api.gpu_node_pool import GpuNodePool
from scaler.api.predictive_scaler import PredictiveScaler
from scaler.cli.pages import Pages
from scaler.cli.signals import Signals
from scaler.clock import SystemClock
from scaler.controller import Controller, MakePolicy
from scaler.endpoints import Endpoints
from scaler.errors import LagcastError, where
from scaler.fits import in_background
from scaler.journal import Journal
from scaler.journal_rows import noting
from scaler.kube import KubeClient
from scaler.leadership import Alone, Elected, Leadership, LeaseName, identity
from scaler.observe.gather import Gatherer
from scaler.observe.histories import Histories
from scaler.observe.ports import ClusterSource, LatencySource
from scaler.observe.watched import PrometheusServer, watched
from scaler.pools.gather import PodsOf
from scaler.pools.pools import Pools
from scaler.resources.feed import ClusterScalers
from scaler.resources.file import ConfigFile
from scaler.telemetry import Telemetry
from scaler.warm import EXAMPLE, warm_up

log = logging.getLogger("lagcast")

DEADLINE_SHARE = 0.75  # of a tick, for one pass over the sources
LONGEST_DEADLINE = 3.0  # s: SIGTERM must end a pass within 5 s
ANSWER_SHARE = 0.8  # of a pass, for each source: its own error says more than that the pass ran out

MOST_SOURCES = 64  # asked side by side; a thread is made when needed, so that one that hangs holds up no other
MOST_ASIDE = 4  # threads for what the plan learns from in passing


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line says."""

    path: Path | None  # of scalers; None: those of the cluster
    seen: bytes | None  # digest of the file from which ``resources`` were read
    resources: tuple[PredictiveScaler, ...]
    pools: tuple[GpuNodePool, ...]
    make_policy: MakePolicy
    tick: float  # s
    host: str
    port: int
    kubeconfig: Path | None
    lease: LeaseName | None  # None: no election
    journal: Path | None
    journal_every: float  # s
    fit_processes: int
    credentials: PurePosixPath  # below it, files that scalers of the cluster may name

    @property
    def deadline(self) -> float:
        """s for one pass over the sources."""
        return min(self.tick * DEADLINE_SHARE, LONGEST_DEADLINE)

    @property
    def patience(self) -> float:
        """s for each source's answer."""
        return self.deadline * ANSWER_SHARE


class Scalers(Protocol):
    """Where the scalers come from: a file, or the cluster."""

    @property
    def missing(self) -> str | None:
        """Why it is not known which there are; None when it is."""
        ...

    def take_over(self) -> tuple[PredictiveScaler, ...]:
        """Configure the controller for its first tick; the scalers that are run."""
        ...

    def before_tick(self) -> None: ...
    def after_tick(self) -> None: ...
    def close(self) -> None: ...


def assemble(settings: Settings, signals: Signals) -> None:
    """Run until ``signals`` say to end. Raises ConfigError (the kubeconfig), or LagcastError when it cannot start."""
    from scaler.kube import connect
    from scaler.observe.cluster import KubernetesCluster

    clock, telemetry = SystemClock(), Telemetry()
    with ExitStack() as parts:  # taken apart in the opposite order
        journal = None if settings.journal is None else _journal(settings.journal)
        if journal is not None:
            parts.callback(journal.close)
        make_policy = parts.enter_context(in_background(settings.make_policy, settings.fit_processes, telemetry.fitted))
        kube = connect(settings.kubeconfig, timeout=settings.patience)
        leadership = _leadership(settings.lease, kube, clock, telemetry, signals)
        kube = leadership.client(kube)  # from here on: nothing is changed but through the fence
        cluster = KubernetesCluster(kube, clock=clock)
        threads = Threads()
        gatherer = _gatherer(settings, cluster, threads)
        controller = Controller(
            gatherer,
            _actor(kube, cluster, declared=settings.path is None),
            make_policy,
            telemetry,
            clock,
            settings.tick,
            None if journal is None else noting(journal.note, settings.tick, settings.journal_every),
            leadership.leads,
            _pools(settings, kube, cluster, threads, clock),
        )
        parts.callback(controller.close)
        parts.callback(threads.close)
        scalers = _scalers(settings, make_policy, kube, controller, telemetry, clock)
        parts.callback(scalers.close)
        pages = Pages(controller, leadership, scalers, clock, settings.tick)
        with _listening(settings.host, settings.port):
            endpoints = Endpoints(
                settings.host,
                settings.port,
                telemetry.registry,
                pages.healthy,
                pages.ready,
                pages.rows,
                pages.explain,
                pages.leader,
                pages.pools,
            )
        parts.callback(endpoints.close)
        log.info("metrics, probes and status on %s:%d", settings.host, endpoints.port)
        first = scalers.take_over()
        gatherer.prepare([watched(resource) for resource in first])
        if not signals.stop.is_set():
            _warm_up(make_policy, first, settings.tick)
        if not signals.stop.is_set():
            pages.warm.set()
            log.info("warm; %d scalers from %s", len(first), settings.path or "the cluster")
            parts.callback(leadership.resign)  # before it begins, which may take a while
            leadership.begin()
            controller.run(signals.stop, scalers.before_tick, scalers.after_tick, signals.wake)
    log.info("stopped")


def _warm_up(make_policy: MakePolicy, first: Sequence[PredictiveScaler], tick: float) -> None:
    """With one of the scalers that there are: a fault in it costs a slow first tick, not the start."""
    pooled = (resource for resource in first if resource.spec.gpu is not None)  # has all of the others' plan, too
    example = next(pooled, first[0] if first else EXAMPLE)
    try:
        warm_up(make_policy, example, tick)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is one scaler's, and each of its ticks will say so
        log.error("warming up with %s failed: %s; the first tick takes longer; please report it", example, where(error))


def _leadership(
    lease: LeaseName | None, kube: KubeClient, clock: SystemClock, telemetry: Telemetry, signals: Signals
) -> Leadership:
    if lease is None:
        return Alone()
    return Elected(kube, lease, identity(), clock, telemetry, signals.wake.set, signals.stop)


class Threads:
    """Those that ask the sources; each is made when it is needed."""

    def __init__(self) -> None:
        self.samplers = ThreadPoolExecutor(MOST_SOURCES, thread_name_prefix="sample")
        self.background = ThreadPoolExecutor(MOST_SOURCES, thread_name_prefix="history")
        self.aside = ThreadPoolExecutor(MOST_ASIDE, thread_name_prefix="aside")

    def close(self) -> None:
        """Begin nothing more, and wait for none."""
        for pool in (self.samplers, self.background, self.aside):
            pool.shutdown(wait=False, cancel_futures=True)


def _gatherer(settings: Settings, cluster: ClusterSource, threads: Threads) -> Gatherer:
    from scaler.observe.kafka_process import KafkaProcess

    patience = settings.patience
    return Gatherer(
        lambda kafka: KafkaProcess({"bootstrap.servers": kafka.bootstrap_servers, **dict(kafka.properties)}, patience),
        lambda server: _latency(server, patience),
        cluster,
        threads.samplers,
        Histories(threads.background),
        settings.deadline,
        threads.aside,
    )


def _actor(kube: KubeClient, cluster: ClusterSource, *, declared: bool) -> Actor:
    """``declared``: the scalers are the cluster's, so that an object can wait for its floor."""
    from scaler.act.events import EventRecorder
    from scaler.act.finalizer import ClusterFinalizers, NoFinalizers
    from scaler.act.floors import KubernetesFloors
    from scaler.act.replicas import ScaleWriter

    finalizers = ClusterFinalizers(kube) if declared else NoFinalizers()
    return Actor(ScaleWriter(kube), EventRecorder(kube), cluster, KubernetesFloors(kube), finalizers)


def _pools(settings: Settings, kube: KubeClient, cluster: PodsOf, threads: Threads, clock: SystemClock) -> Pools:
    from scaler.act.events import EventRecorder
    from scaler.act.finalizer import NoFinalizers
    from scaler.act.nodepools.pools import ProviderPools
    from scaler.observe.nodes import KubernetesNodes
    from scaler.pools.act import KubernetesNodePods, PoolActor
    from scaler.pools.endings import PoolFinalizers
    from scaler.pools.gather import PoolGatherer

    counts = ProviderPools(kube, clock)
    nodes = KubernetesNodes(kube, clock)
    gatherer = PoolGatherer(nodes, cluster, counts, threads.samplers, settings.patience)
    finalizers = PoolFinalizers(kube) if settings.path is None else NoFinalizers()
    return Pools(gatherer, PoolActor(counts, KubernetesNodePods(kube), finalizers), cluster, EventRecorder(kube))


def _scalers(
    settings: Settings,
    make_policy: MakePolicy,
    kube: KubeClient,
    controller: Controller,
    telemetry: Telemetry,
    clock: SystemClock,
) -> Scalers:
    if settings.path is None:
        return ClusterScalers(
            kube, controller, make_policy, telemetry, clock, settings.tick, credentials=settings.credentials
        )
    return ConfigFile(settings.path, settings.seen, controller, telemetry, settings.resources, settings.pools)


@contextmanager
def _listening(host: str, port: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        raise LagcastError(f"cannot listen on {host}:{port}: {why}; choose another --listen HOST:PORT") from error


def _journal(path: Path) -> Journal:
    try:
        return Journal(path)
    except OSError as error:
        raise LagcastError(
            f"--journal {path}: {error.strerror or error}; choose a file in a folder that is there"
        ) from error


def _latency(server: PrometheusServer, timeout: float) -> LatencySource:
    from scaler.observe.prometheus import PrometheusLatency  # heavy, and latency is optional

    return PrometheusLatency(server.url, timeout, access=dict(server.access))
