"""Pools that are to go, and whose floor is to be put back first."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from urllib.parse import quote

from scaler.act.finalizer import FINALIZER, ClusterFinalizers
from scaler.act.nodepools.ports import NodePools
from scaler.act.order import ScalerRef
from scaler.act.ports import Finalizers
from scaler.api.gpu_node_pool import POOL_KIND, GpuNodePool
from scaler.api.objects import parse
from scaler.api.predictive_scaler import API_VERSION
from scaler.errors import NotLeader, Silent, TargetError
from scaler.kube import Json, KubeClient

log = logging.getLogger(__name__)

PLURAL = "gpunodepools"


class PoolRef(ScalerRef):
    """One GpuNodePool, which has no namespace."""

    def __str__(self) -> str:
        return f"{POOL_KIND} {self.name}"


def pool_ref(pool: GpuNodePool) -> PoolRef:
    """Which object a pool is."""
    return PoolRef("", pool.metadata.name, pool.uid)


def pool_finalizers(client: KubeClient) -> ClusterFinalizers:
    """Lagcast's finalizer on GpuNodePools."""
    return ClusterFinalizers(client, lambda ref: f"/apis/{API_VERSION}/{PLURAL}/{quote(ref.name, safe='')}")


def put_back(pool: GpuNodePool) -> bool:
    """Whether what was raised is a floor, which is put back in the end; a count of nodes that is ours stays."""
    machines = pool.spec.provider.machine_deployment
    return pool.spec.provider.karpenter is None and (machines is None or machines.autoscaled)


class PoolEndings:
    """The handler of a watch of GpuNodePools: which of them are being deleted, and wait for their floor."""

    def __init__(self, counts: NodePools, finalizers: Finalizers) -> None:
        self._counts = counts
        self._finalizers = finalizers
        self._waiting: dict[str, Json] = {}
        self._said: dict[str, str] = {}  # by uid: what went wrong last
        self._lock = threading.Lock()

    def listed(self, objects: Sequence[Json], at: float) -> None:
        """All of them."""
        with self._lock:
            self._waiting = {item["metadata"]["uid"]: item for item in objects if _ending(item)}

    def changed(self, item: Json, at: float) -> None:
        """One is new, or has changed."""
        with self._lock:
            if _ending(item):
                self._waiting[item["metadata"]["uid"]] = item
            else:
                self._waiting.pop(item["metadata"]["uid"], None)

    def removed(self, item: Json, at: float) -> None:
        """One is gone."""
        with self._lock:
            self._waiting.pop(item["metadata"]["uid"], None)

    def finish(self) -> None:
        """Put each floor back and take the finalizer off; what fails is tried again at the next tick."""
        with self._lock:
            waiting = dict(self._waiting)
        self._said = {uid: said for uid, said in self._said.items() if uid in waiting}
        for uid, item in waiting.items():
            ref = PoolRef("", str(item["metadata"]["name"]), str(uid))
            pool = parse(item, (POOL_KIND,)).resource
            try:
                if isinstance(pool, GpuNodePool):
                    self._counts.release(pool)
                self._finalizers.take_off(ref)
                log.info("%s: its floor is put back", ref)
            except NotLeader:
                return
            except TargetError as error:
                if self._said.get(uid) != str(error):  # once, not at every tick
                    log.warning("%s keeps its finalizer: %s", ref, error)
                self._said[uid] = str(error)
                if isinstance(error, Silent):  # each would wait for as long again
                    return


def _ending(item: Json) -> bool:
    metadata = item["metadata"]
    return bool(metadata.get("deletionTimestamp")) and FINALIZER in (metadata.get("finalizers") or ())
