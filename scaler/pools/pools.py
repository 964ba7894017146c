"""The pools' part of a tick: what is seen of each, and what is written."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from scaler.act.order import Outcome
from scaler.act.ports import EventWriter
from scaler.api.gpu_node_pool import POOL_KIND, GpuNodePool
from scaler.api.predictive_scaler import API_VERSION, Mode
from scaler.errors import where
from scaler.observe.ports import TargetRef
from scaler.observe.watched import watched
from scaler.plan.decision import GroupDecision, PoolDecision, ServiceDecision
from scaler.plan.observation import Freshness, ServiceObservation
from scaler.plan.reasons import Reason
from scaler.pools.act import PoolActor, PoolOrder
from scaler.pools.gather import PodsOf, PoolGatherer
from scaler.pools.groups import Group, Member
from scaler.pools.limits import bounded, most_nodes
from scaler.pools.row import PoolRow, PoolSeen
from scaler.pools.vacate import Tenant

log = logging.getLogger(__name__)

_KNOWN = (Freshness.FRESH, Freshness.ABSENT)  # of an object that is not there, the pods are known, too: none


class Pools:
    """All pools of a controller."""

    def __init__(self, gatherer: PoolGatherer, actor: PoolActor, pods: PodsOf, events: EventWriter) -> None:
        self._gatherer = gatherer
        self._actor = actor
        self._pods = pods
        self._events = events
        self._any = False  # there are pools
        self._tenants: frozenset[TargetRef] | None = None  # targets on pools, as long as this replica leads
        self._untidy: set[str] = set()  # namespaces ("": all) where deletion costs may stand that nobody needs

    def begin(self, pools: Sequence[GpuNodePool]) -> None:
        """Begin to ask for what takes a while."""
        self._any = bool(pools)
        self._gatherer.begin(pools)

    def gather(
        self,
        now: float,
        pools: Sequence[GpuNodePool],
        groups: Sequence[Group],
        observed: Mapping[str, ServiceObservation],
    ) -> Mapping[str, PoolSeen]:
        """What is seen of each pool, by uid, after ``begin`` and after the scalers were observed."""
        targets: dict[TargetRef, bool] = {}
        of_pool: dict[str, list[TargetRef]] = {}
        for group in groups:
            for member in group.members:
                target = watched(member.resource).target
                targets[target] = observed[member.service.uid].replicas.freshness in _KNOWN
                of_pool.setdefault(group.key, []).append(target)
        unseen = frozenset(target for target, known in targets.items() if not known)
        return self._gatherer.gather(now, pools, of_pool, tuple(targets), unseen)

    def vacate(self, group: Group, decision: GroupDecision) -> None:
        """Before the services of ``group`` are patched: mark the pods that are to go first."""
        pool = next(iter(decision.pools), None)
        if group.pool is None or pool is None:
            return
        by_uid = {one.uid: one for one in decision.services}
        tenants = []
        for member in group.members:
            target = watched(member.resource).target
            leaving = _leaving(member, by_uid[member.service.uid]) if pool.vacate else 0
            tenants.append(Tenant(target.namespace, self._pods.pods_of(target), member.service.gpus, leaving))
        self._actor.vacate(group.pool, tenants)

    def tidy(self, groups: Sequence[Group], *, leads: bool) -> None:
        """After a tick: pods that stand on no pool any more, for their scaler or the pool is gone, lose the deletion
        costs that were written for it. Who begins to lead looks at all pods once: the leader before may have left some.
        """
        if not leads:
            self._tenants, self._untidy = None, set()
            return
        tenants = frozenset(watched(m.resource).target for g in groups if g.pool is not None for m in g.members)
        if self._tenants is None:
            self._untidy = {""} if self._any else set()
        else:
            self._untidy |= {target.namespace for target in self._tenants - tenants}
        self._tenants = tenants
        if self._untidy:
            keep = frozenset(pod.uid for target in tenants for pod in self._pods.pods_of(target))
            if self._actor.tidy(self._untidy, keep):
                self._untidy = set()

    def carry_out(
        self,
        pool: GpuNodePool,
        seen: PoolSeen,
        decision: PoolDecision | None,
        now: float,
        *,
        leads: bool,
        services: int,
    ) -> PoolRow:
        """One pool's decision to at most one write; a fault of ours in it leaves the others alone."""
        state = seen.observation.state.value
        floor = None if decision is None else decision.floor
        limits = None if floor is None or state is None else bounded(pool, floor, state)
        nodes = None if limits is None else limits.nodes
        if decision is None:
            outcome = Outcome(Reason.UNCHANGED, "no scaler names it")
            if leads and seen.number is not None:
                self._actor.rest(pool)
        elif not leads:
            outcome = Outcome(Reason.STANDBY)
        else:
            outcome = self._apply(PoolOrder(pool, seen, limits, now))
        if decision is not None and limits is not None:
            decision = _with(decision, pool, limits.limits)
        if decision is not None and outcome.patched:
            ref = TargetRef(API_VERSION, POOL_KIND, "", pool.metadata.name)
            self._events.event(ref, decision.reasons[0], outcome.detail, warning=False, now=now)
        return PoolRow(pool, seen, decision, nodes, outcome, services)

    def close(self) -> None:
        """End the watches of nodes."""
        self._gatherer.close()

    def _apply(self, order: PoolOrder) -> Outcome:
        try:
            outcome = self._actor.apply(order)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not stop the tick
            said = f"carrying the decision out failed: {where(error)}"
            log.error("%s: %s; please report it", order.pool, said)
            return Outcome(Reason.INTERNAL_ERROR, said)
        if outcome.patched:
            self._gatherer.asked(order.pool, order.now)
        return outcome


def _leaving(member: Member, decision: ServiceDecision) -> int:
    """Pods that go with the patch that is about to be written."""
    if member.resource.spec.mode is not Mode.ENFORCE or member.resource.pause.any:
        return 0
    if decision.desired is None or decision.current is None:
        return 0
    return max(decision.current - decision.desired, 0)


def _with(decision: PoolDecision, pool: GpuNodePool, limits: tuple[Reason, ...]) -> PoolDecision:
    """The decision with the limits that moved the number by name."""
    if Reason.POOL_FULL in decision.reasons:
        limits = (*limits, most_nodes(pool).limit)
    named = [limit for limit in dict.fromkeys(limits) if limit not in decision.reasons]
    return replace(decision, reasons=(*decision.reasons, *named))
