"""Real HPAs on scripted external metrics, several side by side: what each of their syncs saw, and what it wrote.

The Deployments' pods are never scheduled: an HPA on an average value needs only their number. Values are handed out by
the number of the sync, not by the clock, so that a slow machine changes when things happen and not what happens.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaler.kube import Json
from simulations.lab import interrupts
from simulations.lab.errors import LabError
from simulations.lab.external_metrics import ExternalMetrics, Fault
from simulations.lab.lab import Lab
from simulations.lab.replica_watch import ReplicaWatch

PATIENCE = 60.0  # s for the Deployments to have their pods
SLOW = 4.0  # times the time that the syncs should take, until it is given up
LABEL = "hpa-run"


@dataclass(frozen=True, slots=True)
class Metric:
    """An external metric of type AverageValue: its target, and its value at each sync, both in whole units."""

    target: int
    values: tuple[int | Fault, ...]


@dataclass(frozen=True, slots=True)
class Script:
    """One HPA on one Deployment. ``behavior`` is the HPA's own field, in the API's words; None: it has none."""

    name: str
    metrics: tuple[Metric, ...]
    replicas: int = 1  # at the start
    least: int = 1
    most: int = 20
    behavior: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        lengths = {len(metric.values) for metric in self.metrics}
        if len(lengths) != 1:
            raise ValueError(f"{self.name}: its metrics have {sorted(lengths)} values; allowed: all as many")

    @property
    def syncs(self) -> int:
        return len(self.metrics[0].values)


@dataclass(frozen=True, slots=True)
class Sync:
    """One sync of the real HPA."""

    at: float  # unix s, when it asked for the first metric
    answers: tuple[int | Fault, ...]  # whole units, one for each metric
    current: int  # spec.replicas as it began
    existing: int  # status.replicas as it began
    after: int  # spec.replicas as the next one began


def run_scripts(lab: Lab, scripts: Sequence[Script], sync: float) -> dict[str, list[Sync]]:
    """Run all ``scripts`` at once under the lab's controller manager, which syncs every ``sync`` s; syncs by script.

    Raises LabError when the API server refuses something, or when the HPAs do not ask as often as they should.
    """
    metrics = {f"{s.name}-{n}": metric for s in scripts for n, metric in enumerate(s.metrics)}

    def answer(name: str, asked: int) -> int | Fault:
        values = metrics[name].values
        value = values[min(asked, len(values) - 1)]
        return value if isinstance(value, Fault) else value * 1000

    kubeconfig = Path(lab.kubernetes.admin_kubeconfig)
    try:
        with ReplicaWatch(kubeconfig, LABEL) as counts, ExternalMetrics(lab.directory, answer) as server:
            _apply(lab, [_deployment(script) for script in scripts])

            def settled() -> bool:
                return all(counts.newest(s.name) == (s.replicas, s.replicas) for s in scripts)

            _until(settled, PATIENCE, "the Deployments have no pods")
            _apply(lab, [_autoscaler(script) for script in scripts])
            longest = max(script.syncs for script in scripts)
            wanted = {f"{script.name}-0": script.syncs + 1 for script in scripts}

            def done() -> bool:
                asked = [each.metric for each in server.asked()]
                return all(asked.count(name) >= count for name, count in wanted.items())

            _until(done, (longest + 1) * sync * SLOW, "the HPAs did not ask often enough")
            return {script.name: _syncs(script, server, counts) for script in scripts}
    finally:
        lab.kubernetes.run("delete", "hpa,deployment", "-l", LABEL, "--wait=false")


def _syncs(script: Script, server: ExternalMetrics, counts: ReplicaWatch) -> list[Sync]:
    asked = server.asked()
    by_metric = [[each for each in asked if each.metric == f"{script.name}-{n}"] for n in range(len(script.metrics))]
    syncs = []
    for number in range(script.syncs):
        at, following = by_metric[0][number].at, by_metric[0][number + 1].at
        current, existing = counts.at(script.name, at)
        answers = tuple(
            each.answer if isinstance(each.answer, Fault) else each.answer // 1000
            for each in (requests[number] for requests in by_metric)
        )
        syncs.append(Sync(at, answers, current, existing, counts.at(script.name, following)[0]))
    return syncs


def _deployment(script: Script) -> Json:
    labels = {"app": script.name, LABEL: ""}
    pod = {"schedulerName": "nobody", "containers": [{"name": "server", "image": "model-server"}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": script.name, "namespace": "default", "labels": labels},
        "spec": {
            "replicas": script.replicas,
            "selector": {"matchLabels": {"app": script.name}},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def _autoscaler(script: Script) -> Json:
    def metric(number: int, one: Metric) -> Json:
        target = {"type": "AverageValue", "averageValue": str(one.target)}
        return {"type": "External", "external": {"metric": {"name": f"{script.name}-{number}"}, "target": target}}

    spec: Json = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": script.name},
        "minReplicas": script.least,
        "maxReplicas": script.most,
        "metrics": [metric(number, one) for number, one in enumerate(script.metrics)],
    }
    if script.behavior is not None:
        spec["behavior"] = dict(script.behavior)
    about = {"name": script.name, "namespace": "default", "labels": {LABEL: ""}}
    return {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": about, "spec": spec}


def _apply(lab: Lab, objects: Sequence[Json]) -> None:
    done = lab.kubernetes.run(
        "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    )
    if done.code != 0:
        raise LabError(f"a script was refused: {done.output.strip()}")


def _until(is_so: Callable[[], bool], patience: float, what: str) -> None:
    until = time.monotonic() + patience
    while not is_so():
        if time.monotonic() > until:
            raise LabError(f"{what} within {patience:.0f} s; see the log of kube-controller-manager")
        interrupts.pause(0.2)
