"""A tick of the controller as the facts that explain it."""

from __future__ import annotations

from collections.abc import Callable

from scaler.api.predictive_scaler import PredictiveScaler, to_service
from scaler.controller import Row
from scaler.explain.facts import Facts, Pool, facts
from scaler.journal import Notable
from scaler.plan.decision import ServiceDecision
from scaler.plan.observation import ServiceObservation
from scaler.plan.reasons import Reason


def facts_of(row: Row, tick: float) -> Facts:
    """One scaler's tick, with ``tick`` seconds between decisions."""
    outcome = row.outcome
    return resource_facts(
        row.resource,
        tick,
        row.observed,
        row.decision,
        last_week=row.last_week,
        outcome=outcome.reason,
        detail=outcome.detail,
        pool=row.pool,
    )


def resource_facts(
    resource: PredictiveScaler,
    tick: float,
    observed: ServiceObservation,
    decision: ServiceDecision,
    last_week: float | None = None,
    outcome: Reason | None = None,
    detail: str = "",
    pool: Pool | None = None,
) -> Facts:
    """Facts about the service that a resource declares."""
    target = resource.spec.target
    return facts(
        observed,
        decision,
        to_service(resource, tick),
        namespace=resource.metadata.namespace,
        name=resource.metadata.name,
        target=f"{target.kind}/{target.name}",
        mode=str(resource.spec.mode),
        last_week=last_week,
        outcome=outcome,
        detail=detail,
        pool=pool,
    )


def noting(note: Callable[[Facts], None], tick: float, every: float) -> Callable[[Row], None]:
    """Hands the facts of notable ticks to a journal: at least every ``every`` s of each scaler."""
    notable = Notable(every)

    def told(row: Row) -> None:
        if notable(row.decision, row.outcome.reason):
            note(facts_of(row, tick))

    return told
