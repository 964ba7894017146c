"""What one tick is known to be about a service, and the answer before the rules and limits."""

from __future__ import annotations

from dataclasses import dataclass

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
    held: int = 0  # what it lately needed: no lower count is taken


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
    plan: Plan | None  # None: the replicas are not known now
