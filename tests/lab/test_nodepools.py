"""Node pools on real servers: Karpenter with its KWOK provider, the scheduler, the kinds of Cluster API."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from scaler.act.nodepools.capacity_buffer import KIND, VERSIONS
from scaler.act.nodepools.fields import Field, put
from scaler.act.nodepools.machines import FIRST
from scaler.act.nodepools.objects import ObjectRef, Objects
from scaler.act.nodepools.pools import ProviderPools
from scaler.act.nodepools.ports import Mark
from scaler.api.gpu_node_pool import GpuNodePool
from scaler.clock import SystemClock
from scaler.errors import Conflict, Forbidden, TargetError
from scaler.kube import Json, KubeClient, connect
from scaler.plan.observation import Freshness
from simulations.lab.karpenter import GPUS, POOL_LABEL, node_class, node_pool, whole_node
from simulations.lab.kwok import GPU
from simulations.lab.lab import Lab
from tests.lab.nodepool_world import ROOT, LabWorld, apply, buffer, machine_deployment, prepare, replaced
from tests.nodepools.conformance import PROVIDERS, NodePoolConformance, World, held, pool

pytestmark = pytest.mark.lab

LEAD = 4  # s from a node's being asked for to its being there
PATIENCE = 60.0  # s
NODE_POOLS = "/apis/karpenter.sh/v1/nodepools"
CLASSES = "/apis/karpenter.kwok.sh/v1alpha1/kwoknodeclasses"
OWN_POOLS = "/apis/lagcast.io/v1alpha1/gpunodepools"
FLEET = "namespaces/fleet"


class Clients(NamedTuple):
    lab: Lab
    admin: KubeClient
    ours: KubeClient  # with the rights of the providers' ClusterRoles, and no more


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    """A lab of its own, for Karpenter acts on everybody's pods."""
    folder = tmp_path_factory.mktemp("nodepools")
    running = Lab.up(folder / "lab", ["karpenter", "cluster-api"])
    try:
        ours = prepare(running, folder)
        admin = connect(Path(running.kubernetes.admin_kubeconfig))
        replaced(admin, CLASSES, node_class("gpu", LEAD))
        yield Clients(running, admin, ours)
    finally:
        running.down()


@pytest.fixture(scope="module")
def admin(clients: Clients) -> KubeClient:
    return clients.admin


@pytest.fixture
def pools(clients: Clients) -> ProviderPools:
    return ProviderPools(clients.ours, SystemClock())


class TestConformance(NodePoolConformance):
    @pytest.fixture(params=PROVIDERS)
    def world(self, request: pytest.FixtureRequest, clients: Clients) -> Iterator[World]:
        made = LabWorld(request.param, clients.ours)
        made.admin = clients.admin
        yield made
        made.cleared()


def eventually(what: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """What it returns, once that is true."""
    until = time.monotonic() + patience
    while not (said := what()):
        assert time.monotonic() < until, f"not within {patience:g} s"
        time.sleep(0.1)
    return said


def nodes(admin: KubeClient, node_pool: str) -> dict[str, Json]:
    """The Ready nodes of a pool with all their GPUs, that nobody is taking away."""
    query = {"labelSelector": f"{POOL_LABEL}={node_pool}"}
    listed = admin.get("/api/v1/nodes", "list nodes", query=query)["items"]
    return {n["metadata"]["name"]: n for n in listed if _ready(n) and not n["metadata"].get("deletionTimestamp")}


def _ready(item: Json) -> bool:
    conditions = item["status"].get("conditions") or []
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return ready and ("allocatable" not in item["status"] or item["status"]["allocatable"].get(GPU) == str(GPUS))


def pods(admin: KubeClient, app: str) -> list[Json]:
    listed: list[Json] = admin.get(f"/api/v1/{FLEET}/pods", "list pods", query={"labelSelector": f"app={app}"})["items"]
    return [item for item in listed if not item["metadata"].get("deletionTimestamp")]


def deployment(admin: KubeClient, name: str, replicas: int, **pod: Any) -> str:
    """Whole nodes' worth of pods; the path of their Deployment."""
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": whole_node(pod)}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    path = f"/apis/apps/v1/{FLEET}/deployments"
    replaced(admin, path, {"metadata": {"name": name}, "spec": spec})
    return f"{path}/{name}"


def delete(admin: KubeClient, *paths: str) -> None:
    for path in paths:
        assert admin.call("DELETE", path, body={"propagationPolicy": "Foreground"}).code in (200, 202, 404)


def gone(admin: KubeClient, name: str) -> bool:
    query = {"labelSelector": f"{POOL_LABEL}={name}"}
    return not admin.get("/api/v1/nodes", "list nodes", query=query)["items"]


def waits(items: list[Json]) -> list[float]:
    """Of pods that are Ready: s from created to scheduled."""
    found = []
    for item in items:
        (scheduled,) = [c for c in item["status"]["conditions"] if c["type"] == "PodScheduled"]
        times = (item["metadata"]["creationTimestamp"], scheduled["lastTransitionTime"])
        begin, end = (datetime.fromisoformat(text) for text in times)
        found.append((end - begin).total_seconds())
    return found


@pytest.fixture
def static(admin: KubeClient) -> Iterator[GpuNodePool]:
    """A static Karpenter NodePool of two nodes, which are there."""
    replaced(admin, NODE_POOLS, node_pool("h100-static", "gpu", 2))
    eventually(lambda: len(nodes(admin, "h100-static")) == 2)
    yield pool({"karpenter": {"nodePool": "h100-static"}}, "static")
    delete(admin, f"{NODE_POOLS}/h100-static")
    eventually(lambda: gone(admin, "h100-static"))


def test_a_static_pool_gets_its_nodes_and_gives_back_the_empty_one(
    admin: KubeClient, pools: ProviderPools, static: GpuNodePool
) -> None:
    began = time.monotonic()
    pools.write(static, 2, 4)
    assert pools.floor(static).value == 4
    assert len(eventually(lambda: len(nodes(admin, "h100-static")) == 4 and nodes(admin, "h100-static"))) == 4
    assert LEAD - 1 < time.monotonic() - began < LEAD + 20
    serving = deployment(admin, "serving", 3)
    eventually(lambda: sum(map(_ready, pods(admin, "serving"))) == 3)
    held = {item["spec"]["nodeName"]: item["metadata"]["uid"] for item in pods(admin, "serving")}
    pools.write(static, 4, 3)
    eventually(lambda: len(nodes(admin, "h100-static")) == 3)
    assert set(nodes(admin, "h100-static")) == set(held)
    assert {item["spec"]["nodeName"]: item["metadata"]["uid"] for item in pods(admin, "serving")} == held
    delete(admin, serving)


def test_a_pool_that_is_not_static_is_left_alone(admin: KubeClient, pools: ProviderPools) -> None:
    replaced(admin, NODE_POOLS, node_pool("dynamic", "gpu"))
    given = pool({"karpenter": {"nodePool": "dynamic"}})
    reading = pools.floor(given)
    assert (reading.value, reading.freshness) == (None, Freshness.ABSENT)
    with pytest.raises(TargetError, match="not static"):
        pools.write(given, 0, 2)
    delete(admin, f"{NODE_POOLS}/dynamic")


@pytest.fixture
def dynamic(admin: KubeClient) -> Iterator[str]:
    """A NodePool that makes nodes for pods and buffers; gone again afterwards, with its nodes."""
    replaced(admin, NODE_POOLS, node_pool("h100", "gpu"))
    yield "h100"
    delete(admin, f"{NODE_POOLS}/h100")
    eventually(lambda: gone(admin, "h100"))


def test_a_buffer_has_nodes_there_before_the_pods(admin: KubeClient, pools: ProviderPools, dynamic: str) -> None:
    template = {"metadata": {"name": "whole-node"}, "template": {"spec": whole_node()}}
    replaced(admin, f"/api/v1/{FLEET}/podtemplates", template)
    buffers = f"/apis/autoscaling.x-k8s.io/v1beta1/{FLEET}/capacitybuffers"
    replaced(admin, buffers, {**buffer("whole-node"), "metadata": {"name": "spare"}})
    given = pool({"capacityBuffer": {"namespace": "fleet", "name": "spare"}}, "spare")
    assert pools.floor(given).value == 0
    pools.write(given, 0, 2)
    eventually(lambda: len(nodes(admin, dynamic)) == 2)
    assert admin.get(f"{buffers}/spare", "look")["status"]["replicas"] == 2
    real = deployment(admin, "real", 2)
    pools.write(given, 2, 0)  # both nodes are busy now: the same two nodes in all
    eventually(lambda: sum(map(_ready, pods(admin, "real"))) == 2)
    assert max(waits(pods(admin, "real"))) < LEAD - 1  # s; they were there
    pools.release(held(given))
    delete(admin, real, f"{buffers}/spare")


def test_what_others_write_between_reading_and_patching(admin: KubeClient, clients: Clients) -> None:
    buffers = f"/apis/autoscaling.x-k8s.io/v1beta1/{FLEET}/capacitybuffers"
    replaced(admin, buffers, {**buffer("none"), "metadata": {"name": "raced"}})
    objects = Objects(clients.ours)
    field = Field(ObjectRef(VERSIONS, KIND, "fleet", "raced"), "/spec/replicas")
    merge = "application/merge-patch+json"

    def meanwhile(part: str, change: Json) -> Json:
        read = objects.read(field.ref)
        answer = admin.call("PATCH", f"{buffers}/raced{part}", body=change, content_type=merge)
        assert answer.ok, answer
        return read

    mark = Mark("GpuNodePool/raced", 2, 0, 0.0)
    read = meanwhile("", {"metadata": {"annotations": {"who": "ops"}}})
    with pytest.raises(Conflict):
        put(objects, field, read, 2, mark)
    read = meanwhile("/status", {"status": {"replicas": 7}})
    put(objects, field, read, 2, mark)
    read = meanwhile("", {"metadata": {"annotations": None}})
    with pytest.raises(Conflict):
        put(objects, field, read, 3, mark)
    read = meanwhile("/status", {"status": {"replicas": 8}})
    put(objects, field, read, 3, mark)
    assert objects.read(field.ref)["spec"]["replicas"] == 3
    delete(admin, f"{buffers}/raced")


def test_placeholders_make_room_at_once(admin: KubeClient, pools: ProviderPools, dynamic: str) -> None:
    held = deployment(admin, "held", 0, priorityClassName="gpu-placeholder", terminationGracePeriodSeconds=0)
    given = pool({"placeholderPods": {"namespace": "fleet", "name": "held"}}, "held")
    replaced(admin, OWN_POOLS, given.model_dump(mode="json", by_alias=True, exclude_none=True))
    pools.write(given, 0, 2)
    eventually(lambda: sum(map(_ready, pods(admin, "held"))) == 2)
    before = set(nodes(admin, dynamic))
    assert len(before) == 2
    real = deployment(admin, "real", 2)
    eventually(lambda: sum(map(_ready, pods(admin, "real"))) == 2)
    assert {item["spec"]["nodeName"] for item in pods(admin, "real")} == before  # preempted, and no node was waited for
    assert max(waits(pods(admin, "real"))) < LEAD - 1
    pools.write(given, 2, 0)
    assert admin.get(held, "look")["spec"]["replicas"] == 0
    delete(admin, real, held)


MACHINES = f"/apis/cluster.x-k8s.io/v1beta2/{FLEET}/machines"


def machine_set(admin: KubeClient) -> Json:
    """The MachineSet of the MachineDeployment h100, as a reference to an owner: Machines without one are collected."""
    kind = {"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "MachineSet"}
    asked = machine_deployment()["spec"]
    spec = {name: asked[name] for name in ("clusterName", "selector", "template")}
    replaced(admin, MACHINES.replace("machines", "machinesets"), {**kind, "metadata": {"name": "h100-1"}, "spec": spec})
    made = admin.get(f"{MACHINES.replace('machines', 'machinesets')}/h100-1", "look")["metadata"]
    return {**kind, "name": "h100-1", "uid": made["uid"], "controller": True}


def machine(admin: KubeClient, node: str, owner: Json) -> None:
    """A Machine of the MachineDeployment h100, whose node is ``node``."""
    labels = {"cluster.x-k8s.io/deployment-name": "h100"}
    metadata = {"name": f"m-{node}", "labels": labels, "ownerReferences": [owner]}
    machines = {"apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "Metal3Machine", "name": node}
    spec = {"clusterName": "inference", "bootstrap": {"dataSecretName": "s"}, "infrastructureRef": machines}
    kind = {"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Machine"}
    replaced(admin, MACHINES, {**kind, "metadata": metadata, "spec": spec})
    merge = "application/merge-patch+json"
    told = {"status": {"nodeRef": {"name": node}}}
    answer = admin.call("PATCH", f"{MACHINES}/m-{node}/status", body=told, content_type=merge)
    assert answer.ok, answer


def test_a_machine_deployment_is_lowered_by_the_machines_of_empty_nodes(clients: Clients) -> None:
    """As the controller's account may. Cluster API's controllers do not run: which Machine goes is theirs to choose."""
    admin = clients.admin
    world = LabWorld("machineDeployment", clients.ours)
    world.admin = admin
    made, owner = world.made(3), machine_set(admin)
    for node in "abc":
        machine(admin, node, owner)
    assert world.pools.single_out(made, ["b", "x"]).nodes == ("b",)
    assert [first_of(admin, node) for node in "abc"] == [None, "lagcast.io/h100", None]
    world.pools.write(made, 3, 2)
    assert world.number(made) == 2
    world.pools.write(made, 2, 2)
    assert first_of(admin, "b") == "lagcast.io/h100", "until Cluster API has chosen"
    delete(admin, f"{MACHINES}/m-a")  # two are left: it was another one
    world.pools.write(made, 2, 2)
    assert first_of(admin, "b") is None
    delete(admin, MACHINES.replace("machines", "machinesets") + "/h100-1")  # and its Machines with it
    world.cleared()


def first_of(admin: KubeClient, node: str) -> str | None:
    found = admin.get(f"{MACHINES}/m-{node}", "look")["metadata"].get("annotations") or {}
    return found.get(FIRST)


def test_placeholders_that_would_be_in_the_way_are_not_made(admin: KubeClient, pools: ProviderPools) -> None:
    held = deployment(admin, "plain", 0)
    given = pool({"placeholderPods": {"namespace": "fleet", "name": "plain"}}, "plain")
    replaced(admin, OWN_POOLS, given.model_dump(mode="json", by_alias=True, exclude_none=True))
    with pytest.raises(TargetError, match="of no PriorityClass"):
        pools.write(given, 0, 2)
    assert admin.get(held, "look")["spec"]["replicas"] == 0
    delete(admin, held)


def test_what_a_kinds_schema_refuses_is_said(clients: Clients) -> None:
    world = LabWorld("integerField", clients.ours)
    world.admin = clients.admin
    made = world.made(2)
    with pytest.raises(TargetError, match=r"less than or equal to 100|100"):
        world.pools.write(made, 2, 101)
    assert world.number(made) == 2
    assert world.noted(made) == {}
    world.cleared()


def test_the_account_may_nothing_else(clients: Clients) -> None:
    admin, ours = clients.admin, clients.ours
    world = LabWorld("placeholderPods", ours)
    world.admin = admin
    made = world.made(1)
    for path in (f"/apis/apps/v1/{FLEET}/deployments/h100", f"{NODE_POOLS}/h100"):
        answer = ours.call("PATCH", path, body={"spec": {}}, content_type="application/merge-patch+json")
        assert answer.code == 403
    secret = {
        "integerField": {"apiVersion": "v1", "kind": "Secret", "namespace": "fleet", "name": "s", "path": "/data/s"}
    }
    assert world.pools.floor(pool(secret)).value is None
    with pytest.raises(Forbidden):
        world.pools.write(pool(secret), 0, 1)
    assert world.pools.floor(made).value == 1
    world.cleared()


def test_the_examples_are_taken_by_the_real_kinds(clients: Clients) -> None:
    seen = set()
    for path in sorted((ROOT / "manifests" / "examples").glob("*node-pool*.yaml")):
        text = path.read_text(encoding="utf-8")
        apply(clients.lab, text, "--dry-run=server", "--force-conflicts", "--validate=strict")
        seen |= {item["kind"] for item in yaml.safe_load_all(text)}
    assert {"NodePool", "CapacityBuffer", "MachineDeployment", "PriorityClass", "GpuNodePool"} <= seen
