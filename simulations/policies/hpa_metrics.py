"""What an HPA's metrics propose, one by one and together.

Follows kubernetes pkg/controller/podautoscaler/replica_calculator.go in behaviour. Amounts are in the metric's own
unit; the real one counts in thousandths of it (``milli``). The policies here use ``average_value`` and ``together``;
``value``, ``pods`` and ``utilization`` are for those who write a policy of their own on such metrics.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

TOLERANCE = 0.1  # the controller's default
_INT32 = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The part of a ratio by which usage may be above (``up``) and below (``down``) its target and nothing changes."""

    up: float = TOLERANCE
    down: float = TOLERANCE

    def holds(self, ratio: float) -> bool:
        """Whether ``ratio`` (usage to target) is too near 1 to act on."""
        return 1.0 - self.down <= ratio <= 1.0 + self.up


DEFAULT = Tolerance()


def milli(amount: float) -> int:
    """``amount`` in thousandths, rounded up as a Kubernetes quantity is."""
    # What floating point adds to a whole thousandth is none.
    return math.ceil(amount * 1000 - 1e-6)


def average_value(total: float, target: float, existing: int, tolerance: Tolerance = DEFAULT) -> int:
    """Replicas that an external metric of type AverageValue proposes.

    ``total`` and ``target`` (> 0) are in one unit, ``existing`` is status.replicas. Within the tolerance the existing
    count stands: ``1 - down <= total / (target x existing) <= 1 + up``.
    """
    if existing > 0 and 1.0 - tolerance.down <= total / (target * existing) <= 1.0 + tolerance.up:
        return existing
    return min(math.ceil(total / target), _INT32)


def value(total: float, target: float, current: int, ready: int, tolerance: Tolerance = DEFAULT) -> int:
    """Replicas that an external or object metric of type Value proposes, for ``ready`` pods.

    At ``current`` (spec.replicas) 0 there is no pod whose share could be told: the ratio itself is the count.
    """
    ratio = total / target
    if current == 0:
        return min(math.ceil(ratio), _INT32)
    return current if tolerance.holds(ratio) else min(math.ceil(ratio * ready), _INT32)


def pods(
    usages: Sequence[int | None], unready: int, target: int, current: int, tolerance: Tolerance = DEFAULT
) -> int | None:
    """Replicas that a pods metric (AverageValue) proposes.

    ``usages``: what each pod uses that has started, None where its metric is missing; ``unready``: pods that are
    pending, or too young for their metric to count. None when no ready pod has a metric.
    """
    known = [usage for usage in usages if usage is not None]
    if not known:
        return None
    missing = len(usages) - len(known)
    return _of_pods(_mean(known, target), known, missing, target, unready, current, tolerance, target)


def utilization(
    usages: Sequence[int | None],
    unready: int,
    request: int,
    target: int,
    current: int,
    tolerance: Tolerance = DEFAULT,
) -> int | None:
    """Replicas that a resource metric (Utilization) proposes; ``target`` is percent of every pod's ``request``.

    ``usages``, ``unready`` and the answer as for ``pods``.
    """
    known = [usage for usage in usages if usage is not None]
    if not known:
        return None
    missing = len(usages) - len(known)
    ratio = _percent(known, request) / target
    instead = request * max(100, target) // 100
    return _of_pods(ratio, known, missing, instead, unready, current, tolerance, target, request)


def _of_pods(
    ratio: float,
    known: list[int],
    missing: int,
    instead: int,
    unready: int,
    current: int,
    tolerance: Tolerance,
    target: int,
    request: int | None = None,
) -> int:
    waits = unready > 0 and ratio > 1.0
    if not waits and not missing:
        return current if tolerance.holds(ratio) else math.ceil(ratio * len(known))
    # Who is not heard stands against a change: full on the way down, idle on the way up; who is not ready is idle.
    if missing and ratio != 1.0:
        known = known + [instead if ratio < 1.0 else 0] * missing
    elif missing and request is None:
        known = known + [0] * missing
    if waits:
        known = known + [0] * unready
    again = _mean(known, target) if request is None else _percent(known, request) / target
    turned = (ratio < 1.0 < again) or (ratio > 1.0 > again)
    if tolerance.holds(again) or turned:
        return current
    replicas = math.ceil(again * len(known))
    if (again < 1.0 and replicas > current) or (again > 1.0 and replicas < current):
        return current
    return replicas


def _mean(known: Sequence[int], target: int) -> float:
    """Ratio of the mean usage, a whole number there, to the target."""
    return (sum(known) // len(known)) / target


def _percent(known: Sequence[int], request: int) -> int:
    """Usage in whole percent of what all these pods request."""
    return sum(known) * 100 // (len(known) * request)


def together(proposals: Iterable[int | None], current: int) -> int | None:
    """The largest of several metrics' proposals.

    A metric that could not be read (None) is passed over, but then the count (``current``, spec.replicas) does not
    fall: None, as when no metric could be read.
    """
    best, unread = None, False
    for proposal in proposals:
        if proposal is None:
            unread = True
        elif best is None or proposal > best:
            best = proposal
    return None if best is None or (unread and best < current) else best
