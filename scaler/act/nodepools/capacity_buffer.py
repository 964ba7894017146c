"""Provider ``capacityBuffer``: spare nodes, as many as ``spec.replicas`` chunks; the autoscaler keeps to them."""

from __future__ import annotations

from scaler.act.nodepools.fields import Field, FieldWriter
from scaler.act.nodepools.objects import ObjectRef, Objects
from scaler.api.gpu_node_pool import CapacityBuffer
from scaler.kube import Json

VERSIONS = ("autoscaling.x-k8s.io/v1beta1", "autoscaling.x-k8s.io/v1alpha1")
KIND = "CapacityBuffer"


class BufferWriter(FieldWriter):
    """A NodePoolWriter over a CapacityBuffer of Karpenter or of the cluster autoscaler."""

    def __init__(self, objects: Objects, given: CapacityBuffer) -> None:
        super().__init__(objects, Field(ObjectRef(VERSIONS, KIND, given.namespace, given.name), "/spec/replicas"))

    def owner(self, item: Json) -> str:
        if (item.get("spec") or {}).get("percentage") is None:
            return ""
        return "its size is a percentage of another object's replicas, too: take spec.percentage away"

    def lacks(self) -> str:
        return f"{self.what} states no spec.replicas: it is sized by limits or a percentage; state spec.replicas"
