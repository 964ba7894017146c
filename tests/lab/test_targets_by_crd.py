"""Targets by their CRDs: a Rollout and a LeaderWorkerSet in Enforce, with the rights that are shipped and no more.

The Rollout's definition is Argo's own. That of LeaderWorkerSet comes with no module that can be fetched here: the one
below has its group, kind, fields and /scale. Their controllers are played: pods as they make them, and the status.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from simulations.lab.argo_rollouts import ARGO_ROLLOUTS
from simulations.lab.cluster_api import await_kinds, install_kinds
from simulations.lab.kwok import pod_annotations
from simulations.lab.lab import Lab
from simulations.lab.programs import build
from tests.lab.floors_world import Administrator
from tests.lab.test_bad_input import Feed
from tests.lab.test_crd_status import Cluster
from tests.lab.test_leader import Record
from tests.manifests.checked_in import ROOT

pytestmark = pytest.mark.lab

NAME = "by-crd"
SIZE = 3  # pods of a group
RIGHTS = str(ROOT / "manifests" / "base" / "targets.yaml")
SET, WORKER = "leaderworkerset.sigs.k8s.io/name", "leaderworkerset.sigs.k8s.io/worker-index"
Json = dict[str, Any]


def leader_worker_sets() -> Json:
    """The definition, as far as a target's matters."""
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    count = {"type": "integer", "format": "int32"}
    spec = {"replicas": {**count, "default": 1}, "leaderWorkerTemplate": free}
    status = {"replicas": count, "readyReplicas": count, "hpaPodSelector": {"type": "string"}}
    schema = {
        "type": "object",
        "properties": {
            "spec": {"type": "object", "required": ["leaderWorkerTemplate"], "properties": spec},
            "status": {"type": "object", "properties": status},
        },
    }
    scale = {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.hpaPodSelector",  # of the leaders
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}, "scale": scale},
    }
    names = {"kind": "LeaderWorkerSet", "plural": "leaderworkersets", "singular": "leaderworkerset"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "leaderworkersets.leaderworkerset.x-k8s.io"},
        "spec": {
            "group": "leaderworkerset.x-k8s.io",
            "scope": "Namespaced",
            "names": names,
            "versions": [version],
        },
    }


def template(labels: dict[str, str]) -> Json:
    containers = [{"name": "server", "image": "model-server"}]
    return {
        "metadata": {"labels": labels, "annotations": pod_annotations(0.5, 1.0)},
        "spec": {"containers": containers, "automountServiceAccountToken": False},
    }


def owned(kind: str, name: str, labels: dict[str, str], **spec: Any) -> Json:
    """What a controller makes for its pods; none are asked for yet."""
    spec |= {"replicas": 0, "selector": {"matchLabels": labels}, "template": template(labels)}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": "default"}, "spec": spec}


@dataclass(frozen=True)
class Kind:
    """One kind of target, its object, and how its controller is played."""

    version: str
    kind: str
    plural: str
    spec: Json
    selector: Json  # in the status, as its controller fills it in
    count: str  # where in the status the count is that /scale shows
    owned: tuple[tuple[Json, int], ...]  # what holds the pods, and how many of each to a replica

    @property
    def name(self) -> str:
        return f"{NAME}-{self.kind.lower()}"

    @property
    def path(self) -> str:
        return f"/apis/{self.version}/namespaces/default/{self.plural}/{self.name}"


def rollout() -> Kind:
    labels = {"app": f"{NAME}-rollout"}
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": labels},
        "template": template(labels),
        "strategy": {"canary": {}},
    }
    pods = owned("ReplicaSet", f"{NAME}-rollout-5f", labels | {"rollouts-pod-template-hash": "5f"})
    selector = {"selector": f"app={NAME}-rollout"}
    return Kind("argoproj.io/v1alpha1", "Rollout", "rollouts", spec, selector, "HPAReplicas", ((pods, 1),))


def groups() -> Kind:
    name = f"{NAME}-leaderworkerset"
    spec = {"replicas": 1, "leaderWorkerTemplate": {"size": SIZE, "workerTemplate": template({})}}
    more = {"serviceName": name, "podManagementPolicy": "Parallel"}
    leaders = owned("StatefulSet", name, {SET: name, WORKER: "0"}, **more)
    workers = owned("StatefulSet", f"{name}-0", {SET: name, WORKER: "1"}, **more)
    selector = {"hpaPodSelector": f"{SET}={name},{WORKER}=0"}
    pods = ((leaders, 1), (workers, SIZE - 1))
    return Kind("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", "leaderworkersets", spec, selector, "replicas", pods)


KINDS = (rollout(), groups())
ALL = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)


class Stage:
    """The controller in its account, a topic with load, and two targets."""

    def __init__(self, lab: Lab, admin: Administrator, folder: Path) -> None:
        self.lab, self.admin = lab, admin
        self.record = Record(lab.kubernetes.audit_log)
        self.cluster = Cluster(lab, folder)
        kafka = {"bootstrapServers": lab.kafka.bootstrap, "topic": NAME, "consumerGroup": NAME}
        for kind in KINDS:
            target = {"apiVersion": kind.version, "kind": kind.kind, "name": kind.name}
            self.cluster.declare(kind.name, mode="Enforce", target=target, kafka=kafka)

    def count(self, kind: Kind) -> int:
        return int(self.admin.get(kind.path)["spec"]["replicas"])

    def play(self, kind: Kind) -> None:
        """Its controller's turn."""
        count = self.count(kind)
        for made, each in kind.owned:
            resource = f"{made['kind'].lower()}/{made['metadata']['name']}"
            self.admin.kubectl("scale", resource, f"--replicas={count * each}")
        self.admin.merge(f"{kind.path}/status", {"status": {**kind.selector, kind.count: count}})

    def ready(self, kind: Kind) -> tuple[str, str]:
        return self.cluster.condition(kind.name, "Ready")

    def until_not_ready(self, kind: Kind, reason: str) -> None:
        self.cluster.until(lambda: self.ready(kind) == ("False", reason), f"{kind.kind}: {reason}")

    def message(self, kind: Kind) -> str:
        conditions = self.cluster.status(kind.name)["conditions"]
        return next(str(one["message"]) for one in conditions if one["type"] == "Ready")

    def row(self, kind: Kind) -> Json:
        rows: list[Json] = requests.get(f"{self.cluster.url}/status", timeout=5).json()
        return next(row for row in rows if row["name"] == kind.name)


@pytest.fixture(scope="module")
def stage(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    admin = Administrator(lab)
    feed = Feed(lab.kafka.bootstrap, NAME)
    build(ARGO_ROLLOUTS)
    admin.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(leader_worker_sets()))
    admin.kubectl("apply", "--server-side", "-f", str(ROOT / "manifests" / "crd"))
    install_kinds(lab.directory, ARGO_ROLLOUTS)
    definitions = [f"{kind.plural}.{kind.version.partition('/')[0]}" for kind in KINDS]
    await_kinds(lab.directory, *definitions, "predictivescalers.lagcast.io")
    nodes = [f"node/{name}" for name in lab.kwok.add_nodes(1, 1, prefix=NAME)]
    items = [made for kind in KINDS for made, _ in kind.owned]
    for kind in KINDS:
        metadata = {"name": kind.name, "namespace": "default"}
        items.append({"apiVersion": kind.version, "kind": kind.kind, "metadata": metadata, "spec": kind.spec})
    admin.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    lab.kubernetes.run("delete", "-f", RIGHTS, "--ignore-not-found")  # other tests install all there is
    feed.make(10)
    feed.start()
    made = Stage(lab, admin, tmp_path_factory.mktemp(NAME))
    try:
        yield made
    finally:
        made.cluster.close()
        feed.stop()
        scalers = [f"predictivescaler/{kind.name}" for kind in KINDS]
        pods = [f"{item['kind'].lower()}/{item['metadata']['name']}" for kind in KINDS for item, _ in kind.owned]
        crds = [f"crd/{name}" for name in definitions]
        lab.kubernetes.run("delete", *scalers, *pods, *nodes, *crds, "--ignore-not-found", "--wait=false")
        lab.kubernetes.run("delete", "-f", RIGHTS, "--ignore-not-found")
        admin.client.close()


def test_without_its_role_a_kind_is_not_written_and_the_right_is_named(stage: Stage) -> None:
    for kind in KINDS:
        stage.until_not_ready(kind, "Forbidden")
        assert f"{kind.plural}/scale" in stage.message(kind)
        assert stage.count(kind) == 1


def test_a_kind_whose_controller_names_no_pods_yet_is_not_written(stage: Stage) -> None:
    stage.admin.kubectl("apply", "--server-side", "-f", RIGHTS)
    for kind in KINDS:
        stage.until_not_ready(kind, "TargetWithoutScale")
        assert "labelSelectorPath" in stage.message(kind)
        assert stage.count(kind) == 1


@ALL
def test_it_is_scaled_through_scale_and_its_pods_are_found_by_its_own_selector(stage: Stage, kind: Kind) -> None:
    stage.play(kind)
    stage.cluster.until(lambda: stage.count(kind) >= 4, "8 requests/s at 2 a replica need four")
    stage.cluster.until(lambda: stage.ready(kind)[0] == "True", "all is well")

    def served() -> bool:
        stage.play(kind)
        numbers = stage.row(kind)["numbers"]
        return bool(numbers["ready"] == stage.count(kind) and numbers["pending"] == 0)

    stage.cluster.until(served, "each replica is one pod, of a group its leader")
    stage.cluster.until(
        lambda: stage.row(kind)["inputs"]["kubernetes"]["detail"] == "", "its changes are watched, not asked for"
    )
    fields = stage.admin.get(kind.path)["metadata"]["managedFields"]
    (ours,) = (one for one in fields if one["manager"] == "lagcast")
    assert ours["subresource"] == "scale"
    assert ours["fieldsV1"] == {"f:spec": {"f:replicas": {}}}


def test_nothing_else_of_them_was_changed(stage: Stage) -> None:
    time.sleep(1.0)  # two more ticks
    groups = {kind.version.partition("/")[0] for kind in KINDS}
    refs = [line["objectRef"] | {"verb": line["verb"]} for line in stage.record.lines()]
    changed = {(ref["verb"], ref["resource"], ref.get("subresource")) for ref in refs if ref.get("apiGroup") in groups}
    assert changed == {("patch", kind.plural, "scale") for kind in KINDS}
    log = stage.cluster.log.read_text(encoding="utf-8")
    for word in ("Traceback", "please report it"):
        assert word not in log
