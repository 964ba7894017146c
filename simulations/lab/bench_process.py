"""The controller as a process: how long until it is ready, and what memory it takes alone and with ten scalers."""

from __future__ import annotations

import contextlib
import json
import statistics
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import requests
import yaml
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from simulations.lab.bench_observe import commit
from simulations.lab.errors import LabError
from simulations.lab.lab import Lab
from simulations.lab.ports import free_port
from simulations.lab.process import end, find, run, spawn
from simulations.lab.topics import ensure_topic

STARTS = 3
PATIENCE = 60.0  # s
SCALERS = 10
TICK = 1.0  # s
TICKS = 40  # after every history was taken over
PAST_STEPS = 7 * 1440  # a week at 60 s, as the defaults read back
RATE = 10  # live messages/s to each topic
# As in the image: the client of Kubernetes loads this tool for development where it finds it, for as long as all else.
AS_INSTALLED = "import sys; sys.modules['kubernetes_validate'] = None"
START = f"{AS_INSTALLED}; import runpy; runpy.run_module('scaler.cli', run_name='__main__', alter_sys=True)"
# What `lagcast run` imports until it is ready, in the order in which it does.
IMPORTS = f"""
{AS_INSTALLED}
import time
import scaler.cli.main, scaler.cli.run
import scaler.act.events, scaler.act.replicas, scaler.observe.cluster, scaler.observe.kafka, scaler.predictive
import forecasting.competition_default
from kubernetes.client.configuration import Configuration
from kubernetes.client.rest import RESTClientObject
from kubernetes.config.incluster_config import load_incluster_config
from kubernetes.config.kube_config import load_kube_config
"""


@dataclass(frozen=True, slots=True)
class Start:
    """A start of the controller."""

    seconds: float  # from the process to /readyz
    imports: float  # s of a process that only imports the same
    memory: int  # resident bytes when it is ready


class Controller:
    """One `lagcast run` with its configuration in ``folder``; ends with the ``with`` block."""

    def __init__(self, folder: Path, resources: list[dict[str, Any]], kubeconfig: str, tick: float) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "scalers.yaml"
        config.write_text(yaml.safe_dump_all(resources), encoding="utf-8")
        self.url = f"http://127.0.0.1:{free_port()}"
        self._log = folder / "controller.log"
        self._command = [sys.executable, "-c", START, "run", "--config", str(config)]
        self._command += ["--kubeconfig", kubeconfig, "--tick", f"{tick * 1000:.0f}ms"]
        self._command += ["--listen", self.url.removeprefix("http://")]

    def __enter__(self) -> Controller:
        self._mark = spawn(self._command, log=self._log, directory=self._log.parent)
        return self

    def __exit__(self, *raised: object) -> None:
        end(self._mark)

    @property
    def memory(self) -> int:
        """Resident bytes, with the process that asks Kafka."""
        process = find(self._mark)
        if process is None:
            raise LabError(f"the controller has ended; its log ends:\n{self.log[-2000:]}")
        total = int(process.memory_info().rss)
        for child in process.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += int(child.memory_info().rss)
        return total

    def ready(self) -> None:
        """Wait until it is. Raises LabError when it ends or takes too long."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            with contextlib.suppress(requests.RequestException):
                if requests.get(f"{self.url}/readyz", timeout=2).status_code == 200:
                    return
            time.sleep(0.02 if self.memory else 0)
        raise LabError(f"the controller was not ready within {PATIENCE:.0f} s")

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def rows(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = requests.get(f"{self.url}/status", timeout=5).json()
        return found


def bench_start(folder: Path) -> Start:
    """Medians over three starts with one scaler, whose servers need not answer for the controller to be ready."""
    folder.mkdir(parents=True, exist_ok=True)
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(json.dumps(_nobody()), encoding="utf-8")
    starts = []
    for n in range(STARTS):
        began = time.perf_counter()
        with Controller(folder / f"start-{n}", [_resource("chat", {})], str(kubeconfig), 15.0) as controller:
            controller.ready()
            starts.append((time.perf_counter() - began, controller.memory))
    imports = []
    for _ in range(STARTS):
        began = time.perf_counter()
        done = run([sys.executable, "-c", IMPORTS], directory=folder)
        imports.append(time.perf_counter() - began)
        if done.code != 0:
            raise LabError(f"the controller's imports fail: {done.output[-500:]}")
    seconds, memory = zip(*starts, strict=True)
    return Start(statistics.median(seconds), statistics.median(imports), round(statistics.median(memory)))


def bench_memory(lab: Lab, folder: Path) -> int:
    """Resident bytes of a controller with ten scalers that took over a week each, after 40 ticks of live load.

    Raises LabError when a source is not fresh at the end, or a past or a forecast is missing: another figure then.
    """
    names = [f"bench-{k}" for k in range(SCALERS)]
    now = time.time() // 60 * 60
    admin = AdminClient({"bootstrap.servers": lab.kafka.bootstrap, "log_level": 2})
    producer = Producer({"bootstrap.servers": lab.kafka.bootstrap, "linger.ms": 20, "log_level": 2})
    for name in names:
        ensure_topic(lab.kafka.bootstrap, name, 1)
        for k in range(PAST_STEPS):
            producer.produce(name, b"x", timestamp=round((now - (PAST_STEPS - k) * 60) * 1000))
        if producer.flush(60):
            raise LabError(f"the past of topic {name} could not be written")
        commit(admin, name, ConsumerGroupTopicPartitions(name, [TopicPartition(name, 0, PAST_STEPS)]))
    deployments = {"apiVersion": "v1", "kind": "List", "items": [_deployment(name) for name in names]}
    done = lab.kubernetes.run("apply", "-f", "-", stdin=json.dumps(deployments))
    if done.code != 0:
        raise LabError(f"the benchmark's Deployments are refused: {done.output.strip()}")
    resources = [
        _resource(name, {"bootstrap": lab.kafka.bootstrap, "prometheus": lab.prometheus.url}) for name in names
    ]
    with Controller(folder / "memory", resources, lab.kubernetes.controller_kubeconfig, TICK) as controller:
        controller.ready()
        _live(producer, names, lambda: controller.log.count(f"{PAST_STEPS} steps known") == SCALERS, PATIENCE * 3)
        end = time.monotonic() + TICKS * TICK
        _live(producer, names, lambda: time.monotonic() > end, TICKS * TICK + PATIENCE)
        rows = controller.rows()
        wrong = [r["name"] for r in rows if r["numbers"]["forecast"] is None]
        wrong += [f"{r['name']}: {s}: {r['inputs'][s]['detail']}" for r in rows for s in ("kafka", "kubernetes")
                 if r["inputs"][s]["status"] != "fresh"]  # fmt: skip
        if len(rows) != SCALERS or wrong:
            raise LabError(f"{len(rows)} scalers, of which these do not see all: {wrong}")
        return controller.memory


def _live(producer: Producer, names: list[str], is_over: Any, patience: float) -> None:
    until = time.monotonic() + patience
    while not is_over():
        if time.monotonic() > until:
            raise LabError(f"the controller did not come so far within {patience:.0f} s")
        for name in names:
            for _ in range(RATE):
                producer.produce(name, b"x")
        producer.poll(0)
        time.sleep(1.0)
    producer.flush(10)


def _deployment(name: str) -> dict[str, Any]:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "server", "image": "model-server"}]},
            },
        },
    }


def _resource(name: str, at: Mapping[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "lagcast.io/v1alpha1",
        "kind": "PredictiveScaler",
        "metadata": {"name": name},
        "spec": {
            "target": {"name": name},
            "kafka": {"bootstrapServers": at.get("bootstrap", "127.0.0.1:9"), "topic": name, "consumerGroup": name},
            "latency": {"prometheus": at.get("prometheus", "http://127.0.0.1:9"), "selector": f'app="{name}"'},
            "objective": {"within": "30s", "share": "99%"},
            "replicas": {"min": 1, "max": 32, "serviceRate": "2"},
            # By itself: the default may find that it says no more than the newest level of this made-up load.
            "forecast": {"model": "direct"},
        },
    }


def _nobody() -> dict[str, Any]:
    """A kubeconfig of an API server that does not answer."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "none", "cluster": {"server": "https://127.0.0.1:9"}}],
        "users": [{"name": "none", "user": {}}],
        "contexts": [{"name": "none", "context": {"cluster": "none", "user": "none"}}],
        "current-context": "none",
    }
