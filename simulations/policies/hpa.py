"""The HorizontalPodAutoscaler's arithmetic, with time handed in: stabilisation, rate limits, bounds.

Follows kubernetes pkg/controller/podautoscaler (horizontal.go) in behaviour, its floating point included; what metrics
propose is in hpa_metrics. Two limits exist there, and both here: an HPA without ``behavior`` (as KEDA makes it unless
told otherwise) may go to ``max(2 x current, 4)`` at each sync; one with ``behavior`` counts what it added in a period.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from simulations.policies.hpa_metrics import TOLERANCE, Tolerance, average_value
from simulations.policies.windows import Largest

__all__ = ["TOLERANCE", "Behavior", "Condition", "Hpa", "Outcome", "Rate", "Rules", "Select", "average_value"]


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
    VALID_METRIC_FOUND = "ValidMetricFound"
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
    """One direction of ``behavior``: stabilisation window (s), rate policies, tolerance (None: the controller's)."""

    window: float
    rates: tuple[Rate, ...]
    select: Select = Select.MAX
    tolerance: float | None = None

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

    def tolerance(self, default: float) -> Tolerance:
        """The part of a ratio that changes nothing, by direction; ``default`` is the controller's."""
        up, down = self.up.tolerance, self.down.tolerance
        return Tolerance(default if up is None else up, default if down is None else down)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The count to write and the reasons of the HPA's conditions.

    ``able`` is AbleToScale's (what stabilisation did), ``limited`` ScalingLimited's (which limit bound), ``active``
    ScalingActive's. Where it is not active, nothing was decided: the count stands.
    """

    desired: int
    able: Condition
    limited: Condition
    active: Condition = Condition.VALID_METRIC_FOUND


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
        self._started = False
        # Recommendations before stabilisation. The smallest of the up window is the largest of the negated.
        self._down = Largest(window, inclusive=True) if behavior is None else Largest(behavior.down.window)
        self._up = None if behavior is None or behavior.up.window == 0 else Largest(behavior.up.window)
        # Scale events: (unix s, replicas added or removed), and a change that was not yet seen in effect.
        self._added: list[tuple[float, int]] = []
        self._removed: list[tuple[float, int]] = []
        self._unconfirmed: tuple[float, int, int] | None = None  # (time, before, after)

    def sync(self, now: float, current: int, proposal: int | None) -> Outcome:
        """The count to write at ``now`` for ``current`` (spec.replicas) and the metrics' ``proposal``.

        A proposal of None is a metric that could not be read: the count is held, and nothing is remembered.
        """
        if self._unconfirmed is not None:
            self._confirm(now, current)
        if not self._started:
            self._started = True
            self._remember(now, current)
        if current == 0:
            return Outcome(0, Condition.READY_FOR_NEW_SCALE, Condition.DESIRED_WITHIN_RANGE, Condition.SCALING_DISABLED)
        outcome = self._decide(now, current, proposal)
        if outcome.desired != current:
            self._unconfirmed = (now, current, outcome.desired)
        return outcome

    def _decide(self, now: float, current: int, proposal: int | None) -> Outcome:
        if current > self._most:
            return Outcome(self._most, Condition.READY_FOR_NEW_SCALE, Condition.TOO_MANY_REPLICAS)
        if current < self._least:
            return Outcome(self._least, Condition.READY_FOR_NEW_SCALE, Condition.TOO_FEW_REPLICAS)
        if proposal is None:
            return Outcome(
                current, Condition.READY_FOR_NEW_SCALE, Condition.DESIRED_WITHIN_RANGE, Condition.FAILED_GET_METRIC
            )
        if self._behavior is None:
            return self._without_behavior(now, current, proposal)
        return self._with_behavior(now, current, proposal, self._behavior)

    def _without_behavior(self, now: float, current: int, proposal: int) -> Outcome:
        _, wanted = self._remember(now, proposal)
        able = Condition.SCALE_DOWN_STABILIZED if wanted != proposal else Condition.READY_FOR_NEW_SCALE
        ceiling = max(2 * current, 4)
        if wanted < self._least:
            return Outcome(self._least, able, Condition.TOO_FEW_REPLICAS)
        if wanted > ceiling or wanted > self._most:
            limit = Condition.SCALE_UP_LIMIT if self._most > ceiling else Condition.TOO_MANY_REPLICAS
            return Outcome(min(ceiling, self._most), able, limit)
        return Outcome(wanted, able, Condition.DESIRED_WITHIN_RANGE)

    def _with_behavior(self, now: float, current: int, proposal: int, behavior: Behavior) -> Outcome:
        # Up to what the whole up window agrees on, down to what the whole down window agrees on.
        least, most = self._remember(now, proposal)
        wanted = min(max(current, least), most)
        able = Condition.READY_FOR_NEW_SCALE
        if wanted != proposal:
            able = Condition.SCALE_UP_STABILIZED if proposal >= current else Condition.SCALE_DOWN_STABILIZED
        if wanted > current:
            ceiling = max(self._limit(now, current, behavior.up, 1), current)
            if wanted > min(ceiling, self._most):
                limit = Condition.SCALE_UP_LIMIT if ceiling < self._most else Condition.TOO_MANY_REPLICAS
                return Outcome(min(ceiling, self._most), able, limit)
        elif wanted < current:
            bottom = min(self._limit(now, current, behavior.down, -1), current)
            if wanted < max(bottom, self._least):
                limit = Condition.SCALE_DOWN_LIMIT if bottom > self._least else Condition.TOO_FEW_REPLICAS
                return Outcome(max(bottom, self._least), able, limit)
        return Outcome(wanted, able, Condition.DESIRED_WITHIN_RANGE)

    def _limit(self, now: float, current: int, rules: Rules, sign: int) -> int:
        """The furthest count that the rate policies of one direction (``sign`` 1 up, -1 down) allow."""
        if rules.select is Select.DISABLED:
            return current
        limits = []
        for rate in rules.rates:
            since = now - rate.period
            start = current
            for at, count in self._added:
                if at > since:
                    start -= count
            for at, count in self._removed:
                if at > since:
                    start += count
            if not rate.percent:
                limits.append(start + sign * rate.value)
                continue
            # The same floating-point steps as there: 100 x (1 + 10/100) is 110.00000000000001, and so 111.
            whole = start * (1 + sign * (rate.value / 100))
            limits.append(math.ceil(whole) if sign > 0 else math.trunc(whole))
        # The largest change is the highest count on the way up, the lowest on the way down.
        return max(limits) if (rules.select is Select.MAX) == (sign > 0) else min(limits)

    def _remember(self, now: float, proposal: int) -> tuple[int, int]:
        """(smallest of the up window, largest of the down window), this one among them."""
        most = int(self._down.push(now, proposal))
        least = proposal if self._up is None else -int(self._up.push(now, -proposal))
        return least, most

    def _confirm(self, now: float, current: int) -> None:
        """A change counts as a scale event only once its count was seen: a write may fail."""
        if (change := self._unconfirmed) is None:
            return
        self._unconfirmed = None
        if self._behavior is None or current != change[2]:
            return
        at, before, after = change
        rules, events = (self._behavior.up, self._added) if after > before else (self._behavior.down, self._removed)
        _store(events, (at, abs(after - before)), max((rate.period for rate in rules.rates), default=0.0))

    def save(self) -> dict[str, Any]:
        """All state, in JSON's types."""
        return {
            "started": self._started,
            "down": self._down.save(),
            "up": [] if self._up is None else self._up.save(),
            "added": self._added,
            "removed": self._removed,
            "unconfirmed": self._unconfirmed,
        }

    def load(self, saved: Mapping[str, Any]) -> None:
        """Take over what ``save`` gave."""
        self._started = bool(saved["started"])
        self._down.load(saved["down"])
        if self._up is not None:
            self._up.load(saved["up"])
        self._added = [(float(at), int(count)) for at, count in saved["added"]]
        self._removed = [(float(at), int(count)) for at, count in saved["removed"]]
        change = saved["unconfirmed"]
        self._unconfirmed = None if change is None else (float(change[0]), int(change[1]), int(change[2]))


def _store(events: list[tuple[float, int]], event: tuple[float, int], period: float) -> None:
    """As the real one: an event older than its own direction's longest ``period`` gives its place to the new one.

    Only the last such; the others stay, and may count for the other direction, whose periods may be longer.
    """
    outdated = [place for place, (at, _) in enumerate(events) if at < event[0] - period]
    if outdated:
        events[outdated[-1]] = event
    else:
        events.append(event)
