"""The suite of node pools on the real API server: real kinds of Karpenter, Cluster API and the cluster itself."""

from __future__ import annotations

import copy
import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from scaler.act.nodepools.pointer import found, parts
from scaler.api.gpu_node_pool import GpuNodePool
from scaler.kube import JSON_PATCH, Json, KubeClient, connect
from simulations.lab.cluster_api import await_kinds
from simulations.lab.karpenter import node_pool, whole_node
from simulations.lab.lab import Lab
from tests.lab.rights import await_rights
from tests.nodepools.conformance import World, pool

ROOT = Path(__file__).parents[2]
GROUP = "tests.lagcast.io"
MIN = "cluster.x-k8s.io/cluster-api-autoscaler-node-group-min-size"
MAX = "cluster.x-k8s.io/cluster-api-autoscaler-node-group-max-size"
MACHINES = "/apis/cluster.x-k8s.io/v1beta2/namespaces/fleet/machinedeployments"
POOLS = "/apis/lagcast.io/v1alpha1/gpunodepools"
ACCOUNT = "pools"
OWN_RULES = [{"apiGroups": [GROUP], "resources": ["nodegroups"], "verbs": ["get", "list", "patch"]}]


def machine_deployment() -> Json:
    """As Cluster API's schema demands it."""
    path = ROOT / "manifests" / "examples" / "node-pool-machine-deployment.yaml"
    item: Json = next(iter(yaml.safe_load_all(path.read_text(encoding="utf-8"))))
    return item


def _without_annotations(item: Json) -> Json:
    del item["metadata"]["annotations"]
    item["spec"]["replicas"] = 0
    return item


def foreign_pool() -> Json:
    """A static NodePool that this Karpenter leaves alone, for it is another cloud's."""
    item: Json = node_pool("h100", "gpu", 0)
    item["spec"]["template"]["spec"]["nodeClassRef"] = {"group": "other.sh", "kind": "OtherClass", "name": "gpu"}
    return item


def buffer(template: str) -> Json:
    """None is asked for yet."""
    spec = {"podTemplateRef": {"name": template}, "replicas": 0}
    return {"apiVersion": "autoscaling.x-k8s.io/v1beta1", "kind": "CapacityBuffer", "spec": spec}


def placeholders() -> Json:
    labels = {"app": "h100"}
    template = {"metadata": {"labels": labels}, "spec": whole_node({"priorityClassName": "gpu-placeholder"})}
    return {"spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}}


@dataclasses.dataclass(frozen=True)
class Kept:
    """Where a provider's object is, what it is, where its number is, and how a pool names it (NAME is its name)."""

    path: str
    item: Callable[[], Json]
    where: str
    declared: Json


KEPT: dict[str, Kept] = {
    "karpenter": Kept(
        "/apis/karpenter.sh/v1/nodepools", foreign_pool, "/spec/replicas", {"karpenter": {"nodePool": "NAME"}}
    ),
    "capacityBuffer": Kept(
        "/apis/autoscaling.x-k8s.io/v1beta1/namespaces/fleet/capacitybuffers",
        lambda: buffer("nothing"),
        "/spec/replicas",
        {"capacityBuffer": {"namespace": "fleet", "name": "NAME"}},
    ),
    "machineDeployment": Kept(
        MACHINES,
        lambda: _without_annotations(machine_deployment()),
        "/spec/replicas",
        {"machineDeployment": {"namespace": "fleet", "name": "NAME"}},
    ),
    "machineDeployment autoscaled": Kept(
        MACHINES,
        machine_deployment,
        f"/metadata/annotations/{MIN.replace('/', '~1')}",
        {"machineDeployment": {"namespace": "fleet", "name": "NAME", "autoscaled": True}},
    ),
    "placeholderPods": Kept(
        "/apis/apps/v1/namespaces/fleet/deployments",
        placeholders,
        "/spec/replicas",
        {"placeholderPods": {"namespace": "fleet", "name": "NAME"}},
    ),
    "integerField": Kept(
        f"/apis/{GROUP}/v1/nodegroups",
        lambda: {"apiVersion": f"{GROUP}/v1", "kind": "NodeGroup", "spec": {"groups": [{"min": 1}, {"min": 0}]}},
        "/spec/groups/1/min",
        {
            "integerField": {
                "apiVersion": f"{GROUP}/v1",
                "kind": "NodeGroup",
                "name": "NAME",
                "path": "/spec/groups/1/min",
            }
        },
    ),
}


class LabWorld(World):
    """Written as the controller's account may; everything else as the administrator."""

    admin: KubeClient

    @property
    def kept(self) -> Kept:
        return KEPT[self.provider]

    def made(self, number: int, name: str = "h100") -> GpuNodePool:
        item = copy.deepcopy(self.kept.item())
        item.setdefault("metadata", {})["name"] = name
        *way, last = parts(self.kept.where)
        inner: Any = item
        for part in way:
            inner = inner[int(part)] if isinstance(inner, list) else inner[part]
        inner[last] = str(number) if last == MIN else number
        replaced(self.admin, self.kept.path, item)
        return self._pool(name, name)

    def missing(self) -> GpuNodePool:
        return self._pool("h100", "nobody")

    def another(self, pool: GpuNodePool) -> GpuNodePool:
        return self._pool("h200", pool.metadata.name)

    def number(self, pool: GpuNodePool) -> int:
        return int(found(self._item(pool), self.kept.where))

    def change(self, pool: GpuNodePool, number: int) -> None:
        value = str(number) if MIN.replace("/", "~1") in self.kept.where else number
        change = [{"op": "add", "path": self.kept.where, "value": value}]
        answer = self.admin.call("PATCH", self._path(pool), body=change, content_type=JSON_PATCH)
        assert answer.ok, answer

    def noted(self, pool: GpuNodePool) -> dict[str, str]:
        own = f"{POOLS}/{pool.metadata.name}"
        path = own if self.provider == "placeholderPods" else self._path(pool)
        return dict(self.admin.get(path, "look")["metadata"].get("annotations") or {})

    def cleared(self) -> None:
        """Nothing is left that Karpenter or another test could act on."""
        for path in (f"{self.kept.path}/h100", f"{POOLS}/h100", f"{POOLS}/h200"):
            answer = self.admin.call("DELETE", path, body={"propagationPolicy": "Background"})
            assert answer.ok or answer.code == 404, answer

    def _path(self, pool: GpuNodePool) -> str:
        return f"{self.kept.path}/{pool.metadata.name}"

    def _item(self, pool: GpuNodePool) -> Json:
        return self.admin.get(self._path(pool), "look")

    def _pool(self, name: str, item: str) -> GpuNodePool:
        ((field, values),) = self.kept.declared.items()
        declared = {field: {key: item if value == "NAME" else value for key, value in values.items()}}
        made = pool(declared, name)
        replaced(self.admin, POOLS, json.loads(made.model_dump_json(by_alias=True, exclude_none=True)))
        return made


def replaced(admin: KubeClient, path: str, item: Json) -> None:
    """Make an object, in the place of one of its name: the garbage collector, which ends a deletion that waits for what
    the object owns, looks every 30 s for kinds that are new to it, and rests meanwhile.
    """
    body = {"propagationPolicy": "Background"}
    until = time.monotonic() + 60
    where = f"{path}/{item['metadata']['name']}"
    while (answer := admin.call("DELETE", where, body=body)).code != 404:
        assert time.monotonic() < until, answer
        time.sleep(0.02)
    answer = admin.call("POST", path, body=item)
    assert answer.ok, answer


def prepare(lab: Lab, folder: Path) -> KubeClient:
    """Lagcast's kinds, one more kind, namespaces, and the controller's account with the rights of its providers only;
    a client with that account.
    """
    for path in sorted((ROOT / "manifests" / "crd").glob("*.lagcast.io.yaml")):
        apply(lab, path.read_text(encoding="utf-8"))
    apply(lab, (ROOT / "manifests" / "base" / "providers.yaml").read_text(encoding="utf-8"))
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "groups": {
                        "type": "array",
                        "items": {"type": "object", "properties": {"min": {"type": "integer", "maximum": 100}}},
                    }
                },
            }
        },
    }
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"kind": "NodeGroup", "plural": "nodegroups", "singular": "nodegroup"}
    label = {"lagcast.io/aggregate-to-controller": "true"}
    rbac = "rbac.authorization.k8s.io"
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": "fleet"}
    whole: list[Json] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "fleet"}},
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "inference"}},
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"nodegroups.{GROUP}"},
            "spec": {"group": GROUP, "scope": "Cluster", "names": names, "versions": [version]},
        },
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": "gpu-placeholder"},
            "value": -5,
            "preemptionPolicy": "Never",
        },
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": "fleet"}},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "own-node-groups", "labels": label},
            "rules": OWN_RULES,
        },
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "all-providers"},
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": label}]},
            "rules": [],
        },
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "all-providers"},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "all-providers"},
            "subjects": [subject],
        },
    ]
    apply(lab, json.dumps({"apiVersion": "v1", "kind": "List", "items": whole}))
    await_kinds(lab.directory, f"nodegroups.{GROUP}", "gpunodepools.lagcast.io", "predictivescalers.lagcast.io")
    admin = connect(Path(lab.kubernetes.admin_kubeconfig))
    try:
        # The last of the roles that are aggregated into one: with it the others are in that, too.
        await_rights(admin, f"fleet:{ACCOUNT}", OWN_RULES)
    finally:
        admin.close()
    token = lab.kubernetes.run("create", "token", ACCOUNT, "-n", "fleet")
    assert token.code == 0, token.output
    config = yaml.safe_load(Path(lab.kubernetes.admin_kubeconfig).read_text(encoding="utf-8"))
    config["users"][0]["user"] = {"token": token.output.strip()}
    file = folder / "pools.kubeconfig"
    file.write_text(json.dumps(config))
    return connect(file)


def apply(lab: Lab, text: str, *options: str) -> None:
    """kubectl apply, as the administrator."""
    done = lab.kubernetes.run("apply", "--server-side", *options, "-f", "-", stdin=text)
    assert done.code == 0, done.output
