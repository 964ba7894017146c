"""The controller's journal, from a simulation: the same rows, so that `lagcast explain` and `report` read them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from scaler.explain.facts import Facts, facts, pool_of
from scaler.explain.week import Week, remember
from scaler.journal import Notable
from scaler.plan.decision import GroupDecision, ServiceDecision
from scaler.plan.observation import GroupObservation
from scaler.plan.reasons import Reason
from scaler.plan.service import Service

MODE = "Simulated"
Named = Callable[[str], tuple[str, str, str]]
"""A service's namespace, name and target, by its uid."""


class SimulatedJournal:
    """Hands over the facts of notable ticks: those that changed something, and one every ``every`` s."""

    def __init__(
        self, services: Sequence[Service], named: Named, note: Callable[[Facts], None], every: float = 60.0
    ) -> None:
        self._services = {service.uid: service for service in services}
        self._weeks = {service.uid: Week() for service in services}
        self._named = named
        self._note = note
        self._notable = Notable(every)

    def __call__(self, observed: GroupObservation, decision: GroupDecision) -> None:
        """Take in a tick."""
        pool = next(
            (pool_of(p.uid, p, d) for p, d in zip(observed.pools, decision.pools, strict=False) if p.uid == d.uid), None
        )
        for seen, one in zip(observed.services, decision.services, strict=True):
            service = self._services[one.uid]
            last_week = remember(self._weeks[one.uid], seen, one, service)
            outcome = _outcome(one) if seen.replicas.fresh else None
            if not self._notable(one, outcome):
                continue
            namespace, name, target = self._named(one.uid)
            self._note(
                facts(
                    seen,
                    one,
                    service,
                    namespace=namespace,
                    name=name,
                    target=target,
                    mode=MODE,
                    last_week=last_week,
                    outcome=outcome,
                    pool=pool,
                )
            )


def _outcome(decision: ServiceDecision) -> Reason | None:
    if decision.desired is None:
        return None
    return Reason.UNCHANGED if decision.desired == decision.current else Reason.APPLIED
