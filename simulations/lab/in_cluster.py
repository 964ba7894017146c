"""A service to scale and its load, each in a pod of its own: `python -m simulations.lab.in_cluster serve|load`.

What `make kind-demo` runs; where Kafka is may come from the environment: KAFKA_BOOTSTRAP, KAFKA_TOPIC, KAFKA_GROUP.
"""

from __future__ import annotations

import logging
import signal
import socket
import threading
from collections.abc import Sequence

import click
from confluent_kafka import Consumer, TopicPartition
from prometheus_client import CollectorRegistry, Histogram, start_http_server

from scaler.cli.units import DURATION
from simulations.lab.load_run import LoadRun
from simulations.lab.topics import begin_behind, ends_of
from simulations.lab.worker import Membership, Request, Worker
from simulations.lab.workers import BUCKETS
from simulations.service_times import FixedSpec
from simulations.traces import Pattern, Spike

log = logging.getLogger(__name__)

LENGTH = 7 * 86_400.0  # s of load, drawn as it is sent
STEP = 5.0  # s
AGAIN = 1.0  # s between two looks whether the load has begun


@click.group()
def main() -> None:
    """A demo of what Lagcast scales."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")


@main.command()
@click.option("--bootstrap", envvar="KAFKA_BOOTSTRAP", required=True, help="HOST:PORT of the broker.")
@click.option("--topic", envvar="KAFKA_TOPIC", required=True)
@click.option("--group", envvar="KAFKA_GROUP", required=True)
@click.option("--app", default="demo", show_default=True, help="The label `app` of its latency histogram.")
@click.option("--service-time", type=DURATION, default="500ms", show_default=True, help="Of one request.")
@click.option("--loading", type=DURATION, default="30s", show_default=True, help="Until it is Ready, as for a model.")
@click.option("--port", type=int, default=8000, show_default=True, help="Of /metrics, there once it is Ready.")
def serve(bootstrap: str, topic: str, group: str, app: str, service_time: float, loading: float, port: int) -> None:
    """Consume one request after the other until SIGTERM."""
    stop = _until_told()
    pod = socket.gethostname()
    registry = CollectorRegistry()
    latency = Histogram(
        "inference_latency_seconds", "Time that a request was in service.", ("app",), buckets=BUCKETS, registry=registry
    ).labels(app)

    def served(pod: str, batch: Sequence[Request], begun: float, finished: float) -> None:
        for _ in batch:
            latency.observe(finished - begun)

    log.info("loading for %.0f s", loading)
    if stop.wait(loading) or not _begun(bootstrap, topic, group, stop):
        return
    # A kubelet's clock, not a lab's: a member that is slow for some seconds is not gone.
    membership = Membership(bootstrap, topic, group, session=20.0, heartbeat=3.0, commit=1.0)
    busy = FixedSpec(kind="fixed", seconds=service_time).build()
    worker = Worker(pod, membership, busy, served, threading.Event())
    server, thread = start_http_server(port, registry=registry)
    worker.start()
    log.info("serving; metrics on port %d", server.server_port)
    while worker.running and not stop.wait(AGAIN):
        continue
    worker.stop()
    worker.join()
    server.shutdown()
    thread.join()
    if worker.failure is not None:
        raise click.ClickException(f"the consumer failed: {worker.failure}")


@main.command()
@click.option("--bootstrap", envvar="KAFKA_BOOTSTRAP", required=True, help="HOST:PORT of the broker.")
@click.option("--topic", envvar="KAFKA_TOPIC", required=True)
@click.option("--group", envvar="KAFKA_GROUP", required=True, help="Begins behind the past.")
@click.option("--partitions", type=int, default=24, show_default=True)
@click.option("--mean", type=float, default=6.0, show_default=True, help="Requests/s outside of spikes.")
@click.option("--every", type=DURATION, default="15m", show_default=True, help="From one spike to the next.")
@click.option("--length", type=DURATION, default="3m", show_default=True, help="Of a spike.")
@click.option("--height", type=float, default=4.0, show_default=True, help="Of a spike, in means.")
@click.option("--past", type=DURATION, default="3h", show_default=True, help="Written first, if the topic is new.")
def load(
    bootstrap: str,
    topic: str,
    group: str,
    partitions: int,
    mean: float,
    every: float,
    length: float,
    height: float,
    past: float,
) -> None:
    """Send requests, with a spike that returns, until SIGTERM."""
    stop = _until_told()
    spike = Spike(every=every, at=every - length, length=length, height=height)
    series = Pattern(mean=mean, period=LENGTH, amplitude=0.0, spike=spike, noise=0.05).make(LENGTH, STEP, seed=0)
    run = LoadRun(bootstrap, topic, series, partitions=partitions)
    if not _written(bootstrap, topic, run.partitions):
        log.info("writing the past, %.0f s", past)
        run.write_past(past, stop)
        begin_behind(bootstrap, topic, group, run.partitions)
    log.info("sending %g requests/s, %g times that for %.0f s every %.0f s", mean, height, length, every)
    run.run(stop)


def _until_told() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _written(bootstrap: str, topic: str, partitions: int) -> bool:
    """Whether the topic holds anything."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"{topic}-look", "log_level": 2})
    try:
        return any(ends_of(consumer, topic, partitions))
    finally:
        consumer.close()


def _begun(bootstrap: str, topic: str, group: str, stop: threading.Event) -> bool:
    """Wait until the group has a place to begin at; False when told to stop. Its past is not to be served."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "log_level": 2})
    try:
        while not stop.is_set():
            if consumer.committed([TopicPartition(topic, 0)], timeout=60.0)[0].offset >= 0:
                return True
            log.info("waiting for the load to begin")
            stop.wait(AGAIN)
        return False
    finally:
        consumer.close()


if __name__ == "__main__":
    main()
