"""From a pool's decision to at most one write of its count; and before, the marks of the pods that are to go first."""

from __future__ import annotations

import logging
from collections.abc import Collection, Container, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

from scaler.act.nodepools.ports import SPARE, NodePools, kept, written
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
from scaler.observe.pods import DELETION_COST, MARKED
from scaler.plan.reasons import Reason
from scaler.pools.endings import pool_ref, put_back
from scaler.pools.limits import Bounded, enforced, most_nodes
from scaler.pools.row import PoolSeen
from scaler.pools.sweep import Sweep
from scaler.pools.vacate import Mark, Tenant, marks

log = logging.getLogger(__name__)

MOST_MARKS = 40  # a tick and pool: what is left has its turn at the next
MOST_LOWERED = 10  # nodes a tick and pool: each is looked at once more
MOST_CONFLICTS = 3  # in a row; somebody who writes at each of our ticks is no coincidence
_MERGE = "application/merge-patch+json"
_TIDY = ""  # no pool has this uid
_KEEPS = "karpenter.sh/do-not-disrupt"
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

    def holds(self, node: str, *, any_pod: bool = False) -> str:
        """Name of a pod on the node that would be lost with it, whoever's it is; empty: there is none. ``any_pod``: or
        would not be lost, and belongs to no DaemonSet that gives it up. Raises Forbidden or Unreachable.
        """
        ...

    def sweep(self, namespaces: Collection[str], keep: Container[str]) -> bool:
        """Take our deletion costs off the pods of ``namespaces`` ("": all), but of those whose uid is in ``keep``; a
        part at a time. Whether it is done. Raises Forbidden or Unreachable.
        """
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
        self._conflicts: dict[str, int] = {}  # by pool: in a row

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

    def tidy(self, namespaces: Collection[str], keep: Container[str]) -> bool:
        """Take the marks off pods of ``namespaces`` ("": of all) whose uid is not in ``keep``, a part at a time;
        whether it is done.
        """
        try:
            return self._pods.sweep(namespaces, keep)
        except TargetError as error:
            if self._said.get(_TIDY) != str(error):
                log.warning("deletion costs that are not needed any more stay for now: %s", error)
            self._said[_TIDY] = str(error)
            return False

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
                nodes, held = self._empty(pool, floor, nodes, seen)
            number, own = written(pool, nodes, seen.busy), self._counts.least(pool)
            number += seen.shut  # they are replaced, as far as the pool may grow
            if seen.shut and number > seen.number:
                number = max(min(number, most_nodes(pool).nodes), seen.number)
            if number < own:  # of the provider's object, from before it was raised here
                number, nodes = own, kept(pool, own, seen.busy) - seen.shut
                held = f"{own} was there before it was raised: it is not lowered below"
            self._write(pool, seen.number, number, own)  # also where it is the same: a mark's life is renewed
        except TargetError as error:
            self._say(pool, str(error))
            return self._failed(pool, error)
        self._said.pop(pool.uid, None)
        self._conflicts.pop(pool.uid, None)
        if number == seen.number:
            return Outcome(Reason.NODES_IN_USE if held and number > own else Reason.UNCHANGED, held)
        text = f"{floor} -> {nodes} nodes{f' ({why})' if why else ''}"
        log.info("%s: %s", pool, text)
        return Outcome(Reason.APPLIED, text)

    def _failed(self, pool: GpuNodePool, error: TargetError) -> Outcome:
        if not isinstance(error, Conflict):
            self._conflicts.pop(pool.uid, None)
            reason = next((r for kind, r in _FAILURES if isinstance(error, kind)), Reason.PATCH_FAILED)
            return Outcome(reason, str(error))
        self._conflicts[pool.uid] = row = self._conflicts.get(pool.uid, 0) + 1
        if row <= MOST_CONFLICTS:
            return Outcome(Reason.CONFLICT, str(error))
        return Outcome(Reason.CONTESTED_TARGET, f"{error} ({row} times in a row: nothing could be written)")

    def rest(self, pool: GpuNodePool) -> None:
        """Nothing is decided: nodes that were singled out and have not gone are not to go some day."""
        try:
            self._counts.take_back(pool)
        except TargetError as error:
            self._say(pool, str(error))

    def _renew(self, order: PoolOrder) -> None:
        """What was raised stands for as long as we live, also while nothing is decided: paused, or in the dark."""
        pool, number = order.pool, order.seen.number
        if number is None:
            return
        if not put_back(pool):
            self.rest(pool)
            return
        if pool.spec.mode is not PoolMode.ENFORCE:
            return
        try:
            self._write(pool, number, number, self._counts.least(pool))
        except TargetError as error:
            self._say(pool, str(error))

    def _write(self, pool: GpuNodePool, current: int, number: int, own: int) -> None:
        """With the finalizer first, also where the number stays: `lagcast release` takes it off, and whoever ran it may
        have met a number that was just raised again.
        """
        if number > own and put_back(pool):
            self._finalizers.put(pool_ref(pool))
        self._counts.write(pool, current, number)

    def _empty(self, pool: GpuNodePool, floor: int, nodes: int, seen: PoolSeen) -> tuple[int, str]:
        """How low the count may go, as each node that is to go is looked at once more; and what is in the way.

        Others' pods are not watched, and a pod may have come since the nodes were seen.
        """
        going: list[str] = []
        held = ""
        # Whoever lowers it has to find the same nodes empty: for Karpenter, ended and static pods fill one, too.
        strict = pool.spec.provider.karpenter is not None
        if strict and seen.there - seen.shut > floor:  # one that was given up before would be counted once more
            least = floor + seen.shut
            return floor, f"{seen.there} nodes are there: what is above {least} is still to go, or not of this NodePool"
        for node in seen.empty[: max(floor - nodes, 0) + MOST_LOWERED]:
            if len(going) >= min(floor - nodes, MOST_LOWERED):
                break
            pod = self._pods.holds(node.name, any_pod=strict)
            if pod:
                held = f"node {node.name} holds pod {pod}: the pool is not lowered by it"
            else:
                going.append(node.name)
        if going:
            if pool.spec.provider.machine_deployment is not None:  # what is annotated is taken back when the pool goes
                self._finalizers.put(pool_ref(pool))
            sure = self._counts.single_out(pool, going)
            going, held = list(sure.nodes), f"{sure.why}: the pool is not lowered by it" if sure.why else held
        return floor - len(going), held

    def _say(self, pool: GpuNodePool, text: str) -> None:
        if self._said.get(pool.uid) != text:  # once, not at every tick
            log.warning("%s: %s", pool, text)
        self._said[pool.uid] = text


class KubernetesNodePods:
    """NodePods over the API server."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._sweep = Sweep(client)

    def holds(self, node: str, *, any_pod: bool = False) -> str:
        query = {"fieldSelector": f"spec.nodeName={node}"}
        items = self._client.get("/api/v1/pods", f"list the pods of node {node}", query=query).get("items") or []
        return next((_name(item) for item in items if (_fills if any_pod else _would_be_lost)(item)), "")

    def sweep(self, namespaces: Collection[str], keep: Container[str]) -> bool:
        return self._sweep.step(namespaces, keep)

    def mark(self, mark: Mark) -> None:
        cost = None if mark.cost is None else str(mark.cost)
        path = f"/api/v1/namespaces/{quote(mark.namespace, safe='')}/pods/{quote(mark.pod, safe='')}"
        body = {"metadata": {"uid": mark.uid, "annotations": {DELETION_COST: cost, MARKED: cost}}}
        answer = self._client.call("PATCH", path, body=body, content_type=_MERGE)
        if not answer.ok:
            raise failure(answer, f"write the deletion cost of pod {mark.namespace}/{mark.pod}")


def _fills(item: Json) -> bool:
    """Any pod, but those of a DaemonSet that may be disrupted: what Karpenter takes no node for empty with."""
    metadata = item["metadata"]
    owners = {owner.get("kind") for owner in metadata.get("ownerReferences") or ()}
    return "DaemonSet" not in owners or _KEEPS in (metadata.get("annotations") or {})


def _would_be_lost(item: Json) -> bool:
    """A pod that would not go on elsewhere, or not without a gap: neither ended, nor a part of every node."""
    metadata, status = item["metadata"], item.get("status") or {}
    owners = {owner.get("kind") for owner in metadata.get("ownerReferences") or ()}
    static = "kubernetes.io/config.mirror" in (metadata.get("annotations") or {})
    return status.get("phase") not in ("Succeeded", "Failed") and not static and not owners & {"DaemonSet", "Node"}


def _name(item: Json) -> str:
    return f"{item['metadata'].get('namespace')}/{item['metadata']['name']}"
