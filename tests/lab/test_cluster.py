"""The Kubernetes adapters against a real API server, with KWOK's nodes and pods."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scaler.act.events import EventLimits, EventRecorder
from scaler.act.replicas import ScaleWriter
from scaler.clock import SystemClock
from scaler.errors import Conflict, Forbidden, TargetWithoutScale, Unreachable
from scaler.kube import KubeClient, connect
from scaler.observe.cluster import KubernetesCluster
from scaler.observe.ports import TargetRef
from scaler.plan.observation import Freshness
from scaler.plan.reasons import Reason
from simulations.lab.kwok import pod_annotations
from tests.cluster.conformance import NAMES, ClusterConformance, Told, World
from tests.lab.rights import await_rights

pytestmark = pytest.mark.lab

NAMESPACE = "cluster-tests"
LEAD = 3.0  # s
GROUP = "tests.lagcast.io"


class Administrator:
    """Makes and changes objects with all rights."""

    def __init__(self, lab: Any) -> None:
        self.lab = lab
        self.client = connect(Path(lab.kubernetes.admin_kubeconfig))

    def make(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = self.client.call("POST", path, body=body)
        assert answer.ok or answer.code == 409, answer
        return answer.body

    def merge(self, path: str, body: dict[str, Any]) -> None:
        query = {"fieldManager": "kubectl"}
        answer = self.client.call("PATCH", path, query=query, body=body, content_type="application/merge-patch+json")
        assert answer.ok, answer

    def delete(self, path: str) -> None:
        answer = self.client.call("DELETE", path, body={"propagationPolicy": "Background"})
        assert answer.ok or answer.code == 404, answer

    def get(self, path: str, **query: str) -> dict[str, Any]:
        return self.client.get(path, f"read {path}", query=query)

    def deploy(self, name: str, replicas: int) -> TargetRef:
        labels = {"app": name}
        resources = {"requests": {"cpu": "10m"}}
        spec = {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": pod_annotations(LEAD)},
                "spec": {
                    "containers": [{"name": "worker", "image": "worker", "resources": resources}],
                    "automountServiceAccountToken": False,
                },
            },
        }
        path = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
        self.make(path, {"kind": "Deployment", "metadata": {"name": name}, "spec": spec})
        return TargetRef("apps/v1", "Deployment", NAMESPACE, name)

    def crd(self, kind: str, subresources: dict[str, Any]) -> None:
        plural = f"{kind.lower()}s"
        schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        version = {
            "name": "v1",
            "served": True,
            "storage": True,
            "schema": {"openAPIV3Schema": schema},
            "subresources": subresources,
        }
        names = {"kind": kind, "plural": plural, "singular": kind.lower()}
        spec = {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]}
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        self.make(path, {"kind": "CustomResourceDefinition", "metadata": {"name": f"{plural}.{GROUP}"}, "spec": spec})
        end = time.time() + 20
        while not self.client.call("GET", f"/apis/{GROUP}/v1/namespaces/{NAMESPACE}/{plural}").ok:
            assert time.time() < end
            time.sleep(0.1)

    def custom(self, kind: str, name: str, **content: Any) -> TargetRef:
        path = f"/apis/{GROUP}/v1/namespaces/{NAMESPACE}/{kind.lower()}s"
        body = {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": {"name": name}, **content}
        self.make(path, body)
        return TargetRef(f"{GROUP}/v1", kind, NAMESPACE, name)

    def account(self, folder: Path, name: str, rules: list[dict[str, Any]]) -> KubeClient:
        """A client with the rights of ``rules`` in the namespace, and no more."""
        path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
        self.make(path, {"metadata": {"name": name}})
        if rules:
            rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}"
            self.make(f"{rbac}/roles", {"metadata": {"name": name}, "rules": rules})
            role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
            subjects = [{"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}]
            self.make(f"{rbac}/rolebindings", {"metadata": {"name": name}, "roleRef": role, "subjects": subjects})
            await_rights(self.client, f"{NAMESPACE}:{name}", rules, NAMESPACE)
        token = self.make(f"{path}/{name}/token", {"spec": {}})["status"]["token"]
        import yaml

        config = yaml.safe_load(Path(self.lab.kubernetes.admin_kubeconfig).read_text())
        config["users"][0]["user"] = {"token": token}
        file = folder / f"{name}.kubeconfig"
        file.write_text(json.dumps(config))
        return connect(file)


def our_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith(("watch ", "scale"))]


@pytest.fixture(scope="module")
def admin(lab: Any) -> Iterator[Administrator]:
    administrator = Administrator(lab)
    administrator.make("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    lab.kwok.add_nodes(2, 1, prefix="cluster-tests")
    yield administrator
    deployments = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
    for item in administrator.get(deployments)["items"]:
        administrator.delete(f"{deployments}/{item['metadata']['name']}")
    administrator.client.close()


class LabWorld(World):
    lead = LEAD
    tick = 0.2
    patience = 60.0

    def __init__(self, admin: Administrator, folder: Path) -> None:
        self.admin = admin
        self.folder = folder
        self.clock = SystemClock()
        self.sources: list[KubernetesCluster] = []
        self.act_as(connect(Path(admin.lab.kubernetes.controller_kubeconfig)))

    def act_as(self, client: KubeClient) -> None:
        self.source = KubernetesCluster(client, self.clock)
        self.sources.append(self.source)
        self.writer = ScaleWriter(client)
        self.events = EventRecorder(client, "tests")

    def now(self) -> float:
        return self.clock.now()

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)

    def deploy(self, replicas: int) -> TargetRef:
        return self.admin.deploy(f"chat-{next(NAMES)}-{int(time.time())}", replicas)

    def missing(self) -> TargetRef:
        return TargetRef("apps/v1", "Deployment", NAMESPACE, "nowhere")

    def without_scale(self) -> TargetRef:
        self.admin.make(f"/api/v1/namespaces/{NAMESPACE}/configmaps", {"metadata": {"name": "settings"}})
        return TargetRef("v1", "ConfigMap", NAMESPACE, "settings")

    def path(self, target: TargetRef) -> str:
        return self.admin.client.object_path(target)

    def set_replicas(self, target: TargetRef, replicas: int) -> None:
        self.admin.merge(f"{self.path(target)}/scale", {"spec": {"replicas": replicas}})

    def own(self, target: TargetRef, autoscaler: str) -> None:
        ref = {"apiVersion": target.api_version, "kind": target.kind, "name": target.name}
        spec = {"scaleTargetRef": ref, "minReplicas": 1, "maxReplicas": 9}  # without metrics it leaves the count alone
        path = f"/apis/autoscaling/v2/namespaces/{NAMESPACE}/horizontalpodautoscalers"
        self.admin.make(path, {"metadata": {"name": autoscaler}, "spec": spec})

    def roll(self, target: TargetRef) -> None:
        annotations = {"restarted": str(time.time())}
        self.admin.merge(self.path(target), {"spec": {"template": {"metadata": {"annotations": annotations}}}})

    def remove(self, target: TargetRef) -> None:
        self.admin.delete(self.path(target))

    def stop(self) -> None:
        self.admin.lab.kubernetes.stop()

    def start(self) -> None:
        self.admin.lab.kubernetes.start()

    def refuse(self) -> None:
        self.act_as(self.admin.account(self.folder, "nobody", []))

    def told(self, target: TargetRef) -> list[Told]:
        """As kubectl describe finds them: by the target's uid."""
        uid = self.admin.get(self.path(target))["metadata"]["uid"]
        path = f"/api/v1/namespaces/{NAMESPACE}/events"
        selector = f"involvedObject.uid={uid},reportingComponent=lagcast.io/controller"
        return [
            Told(e["reason"], e["message"], e["type"] == "Warning", (e.get("series") or {}).get("count", 1))
            for e in self.admin.get(path, fieldSelector=selector)["items"]
        ]

    def close(self) -> None:
        for source in self.sources:
            source.close()


@pytest.fixture
def world(admin: Administrator, tmp_path: Path) -> Iterator[LabWorld]:
    made = LabWorld(admin, tmp_path)
    yield made
    began = time.monotonic()
    made.close()
    assert time.monotonic() - began < 1.0
    assert our_threads() == []


class TestRealCluster(ClusterConformance):
    @pytest.fixture
    def world(self, admin: Administrator, tmp_path: Path) -> Iterator[World]:
        made = LabWorld(admin, tmp_path)
        yield made
        made.close()
        assert our_threads() == []


LOOK_FOR_OWNERS = {"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": ["list"]}
SCALE_RIGHTS = [
    LOOK_FOR_OWNERS,
    {"apiGroups": [GROUP], "resources": ["fleets/scale"], "verbs": ["get", "patch"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
]


def test_a_custom_resource_with_scale(admin: Administrator, world: LabWorld, tmp_path: Path) -> None:
    scale = {
        "specReplicasPath": ".spec.size",
        "statusReplicasPath": ".status.size",
        "labelSelectorPath": ".status.selector",
    }
    admin.crd("Fleet", {"status": {}, "scale": scale})
    client = admin.account(tmp_path, "fleet-scaler", SCALE_RIGHTS)
    world.act_as(client)
    fleet = admin.custom("Fleet", f"ships-{next(NAMES)}-{int(time.time())}", spec={"size": 0})

    reading = world.read(fleet)
    assert (reading.value, reading.freshness) == (None, Freshness.ABSENT)
    assert "labelSelectorPath" in reading.detail

    admin.merge(f"{world.path(fleet)}/status", {"status": {"size": 0, "selector": f"app={fleet.name}"}})
    assert world.state(fleet).desired == 0
    world.writer.write(fleet, 0, 2)
    assert admin.get(world.path(fleet))["spec"] == {"size": 2}
    with pytest.raises(Conflict, match="2 replicas"):
        world.writer.write(fleet, 0, 1)

    for number in range(2):
        pod = {
            "metadata": {"name": f"{fleet.name}-{number}", "labels": {"app": fleet.name}},
            "spec": {
                "containers": [{"name": "worker", "image": "worker"}],
                "automountServiceAccountToken": False,
            },
        }
        pod["metadata"]["annotations"] = pod_annotations(LEAD)
        admin.make(f"/api/v1/namespaces/{NAMESPACE}/pods", pod)
    state = world.until(fleet, lambda s: s.ready == 2)
    assert state.template
    assert not state.updating
    for number in range(2):
        admin.delete(f"/api/v1/namespaces/{NAMESPACE}/pods/{fleet.name}-{number}")
    world.until(fleet, lambda s: s.ready == 0)


def test_a_custom_resource_without_scale(admin: Administrator, world: LabWorld) -> None:
    admin.crd("Raft", {"status": {}})
    raft = admin.custom("Raft", "wood", spec={"size": 1})
    reading = world.read(raft)
    assert (reading.freshness, reading.reason) == (Freshness.ABSENT, Reason.TARGET_WITHOUT_SCALE)
    with pytest.raises(TargetWithoutScale, match="Raft cluster-tests/wood"):
        world.writer.write(raft, 1, 2)


def test_a_kind_that_nobody_serves(world: LabWorld) -> None:
    reading = world.read(TargetRef("nowhere.io/v1", "Ghost", NAMESPACE, "boo"))
    assert (reading.freshness, reading.reason) == (Freshness.ABSENT, Reason.TARGET_NOT_FOUND)
    assert "CRD" in reading.detail


def test_a_stateful_set(admin: Administrator, world: LabWorld) -> None:
    name = f"state-{next(NAMES)}-{int(time.time())}"
    template = {
        "metadata": {"labels": {"app": name}, "annotations": pod_annotations(0.5)},
        "spec": {"containers": [{"name": "worker", "image": "worker"}], "automountServiceAccountToken": False},
    }
    spec = {"replicas": 1, "serviceName": name, "selector": {"matchLabels": {"app": name}}, "template": template}
    path = f"/apis/apps/v1/namespaces/{NAMESPACE}/statefulsets"
    admin.make(path, {"kind": "StatefulSet", "metadata": {"name": name}, "spec": spec})
    target = TargetRef("apps/v1", "StatefulSet", NAMESPACE, name)
    world.until(target, lambda s: s.ready == 1)
    world.writer.write(target, 1, 2)
    world.until(target, lambda s: s.ready == 2)
    admin.delete(f"{path}/{name}")


def test_pods_that_may_not_be_listed(admin: Administrator, world: LabWorld, tmp_path: Path) -> None:
    rights = [LOOK_FOR_OWNERS, {"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["get"]}]
    world.act_as(admin.account(tmp_path, "half", rights))
    target = world.deploy(1)
    reading = world.read(target)
    assert (reading.freshness, reading.reason) == (Freshness.ERROR, Reason.FORBIDDEN)
    assert "pods" in reading.detail
    with pytest.raises(Forbidden, match="patch"):
        world.writer.write(target, 1, 2)


def test_an_event_said_again_is_counted(world: LabWorld) -> None:
    target = world.ready(0)
    for repeat in range(3):
        world.events.event(target, "InputStale", "held at 4", warning=True, now=world.now() + repeat)
    assert world.told(target) == [Told("InputStale", "held at 4", True, 3)]
    world.events.event(target, "InputStale", "held at 4", warning=True, now=world.now() + 700.0)
    assert sorted(t.count for t in world.told(target)) == [1, 3]


def test_an_event_that_expired_on_the_server_is_made_anew(admin: Administrator, world: LabWorld) -> None:
    target = world.ready(0)
    world.events.event(target, "InputStale", "held at 4", warning=True, now=world.now())
    for item in admin.get(f"/api/v1/namespaces/{NAMESPACE}/events")["items"]:
        if item["involvedObject"]["name"] == target.name:
            admin.delete(f"/api/v1/namespaces/{NAMESPACE}/events/{item['metadata']['name']}")
    world.events.event(target, "InputStale", "held at 4", warning=True, now=world.now() + 1.0)
    assert world.told(target) == [Told("InputStale", "held at 4", True, 1)]


def test_too_many_events_are_dropped(admin: Administrator, world: LabWorld) -> None:
    target = world.ready(0)
    client = connect(Path(admin.lab.kubernetes.controller_kubeconfig))
    events = EventRecorder(client, "tests", EventLimits(burst=3))
    for number in range(6):
        events.event(target, "Applied", f"{number} -> {number + 1}", warning=False, now=1000.0)
    assert len(world.told(target)) == 3
    client.close()


def test_a_long_event_is_cut(world: LabWorld) -> None:
    target = world.ready(0)
    world.events.event(target, "Applied", "é" * 5000, warning=False, now=world.now())
    (told,) = world.told(target)
    assert told.message == "é" * 510 + "…"  # 1024 bytes are allowed


def test_fifty_targets_are_sampled_in_one_pass(world: LabWorld) -> None:
    targets = [world.deploy(0) for _ in range(50)]
    first = world.source.sample(world.now(), targets)
    assert all(reading.fresh for reading in first.values())
    began = time.monotonic()
    again = world.source.sample(world.now(), targets)
    assert time.monotonic() - began < 1.0
    assert all(reading.fresh for reading in again.values())
    for target in targets:
        world.remove(target)


def test_an_api_server_that_hangs_holds_nobody_up(admin: Administrator, world: LabWorld) -> None:
    """Connections stay open and nobody answers: what a lost network or an overloaded server looks like."""
    target = world.ready(2)
    before = world.read(target)
    (process,) = (line.pid for line in admin.lab.status() if line.server == "kube-apiserver")
    os.kill(process, signal.SIGSTOP)
    try:
        for _ in range(2):
            began = time.monotonic()
            reading = world.read(target)
            assert time.monotonic() - began < 5.5  # the client's limit for one request
            assert (reading.value, reading.time, reading.freshness) == (before.value, before.time, Freshness.STALE)
        with pytest.raises(Unreachable):
            world.writer.write(target, 2, 3)
        began = time.monotonic()
        world.events.event(target, "Applied", "2 -> 3", warning=False, now=world.now())
        world.events.event(target, "Applied", "2 -> 4", warning=False, now=world.now())
        assert time.monotonic() - began < 7.5  # the second one is not even tried
    finally:
        os.kill(process, signal.SIGCONT)
    until = time.monotonic() + 4.5  # two ticks of 2 s
    while not (reading := world.read(target)).fresh:
        assert time.monotonic() < until, reading
        time.sleep(2.0)
    # The write may have been done although nobody heard of it: the count tells, and the next write tests it.
    assert reading.value is not None
    assert reading.value.desired in (2, 3)
