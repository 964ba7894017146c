"""The nodes of GPU pools, each pool's by a watch of its own with the pool's label selector."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from scaler.clock import Clock
from scaler.errors import Forbidden, TargetError
from scaler.kube import Json, KubeClient
from scaler.observe.pods import unix
from scaler.observe.watch import Timings, Watch, Watches
from scaler.plan.observation import Freshness, Reading
from scaler.plan.reasons import Reason

NODES = "/api/v1/nodes"
CLOSE_TIME = 1.0  # s all watches together may take to end; they are daemons
_GPU = "/gpu"  # nvidia.com/gpu, amd.com/gpu, ...
_LEAVING = ("karpenter.sh/disrupted", "ToBeDeletedByClusterAutoscaler")  # taints of nodes that are about to go


@dataclass(frozen=True, slots=True)
class Node:
    """One node. Times are unix s in whole seconds, as the API server writes them."""

    uid: str
    name: str
    created: float
    ready: float | None  # since when its kubelet is Ready; None while it is not
    gpus: int  # that pods can be given: 0 until its device plugin runs
    closed: bool  # takes no new pod: cordoned
    leaving: bool  # is being deleted, or about to be


@dataclass(frozen=True, slots=True)
class PoolNodes:
    """Which nodes are a pool's."""

    uid: str  # of the pool
    selector: str  # "pool=h100,zone=a"


class NodeSource(Protocol):
    """Nodes, kept current by watch. No method raises for an outage: the reading says it."""

    def sample(self, now: float, wanted: Sequence[PoolNodes]) -> Mapping[str, Reading[tuple[Node, ...]]]:
        """One reading for each pool by its uid; a pool is watched from its first mention until it is not mentioned."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class NodeLimits:
    """All in seconds."""

    first: float = 2.0  # how long a sample waits for lists that were never answered
    silence: float = 25.0  # a watch without contact for longer is not believed
    broken: float = 5.0  # the same while the watch is known to be broken
    keep: float = 60.0  # how long the last nodes are handed out as stale


def read_node(item: Json) -> Node:
    """From the API's JSON. Raises KeyError or ValueError for an object that is no node."""
    metadata, spec, status = item["metadata"], item.get("spec") or {}, item.get("status") or {}
    ready = next((c for c in status.get("conditions") or () if c.get("type") == "Ready"), None)
    since = ready.get("lastTransitionTime") if ready is not None and ready.get("status") == "True" else None
    taints = {taint.get("key") for taint in spec.get("taints") or ()}
    return Node(
        uid=metadata["uid"],
        name=metadata["name"],
        created=unix(metadata["creationTimestamp"]),
        ready=None if since is None else unix(since),
        gpus=_gpus(status.get("allocatable") or {}),
        closed=bool(spec.get("unschedulable")),
        leaving=metadata.get("deletionTimestamp") is not None or bool(taints.intersection(_LEAVING)),
    )


def _gpus(allocatable: Mapping[str, Any]) -> int:
    return sum(int(count) for name, count in allocatable.items() if name.endswith(_GPU) and str(count).isdigit())


class NodeStore:
    """The nodes of one pool, as its watch tells them."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}
        self._lock = threading.Lock()

    def listed(self, objects: Sequence[Json], at: float) -> None:
        nodes = {node.uid: node for node in map(read_node, objects)}
        with self._lock:
            self._nodes = nodes

    def changed(self, item: Json, at: float) -> None:
        node = read_node(item)
        with self._lock:
            self._nodes[node.uid] = node

    def removed(self, item: Json, at: float) -> None:
        with self._lock:
            self._nodes.pop(item["metadata"]["uid"], None)

    def nodes(self) -> tuple[Node, ...]:
        with self._lock:
            return tuple(sorted(self._nodes.values(), key=lambda node: node.name))


@dataclass(slots=True)
class _Pool:
    selector: str
    watch: Watch
    store: NodeStore
    last: tuple[tuple[Node, ...], float] | None = None


class KubernetesNodes:
    """A NodeSource over the API server's watches."""

    def __init__(
        self,
        client: KubeClient,
        clock: Clock,
        *,
        seed: int = 0,
        limits: NodeLimits | None = None,
        timings: Timings | None = None,
    ) -> None:
        """``seed`` is for the jitter of the watches' back-off; the client stays the caller's to close."""
        self._clock = clock
        self._limits = limits or NodeLimits()
        self._watches = Watches(client, clock, random.Random(seed), timings)
        self._pools: dict[str, _Pool] = {}

    def sample(self, now: float, wanted: Sequence[PoolNodes]) -> Mapping[str, Reading[tuple[Node, ...]]]:
        """One reading for each wanted; not to be called by two threads at once."""
        known = {one.uid: one.selector for one in wanted}
        for uid in [uid for uid, pool in self._pools.items() if known.get(uid) != pool.selector]:
            self._watches.end(self._pools.pop(uid).watch)
        for one in wanted:
            if one.uid not in self._pools:
                store = NodeStore()
                watch = self._watches.begin(NODES, store, selector=one.selector)
                self._pools[one.uid] = _Pool(one.selector, watch, store)
        deadline = self._clock.now() + self._limits.first
        return {one.uid: self._reading(now, deadline, self._pools[one.uid]) for one in wanted}

    def close(self) -> None:
        """End all watches."""
        self._watches.close(CLOSE_TIME)
        self._pools.clear()

    def _reading(self, now: float, deadline: float, pool: _Pool) -> Reading[tuple[Node, ...]]:
        if not pool.watch.state.synced:
            pool.watch.settle(deadline - self._clock.now())
        state = pool.watch.state
        if isinstance(state.error, Forbidden):
            return Reading(None, now, Freshness.ERROR, Reason.FORBIDDEN, str(state.error))
        if not state.synced:
            return self._fault(now, pool, state.error, "the nodes have not been listed yet; it is tried again")
        nodes = pool.store.nodes()
        silent = state.silent(self._clock.now())
        if silent > (self._limits.silence if state.error is None else self._limits.broken):
            pool.last = (nodes, min(now, state.contact))
            return self._fault(now, pool, state.error, "the watch of the nodes is silent")
        pool.last = (nodes, now)
        return Reading(nodes, now, Freshness.FRESH)

    def _fault(self, now: float, pool: _Pool, error: TargetError | None, said: str) -> Reading[tuple[Node, ...]]:
        detail = said if error is None else str(error)
        if pool.last is not None and now - pool.last[1] <= self._limits.keep:
            return Reading(*pool.last, Freshness.STALE, Reason.KUBERNETES_UNREACHABLE, detail)
        return Reading(None, now, Freshness.ERROR, Reason.KUBERNETES_UNREACHABLE, detail)
