"""What `lagcast explain` answers: the stages in their order. Text and JSON are made from it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from scaler.plan.reasons import Reason

VERSION = 1  # of the JSON: a field that goes away or changes its meaning raises it, a new one does not


class StageName(StrEnum):
    """The stages, in order."""

    INPUTS = "inputs"
    LOAD = "load"
    CAPACITY = "capacity"
    LEAD_TIME = "leadTime"
    FORECAST = "forecast"
    DEMAND = "demand"
    FLOOR = "floor"
    SCALE_IN = "scaleIn"
    LIMITS = "limits"
    NODES = "nodes"
    OUTCOME = "outcome"
    OTHERS = "others"


def figure(value: float, digits: int = 3) -> str:
    """With so many digits, and not as a power of ten: a larger one is whole."""
    if not 1e-12 < abs(value) < 1e15:
        return f"{value:.{digits}g}"
    return f"{Decimal(f'{value:.0f}' if abs(value) >= 10.0**digits - 0.5 else f'{value:.{digits}g}'):f}"


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number with its unit; ``value`` None: not known. ``note``: what it assumes, or why there is none."""

    name: str
    value: float | int | str | None
    unit: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """A reason's code and what it means."""

    code: Reason
    sentence: str


@dataclass(frozen=True, slots=True)
class Stage:
    """One step on the way to the number."""

    name: StageName
    numbers: tuple[Quantity, ...]
    reasons: tuple[Said, ...]  # those of the decision that belong here
    sentence: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """One decision, stage by stage. ``time`` is unix s."""

    version: int
    namespace: str
    name: str
    uid: str
    target: str
    mode: str
    time: float
    current: int | None
    desired: int | None
    reasons: tuple[Reason, ...]  # the decisive one first
    outcome: Reason | None
    summary: str
    stages: tuple[Stage, ...]

    def stage(self, name: StageName) -> Stage:
        """The stage of that name; each is there once, ``nodes`` where the service is planned on a pool of them."""
        return next(stage for stage in self.stages if stage.name is name)
