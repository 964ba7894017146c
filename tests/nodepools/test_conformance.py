"""Every provider, on an API server in the process."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from scaler.api.gpu_node_pool import GpuNodePool
from scaler.kube import Json
from tests.nodepools.conformance import PROVIDERS, NodePoolConformance, World, pool
from tests.nodepools.fake_api import FakeApi

MIN = "cluster.x-k8s.io/cluster-api-autoscaler-node-group-min-size"
MAX = "cluster.x-k8s.io/cluster-api-autoscaler-node-group-max-size"
KINDS = {
    "lagcast.io/v1alpha1": (("gpunodepools", "GpuNodePool", False),),
    "karpenter.sh/v1": (("nodepools", "NodePool", False),),
    "autoscaling.x-k8s.io/v1alpha1": (("capacitybuffers", "CapacityBuffer", True),),
    "cluster.x-k8s.io/v1beta2": (("machinedeployments", "MachineDeployment", True), ("machines", "Machine", True)),
    "apps/v1": (("deployments", "Deployment", True),),
    "eks.services.k8s.aws/v1alpha1": (("nodegroups", "Nodegroup", True),),
}


@dataclasses.dataclass(frozen=True)
class Kept:
    """Where a provider's object is kept, what it is like, and which number is the one."""

    path: str  # without the name
    declared: Json  # in the GpuNodePool; the name is put in
    item: Json
    way: tuple[str, ...]


MACHINES = "/apis/cluster.x-k8s.io/v1beta2/namespaces/fleet/machinedeployments"
OBJECTS: dict[str, Kept] = {
    "karpenter": Kept(
        "/apis/karpenter.sh/v1/nodepools", {"karpenter": {"nodePool": "NAME"}}, {"spec": {}}, ("spec", "replicas")
    ),
    "capacityBuffer": Kept(
        "/apis/autoscaling.x-k8s.io/v1alpha1/namespaces/fleet/capacitybuffers",
        {"capacityBuffer": {"namespace": "fleet", "name": "NAME"}},
        {"spec": {"podTemplateRef": {"name": "gpu"}}},
        ("spec", "replicas"),
    ),
    "machineDeployment": Kept(
        MACHINES, {"machineDeployment": {"namespace": "fleet", "name": "NAME"}}, {"spec": {}}, ("spec", "replicas")
    ),
    "machineDeployment autoscaled": Kept(
        MACHINES,
        {"machineDeployment": {"namespace": "fleet", "name": "NAME", "autoscaled": True}},
        {"metadata": {"annotations": {MIN: "0", MAX: "9"}}, "spec": {"replicas": 1}},
        ("metadata", "annotations", MIN),
    ),
    "placeholderPods": Kept(
        "/apis/apps/v1/namespaces/fleet/deployments",
        {"placeholderPods": {"namespace": "fleet", "name": "NAME"}},
        {"spec": {"template": {"spec": {"priorityClassName": "placeholder"}}}},
        ("spec", "replicas"),
    ),
    "integerField": Kept(
        "/apis/eks.services.k8s.aws/v1alpha1/namespaces/fleet/nodegroups",
        {
            "integerField": {
                "apiVersion": "eks.services.k8s.aws/v1alpha1",
                "kind": "Nodegroup",
                "namespace": "fleet",
                "name": "NAME",
                "path": "/spec/scalingConfig/minSize",
            }
        },
        {"metadata": {"annotations": {"who": "ops"}}, "spec": {"scalingConfig": {}}},
        ("spec", "scalingConfig", "minSize"),
    ),
}


class FakeWorld(World):
    kube: FakeApi

    @property
    def kept(self) -> Kept:
        return OBJECTS[self.provider]

    def declared(self, name: str) -> dict[str, Any]:
        (field, values), *_ = self.kept.declared.items()
        return {field: {key: name if value == "NAME" else value for key, value in values.items()}}

    def made(self, number: int, name: str = "h100") -> GpuNodePool:
        item = _copied(self.kept.item)
        *way, last = self.kept.way
        _inner(item, way)[last] = str(number) if last == MIN else number
        self.kube.put(f"{self.kept.path}/{name}", item)
        return self._pool(name, name)

    def missing(self) -> GpuNodePool:
        return self._pool("h100", "nobody")

    def another(self, pool: GpuNodePool) -> GpuNodePool:
        return self._pool("h200", pool.metadata.name)

    def number(self, pool: GpuNodePool) -> int:
        *way, last = self.kept.way
        return int(_inner(self.item(pool), way)[last])

    def change(self, pool: GpuNodePool, number: int) -> None:
        *way, last = self.kept.way
        _inner(self.item(pool), way)[last] = str(number) if last == MIN else number

    def noted(self, pool: GpuNodePool) -> dict[str, str]:
        own = self.provider == "placeholderPods"
        item = self.kube.objects[f"{_POOLS}/{pool.metadata.name}"] if own else self.item(pool)
        return dict(item["metadata"].get("annotations", {}))

    def item(self, pool: GpuNodePool) -> Json:
        return self.kube.objects[f"{self.kept.path}/{pool.metadata.name}"]

    def _pool(self, name: str, item: str) -> GpuNodePool:
        provider = self.declared(item)
        self.kube.put(f"{_POOLS}/{name}", {"spec": {"provider": provider}})
        return pool(provider, name)


_POOLS = "/apis/lagcast.io/v1alpha1/gpunodepools"


def _copied(item: Json) -> Json:
    return {key: _copied(value) if isinstance(value, dict) else value for key, value in item.items()}


def _inner(item: Json, way: list[str]) -> Json:
    for part in way:
        item = item.setdefault(part, {})
    return item


def fake(provider: str) -> FakeWorld:
    """A server with the objects of one provider, and the placeholders' PriorityClass."""
    api = FakeApi(KINDS)
    api.put("/apis/scheduling.k8s.io/v1/priorityclasses/placeholder", {"value": -5})
    return FakeWorld(provider, api)


class TestFake(NodePoolConformance):
    @pytest.fixture(params=PROVIDERS)
    def world(self, request: pytest.FixtureRequest) -> World:
        return fake(request.param)
