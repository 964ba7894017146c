"""Services on one pool of GPU nodes: what their own plans know, added up; what the pool's plan finds, for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from scaler.plan.answer import Room
from scaler.plan.decision import PoolDecision
from scaler.plan.nodes import NodePlanner
from scaler.plan.nodes_need import PoolPlan, PoolSpec, ServiceNeed
from scaler.plan.observation import PoolObservation
from scaler.plan.paths import level_paths
from scaler.plan.planner import ServicePlanner
from scaler.plan.prepared import Prepared
from scaler.plan.reasons import Reason
from scaler.plan.settings import NodeSettings


class PooledPlan:
    """The plan of one pool and of the services that declare it."""

    def __init__(self, spec: PoolSpec, planners: Mapping[str, ServicePlanner], settings: NodeSettings) -> None:
        self.spec = spec
        self.planner = NodePlanner(spec, max(p.service.tick for p in planners.values()), settings)
        self._services = planners

    def take_over(self, old: NodePlanner | None) -> None:
        """Go on with the nodes' lead times that ``old`` learned of the same pool, if they were declared the same."""
        if old is not None:
            self.planner.take_over(old)

    def step(self, now: float, observed: PoolObservation, prepared: Mapping[str, Prepared]) -> PooledAnswer:
        """The pool's decision, and the replicas of each service that is known now."""
        needs: list[ServiceNeed] = []
        held, unknown = set(), 0
        for uid, planner in self._services.items():
            known = prepared.get(uid)
            stands = planner.service.paused  # nobody makes way, or is paid for, for pods that do not come
            need = None if known is None or stands else _need(planner, known)
            dark = known is None or known.replicas is None or (not stands and _dark(known))
            unknown += dark
            if need is None:
                held.add(uid)
                need = None if known is None else _as_it_stands(planner, known)
            if need is not None:
                needs.append(need)
        if unknown == len(self._services) == len(held):  # what is not known is not remembered, either
            needs = []
        plan = self.planner.step(now, observed, needs)
        floor = plan.floor
        new = any(planner.is_new(now) for planner in self._services.values())
        if (unknown or new) and floor is not None and observed.state.value is not None:  # rule 1: it may rise
            floor = max(floor, observed.state.value.floor)
        lead = self.planner.lead_time
        decision = PoolDecision(
            self.spec.uid, now, floor, plan.reasons, plan.vacate, plan.kept, plan.ordered, lead, plan.needed, unknown
        )
        return PooledAnswer(decision, tuple([need.uid for need in needs]), plan, frozenset(held))


@dataclass(frozen=True, slots=True, eq=False)
class PooledAnswer:
    """What the plan of a pool finds at one tick."""

    decision: PoolDecision
    uids: tuple[str, ...]  # of the services in the plan, in its order
    plan: PoolPlan
    held: frozenset[str]  # uids of services whose pods are taken as they stand: the plan says nothing of them

    @property
    def wanted(self) -> dict[str, int]:
        """Replicas by uid."""
        found = zip(self.uids, self.plan.replicas, strict=True)
        return {uid: count for uid, count in found if uid not in self.held}

    @property
    def spare(self) -> frozenset[str]:
        """Services that may give up a replica for a while and find its GPU again."""
        return frozenset(self.uids) - self.held if self.plan.spare else frozenset()

    def rooms(self, asked: Mapping[str, int]) -> tuple[PoolDecision, dict[str, Room]]:
        """What a full pool leaves each service of what all of them ask for (replicas by uid), and the decision that
        says so."""
        division, most = self.plan.division, None
        if division is not None:
            stand = zip(self.uids, division.current, strict=True)
            counts = [count if uid in self.held else asked[uid] for uid, count in stand]
            most = None if division.fits(counts) else division.divided(counts)
        waiting = self.plan.waiting or (0,) * len(self.uids)
        rooms = {
            uid: Room(None if most is None else most[i], waiting[i])
            for i, uid in enumerate(self.uids)
            if uid not in self.held
        }
        decision = self.decision
        if most is not None and Reason.POOL_FULL not in decision.reasons:
            decision = replace(decision, reasons=(*decision.reasons, Reason.POOL_FULL))
        return decision, rooms


def _as_it_stands(planner: ServicePlanner, prepared: Prepared) -> ServiceNeed | None:
    """As much load as its pods serve, for ever: they are neither given up nor lent to others. None when it is not known
    how many there are."""
    service, settings, replicas = planner.service, planner.settings, prepared.replicas
    if replicas is None:
        return None
    stands = replicas.desired
    return ServiceNeed(
        uid=service.uid,
        futures=level_paths(float(stands), 0.0, service.tick),
        backlog=0.0,
        level=float(stands),
        rate=1.0,
        slack=max(service.within - service.service_time, 0.0),
        price=settings.price_scale * settings.pool_price / max(1.0 - service.share, 1e-4),
        share=service.share,
        ready=replicas.ready,
        pending_since=replicas.pending_since,
        unscheduled_since=replicas.unscheduled_since,
        current=stands,
        floor=None,
        least=stands,
        promised=min(planner.limits.least, stands),
        most=stands,
        weight=0.0,  # what it has no node for is worth nothing that others need: nobody knows what it would serve
        leads=planner.leads.points,
        gpus=service.gpus,
        asked=stands,
    )


def _dark(prepared: Prepared) -> bool:
    """Whether the load is not known now; its forecast may still be."""
    return bool(prepared.seen.faults) or prepared.seen.level is None


def _need(planner: ServicePlanner, prepared: Prepared) -> ServiceNeed | None:
    """None when the replicas, or the load, are not known now."""
    service, settings, seen = planner.service, planner.settings, prepared.seen
    terms, plan, futures, replicas = prepared.terms, prepared.plan, prepared.futures, prepared.replicas
    if plan is None or terms is None or futures is None or replicas is None:
        return None
    dark = _dark(prepared) or seen.stuck or seen.past
    caution = terms.inflation / settings.inflation
    # A node is ordered long ahead, where the paths are wide already: the attainment moves the price as well.
    raised = max(caution, 1.0) ** settings.pool_correction
    asked = max(plan.wanted, plan.held or 0)
    # What an experiment gives up is nobody's meanwhile.
    promised = max(planner.limits.least, min(planner.reserved, asked))
    least = max(promised, plan.least, replicas.desired) if dark or planner.is_new(prepared.now) else promised
    return ServiceNeed(
        uid=service.uid,
        futures=futures,
        backlog=prepared.queue.backlog,
        level=seen.level or 0.0,
        rate=terms.rate,
        slack=terms.slack,
        price=terms.price * settings.pool_price * raised,
        raised=raised,
        share=service.share,
        ready=replicas.ready,
        pending_since=replicas.pending_since,
        unscheduled_since=replicas.unscheduled_since,
        current=replicas.desired,
        floor=plan.floor,
        least=least,
        promised=promised,
        most=max(planner.limits.most, least),
        leads=planner.leads.points,
        table=planner.table,
        gpus=service.gpus,
        caution=caution,
        weight=service.weight,
        asked=asked,
    )
