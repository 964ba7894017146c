"""Provider ``machineDeployment``: a Cluster API MachineDeployment's count, or its minimum where that is autoscaled."""

from __future__ import annotations

from scaler.act.nodepools.fields import Field, FieldWriter
from scaler.act.nodepools.machines import Machines
from scaler.act.nodepools.objects import ObjectRef, Objects
from scaler.act.nodepools.pointer import found, integer, pointer
from scaler.act.nodepools.ports import Mark, PoolTarget
from scaler.act.replicas import ScaleWriter
from scaler.api.gpu_node_pool import MachineDeployment
from scaler.kube import Json
from scaler.observe.ports import TargetRef

VERSIONS = ("cluster.x-k8s.io/v1beta2", "cluster.x-k8s.io/v1beta1")
KIND = "MachineDeployment"
MIN_SIZE = pointer("metadata", "annotations", "cluster.x-k8s.io/cluster-api-autoscaler-node-group-min-size")
MAX_SIZE = pointer("metadata", "annotations", "cluster.x-k8s.io/cluster-api-autoscaler-node-group-max-size")
TOPOLOGY = "capi-topology"  # the field manager of the controller that carries out a Cluster's topology


class MinimumWriter(FieldWriter):
    """A NodePoolWriter over the annotation with the least size of a cluster autoscaler's node group."""

    def __init__(self, objects: Objects, given: MachineDeployment) -> None:
        super().__init__(objects, Field(_ref(given), MIN_SIZE, MAX_SIZE))

    def lacks(self) -> str:
        return (
            f"{self.what} has no annotation {MIN_SIZE.rpartition('/')[2].replace('~1', '/')} with a number: no cluster "
            "autoscaler owns its count; write the annotation, or set autoscaled: false"
        )


class CountWriter:
    """A NodePoolWriter over the count of a MachineDeployment, through /scale."""

    marks = False
    place: tuple[str, ...] = ()

    def __init__(self, objects: Objects, given: MachineDeployment) -> None:
        self._objects = objects
        self._ref = _ref(given)
        self.machines = Machines(objects, VERSIONS)

    @property
    def what(self) -> str:
        return str(self._ref)

    @property
    def number(self) -> tuple[str, ...]:
        return (*self._ref.parts, "/spec/replicas")

    def read(self) -> PoolTarget:
        item = self._objects.read(self._ref)
        asked = integer(found(item, "/spec/replicas"))
        lacks = f"{self.what} states no spec.replicas; state it" if asked is None else ""
        return PoolTarget(asked, lacks=lacks, owner=_owner(item), item=item, way=("spec", "replicas"))

    def write(self, target: PoolTarget, current: int, desired: int, mark: Mark | None) -> None:
        ref = self._ref
        version = self._objects.served(ref.api_versions, ref.kind)
        ScaleWriter(self._objects.kube).write(TargetRef(version, ref.kind, ref.namespace, ref.name), current, desired)


def _ref(given: MachineDeployment) -> ObjectRef:
    return ObjectRef(VERSIONS, KIND, given.namespace, given.name)


def _owner(item: Json) -> str:
    if found(item, MIN_SIZE) is not None and found(item, MAX_SIZE) is not None:
        return "it is a node group of the cluster autoscaler: set autoscaled: true, and its minimum is raised instead"
    for managed in (item.get("metadata") or {}).get("managedFields") or []:
        fields = (managed.get("fieldsV1") or {}).get("f:spec") or {}
        if managed.get("manager") == TOPOLOGY and "f:replicas" in fields:
            return (
                "its Cluster's topology states its replicas: take them away there, or use integerField on the Cluster"
            )
    return ""
