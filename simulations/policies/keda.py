"""KEDA's Kafka lag rule through the HPA: what a ScaledObject with one ``kafka`` trigger does to a Deployment.

Lag follows keda pkg/scalers/kafka_scaler.go, timing its ScaledObject reference: the HPA reads the metric anew at
each of its syncs; KEDA itself only moves between 0 and 1 replica, at its polling interval. The rule sees the offsets at
the controller's ticks; where a tick is longer than a sync, the syncs in between are caught up with the newest offsets.
"""

# ruff: noqa: RUF009 - a Duration is an immutable float

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from scaler.api.quantities import Duration
from scaler.plan.decision import ServiceDecision
from scaler.plan.observation import ReplicaState, ServiceObservation, TopicOffsets
from scaler.plan.reasons import Reason
from scaler.plan.service import Service
from simulations.policies.hpa import Behavior, Condition, Hpa, HpaState, Outcome, average_value
from simulations.policies.peers import PeerPolicy, fault, numbers, read_settings, without_target

if TYPE_CHECKING:
    from scaler.controller import MakePolicy

# A tick may come a little early or late of a whole sync period.
_SLACK = 0.05
# After a long silence only the newest syncs are caught up.
_MOST_SYNCS = 20


class OffsetReset(StrEnum):
    """Where a group that has committed nothing begins."""

    LATEST = "latest"
    EARLIEST = "earliest"


class HpaBehavior(StrEnum):
    """The ``behavior`` of KEDA's HPA: none, as KEDA makes it, or the defaults of autoscaling/v2 written out."""

    NONE = "none"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class KedaSettings:
    """A ScaledObject's fields, with KEDA's own defaults.

    ``time_scale`` multiplies every period: 0.1 is ten times faster, for compressed time.
    """

    threshold: int = 10  # lagThreshold, messages
    activation_threshold: int = 0
    offset_reset: OffsetReset = OffsetReset.LATEST
    allow_idle_consumers: bool = False
    limit_to_partitions_with_lag: bool = False
    ensure_even_distribution: bool = False
    exclude_persistent_lag: bool = False
    scale_to_zero_on_invalid_offset: bool = False
    polling_interval: Duration = Duration(30)
    cooldown: Duration = Duration(300)
    initial_cooldown: Duration = Duration(0)
    sync_period: Duration = Duration(15)  # the HPA controller's
    stabilization: Duration = Duration(300)  # the HPA controller's, downscale
    behavior: HpaBehavior = HpaBehavior.NONE
    time_scale: float = 1.0

    def __post_init__(self) -> None:
        wrong = {
            f"threshold: found {self.threshold}; allowed: more than 0": self.threshold <= 0,
            f"activation_threshold: found {self.activation_threshold}; allowed: at least 0": (
                self.activation_threshold < 0
            ),
            "limit_to_partitions_with_lag: found beside allow_idle_consumers; allowed: one of them": (
                self.limit_to_partitions_with_lag and self.allow_idle_consumers
            ),
            "limit_to_partitions_with_lag: found beside ensure_even_distribution; allowed: one of them": (
                self.limit_to_partitions_with_lag and self.ensure_even_distribution
            ),
            f"time_scale: found {self.time_scale}; allowed: more than 0": self.time_scale <= 0,
            "sync_period, polling_interval: found 0s; allowed: more": self.sync_period <= 0
            or self.polling_interval <= 0,
        }
        faults = [text for text, is_so in wrong.items() if is_so]
        if faults:
            raise ValueError("; ".join(faults))


@dataclass(frozen=True, slots=True)
class Lag:
    """What KEDA tells the HPA, and whether the trigger is active."""

    total: int  # messages, cut to what the partitions can use
    active: bool
    capped: bool  # whether the cut took something away


def kafka_lag(offsets: TopicOffsets, previous: Mapping[int, int], settings: KedaSettings) -> Lag:
    """The trigger's metric; ``previous`` is the committed offset of each partition at the poll before."""
    scaling, real = [], []
    for partition, end, committed in zip(
        offsets.partitions.tolist(), offsets.end.tolist(), offsets.committed.tolist(), strict=True
    ):
        if committed < 0:
            lag = _uncommitted(end, settings)
            stuck = False
        else:
            lag = end - committed
            stuck = settings.exclude_persistent_lag and previous.get(partition) == committed
        real.append(lag)
        scaling.append(0 if stuck else lag)
    total, threshold = sum(scaling), settings.threshold
    uncut, upper = total, len(scaling)
    if settings.ensure_even_distribution:
        total = threshold * _even(upper, total, threshold)
    if settings.limit_to_partitions_with_lag:
        upper = sum(lag > 0 for lag in scaling)
    if not settings.allow_idle_consumers and total // threshold > upper:
        total = upper * threshold
    return Lag(total, sum(real) > settings.activation_threshold, total < uncut)


def _uncommitted(end: int, settings: KedaSettings) -> int:
    if settings.scale_to_zero_on_invalid_offset:
        return 0
    # One keeps a consumer alive that will commit; `earliest` counts what retention has deleted, too.
    return 1 if settings.offset_reset is OffsetReset.LATEST else end


def _even(partitions: int, total: int, threshold: int) -> int:
    """The smallest divisor of ``partitions`` whose replicas could take ``total``; all partitions when none could."""
    divisors = (n for n in range(1, partitions + 1) if partitions % n == 0)
    return next((n for n in divisors if n * threshold >= total), partitions)


@dataclass(slots=True)
class _State:
    synced: float | None = None  # unix s, on the grid of sync periods
    polled: float | None = None
    born: float | None = None
    active_at: float | None = None


class KedaLag:
    """The rule for one service."""

    def __init__(self, service: Service, settings: KedaSettings) -> None:
        self.uid = service.uid
        self._settings = settings
        self._to_zero = service.min_replicas == 0
        scale = settings.time_scale
        behavior = Behavior().scaled(scale) if settings.behavior is HpaBehavior.DEFAULT else None
        self._hpa = Hpa(max(service.min_replicas, 1), service.max_replicas, behavior, settings.stabilization * scale)
        self._state = _State()
        self._committed: dict[int, int] = {}

    def decide(self, now: float, observed: ServiceObservation) -> ServiceDecision:
        """One tick: KEDA's own step between 0 and 1, then every HPA sync that is due."""
        replicas = observed.replicas.value if observed.replicas.fresh else None
        if replicas is None:
            return without_target(now, observed)
        offsets = observed.offsets.value if observed.offsets.fresh else None
        syncs = self._due(now)
        polls = self._to_zero and self._poll_due(now)
        lag = None
        if offsets is not None and (syncs or polls):
            lag = kafka_lag(offsets, self._committed, self._settings)
            self._committed = dict(zip(offsets.partitions.tolist(), offsets.committed.tolist(), strict=True))
        count, reasons = replicas.desired, [Reason.STEADY]
        if polls and lag is not None:
            count = self._activate(now, count, lag.active)
            if count != replicas.desired:
                reasons = [Reason.NO_FORECAST]
        for at in syncs:
            count, reasons = self._sync(at, count, replicas, lag, reasons)
        if offsets is None:
            reasons = [*fault(observed.offsets), *(r for r in reasons if r is not Reason.STEADY)]
        return ServiceDecision(
            self.uid, now, replicas.desired, count, tuple(dict.fromkeys(reasons)), numbers(replicas, offsets)
        )

    def _sync(
        self, at: float, count: int, replicas: ReplicaState, lag: Lag | None, before: list[Reason]
    ) -> tuple[int, list[Reason]]:
        # status.replicas counts the pods there are; after a change at this tick, those that were asked for.
        existing = replicas.ready + len(replicas.pending_since) if count == replicas.desired else count
        proposal = None if lag is None else average_value(lag.total, self._settings.threshold, existing)
        outcome = self._hpa.sync(at, count, proposal)
        if outcome.limited is Condition.SCALING_DISABLED:
            return count, before
        reasons = _reasons(outcome, changed=outcome.desired != replicas.desired)
        if lag is not None and lag.capped:
            reasons.append(Reason.PARTITIONS)
        return outcome.desired, reasons

    def _activate(self, now: float, count: int, active: bool) -> int:
        scale = self._settings.time_scale
        if active:
            self._state.active_at = now
            return max(count, 1)
        born, last = self._state.born, self._state.active_at
        young = born is not None and now < born + self._settings.initial_cooldown * scale
        cooling = last is not None and now < last + self._settings.cooldown * scale
        return count if young or cooling else 0

    def _due(self, now: float) -> list[float]:
        """Times of the HPA's syncs since the last tick, oldest first."""
        period = self._settings.sync_period * self._settings.time_scale
        last = self._state.synced
        if last is None:
            self._state.synced = now
            return [now]
        whole = int((now - last) / period + _SLACK)
        if whole <= 0:
            return []
        self._state.synced = last + whole * period
        return [last + n * period for n in range(max(1, whole - _MOST_SYNCS + 1), whole + 1)]

    def _poll_due(self, now: float) -> bool:
        period = self._settings.polling_interval * self._settings.time_scale
        if self._state.born is None:
            self._state.born = now
        last = self._state.polled
        if last is not None and (now - last) / period + _SLACK < 1:
            return False
        self._state.polled = now
        return True

    def save(self) -> dict[str, Any]:
        """All state, in JSON's types."""
        committed = [[partition, offset] for partition, offset in self._committed.items()]
        return {"times": asdict(self._state), "hpa": asdict(self._hpa.state), "committed": committed}

    def load(self, saved: Mapping[str, Any]) -> None:
        """Take over what ``save`` gave."""
        hpa = saved["hpa"]
        change = hpa["unconfirmed"]
        self._state = _State(**saved["times"])
        self._committed = {int(partition): int(offset) for partition, offset in saved["committed"]}
        self._hpa.state = HpaState(
            recommendations=_entries(hpa["recommendations"]),
            added=_entries(hpa["added"]),
            removed=_entries(hpa["removed"]),
            unconfirmed=None if change is None else (float(change[0]), int(change[1]), int(change[2])),
        )


def _entries(saved: Any) -> list[tuple[float, int]]:
    return [(float(at), int(count)) for at, count in saved]


def _reasons(outcome: Outcome, *, changed: bool) -> list[Reason]:
    """The HPA's conditions as reasons, the decisive one first."""
    limits = {
        Condition.TOO_FEW_REPLICAS: Reason.MIN_REPLICAS,
        Condition.TOO_MANY_REPLICAS: Reason.MAX_REPLICAS,
        Condition.SCALE_UP_LIMIT: Reason.SCALE_OUT_LIMIT,
        Condition.SCALE_DOWN_LIMIT: Reason.SCALE_IN_LIMIT,
    }
    source = Reason.NO_FORECAST if changed else Reason.STEADY
    if outcome.limited in limits:
        return [limits[outcome.limited], source]
    if outcome.able is Condition.SCALE_DOWN_STABILIZED:
        return [Reason.SCALE_IN_DELAYED, source]
    return [source]


def keda_lag(options: Mapping[str, str]) -> MakePolicy:
    """Entry point ``keda_lag`` of the group ``lagcast.policies``; options are the fields of KedaSettings."""
    settings = read_settings(KedaSettings, "keda_lag", options)
    return lambda resource, service: PeerPolicy("keda_lag", [KedaLag(service, settings)])
