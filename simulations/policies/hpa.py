"""The HorizontalPodAutoscaler's arithmetic, with time handed in: proposal, stabilisation, rate limits, bounds.

Follows kubernetes pkg/controller/podautoscaler (horizontal.go, replica_calculator.go) in behaviour; tests/policies
holds the worked cases. Two limits exist there, and both here: an HPA without ``behavior`` (as KEDA makes it unless told
otherwise) may go to ``max(2 x current, 4)`` at each sync; one with ``behavior`` counts what it added in a period.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

TOLERANCE = 0.1


class Condition(StrEnum):
    """Why the count is what it is, in the words of the HPA's own conditions."""

    READY_FOR_NEW_SCALE = "ReadyForNewScale"
    SCALE_UP_STABILIZED = "ScaleUpStabilized"
    SCALE_DOWN_STABILIZED = "ScaleDownStabilized"
    DESIRED_WITHIN_RANGE = "DesiredWithinRange"
    TOO_FEW_REPLICAS = "TooFewReplicas"
    TOO_MANY_REPLICAS = "TooManyReplicas"
    SCALE_UP_LIMIT = "ScaleUpLimit"
    SCALE_DOWN_LIMIT = "ScaleDownLimit"
    SCALING_DISABLED = "ScalingDisabled"
    FAILED_GET_METRIC = "FailedGetExternalMetric"


class Select(StrEnum):
    """Which of several rate policies counts."""

    MAX = "Max"
    MIN = "Min"
    DISABLED = "Disabled"


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``value`` pods, or percent of the count at the period's start, in ``period`` seconds."""

    value: int
    period: float
    percent: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """One direction of ``behavior``: stabilisation window (s) and rate policies."""

    window: float
    rates: tuple[Rate, ...]
    select: Select = Select.MAX

    def scaled(self, time_scale: float) -> Rules:
        """The same with every period multiplied by ``time_scale``."""
        rates = tuple(replace(rate, period=rate.period * time_scale) for rate in self.rates)
        return replace(self, window=self.window * time_scale, rates=rates)


@dataclass(frozen=True, slots=True)
class Behavior:
    """``spec.behavior``; the defaults are those of autoscaling/v2."""

    up: Rules = Rules(0.0, (Rate(4, 15.0), Rate(100, 15.0, percent=True)))
    down: Rules = Rules(300.0, (Rate(100, 15.0, percent=True),))

    def scaled(self, time_scale: float) -> Behavior:
        """The same with every period multiplied by ``time_scale``."""
        return Behavior(self.up.scaled(time_scale), self.down.scaled(time_scale))


@dataclass(frozen=True, slots=True)
class Outcome:
    """The count to write, what stabilisation did (``able``), and which limit bound (``limited``)."""

    desired: int
    able: Condition
    limited: Condition


@dataclass(slots=True)
class HpaState:
    """All that an HPA remembers. Each entry begins with its time (unix s)."""

    recommendations: list[tuple[float, int]] = field(default_factory=list)  # not stabilised
    added: list[tuple[float, int]] = field(default_factory=list)  # replicas added, by scale event
    removed: list[tuple[float, int]] = field(default_factory=list)
    unconfirmed: tuple[float, int, int] | None = None  # (time, before, after), seen in effect or not


def average_value(total: int, target: int, existing: int, tolerance: float = TOLERANCE) -> int:
    """Replicas that an external metric of type AverageValue proposes.

    ``total`` and ``target`` (> 0) are in one unit, ``existing`` is status.replicas. Within the tolerance the existing
    count stands: ``1 - tolerance <= total / (target x existing) <= 1 + tolerance``.
    """
    if existing > 0:
        ratio = total / (target * existing)
        if 1.0 - tolerance <= ratio <= 1.0 + tolerance:
            return existing
    return -(-total // target)


class Hpa:
    """One HorizontalPodAutoscaler of 1 <= ``least`` <= ``most`` replicas. Call ``sync`` once a sync period.

    ``behavior`` None: as without ``spec.behavior``; ``window`` (s) is then the controller's downscale stabilisation.
    """

    def __init__(self, least: int, most: int, behavior: Behavior | None = None, window: float = 300.0) -> None:
        if not 1 <= least <= most:
            raise ValueError(f"found least {least}, most {most}; allowed: 1 <= least <= most")
        self._least = least
        self._most = most
        self._behavior = behavior
        self._window = window
        self.state = HpaState()

    def sync(self, now: float, current: int, proposal: int | None) -> Outcome:
        """The count to write at ``now`` for ``current`` (spec.replicas) and the metric's ``proposal``.

        A proposal of None is a metric that could not be read: the count is held, and nothing is remembered.
        """
        self._confirm(current)
        if current == 0:
            return Outcome(0, Condition.SCALING_DISABLED, Condition.SCALING_DISABLED)
        if not self.state.recommendations:
            self.state.recommendations.append((now, current))
        outcome = self._decide(now, current, proposal)
        if outcome.desired != current:
            self.state.unconfirmed = (now, current, outcome.desired)
        return outcome

    def _decide(self, now: float, current: int, proposal: int | None) -> Outcome:
        if current > self._most:
            return Outcome(self._most, Condition.READY_FOR_NEW_SCALE, Condition.TOO_MANY_REPLICAS)
        if current < self._least:
            return Outcome(self._least, Condition.READY_FOR_NEW_SCALE, Condition.TOO_FEW_REPLICAS)
        if proposal is None:
            return Outcome(current, Condition.FAILED_GET_METRIC, Condition.DESIRED_WITHIN_RANGE)
        if self._behavior is None:
            return self._without_behavior(now, current, proposal)
        return self._with_behavior(now, current, proposal, self._behavior)

    def _without_behavior(self, now: float, current: int, proposal: int) -> Outcome:
        recent = [count for at, count in self.state.recommendations if at >= now - self._window]
        wanted = max([proposal, *recent])
        self._remember(now, proposal, self._window)
        able = Condition.SCALE_DOWN_STABILIZED if wanted != proposal else Condition.READY_FOR_NEW_SCALE
        ceiling = max(2 * current, 4)
        if wanted < self._least:
            return Outcome(self._least, able, Condition.TOO_FEW_REPLICAS)
        if wanted > min(ceiling, self._most):
            limit = Condition.SCALE_UP_LIMIT if self._most > ceiling else Condition.TOO_MANY_REPLICAS
            return Outcome(min(ceiling, self._most), able, limit)
        return Outcome(wanted, able, Condition.DESIRED_WITHIN_RANGE)

    def _with_behavior(self, now: float, current: int, proposal: int, behavior: Behavior) -> Outcome:
        up, down = behavior.up, behavior.down
        past = self.state.recommendations
        least = min([proposal, *(count for at, count in past if at > now - up.window)])
        most = max([proposal, *(count for at, count in past if at > now - down.window)])
        # Up to what the whole up window agrees on, down to what the whole down window agrees on.
        wanted = min(max(current, least), most)
        self._remember(now, proposal, max(up.window, down.window))
        able = Condition.READY_FOR_NEW_SCALE
        if wanted != proposal:
            able = Condition.SCALE_UP_STABILIZED if proposal >= current else Condition.SCALE_DOWN_STABILIZED
        if wanted > current:
            ceiling = max(self._ceiling(now, current, up), current)
            if wanted > min(ceiling, self._most):
                limit = Condition.SCALE_UP_LIMIT if ceiling < self._most else Condition.TOO_MANY_REPLICAS
                return Outcome(min(ceiling, self._most), able, limit)
        elif wanted < current:
            bottom = min(self._bottom(now, current, down), current)
            if wanted < max(bottom, self._least):
                limit = Condition.SCALE_DOWN_LIMIT if bottom > self._least else Condition.TOO_FEW_REPLICAS
                return Outcome(max(bottom, self._least), able, limit)
        return Outcome(wanted, able, Condition.DESIRED_WITHIN_RANGE)

    def _ceiling(self, now: float, current: int, rules: Rules) -> int:
        if rules.select is Select.DISABLED:
            return current
        limits = [
            math.ceil(_exact(start * (100 + rate.value) / 100)) if rate.percent else start + rate.value
            for rate, start in self._starts(now, current, rules.rates)
        ]
        return min(limits) if rules.select is Select.MIN else max(limits)

    def _bottom(self, now: float, current: int, rules: Rules) -> int:
        if rules.select is Select.DISABLED:
            return current
        limits = [
            math.trunc(_exact(start * (100 - rate.value) / 100)) if rate.percent else start - rate.value
            for rate, start in self._starts(now, current, rules.rates)
        ]
        # The largest change leaves the fewest replicas.
        return max(limits) if rules.select is Select.MIN else min(limits)

    def _starts(self, now: float, current: int, rates: Sequence[Rate]) -> list[tuple[Rate, int]]:
        """Each rate with the count that stood when its period began."""
        return [
            (
                rate,
                current
                - sum(count for at, count in self.state.added if at > now - rate.period)
                + sum(count for at, count in self.state.removed if at > now - rate.period),
            )
            for rate in rates
        ]

    def _remember(self, now: float, proposal: int, longest: float) -> None:
        kept = [(at, count) for at, count in self.state.recommendations if at >= now - longest]
        self.state.recommendations = [*kept, (now, proposal)]
        if self._behavior is not None:
            rates = (*self._behavior.up.rates, *self._behavior.down.rates)
            period = max((rate.period for rate in rates), default=0.0)
            self.state.added = [event for event in self.state.added if event[0] > now - period]
            self.state.removed = [event for event in self.state.removed if event[0] > now - period]

    def _confirm(self, current: int) -> None:
        """A change counts as a scale event only once its count was seen: a write may fail."""
        if (change := self.state.unconfirmed) is None:
            return
        at, before, after = change
        if current == after:
            events = self.state.added if after > before else self.state.removed
            events.append((at, abs(after - before)))
        self.state.unconfirmed = None


def _exact(value: float) -> float:
    """``value`` without what floating point adds to a whole number, which ceil would turn into one replica more."""
    return float(round(value)) if abs(value - round(value)) < 1e-9 else value
