"""`lagcast run`: the controller on the real Kafka, Prometheus and Kubernetes."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import click

from scaler.act.apply import Actor
from scaler.api.predictive_scaler import PredictiveScaler
from scaler.cli.units import DURATION
from scaler.clock import SystemClock
from scaler.controller import Controller, MakePolicy
from scaler.endpoints import Endpoints
from scaler.errors import ConfigError, LagcastError
from scaler.explain.encode import to_json
from scaler.explain.stages import explain as explained
from scaler.fits import in_background
from scaler.journal import Journal
from scaler.journal_rows import facts_of, noting
from scaler.observe.gather import Gatherer
from scaler.observe.histories import Histories
from scaler.observe.ports import LatencySource
from scaler.observe.watched import watched
from scaler.policies import find_policy
from scaler.resources.feed import ClusterScalers
from scaler.resources.file import ConfigFile, digest, load_to_run
from scaler.status import as_dict
from scaler.telemetry import Telemetry
from scaler.warm import EXAMPLE, warm_up

log = logging.getLogger("lagcast")

DEADLINE_SHARE = 0.75  # of a tick, for one pass over the sources
LONGEST_DEADLINE = 3.0  # s: SIGTERM must end a pass within 5 s
ANSWER_SHARE = 0.8  # of a pass, for each source: its own error says more than that the pass ran out

MOST_SOURCES = 64  # asked side by side; a thread is made when needed, so that one that hangs holds up no other
MOST_ASIDE = 4  # threads for what the plan learns from in passing
OURS = ("lagcast", "scaler", "forecasting", "simulations")


@click.command()
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    help="File of PredictiveScalers. Default: those of the cluster.",
)
@click.option("--tick", type=DURATION, default="15s", show_default=True, help="Time between decisions.")
@click.option("--listen", default="127.0.0.1:8080", show_default=True, help="HOST:PORT of metrics, probes and status.")
@click.option("--kubeconfig", type=click.Path(path_type=Path), help="Default: the pod's ServiceAccount.")
@click.option("--policy", default="lagcast", show_default=True, help="A policy of the group lagcast.policies.")
@click.option("--policy-option", "options", multiple=True, metavar="NAME=VALUE", help="For policies that take any.")
@click.option("--journal", type=click.Path(path_type=Path), help="Note decisions in this file, for `lagcast explain`.")
@click.option("--journal-every", type=DURATION, default="1m", show_default=True, help="At least so often, and changes.")
@click.option(
    "--fit-processes",
    default=1,
    show_default=True,
    type=click.IntRange(1, 16),
    help="Forecasters that are fitted side by side, each in a process of some 200 MB that ends when there is none.",
)
@click.option("--log-level", type=click.Choice(["debug", "info", "warning"]), default="info", show_default=True)
def run(
    path: Path | None,
    tick: float,
    listen: str,
    kubeconfig: Path | None,
    policy: str,
    options: Sequence[str],
    journal: Path | None,
    journal_every: float,
    fit_processes: int,
    log_level: str,
) -> None:
    """Scale the targets of the cluster's PredictiveScalers, or of a configuration file's, until SIGTERM or Ctrl-C.

    In the cluster, the scalers of all namespaces are watched, and what is decided stands in their status. With
    --config, the file is read again when it changes; an error in it keeps the running configuration. Scalers are in
    mode Recommend unless they say otherwise: decisions are reported, nothing is changed.

    A journal is bounded: at 64 MiB its file is put aside, and three older ones are kept (FILE.1 to FILE.3).

    \b
    Exit codes: 0 stopped by a signal; 1 cannot start (the message says why); 2 wrong usage or configuration.
    """
    _log_to_stderr(log_level.upper())
    try:
        # The digest before the content: a change while the controller starts is not missed.
        seen = None if path is None else digest(path)
        resources = () if path is None else load_to_run(path)
        make_policy = find_policy(policy, _options(options))
        host, port = _address(listen)
    except ConfigError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        with in_background(make_policy, fit_processes) as made:
            _run(path, seen, resources, made, tick, host, port, kubeconfig, journal, journal_every, stop)
    except ConfigError as error:  # the kubeconfig
        raise click.ClickException(
            f"{error}; scalers of a file: --config FILE" if path is None else str(error)
        ) from error
    except (LagcastError, OSError) as error:
        raise click.ClickException(str(error)) from error
    # At once: Python would wait for threads that wait for others, such as one that looks a name up.
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)


def _log_to_stderr(level: str) -> None:
    """Ours at ``level``; libraries never below INFO, where some (oauthlib) write tokens."""
    logging.basicConfig(
        level=max(logging.getLevelNamesMapping()[level], logging.INFO),
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    for name in OURS:
        logging.getLogger(name).setLevel(level)


class _Scalers(Protocol):
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


def _run(
    path: Path | None,
    seen: bytes | None,
    resources: tuple[PredictiveScaler, ...],
    make_policy: MakePolicy,
    tick: float,
    host: str,
    port: int,
    kubeconfig: Path | None,
    journal_path: Path | None,
    journal_every: float,
    stop: threading.Event,
) -> None:
    from scaler.act.events import EventRecorder
    from scaler.act.replicas import ScaleWriter
    from scaler.kube import connect
    from scaler.observe.cluster import KubernetesCluster
    from scaler.observe.kafka_process import KafkaProcess

    clock, telemetry = SystemClock(), Telemetry()
    journal = None if journal_path is None else _journal(journal_path)
    deadline = min(tick * DEADLINE_SHARE, LONGEST_DEADLINE)
    patience = deadline * ANSWER_SHARE
    kube = connect(kubeconfig, timeout=patience)
    cluster = KubernetesCluster(kube, clock=clock)
    samplers = ThreadPoolExecutor(MOST_SOURCES, thread_name_prefix="sample")
    background = ThreadPoolExecutor(MOST_SOURCES, thread_name_prefix="history")
    aside = ThreadPoolExecutor(MOST_ASIDE, thread_name_prefix="aside")
    gatherer = Gatherer(
        lambda kafka: KafkaProcess({"bootstrap.servers": kafka.bootstrap_servers, **dict(kafka.properties)}, patience),
        lambda url: _latency(url, patience),
        cluster,
        samplers,
        Histories(background),
        deadline,
        aside,
    )
    controller = Controller(
        gatherer,
        Actor(ScaleWriter(kube), EventRecorder(kube), cluster),
        make_policy,
        telemetry,
        clock,
        tick,
        None if journal is None else noting(journal.note, tick, journal_every),
    )
    scalers: _Scalers
    if path is None:
        scalers = ClusterScalers(kube, controller, make_policy, telemetry, clock, tick)
    else:
        scalers = ConfigFile(path, seen, controller, telemetry, resources)
    warm = threading.Event()
    started = clock.now()

    def healthy() -> str | None:
        last = controller.last_tick or started
        late = clock.now() - last - 10 * tick
        return f"no tick has ended for {late + 10 * tick:.0f} s" if late > 0 else None

    def ready() -> str | None:
        if not warm.is_set() or controller.last_tick is None:
            return "warming up"
        return scalers.missing

    def rows() -> list[dict[str, Any]]:
        return [as_dict(row, clock.now()) for row in controller.rows.values()]

    def explain(namespace: str, name: str) -> dict[str, Any] | None:
        for row in controller.rows.values():
            if (row.resource.metadata.namespace, row.resource.metadata.name) == (namespace, name):
                return to_json(explained(facts_of(row, tick)))
        return None

    with _listening(host, port):
        endpoints = Endpoints(host, port, telemetry.registry, healthy, ready, rows, explain)
    log.info("metrics, probes and status on %s:%d", host, endpoints.port)
    try:
        first = scalers.take_over()
        gatherer.prepare([watched(resource) for resource in first])
        warm_up(make_policy, first[0] if first else EXAMPLE, tick)
        warm.set()
        log.info("warm; %d scalers from %s", len(first), path or "the cluster")
        controller.run(stop, scalers.before_tick, scalers.after_tick)
    finally:
        endpoints.close()
        scalers.close()
        for pool in (samplers, background, aside):
            pool.shutdown(wait=False, cancel_futures=True)
        controller.close()
        if journal is not None:
            journal.close()
    log.info("stopped")


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


def _latency(url: str, timeout: float) -> LatencySource:
    from scaler.observe.prometheus import PrometheusLatency  # heavy, and latency is optional

    return PrometheusLatency(url, timeout)


def _options(pairs: Sequence[str]) -> dict[str, str]:
    parsed = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ConfigError(f"--policy-option {pair!r}: write NAME=VALUE")
        parsed[name] = value
    return parsed


def _address(listen: str) -> tuple[str, int]:
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"--listen {listen!r}: write HOST:PORT, for example 127.0.0.1:8080")
    return host or "0.0.0.0", int(port)  # noqa: S104 - what ":8080" means everywhere
