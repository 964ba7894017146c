"""Services on one pool of GPU nodes: what their own plans know, added up; what the pool's plan finds, for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from scaler.plan.answer import Room
from scaler.plan.decision import PoolDecision
from scaler.plan.nodes import NodePlanner
from scaler.plan.nodes_need import PoolPlan, PoolSpec, ServiceNeed
from scaler.plan.observation import PoolObservation
from scaler.plan.planner import ServicePlanner
from scaler.plan.prepared import Prepared
from scaler.plan.reasons import Reason


class PooledPlan:
    """The plan of one pool and of the services that declare it."""

    def __init__(self, spec: PoolSpec, planners: Mapping[str, ServicePlanner]) -> None:
        self.spec = spec
        self.planner = NodePlanner(spec, max(p.service.tick for p in planners.values()))
        self._services = planners

    def take_over(self, old: NodePlanner | None) -> None:
        """Go on with the nodes' lead times that ``old`` learned of the same pool, if they were declared the same."""
        if old is not None:
            self.planner.take_over(old)

    def step(self, now: float, observed: PoolObservation, prepared: Mapping[str, Prepared]) -> PooledAnswer:
        """The pool's decision, and the replicas of each service that is known now."""
        needs = [
            need
            for uid, planner in self._services.items()
            if uid in prepared and (need := _need(planner, prepared[uid])) is not None
        ]
        uids, gpus, others = tuple([need.uid for need in needs]), {}, 0
        for uid, planner in self._services.items():
            gpus[uid] = planner.service.gpus
            # Of a service that is missing nothing is known: what it holds is not given up.
            if uid not in uids and uid in prepared and (replicas := prepared[uid].replicas) is not None:
                others += planner.service.gpus * replicas.desired
        plan = self.planner.step(now, observed, needs, others)
        floor = plan.floor if len(needs) == len(self._services) else None
        lead = self.planner.lead_time
        decision = PoolDecision(
            self.spec.uid, now, floor, plan.reasons, plan.vacate, plan.kept, plan.ordered, lead, plan.needed
        )
        return PooledAnswer(decision, uids, plan, gpus)


@dataclass(frozen=True, slots=True, eq=False)
class PooledAnswer:
    """What the plan of a pool finds at one tick."""

    decision: PoolDecision
    uids: tuple[str, ...]  # of the services in the plan, in its order
    plan: PoolPlan
    gpus: Mapping[str, int]  # of a replica of each service on the pool

    @property
    def wanted(self) -> dict[str, int]:
        """Replicas by uid."""
        return dict(zip(self.uids, self.plan.replicas, strict=True))

    @property
    def spare(self) -> frozenset[str]:
        """Services that may give up a replica for a while and find its GPU again."""
        return frozenset(self.uids) if self.plan.spare else frozenset()

    def rooms(self, asked: Mapping[str, int]) -> tuple[PoolDecision, dict[str, Room]]:
        """What a full pool leaves each service of what all of them ask for (replicas by uid), and the decision that
        says so."""
        others = sum([count * self.gpus[uid] for uid, count in asked.items() if uid not in self.uids])
        division, most = self.plan.division, None
        if division is not None and not division.fits(counts := [asked[uid] for uid in self.uids], others):
            most = division.divided(counts, others)
        waiting = self.plan.waiting or (0,) * len(self.uids)
        rooms = {uid: Room(None if most is None else most[i], waiting[i]) for i, uid in enumerate(self.uids)}
        decision = self.decision
        if most is not None and Reason.POOL_FULL not in decision.reasons:
            decision = replace(decision, reasons=(*decision.reasons, Reason.POOL_FULL))
        return decision, rooms


def _need(planner: ServicePlanner, prepared: Prepared) -> ServiceNeed | None:
    """None when the replicas, or the load, are not known now."""
    service, settings, seen = planner.service, planner.settings, prepared.seen
    terms, plan, futures, replicas = prepared.terms, prepared.plan, prepared.futures, prepared.replicas
    if plan is None or terms is None or futures is None or replicas is None:
        return None
    dark = bool(seen.faults) or seen.level is None or seen.stuck or seen.past
    caution = terms.inflation / settings.inflation
    # A node is ordered long ahead, where the paths are wide already: the attainment moves the price as well.
    raised = max(caution, 1.0) ** settings.pool_correction
    least = max(planner.limits.least, plan.least)
    least = max(least, replicas.desired) if dark else least
    asked = max(plan.wanted, plan.held or 0)
    least = max(least, min(planner.reserved, asked))  # what an experiment gives up is nobody's meanwhile
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
        current=replicas.desired,
        floor=plan.floor or 0,
        least=least,
        most=max(planner.limits.most, least),
        leads=planner.leads.points,
        table=planner.table,
        gpus=service.gpus,
        caution=caution,
        weight=service.weight,
        asked=asked,
    )
