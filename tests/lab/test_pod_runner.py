"""The pod runner beside real pods: consumers come with the Ready pods and go, drained, with them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from forecasting.series import Series
from simulations.lab.kwok import pod_annotations
from simulations.lab.load_run import LoadRun
from simulations.lab.measure import measure, read_produced
from simulations.lab.results import read_results

pytestmark = pytest.mark.lab

LEAD = 2.0  # s from a pod's creation to Ready, at least


def until(condition: Callable[[], bool], seconds: float, what: str) -> float:
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds, f"not within {seconds} s: {what}"
        time.sleep(0.05)
    return time.monotonic() - begun


# A broker that has just made its topic of offsets is not yet anybody's coordinator.
SETTLING = {
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
}


def coordinated(ask: Callable[[], Any]) -> Any:
    """The answer about a group, asked again while the broker is settling."""
    end = time.monotonic() + 10
    while True:
        try:
            return ask().result()
        except KafkaException as refused:
            if refused.args[0].code() not in SETTLING or time.monotonic() > end:
                raise
        time.sleep(0.1)


class Running:
    """A deployment, its topic, and a pod runner as its own process."""

    def __init__(self, lab: Any, folder: Path) -> None:
        self.lab = lab
        self.name = f"runner-{uuid.uuid4().hex[:8]}"
        self.results = folder / "results.csv"
        self.bootstrap = lab.kafka.bootstrap
        self.file_sd = Path(lab.prometheus.file_sd)
        self.admin = AdminClient({"bootstrap.servers": self.bootstrap})
        self.load = LoadRun(self.bootstrap, self.name, Series(0.0, 1.0, np.full(600, 20.0)), partitions=8, seed=4)
        config = folder / "runner.json"
        config.write_text(
            json.dumps(
                {
                    "app": self.name,
                    "bootstrap": self.bootstrap,
                    "topic": self.name,
                    "group": self.name,
                    "kubeconfig": str(lab.kubernetes.admin_kubeconfig),
                    "service_time": {"kind": "fixed", "seconds": 0.05},
                    "results": str(self.results),
                    "file_sd": str(self.file_sd),
                }
            )
        )
        self.log = (folder / "runner.log").open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "simulations.lab.pod_runner", "--config", str(config)], stderr=self.log
        )

    def deploy(self, replicas: int) -> None:
        labels = {"app": self.name}
        container = {"name": "c", "image": "none", "resources": {"requests": {"cpu": "10m"}}}
        annotations = pod_annotations(LEAD, LEAD + 0.1, gone_after=1.0)
        template = {
            "metadata": {"labels": labels, "annotations": annotations},
            "spec": {"containers": [container]},
        }
        body = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": self.name},
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
        }
        done = self.lab.kubernetes.run("apply", "-f", "-", stdin=json.dumps(body))
        assert done.code == 0, done

    def ready(self) -> set[str]:
        done = self.lab.kubernetes.run("get", "pods", "-l", f"app={self.name}", "-o", "json")
        return {
            pod["metadata"]["name"]
            for pod in json.loads(done.output)["items"]
            if "deletionTimestamp" not in pod["metadata"]
            and any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
        }

    def members(self) -> dict[str, int]:
        """Partitions by member of the group; a member's client id is its pod."""
        described = coordinated(lambda: self.admin.describe_consumer_groups([self.name])[self.name])
        return {m.client_id: len(m.assignment.topic_partitions) for m in described.members}

    def committed(self) -> int:
        wanted = [ConsumerGroupTopicPartitions(self.name)]
        answer = coordinated(lambda: self.admin.list_consumer_group_offsets(wanted)[self.name])
        return sum(max(part.offset, 0) for part in answer.topic_partitions)

    def served(self) -> int:
        return len(read_results(self.results).offset) if self.results.exists() else 0

    def scraped(self) -> dict[str, float]:
        """Requests by pod, as Prometheus has them."""
        query = f'inference_latency_seconds_count{{app="{self.name}"}}'
        answer = requests.get(f"{self.lab.prometheus.url}/api/v1/query", params={"query": query}, timeout=5)
        return {s["metric"]["pod"]: float(s["value"][1]) for s in answer.json()["data"]["result"]}

    def end(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait(20)
        self.log.close()
        return code


@pytest.fixture
def running(lab: Any, tmp_path: Path) -> Iterator[Running]:
    lab.kwok.add_nodes(1, 8, prefix="runner")
    made = Running(lab, tmp_path)
    try:
        yield made
    finally:
        made.end()
        lab.kubernetes.run("delete", "deployment", made.name, "--cascade=foreground", "--wait=true")


def test_consumers_come_and_go_with_the_pods(running: Running) -> None:
    begun = time.monotonic()
    running.deploy(3)
    until(lambda: len(running.members()) > 0, 20, "a first member")
    assert time.monotonic() - begun >= LEAD, "no pod consumes before it is Ready"
    until(lambda: sorted(running.members().values()) == [2, 3, 3], 20, "8 partitions over 3 pods")
    assert set(running.members()) == running.ready()
    stop = threading.Event()
    sending = threading.Thread(target=running.load.run, args=(stop,))
    sending.start()
    try:
        until(lambda: sum(running.scraped().values()) > 20, 10, "Prometheus has the latencies")
        assert set(running.scraped()) == running.ready()
        running.lab.kubernetes.run("scale", "deployment", running.name, "--replicas=1")
        took = until(lambda: list(running.members().values()) == [8], 10, "8 partitions on the one that stays")
        assert set(running.members()) == running.ready()
        assert took < 5, "drained at the deletionTimestamp, not when the session runs out"
        running.lab.kubernetes.run("scale", "deployment", running.name, "--replicas=2")
        until(lambda: sorted(running.members().values()) == [4, 4], 15, "8 partitions over 2 pods")
    finally:
        stop.set()
        sending.join()
    produced = read_produced(running.bootstrap, running.name)
    until(lambda: running.served() >= len(produced.offset), 10, "all messages finished")
    got = measure(produced, read_results(running.results), within=10.0)
    assert (got.requests, got.unfinished, got.duplicates) == (len(produced.offset), 0, 0)
    assert running.end() == 0
    assert running.members() == {}, "all have left by themselves"
    assert running.committed() == got.requests
    assert not list(running.file_sd.glob(f"*{running.name}*")), "the target is gone"


def test_stuck_at_a_signal_and_free_again(running: Running) -> None:
    running.deploy(2)
    until(lambda: sorted(running.members().values()) == [4, 4], 25, "8 partitions over 2 pods")
    os.kill(running.process.pid, signal.SIGUSR1)
    until(lambda: "all workers are stuck" in Path(running.log.name).read_text(), 10, "the signal is heard")
    sent = running.load.run(threading.Event(), duration=1.0)
    time.sleep(2)
    assert (running.served(), running.committed()) == (0, 0)
    assert len(running.members()) == 2
    os.kill(running.process.pid, signal.SIGUSR2)
    until(lambda: running.committed() == sent.messages, 10, "all is done once free again")
