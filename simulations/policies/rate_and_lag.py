"""The strong reactive rule: what the present rate needs, plus the backlog drained in a minute, held for ten.

``replicas = factor x rate / service rate + excess lag / (drain x service rate)``, the largest of the last ``hold``
seconds. Excess lag is what waits beyond the requests that are in service or served and not yet committed. It knows no
forecast and no lead time; it is the bar that a forecast has to clear.
"""

# ruff: noqa: RUF009 - a Duration is an immutable float

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scaler.api.quantities import Duration
from scaler.plan.decision import ServiceDecision
from scaler.plan.observation import ServiceObservation, TopicOffsets
from scaler.plan.reasons import Reason
from scaler.plan.service import Service
from simulations.policies.peers import PeerPolicy, backlog, fault, numbers, read_settings, without_target

if TYPE_CHECKING:
    from scaler.controller import MakePolicy


@dataclass(frozen=True, slots=True)
class RateAndLagSettings:
    """The rule's parameters. ``time_scale`` multiplies every period: 0.1 is ten times faster, for compressed time."""

    factor: float = 1.1  # capacity for each unit of rate
    rate_window: Duration = Duration(60)  # the rate is the mean over it
    drain: Duration = Duration(60)  # excess lag is to be gone in it
    hold: Duration = Duration(600)  # the largest answer within it counts
    commit_delay: Duration = Duration(0.5)  # half the commit interval: served, and still seen as lag
    time_scale: float = 1.0

    def __post_init__(self) -> None:
        for name in ("factor", "rate_window", "drain", "time_scale"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: found {getattr(self, name)}; allowed: more than 0")


class RateAndLag:
    """The rule for one service."""

    def __init__(self, service: Service, settings: RateAndLagSettings) -> None:
        scale = settings.time_scale
        self.uid = service.uid
        self._service = service
        self._factor = settings.factor
        self._window = settings.rate_window * scale
        self._drain = settings.drain * scale
        self._hold = settings.hold * scale
        self._in_flight = service.service_time + settings.commit_delay
        self._ends: deque[tuple[float, int]] = deque()  # (unix s, end offsets of all partitions together)
        self._partitions = 0
        self._answers: deque[tuple[float, int]] = deque()

    def decide(self, now: float, observed: ServiceObservation) -> ServiceDecision:
        """One tick. Without fresh offsets, or before a rate is known, the count is held."""
        replicas = observed.replicas.value if observed.replicas.fresh else None
        if replicas is None:
            return without_target(now, observed)
        current = replicas.desired
        offsets = observed.offsets.value if observed.offsets.fresh else None
        if offsets is None:
            reasons = fault(observed.offsets)
            return ServiceDecision(self.uid, now, current, current, reasons, numbers(replicas, None))
        recreated = self._take(observed.offsets.time, offsets)
        rate = self._rate()
        seen = numbers(replicas, offsets, rate)
        if rate is None:
            reason = Reason.TOPIC_RECREATED if recreated else Reason.INPUT_ABSENT
            return ServiceDecision(self.uid, now, current, current, (reason,), seen)
        desired, reasons = self._limited(self._held(now, self._need(rate, offsets)), current, len(offsets.partitions))
        return ServiceDecision(self.uid, now, current, desired, reasons, seen)

    def _take(self, time: float, offsets: TopicOffsets) -> bool:
        """Keep the end offsets of the window; True when the topic is another than before."""
        end, partitions = int(offsets.end.sum()), len(offsets.partitions)
        # An added partition only adds messages; fewer partitions, or offsets that went back, are a new topic.
        recreated = bool(self._ends) and (end < self._ends[-1][1] or partitions < self._partitions)
        if recreated:
            self._ends.clear()
        self._partitions = partitions
        if not self._ends or time > self._ends[-1][0]:
            self._ends.append((time, end))
        # One sample at or before the window's start stays: the rate is over the whole window.
        while len(self._ends) > 2 and self._ends[1][0] <= time - self._window:
            self._ends.popleft()
        return recreated

    def _rate(self) -> float | None:
        """Requests/s over the window; None until two samples are there."""
        if len(self._ends) < 2:
            return None
        (first, before), (last, after) = self._ends[0], self._ends[-1]
        return (after - before) / (last - first)

    def _need(self, rate: float, offsets: TopicOffsets) -> int:
        excess = max(backlog(offsets) - rate * self._in_flight, 0.0)
        need = (self._factor * rate + excess / self._drain) / self._service.service_rate
        # What floating point adds to a whole number is not worth a replica.
        return math.ceil(need - 1e-9)

    def _held(self, now: float, need: int) -> tuple[int, int]:
        """(largest answer of the hold, this one)."""
        while self._answers and self._answers[0][0] < now - self._hold:
            self._answers.popleft()
        while self._answers and self._answers[-1][1] <= need:
            self._answers.pop()
        self._answers.append((now, need))
        return self._answers[0][1], need

    def _limited(self, held: tuple[int, int], current: int, partitions: int) -> tuple[int, tuple[Reason, ...]]:
        wanted, need = held
        least, most = self._service.min_replicas, self._service.max_replicas
        desired = max(min(wanted, most, partitions), least)
        reasons: list[Reason] = []
        if desired < wanted:
            reasons.append(Reason.PARTITIONS if desired == partitions else Reason.MAX_REPLICAS)
        elif desired > wanted:
            reasons.append(Reason.MIN_REPLICAS)
        elif wanted > need:
            reasons.append(Reason.SCALE_IN_DELAYED)
        reasons.append(Reason.STEADY if desired == current else Reason.NO_FORECAST)
        return desired, tuple(reasons)

    def save(self) -> dict[str, Any]:
        """All state, in JSON's types."""
        return {"ends": list(self._ends), "partitions": self._partitions, "answers": list(self._answers)}

    def load(self, saved: Mapping[str, Any]) -> None:
        """Take over what ``save`` gave."""
        self._ends = deque((float(at), int(end)) for at, end in saved["ends"])
        self._partitions = int(saved["partitions"])
        self._answers = deque((float(at), int(count)) for at, count in saved["answers"])


def rate_and_lag(options: Mapping[str, str]) -> MakePolicy:
    """Entry point ``rate_and_lag`` of the group ``lagcast.policies``; options are the fields of RateAndLagSettings."""
    settings = read_settings(RateAndLagSettings, "rate_and_lag", options)
    return lambda resource, service: PeerPolicy("rate_and_lag", [RateAndLag(service, settings)])
