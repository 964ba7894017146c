"""500 PredictiveScalers, each with a Deployment and a group of its own, on the real servers: what a tick costs.

With a day of 2 min steps each: a week of 15 s steps takes 0.45 MB more for each scaler, and half an hour to fit them
all (``simulations.lab.bench_many`` measures that without servers).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from simulations.lab.bench_observe import commit
from simulations.lab.lab import Lab
from simulations.lab.ports import free_port

pytestmark = pytest.mark.lab

SCALERS, TOPICS, PARTITIONS = 500, 100, 2
TICK = 5.0  # s
STEP, STEPS = 120.0, 720  # s; a day, that is read back by each
FITTED_BY = 300.0  # s
TICKS = 6  # that are measured
# The figures.
CPU_OF_A_TICK = 5.0  # s
CONTROLLER, WORKER = 600e6, 350e6  # resident bytes
LABEL = "many"


def name(k: int) -> str:
    return f"many-{k:03d}"


def topic(k: int) -> str:
    return f"many-{k % TOPICS:03d}"


def deployment(k: int) -> dict[str, Any]:
    labels = {"app": name(k), "part-of": LABEL}
    containers = [{"name": "server", "image": "model-server"}]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name(k), "namespace": "default", "labels": labels},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name(k)}},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
        },
    }


def scaler(k: int, bootstrap: str) -> dict[str, Any]:
    return {
        "apiVersion": "lagcast.io/v1alpha1",
        "kind": "PredictiveScaler",
        "metadata": {"name": name(k), "namespace": "default", "labels": {"part-of": LABEL}},
        "spec": {
            "target": {"name": name(k)},
            "kafka": {"bootstrapServers": bootstrap, "topic": topic(k), "consumerGroup": name(k)},
            "objective": {"within": "30s", "share": "99%"},
            "replicas": {"min": 1, "max": 32, "serviceRate": "2", "leadTime": "60s"},
            "forecast": {"step": f"{STEP:g}s", "history": "24h", "model": "direct"},
        },
    }


class Feed:
    """A day's past in each topic, then messages that each group commits some seconds later, until stopped."""

    def __init__(self, bootstrap: str) -> None:
        self.admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 2})
        self.producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, "log_level": 2})
        self.threads = ThreadPoolExecutor(8)
        self.each = 0  # messages in each partition
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)

    def past(self) -> None:
        wanted = [NewTopic(topic(k), PARTITIONS, 1, config={"retention.ms": "-1"}) for k in range(TOPICS)]
        for future in self.admin.create_topics(wanted, operation_timeout=60).values():
            future.result(90)
        now = time.time() // STEP * STEP
        for step in range(STEPS):
            self._produce(1, round((now - (STEPS - step) * STEP + 1) * 1000))
            if step % 100 == 99 or step == STEPS - 1:
                assert self.producer.flush(60) == 0
        self.commit()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self.threads.shutdown()

    def commit(self) -> None:
        def one(k: int) -> None:
            places = [TopicPartition(topic(k), p, self.each) for p in range(PARTITIONS)]
            commit(self.admin, name(k), ConsumerGroupTopicPartitions(name(k), places))

        list(self.threads.map(one, range(SCALERS)))

    def _produce(self, each: int, at: int = 0) -> None:
        for k in range(TOPICS):
            for n in range(each * PARTITIONS):
                self.producer.produce(topic(k), b"x", partition=n % PARTITIONS, timestamp=at)
        self.producer.poll(0)
        self.each += each

    def _run(self) -> None:
        while not self._stop.wait(4.0):
            self._produce(5)
            self.producer.flush(10)
            self.commit()


@dataclass
class Run:
    """The controller as a process, and the most memory that it and its children were seen to take."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path
    peaks: dict[str, float] = field(default_factory=dict)  # bytes

    def look(self) -> None:
        me = psutil.Process(self.process.pid)
        seen = {"controller": me.memory_info().rss}
        for child in me.children(recursive=True):
            try:
                line, rss = " ".join(child.cmdline()), child.memory_info().rss
            except psutil.Error:
                continue
            kind = "worker" if "forecasting.worker" in line else "kafka" if "kafka_child" in line else line
            seen[kind] = max(seen.get(kind, 0), rss)
        self.peaks = {kind: max(seen.get(kind, 0), self.peaks.get(kind, 0)) for kind in {*seen, *self.peaks}}

    def until(self, is_so: Callable[[], object], what: str, seconds: float) -> float:
        """Seconds that it took."""
        began = time.monotonic()
        while not is_so():
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() - began < seconds, f"{what}; the log ends:\n{self.log.read_text()[-3000:]}"
            time.sleep(0.5)
            self.look()
        return time.monotonic() - began

    def rows(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = requests.get(f"{self.url}/status", timeout=30).json()
        return found

    def ticks(self) -> float:
        text = requests.get(f"{self.url}/metrics", timeout=30).text
        return float(next(line.split()[1] for line in text.splitlines() if line.startswith(COUNT)))

    def cpu(self) -> float:
        """Seconds of the controller's process; threads that serve and write included."""
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)


def fresh(row: dict[str, Any]) -> bool:
    return all(row["inputs"][source]["status"] == "fresh" for source in ("kafka", "kubernetes"))


COUNT = "lagcast_tick_seconds_count"


def apply(lab: Lab, items: list[dict[str, Any]]) -> None:
    for begin in range(0, len(items), 100):
        part = {"apiVersion": "v1", "kind": "List", "items": items[begin : begin + 100]}
        done = lab.kubernetes.run("apply", "--server-side", "-f", "-", stdin=json.dumps(part))
        assert done.code == 0, done.output


@pytest.fixture(scope="module")
def run(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    lab.kwok.add_nodes(3, 1, prefix="many")
    kubectl = lab.kubernetes.run
    crd = kubectl("apply", "--server-side", "-f", str(Path(__file__).parents[2] / "manifests" / "crd"))
    assert crd.code == 0, crd.output
    feed = Feed(lab.kafka.bootstrap)
    feed.past()
    apply(lab, [deployment(k) for k in range(SCALERS)])
    apply(lab, [scaler(k, lab.kafka.bootstrap) for k in range(SCALERS)])
    folder = tmp_path_factory.mktemp("many")
    port = free_port()
    command = [sys.executable, "-W", "error", "-m", "scaler.cli", "run", "--tick", f"{TICK:g}s", "--fit-processes", "2"]
    command += ["--listen", f"127.0.0.1:{port}", "--kubeconfig", lab.kubernetes.controller_kubeconfig]
    command += ["--no-leader-elect"]
    feed.start()
    log = folder / "controller.log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=os.environ.copy(), cwd=folder)
    try:
        yield Run(process, f"http://127.0.0.1:{port}", log)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        feed.stop()
        for kind in ("predictivescaler", "deployment"):
            kubectl("delete", kind, "-l", f"part-of={LABEL}", "--wait=false")


def test_500_scalers(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    def fits() -> int:
        return run.log.read_text().count("its forecaster was fitted in")

    run.until(lambda: "warm;" in run.log.read_text(), "it starts", 60.0)
    run.until(lambda: "its forecaster was fitted in" in run.log.read_text(), "it begins to fit", 60.0)
    reactive: set[str] = set()

    def all_fitted() -> bool:
        reactive.update(row["name"] for row in run.rows() if fresh(row) and "NoForecast" in row["reasons"])
        return fits() >= SCALERS

    took = run.until(all_fitted, f"all are fitted; {fits()} were", FITTED_BY)
    began, ticks, cpu = time.monotonic(), run.ticks(), run.cpu()
    run.until(lambda: time.monotonic() - began > TICKS * TICK, "", 2 * TICKS * TICK)
    cpu, ticks = run.cpu() - cpu, run.ticks() - ticks  # in this order: what is asked takes CPU, too
    rows: list[dict[str, Any]] = []

    def all_fresh() -> bool:
        rows[:] = run.rows()
        return all(map(fresh, rows))

    # One of 500 groups may be asked too late for one pass on a machine that does much else.
    run.until(all_fresh, "all readings are fresh", 2 * TICK)
    figures = {
        "CPU of a tick, s": round(cpu / ticks, 2),
        "ticks": ticks,
        "fits took, s": round(took),
        **{f"most memory of {kind}, MB": round(most / 1e6) for kind, most in sorted(run.peaks.items())},
        "with a forecast": sum(row["numbers"]["forecast"] is not None for row in rows),
        "reactive before": len(reactive),
    }
    with capsys.disabled():
        sys.stdout.write(f"\n500 scalers: {figures}\n")
    assert len(rows) == SCALERS
    assert all(fresh(row) for row in rows)
    assert figures["with a forecast"] == SCALERS
    assert len(reactive) > SCALERS / 2, "until it is fitted, each says NoForecast; not each is seen in that time"
    assert ticks >= TICKS - 2, "no tick was left out"
    assert cpu / ticks < CPU_OF_A_TICK
    assert run.peaks["controller"] < CONTROLLER
    assert run.peaks["worker"] < WORKER


def test_sigterm_ends_it_and_its_processes_within_five_seconds(run: Run) -> None:
    children = psutil.Process(run.process.pid).children(recursive=True)
    run.process.send_signal(signal.SIGTERM)
    assert run.process.wait(5.0) == 0
    _, left = psutil.wait_procs(children, timeout=2.0)
    assert not left
