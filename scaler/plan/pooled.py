"""Services on one pool of GPU nodes: what their own plans know, added up; what the pool's plan finds, for each."""

from __future__ import annotations

from collections.abc import Mapping

from scaler.plan.decision import PoolDecision
from scaler.plan.nodes import NodePlanner
from scaler.plan.nodes_need import PoolSpec, ServiceNeed
from scaler.plan.observation import PoolObservation
from scaler.plan.planner import ServicePlanner
from scaler.plan.prepared import Prepared


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

    @property
    def horizon(self) -> float:
        """Seconds ahead that the services' paths should reach."""
        return self.planner.horizon

    def step(
        self, now: float, observed: PoolObservation, prepared: Mapping[str, Prepared]
    ) -> tuple[PoolDecision, dict[str, int]]:
        """The pool's decision, and the replicas of each service that is known now, by uid."""
        needs = [
            need
            for uid, planner in self._services.items()
            if uid in prepared and (need := _need(planner, prepared[uid])) is not None
        ]
        plan = self.planner.step(now, observed, needs)
        # Of a service that is missing nothing is known: what it holds is not given up.
        floor = plan.floor if len(needs) == len(self._services) else None
        lead = self.planner.lead_time
        decision = PoolDecision(self.spec.uid, now, floor, plan.reasons, plan.vacate, plan.kept, plan.ordered, lead)
        return decision, {need.uid: count for need, count in zip(needs, plan.replicas, strict=True)}


def _need(planner: ServicePlanner, prepared: Prepared) -> ServiceNeed | None:
    """None when the replicas, or the load, are not known now."""
    service, settings, seen = planner.service, planner.settings, prepared.seen
    terms, plan, futures, replicas = prepared.terms, prepared.plan, prepared.futures, prepared.replicas
    if plan is None or terms is None or futures is None or replicas is None:
        return None
    dark = bool(seen.faults) or seen.level is None or seen.stuck or seen.past
    caution = terms.inflation / settings.inflation
    least = max(planner.limits.least, plan.least)
    least = max(least, replicas.desired) if dark else least
    return ServiceNeed(
        uid=service.uid,
        paths=futures.rates,
        step=futures.step,
        age=futures.age,
        backlog=prepared.queue.backlog,
        level=seen.level or 0.0,
        rate=terms.rate,
        slack=terms.slack,
        # A node is ordered long ahead, where the paths are wide already: the attainment moves the price as well.
        price=terms.price * settings.pool_price * max(caution, 1.0) ** settings.pool_correction,
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
    )
