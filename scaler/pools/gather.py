"""One pass over the pools: their nodes, the pods on them, and the counts that stand, as one observation each."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future, wait
from typing import Protocol

from scaler.act.nodepools.ports import SPARE, NodePools, kept
from scaler.api.gpu_node_pool import GpuNodePool
from scaler.errors import where
from scaler.observe.node_ways import NodeWays
from scaler.observe.nodes import Node, NodeSource, PoolNodes
from scaler.observe.pods import Pod
from scaler.observe.ports import TargetRef
from scaler.plan.observation import Freshness, PoolObservation, PoolState, Reading
from scaler.plan.reasons import Reason
from scaler.pools.row import PoolSeen

log = logging.getLogger(__name__)

_WORST = (Freshness.ERROR, Freshness.ABSENT, Freshness.STALE, Freshness.FRESH)
Floors = Mapping[str, "Future[Reading[int]]"]


class PodsOf(Protocol):
    """The pods of targets (``scaler.observe.cluster.KubernetesCluster`` knows them)."""

    def pods_of(self, target: TargetRef) -> Sequence[Pod]:
        """Its pods as they were last told."""
        ...


class PoolGatherer:
    """Makes one observation for each pool and tick. What took too long is an error, and is not asked again before its
    open call has come back."""

    def __init__(self, nodes: NodeSource, pods: PodsOf, counts: NodePools, executor: Executor, deadline: float) -> None:
        """``deadline`` in s."""
        self._nodes = nodes
        self._pods = pods
        self._counts = counts
        self._executor = executor
        self._deadline = deadline
        self._open: dict[str, Future[Reading[int]]] = {}
        self._ways: dict[str, NodeWays] = {}

    def begin(self, pools: Sequence[GpuNodePool]) -> None:
        """Ask for the counts that stand, while the other sources are asked."""
        uids = {pool.uid for pool in pools}
        self._ways = {uid: self._ways.get(uid) or NodeWays() for uid in uids}
        self._open = {uid: call for uid, call in self._open.items() if uid in uids}
        for pool in pools:
            if pool.uid not in self._open:
                self._open[pool.uid] = self._executor.submit(self._counts.floor, pool)

    def gather(
        self,
        now: float,
        pools: Sequence[GpuNodePool],
        targets: Mapping[str, Sequence[TargetRef]],
        others: Sequence[TargetRef],
        unseen: frozenset[TargetRef],
    ) -> Mapping[str, PoolSeen]:
        """One for each pool by uid, after ``begin``. ``targets`` are those planned on each pool, ``others`` all that
        are watched; the pods of ``unseen`` are not known now.
        """
        wait([self._open[pool.uid] for pool in pools], timeout=self._deadline)
        nodes = self._nodes.sample(now, [PoolNodes(pool.uid, pool.spec.node.labels) for pool in pools])
        on = {ref: self._nodes_of(ref) for ref in others}
        held = frozenset[str]().union(*on.values())
        return {
            pool.uid: self._seen(
                now,
                pool,
                nodes[pool.uid],
                self._count(now, pool),
                held,
                frozenset[str]().union(*(on[ref] for ref in targets.get(pool.uid, ()) if ref in on)),
                blind=not unseen.isdisjoint(targets.get(pool.uid, ())),
            )
            for pool in pools
        }

    def _nodes_of(self, target: TargetRef) -> frozenset[str]:
        """Names of the nodes that its pods are on."""
        return frozenset(pod.node for pod in self._pods.pods_of(target) if pod.node and not pod.finished)

    def asked(self, pool: GpuNodePool, at: float) -> None:
        """Its count was raised at unix time ``at``: the start of the next nodes' lead times."""
        if pool.uid in self._ways:
            self._ways[pool.uid].asked(at)

    def close(self) -> None:
        """End the watches."""
        self._nodes.close()

    def _count(self, now: float, pool: GpuNodePool) -> Reading[int]:
        call = self._open[pool.uid]
        if not call.done():
            said = f"{pool}: its provider's count was not answered within {self._deadline:g} s; it is asked again"
            return Reading(None, now, Freshness.ERROR, Reason.KUBERNETES_UNREACHABLE, said)
        del self._open[pool.uid]
        if (error := call.exception()) is not None:  # a port must not raise: our own fault
            log.error("reading the count of %s failed: %s; please report it", pool, where(error))
            return Reading(None, now, Freshness.ERROR, Reason.INTERNAL_ERROR, f"internal error: {where(error)}")
        return call.result()

    def _seen(
        self,
        now: float,
        pool: GpuNodePool,
        found: Reading[tuple[Node, ...]],
        count: Reading[int],
        held: frozenset[str],
        own: frozenset[str],
        *,
        blind: bool,
    ) -> PoolSeen:
        """``held``: names of nodes with pods of ours, ``own``: of services on the pool; ``blind``: not all known."""
        worst = min((found, count), key=lambda reading: _WORST.index(reading.freshness))
        if found.value is None or count.value is None:
            bare: Reading[PoolState] = Reading(None, now, worst.freshness, worst.reason, worst.detail)
            return PoolSeen(PoolObservation(pool.uid, bare), count.value)
        nodes = [node for node in found.value if not node.leaving]
        # What holds pods of the pool had its GPUs: its device plugin starts again, or one of them is ill.
        up = [n for n in nodes if n.ready is not None and (n.gpus >= pool.spec.node.gpus or n.name in own)]
        used = [node for node in up if blind or node.name in held]
        empty = [node for node in up if node not in used and not node.closed]
        # Cordoned ones without a pod are in the number of a provider that counts all nodes, and no use to anybody.
        shut = [] if pool.spec.provider.name in SPARE else [n for n in nodes if n.closed and n.name not in held]
        shut = [] if blind else shut[: max(count.value - len(nodes) + len(shut), 0)]  # not those beside the number
        floor = kept(pool, count.value, len(used))
        ready, ways = frozenset(node.uid for node in up), self._ways[pool.uid]
        leads = ways.step(now, nodes, ready, floor) if worst.fresh else ()
        booting = [node for node in nodes if node not in up and not node.closed]
        pending, late = ways.pending(booting, ready), now - float(pool.spec.node.lead_time)
        waited = [node for node in booting if (since := ways.since(node)) is not None and since < late]
        lacking = tuple(node for node in waited if node.ready is not None)
        state = PoolState(len(used) + len(empty), pending, len(empty), max(floor - len(shut), 0))
        reading = Reading(state, min(found.time, count.time), worst.freshness, worst.reason, worst.detail)
        number = count.value if count.fresh else None
        return PoolSeen(
            PoolObservation(pool.uid, reading, leads), number, len(used), tuple(empty), len(nodes), len(shut), lacking
        )
