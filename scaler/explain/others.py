"""What other rules would have said at the same tick, each by a stated assumption: HPA, KEDA, same time last week.

They are asked for their bare answer. Their memory (stabilisation windows, cooldowns, limits a sync) is not known here;
`lagcast compare` runs them whole, over a whole load.
"""

from __future__ import annotations

import math

from scaler.explain.explanation import Quantity, figure
from scaler.explain.facts import Facts, Offsets, lead_time
from scaler.plan.service import Service

TOLERANCE = 0.1  # kube-controller-manager --horizontal-pod-autoscaler-tolerance
LAG_THRESHOLD = 10  # messages a replica: lagThreshold of KEDA's kafka and apache-kafka triggers
HPA, KEDA, LAST_WEEK = "HPA", "KEDA", "last week"


def others(facts: Facts) -> tuple[Quantity, ...]:
    """A count for each of them, or None with the reason in the note."""
    return (hpa(facts), keda(facts), last_week(facts))


def hpa(facts: Facts) -> Quantity:
    """An HPA on arrivals, external metric, AverageValue: ceil(rate / target), unchanged within the tolerance."""
    rate, current = facts.decision.numbers.arrival_rate, facts.decision.current
    target = _service_rate(facts)
    rule = f"arrivals over {figure(target)} requests/s a replica, tolerance 10 %, between min and max"
    if rate is None or current is None:
        return _none(HPA, rule, "the arrival rate" if rate is None else "the current count")
    if current == 0:
        return Quantity(HPA, None, "replicas", f"{rule}: an HPA does nothing at 0 replicas")
    return Quantity(HPA, _within(average(rate, target, current), facts.service), "replicas", rule)


def keda(facts: Facts) -> Quantity:
    """KEDA's kafka trigger at its default, through its HPA: the lag, capped at the threshold for each partition."""
    offsets, current = facts.offsets, facts.decision.current
    rule = f"lag over {LAG_THRESHOLD} messages a replica (lagThreshold's default), at most one a partition"
    if offsets is None or current is None:
        return _none(KEDA, rule, "the lag" if offsets is None else "the current count")
    lag = _lag(offsets)
    if current == 0 or lag == 0:  # activation is KEDA's own
        active = 1 if lag > 0 else 0
        return Quantity(KEDA, _within(active, facts.service), "replicas", rule)
    count = max(average(lag, LAG_THRESHOLD, current), 1)
    return Quantity(KEDA, _within(count, facts.service), "replicas", rule)


def last_week(facts: Facts) -> Quantity:
    """What arrived a week before the time at which a replica asked for now would serve, over the service rate."""
    target = _service_rate(facts)
    ahead = lead_time(facts.decision, facts.service)
    rule = f"the rate a week ago, {ahead:.0f} s ahead, over {figure(target)} requests/s a replica"
    if facts.last_week is None:
        return _none(LAST_WEEK, rule, "that time")
    count = math.ceil(facts.last_week / target - 1e-9)
    return Quantity(LAST_WEEK, _within(count, facts.service), "replicas", rule)


def average(total: float, target: float, current: int) -> int:
    """The HPA's answer for an AverageValue: ``current`` where the mean is within the tolerance of the target."""
    if abs(1.0 - total / (target * current)) <= TOLERANCE:
        return current
    return math.ceil(total / target - 1e-9)


def _lag(offsets: Offsets) -> float:
    """As the trigger adds it up: 1 for a partition without a commit (offsetResetPolicy latest), cut to what the
    partitions allow.
    """
    lag, most = offsets.lag + offsets.without_commit, offsets.partitions
    return most * LAG_THRESHOLD if lag // LAG_THRESHOLD > most else lag


def _service_rate(facts: Facts) -> float:
    """Requests/s one replica serves: as learned, or as declared."""
    return facts.decision.numbers.service_rate or facts.service.service_rate


def _within(count: int, service: Service) -> int:
    return min(max(count, service.min_replicas), service.max_replicas)


def _none(name: str, rule: str, missing: str) -> Quantity:
    return Quantity(name, None, "replicas", f"{rule}: {missing} is not known")
