"""What one tick is known to be about a service, and the answer before the rules and limits."""

from __future__ import annotations

from dataclasses import dataclass, replace

from scaler.plan.decision import Forecast
from scaler.plan.observation import ReplicaState, ServiceObservation
from scaler.plan.paths import Futures
from scaler.plan.progress import Progress, TimeLag
from scaler.plan.reasons import Reason
from scaler.plan.rollout import Queue, Rollout, Standing, Terms


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """The present, as far as this tick's fresh readings tell it."""

    faults: tuple[Reason, ...]
    notes: tuple[Reason, ...]  # faults that hold nothing back
    progress: Progress | None
    backlog: float | None
    drainable: float | None  # the part of it that more replicas would drain sooner; None where that is
    lag: TimeLag | None
    level: float | None  # requests/s
    past: bool  # the level is the mean of an outage: nothing is taken away for it
    stuck: bool
    rebalancing: bool  # consumers leave, or have just joined


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """The answer before it is bounded by the scale-in rules and the limits."""

    wanted: int
    source: Reason
    notes: tuple[Reason, ...]
    rollout: Rollout | None  # None: nothing to roll forward
    forecast: Forecast | None
    cheapest: int | None
    floor: int | None  # what the present needs
    held: int | None = None  # what it lately needed: no lower count is taken
    least: int = 0  # what the fallback raises it to


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """One tick's knowledge about a service, up to its answer: what a plan for several services adds up."""

    now: float
    observed: ServiceObservation
    seen: Seen
    replicas: ReplicaState | None  # None: never read
    standing: Standing | None
    futures: Futures | None  # the sample paths; the newest level where there is no forecast
    terms: Terms | None
    queue: Queue
    plan: Plan | None  # None: the replicas are not known now, and no fallback raises what they were


def standing_of(replicas: ReplicaState, now: float) -> Standing:
    """Rule 3: what was asked for and does not serve yet, with its age; pods that do not exist yet are new."""
    current = max(replicas.desired, 0)
    missing = max(current - replicas.ready, 0)
    if missing == 0:
        return Standing(current, replicas.ready, ())
    ages = sorted((max(now - since, 0.0) for since in replicas.pending_since), reverse=True)[:missing]
    return Standing(current, replicas.ready, (*ages, *([0.0] * (missing - len(ages)))))


def bare_plan(current: int, least: int) -> Plan:
    """Of a count that is not known now, and was ``current``: raised to ``least`` by the fallback, never lowered."""
    return stood_in_for(Plan(current, Reason.STEADY, (), None, None, None, None), least)


def stood_in_for(plan: Plan, least: int) -> Plan:
    """The plan, raised to ``least`` by the fallback, which is named for as long as it stands in; 0: it does not."""
    if least <= 0:
        return plan
    source = Reason.FALLBACK if least > plan.wanted else plan.source
    notes = (*plan.notes, Reason.FALLBACK)
    return replace(plan, wanted=max(plan.wanted, least), source=source, notes=notes, least=least)
