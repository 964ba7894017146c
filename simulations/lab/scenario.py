"""One service on the real servers, from its topic's past to its attainment: what lab tests and `lagcast lab demo` run.

A Deployment whose pods come up late, a topic whose past shows a spike that returns, one real consumer a Ready pod, and
`lagcast run` as the controller's own ServiceAccount under the policy of choice, all in compressed time.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import yaml

from simulations.lab.errors import LabError
from simulations.lab.kwok import pod_annotations
from simulations.lab.lab import Lab
from simulations.lab.load_run import LoadRun, Sent
from simulations.lab.measure import Measured, Produced, measure, read_produced
from simulations.lab.ports import free_port
from simulations.lab.process import Mark, end, find, spawn
from simulations.lab.results import Finished, read_results
from simulations.lab.topics import begin_behind
from simulations.traces import Pattern, Spike

OVERHEAD = 5.0  # s of a pod's lead time until it is scheduled, and from Ready until it holds partitions, many at once
PATIENCE = 60.0  # s for a process to become ready


@dataclass(frozen=True, slots=True)
class ScenarioSpec:
    """A service in compressed time. Durations in s, rates in requests/s."""

    name: str
    mean: float = 20.0
    spike: Spike | None = field(default_factory=lambda: Spike(every=120.0, at=90.0, length=25.0, height=6.0))
    past: float = 720.0
    seed: int = 0
    partitions: int = 48
    service_time: float = 0.1
    within: float = 3.0
    share: str = "99%"
    replicas: int = 3  # at the start
    most: int = 30
    lead_time: tuple[float, float] = (6.0, 8.0)  # the pod's part: scheduled to Ready
    step: float = 2.0
    tick: float = 2.0  # for 15 s; a lead time of 13 s then stands for one of 98
    scale_in_hold: float = 10.0
    policy: str | None = "lagcast"  # None: no controller, somebody else scales
    options: Mapping[str, str] = field(default_factory=dict)
    mode: str = "Enforce"
    model: str = "levelSeason"
    gpus: int = 1  # of a pod
    nodes: Mapping[str, str] | None = None  # labels of the nodes it stands on, which others make; None: the lab's own
    node_lead_time: float = 0.0  # s that such a node takes to come, as declared
    pool: str | None = None  # the GpuNodePool that plans them

    @property
    def service_rate(self) -> float:
        return 1.0 / self.service_time


class Scenario:
    """The running service. Use as a context manager: whatever was started is ended."""

    def __init__(self, lab: Lab, folder: Path, spec: ScenarioSpec) -> None:
        self.lab, self.spec = lab, spec
        self._folder = folder / spec.name
        self._folder.mkdir(parents=True, exist_ok=True)
        self._marks: dict[str, Mark] = {}
        self._stop = threading.Event()
        self._sending: threading.Thread | None = None
        self.sent: Sent | None = None
        length = spec.past + 3600.0
        pattern = Pattern(mean=spec.mean, period=length, amplitude=0.0, spike=spec.spike, noise=0.05)
        series = pattern.make(length, min(1.0, spec.step), spec.seed)
        self._load = LoadRun(lab.kafka.bootstrap, spec.name, series, partitions=spec.partitions, seed=spec.seed)
        self.url = f"http://127.0.0.1:{free_port()}"
        self._results = self._folder / "results.csv"

    def __enter__(self) -> Scenario:
        try:
            self._deploy()  # first, for it takes longest: the past then ends just before the load goes on
            self._past()
            self._start_runner()
            if self.spec.policy is not None:
                self.start_controller()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """End load, controller, consumers and pods; measures can still be read afterwards."""
        self._stop.set()
        if self._sending is not None:
            self._sending.join()
        for name in list(self._marks):
            self.end(name)
        self._kubectl("delete", "deployment", self.spec.name, "--ignore-not-found", "--wait=false")

    def send(self) -> None:
        """Begin to send the load in real time, in a thread, going on from the past."""
        self._sending = threading.Thread(target=self._send, name=f"load-{self.spec.name}", daemon=True)
        self._sending.start()

    def next_spike(self) -> float:
        """Unix s at which the next spike begins."""
        spike, anchor = self.spec.spike, self._load.anchor
        if spike is None or anchor is None:
            raise LabError(f"{self.spec.name} has no spike to wait for")
        since = time.time() - anchor
        return anchor + spike.at + spike.every * -(-(since - spike.at) // spike.every)

    def scale(self, replicas: int) -> None:
        """Write the Deployment's count, as an autoscaler would. Raises LabError."""
        self._kubectl("scale", "deployment", self.spec.name, f"--replicas={replicas}")

    def measured(self, start: float, end: float, within: float | None = None) -> Measured:
        """What became of the requests that arrived in [start, end) (unix s), by ``within`` s or else the objective."""
        within = self.spec.within if within is None else within
        return measure(self.produced(start - 5.0), self.finished(), within, start, end)

    def produced(self, start: float) -> Produced:
        """The messages that are in the topic now, from unix s ``start`` on."""
        return read_produced(self.lab.kafka.bootstrap, self.spec.name, start)

    def finished(self) -> Finished:
        """What the consumers have finished so far."""
        return read_results(self._results)

    def status(self) -> dict[str, Any]:
        """The controller's newest row."""
        rows: list[dict[str, Any]] = requests.get(f"{self.url}/status", timeout=5).json()
        return rows[0]

    def metric(self, name: str, **labels: str) -> float | None:
        """A sample of the controller's /metrics whose labels include ``labels``; None when there is none."""
        from prometheus_client.parser import text_string_to_metric_families

        text = requests.get(f"{self.url}/metrics", timeout=5).text
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return float(sample.value)
        return None

    def watch(self, until: float, every: float = 0.5) -> Iterator[dict[str, Any]]:
        """The controller's rows, one for each look, until ``until`` (unix s)."""
        while time.time() < until:
            with contextlib.suppress(requests.RequestException, IndexError):
                yield self.status() | {"looked": time.time()}
            time.sleep(every)

    def start_controller(self) -> None:
        """Start `lagcast run` and wait until it is ready."""
        spec = self.spec
        assert spec.policy is not None  # noqa: S101 - whoever starts a controller names its policy
        config = self._folder / "scalers.yaml"
        config.write_text(yaml.safe_dump(self._resource()), encoding="utf-8")
        command = [
            sys.executable,
            "-m",
            "scaler.cli",
            "run",
            "--config",
            str(config),
            "--tick",
            f"{spec.tick * 1000:.0f}ms",
        ]
        command += ["--listen", self.url.removeprefix("http://"), "--policy", spec.policy]
        command += ["--kubeconfig", self.lab.kubernetes.controller_kubeconfig]
        for name, value in spec.options.items():
            command += ["--policy-option", f"{name}={value}"]
        self._spawn("controller", command)
        self._wait("controller", lambda: requests.get(f"{self.url}/readyz", timeout=2).status_code == 200)

    def end(self, name: str, grace: float = 20.0) -> float:
        """SIGTERM to a process ("controller" or "runner"); seconds it took to end."""
        mark = self._marks.pop(name)
        begun = time.monotonic()
        end(mark, grace)
        return time.monotonic() - begun

    def runs(self, name: str) -> bool:
        """Whether the process is still there."""
        return find(self._marks[name]) is not None

    def log(self, name: str) -> str:
        """What a process has printed so far."""
        return (self._folder / f"{name}.log").read_text(encoding="utf-8")

    def signal(self, name: str, number: int) -> None:
        """Send a signal to a process."""
        process = find(self._marks[name])
        if process is None:
            raise LabError(f"{name} of {self.spec.name} has ended; see its log")
        process.send_signal(number)

    def events(self) -> list[dict[str, Any]]:
        """Events on the Deployment."""
        field_selector = f"involvedObject.name={self.spec.name}"
        items = json.loads(self._kubectl("get", "events", "-o", "json", "--field-selector", field_selector))["items"]
        return list(items)

    def _send(self) -> None:
        self.sent = self._load.run(self._stop)

    def _past(self) -> None:
        """Write the past, and let the group begin behind it."""
        self._load.write_past(self.spec.past)
        begin_behind(self.lab.kafka.bootstrap, self.spec.name, self.spec.name, self.spec.partitions)

    def _deploy(self) -> None:
        spec = self.spec
        gpus = {kind: {"nvidia.com/gpu": str(spec.gpus)} for kind in ("limits", "requests")}
        labels = {"app": spec.name}
        template = {
            "metadata": {"labels": labels, "annotations": pod_annotations(*spec.lead_time, gone_after=2.0)},
            "spec": {
                "containers": [{"name": "server", "image": "model-server", "resources": gpus}],
                "nodeSelector": dict(spec.nodes or {}),
            },
        }
        deployment = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": spec.name, "namespace": "default", "labels": labels},
            "spec": {"replicas": spec.replicas, "selector": {"matchLabels": labels}, "template": template},
        }
        if spec.nodes is None:
            self.lab.kwok.add_nodes(-(-spec.most * spec.gpus // 8), 8)
        self._kubectl("apply", "-f", "-", stdin=json.dumps(deployment))
        self._kubectl("rollout", "status", f"deployment/{spec.name}", f"--timeout={PATIENCE:.0f}s")

    def _start_runner(self) -> None:
        config = {
            "app": self.spec.name,
            "bootstrap": self.lab.kafka.bootstrap,
            "topic": self.spec.name,
            "group": self.spec.name,
            "kubeconfig": self.lab.kubernetes.admin_kubeconfig,
            "service_time": {"kind": "fixed", "seconds": self.spec.service_time},
            "results": str(self._results),
            "file_sd": self.lab.prometheus.file_sd,
        }
        path = self._folder / "runner.json"
        path.write_text(json.dumps(config), encoding="utf-8")
        self._spawn("runner", [sys.executable, "-m", "simulations.lab.pod_runner", "--config", str(path)])
        self._wait("runner", lambda: "following the pods" in self.log("runner"))

    def _resource(self) -> dict[str, Any]:
        spec = self.spec
        return {
            "apiVersion": "lagcast.io/v1alpha1",
            "kind": "PredictiveScaler",
            "metadata": {"name": spec.name, "namespace": "default"},
            "spec": {
                "target": {"apiVersion": "apps/v1", "kind": "Deployment", "name": spec.name},
                "kafka": {
                    "bootstrapServers": self.lab.kafka.bootstrap,
                    "topic": spec.name,
                    "consumerGroup": spec.name,
                },
                "latency": {
                    "prometheus": self.lab.prometheus.url,
                    "selector": f'app="{spec.name}"',
                    "window": "10s",
                },
                "objective": {"within": f"{spec.within * 1000:.0f}ms", "share": spec.share},
                "replicas": {
                    "min": 1,
                    "max": spec.most,
                    "serviceRate": f"{spec.service_rate:g}",
                    "serviceTime": f"{spec.service_time * 1000:.0f}ms",
                    "leadTime": f"{(spec.node_lead_time + spec.lead_time[1] + OVERHEAD) * 1000:.0f}ms",
                    "scaleInHold": f"{spec.scale_in_hold * 1000:.0f}ms",
                },
                **({} if spec.pool is None else {"gpu": {"pool": spec.pool, "perReplica": spec.gpus}}),
                "forecast": {
                    "step": f"{spec.step * 1000:.0f}ms",
                    "season": f"{spec.spike.every if spec.spike else 120.0:.0f}s",
                    "history": f"{spec.past:.0f}s",
                    "model": spec.model,
                },
                "mode": spec.mode,
            },
        }

    def _spawn(self, name: str, command: list[str]) -> None:
        log = self._folder / f"{name}.log"
        self._marks[name] = spawn(command, log=log, directory=self._folder)

    def _wait(self, name: str, is_so: Any) -> None:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and self.runs(name):
            with contextlib.suppress(requests.RequestException):
                if is_so():
                    return
            time.sleep(0.1)
        tail = self.log(name)[-2000:]
        raise LabError(f"the {name} of {self.spec.name} was not ready within {PATIENCE:.0f} s; its log ends:\n{tail}")

    def _kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        done = self.lab.kubernetes.run(*arguments, stdin=stdin)
        if done.code != 0:
            raise LabError(f"kubectl {arguments[0]} for {self.spec.name} failed: {done.output.strip()}")
        return done.output
