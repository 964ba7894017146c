"""Provider ``karpenter``: the count of a static NodePool, through /scale; nobody else owns it."""

from __future__ import annotations

from scaler.act.nodepools.objects import ObjectRef, Objects
from scaler.act.nodepools.pointer import found, integer
from scaler.act.nodepools.ports import Mark, PoolTarget
from scaler.act.replicas import ScaleWriter
from scaler.api.gpu_node_pool import Karpenter
from scaler.observe.ports import TargetRef

VERSION = "karpenter.sh/v1"
KIND = "NodePool"


class StaticPoolWriter:
    """A NodePoolWriter over a static NodePool."""

    marks = False
    place: tuple[str, ...] = ()

    def __init__(self, objects: Objects, given: Karpenter) -> None:
        self._objects = objects
        self._name = given.node_pool

    @property
    def what(self) -> str:
        return f"{KIND} {self._name}"

    @property
    def number(self) -> tuple[str, ...]:
        return (*ObjectRef((VERSION,), KIND, "", self._name).parts, "/spec/replicas")

    def read(self) -> PoolTarget:
        # The whole object, for /scale of a pool that is not static is an error of the API server's own.
        item = self._objects.read(ObjectRef((VERSION,), KIND, "", self._name))
        asked = integer(found(item, "/spec/replicas"))
        lacks = (
            f"{self.what} is not static: it states no spec.replicas, and Karpenter lets nobody add them; make a new one"
        )
        limit = integer(found(item, "/spec/limits/nodes"))
        return PoolTarget(asked, lacks=lacks if asked is None else "", most=limit, item=item, way=("spec", "replicas"))

    def write(self, target: PoolTarget, current: int, desired: int, mark: Mark | None) -> None:
        ScaleWriter(self._objects.kube).write(TargetRef(VERSION, KIND, "", self._name), current, desired)
