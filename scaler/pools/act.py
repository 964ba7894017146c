"""From a pool's decision to at most one write of its count; and before, the marks of the pods that are to go first."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

from scaler.act.nodepools.ports import SPARE, NodePools, written
from scaler.act.order import Outcome
from scaler.act.ports import Finalizers
from scaler.api.gpu_node_pool import GpuNodePool, PoolMode
from scaler.errors import (
    Conflict,
    ContestedTarget,
    Forbidden,
    NotLeader,
    OwnedByAnother,
    TargetError,
    TargetNotFound,
    TargetWithoutScale,
)
from scaler.kube import Json, KubeClient, failure
from scaler.observe.nodes import Node
from scaler.observe.pods import DELETION_COST, MARKED
from scaler.plan.reasons import Reason
from scaler.pools.endings import pool_ref, put_back
from scaler.pools.limits import Bounded, enforced
from scaler.pools.row import PoolSeen
from scaler.pools.vacate import Mark, Tenant, marks

log = logging.getLogger(__name__)

MOST_MARKS = 40  # a tick and pool: what is left has its turn at the next
MOST_LOWERED = 10  # nodes a tick and pool: each is looked at once more
_ANY = (
    "Cluster API would take any of its machines away, also one that serves: it is not lowered; lower it by hand, or "
    "let the cluster autoscaler own the count (spec.provider.machineDeployment.autoscaled)"
)
_MERGE = "application/merge-patch+json"
_FAILURES: tuple[tuple[type[TargetError], Reason], ...] = (
    (TargetNotFound, Reason.TARGET_NOT_FOUND),
    (TargetWithoutScale, Reason.TARGET_WITHOUT_SCALE),
    (Forbidden, Reason.FORBIDDEN),
    (OwnedByAnother, Reason.OWNED_BY_ANOTHER),
    (ContestedTarget, Reason.CONTESTED_TARGET),
    (Conflict, Reason.CONFLICT),
    (NotLeader, Reason.STANDBY),
)


class NodePods(Protocol):
    """What the API server says of nodes and pods at this very moment."""

    def holds(self, node: str) -> str:
        """Name of a pod on the node that would be lost with it, whoever's it is; empty: there is none. Raises
        Forbidden or Unreachable."""
        ...

    def mark(self, mark: Mark) -> None:
        """Write a pod's deletion cost, or take ours away. Raises TargetNotFound, Forbidden, Unreachable, Conflict."""
        ...


@dataclass(frozen=True, slots=True)
class PoolOrder:
    """What is to be carried out. ``bounded`` is None when nothing may be written."""

    pool: GpuNodePool
    seen: PoolSeen
    bounded: Bounded | None
    now: float  # unix s


class PoolActor:
    """Writes a pool's count, if the mode allows it: only over what was read, and lower only by nodes that are empty."""

    def __init__(self, counts: NodePools, pods: NodePods, finalizers: Finalizers) -> None:
        self._counts = counts
        self._pods = pods
        self._finalizers = finalizers
        self._said: dict[str, str] = {}  # by pool: what went wrong last

    def vacate(self, pool: GpuNodePool, tenants: Sequence[Tenant]) -> None:
        """Before services scale in: the pods that are to go first; afterwards they are put back. A mark that cannot be
        written costs an emptier node, not a request: the services' counts are written all the same.
        """
        if not enforced(pool):
            tenants = [Tenant(t.namespace, t.pods, t.gpus, 0) for t in tenants]
        for mark in marks(tenants)[:MOST_MARKS]:
            try:
                self._pods.mark(mark)
            except (TargetNotFound, Conflict):
                continue  # the pod went meanwhile
            except TargetError as error:
                self._say(pool, str(error))
                return

    def apply(self, order: PoolOrder) -> Outcome:
        """Carry one decision out. Never raises for what the API server answers."""
        pool, seen, state = order.pool, order.seen, order.seen.observation.state
        if not state.fresh or state.value is None or seen.number is None:
            self._renew(order)
            return Outcome(state.reason or Reason.INPUT_ERROR, state.detail)
        floor = state.value.floor
        bounded = order.bounded or Bounded(floor)  # nothing decided: what stands is held, and a mark's life renewed
        nodes, why = bounded.nodes, ", ".join(bounded.limits)
        text = f"{floor} -> {nodes} nodes{f' ({why})' if why else ''}"
        if not enforced(pool):
            self._renew(order)
            same = Reason.UNCHANGED if nodes == floor else Reason.RECOMMENDED
            return Outcome(Reason.PAUSED if pool.paused else same, text if nodes != floor else "")
        held = ""
        try:
            if nodes < floor and pool.spec.provider.name not in SPARE:
                nodes, held = (floor, _ANY) if _takes_any(pool) else self._empty(floor, nodes, seen.empty)
            number = written(pool, nodes, seen.busy)
            if number > seen.number and put_back(pool):
                self._finalizers.put(pool_ref(pool))
            self._counts.write(pool, seen.number, number)  # also where it is the same: a mark's life is renewed
        except TargetError as error:
            self._say(pool, str(error))
            reason = next((r for kind, r in _FAILURES if isinstance(error, kind)), Reason.PATCH_FAILED)
            return Outcome(reason, str(error))
        self._said.pop(pool.uid, None)
        if number == seen.number:
            return Outcome(Reason.NODES_IN_USE, held) if held else Outcome(Reason.UNCHANGED)
        text = f"{floor} -> {nodes} nodes{f' ({why})' if why else ''}"
        log.info("%s: %s", pool, text)
        return Outcome(Reason.APPLIED, text)

    def _renew(self, order: PoolOrder) -> None:
        """What was raised stands for as long as we live, also while nothing is decided: paused, or in the dark."""
        pool, number = order.pool, order.seen.number
        if pool.spec.mode is not PoolMode.ENFORCE or number is None or not put_back(pool):
            return
        try:
            self._counts.write(pool, number, number)
        except TargetError as error:
            self._say(pool, str(error))

    def _empty(self, floor: int, nodes: int, empty: Sequence[Node]) -> tuple[int, str]:
        """How low the count may go, as each node that is to go is looked at once more; and a pod that is in the way.

        Others' pods are not watched, and a pod may have come since the nodes were seen.
        """
        lower, held = 0, ""
        for node in empty[: max(floor - nodes, 0) + MOST_LOWERED]:
            if lower >= min(floor - nodes, MOST_LOWERED):
                break
            pod = self._pods.holds(node.name)
            if pod:
                held = f"node {node.name} holds pod {pod}: the pool is not lowered by it"
            else:
                lower += 1
        return floor - lower, held

    def _say(self, pool: GpuNodePool, text: str) -> None:
        if self._said.get(pool.uid) != text:  # once, not at every tick
            log.warning("%s: %s", pool, text)
        self._said[pool.uid] = text


class KubernetesNodePods:
    """NodePods over the API server."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    def holds(self, node: str) -> str:
        query = {"fieldSelector": f"spec.nodeName={node}"}
        items = self._client.get("/api/v1/pods", f"list the pods of node {node}", query=query).get("items") or []
        return next((_name(item) for item in items if _would_be_lost(item)), "")

    def mark(self, mark: Mark) -> None:
        cost = None if mark.cost is None else str(mark.cost)
        path = f"/api/v1/namespaces/{quote(mark.namespace, safe='')}/pods/{quote(mark.pod, safe='')}"
        body = {"metadata": {"uid": mark.uid, "annotations": {DELETION_COST: cost, MARKED: cost}}}
        answer = self._client.call("PATCH", path, body=body, content_type=_MERGE)
        if not answer.ok:
            raise failure(answer, f"write the deletion cost of pod {mark.namespace}/{mark.pod}")


def _takes_any(pool: GpuNodePool) -> bool:
    """Whether whoever lowers the pool takes any node: a MachineDeployment that nobody else scales."""
    machines = pool.spec.provider.machine_deployment
    return machines is not None and not machines.autoscaled


def _would_be_lost(item: Json) -> bool:
    """A pod that would not go on elsewhere, or not without a gap: neither ended, nor a part of every node."""
    metadata, status = item["metadata"], item.get("status") or {}
    owners = {owner.get("kind") for owner in metadata.get("ownerReferences") or ()}
    static = "kubernetes.io/config.mirror" in (metadata.get("annotations") or {})
    return status.get("phase") not in ("Succeeded", "Failed") and not static and not owners & {"DaemonSet", "Node"}


def _name(item: Json) -> str:
    return f"{item['metadata'].get('namespace')}/{item['metadata']['name']}"
