"""Additive increase, additive decrease on mean latency: the baseline of Faro's benchmark (EuroSys 2025).

One replica more when the mean latency over the source's window has been above the objective for a while, one fewer when
it has been at or below it for a longer while; a window without requests is below it. What is due while a replica is
still on its way, or while the total that the services share is used up, is not made up for: it must fall due again.
"""

# ruff: noqa: RUF009 - a Duration is an immutable float

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scaler.api.quantities import Duration
from scaler.plan.decision import GroupDecision, PoolDecision, ServiceDecision
from scaler.plan.observation import GroupObservation, LatencySample, Reading, ReplicaState, ServiceObservation
from scaler.plan.reasons import Reason
from scaler.plan.service import Service
from simulations.policies.peers import fault, in_controller, numbers, read_settings, without_target
from simulations.request_level.setting import TOTAL

if TYPE_CHECKING:
    from scaler.controller import MakePolicy
    from simulations.policies.catalog import PolicyMaker

_VERSION = 1


@dataclass(frozen=True, slots=True)
class AiadSettings:
    """Durations in seconds, in whole ticks (rounded down, at least one)."""

    out_after: Duration = Duration(30.0)  # above the objective for this long
    in_after: Duration = Duration(600.0)  # not above it for this long
    one_at_a_time: bool = True  # nothing is added while a replica is on its way

    def __post_init__(self) -> None:
        for name in ("out_after", "in_after"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: found {getattr(self, name):g}; allowed: more than 0")


class AiadPolicy:
    """A Policy for all services that share a total; the total is the pool of that name, where one is shown."""

    def __init__(self, services: Sequence[Service], settings: AiadSettings) -> None:
        self._services = {service.uid: service for service in services}
        self._settings = settings
        # Ticks in a row above the objective (positive) or not above it (negative).
        self._counts = dict.fromkeys(self._services, 0)

    def step(self, now: float, observed: GroupObservation) -> GroupDecision:
        """One tick at unix time ``now``. Replicas that go make room for those that come, in the services' order.

        Raises KeyError for a service that the policy was not made for.
        """
        changes = [self._due(service) for service in observed.services]
        room = _room(observed)
        if room is not None:
            room -= sum(change for change in changes if change < 0)
        decisions = []
        for service, change in zip(observed.services, changes, strict=True):
            granted = change
            if change > 0 and room is not None:
                granted = min(change, max(room, 0))
                room -= granted
            decisions.append(self._decision(now, service, change, granted))
        pools = tuple(PoolDecision(pool.uid, now, None, (Reason.STEADY,)) for pool in observed.pools)
        return GroupDecision(tuple(decisions), pools)

    def _due(self, observed: ServiceObservation) -> int:
        """1, -1 or 0 replicas, by what the latency has been; limits of the service are kept to."""
        replicas, mean = _fresh(observed.replicas), _mean(observed.latency)
        if replicas is None or mean is None:
            return 0  # what is not known is no reason, and does not count
        service = self._services[observed.uid]
        count = self._counts[observed.uid]
        above = mean > service.within
        count = max(count, 0) + 1 if above else min(count, 0) - 1
        after = self._settings.out_after if above else self._settings.in_after
        due = abs(count) >= max(int(after / service.tick), 1)
        self._counts[observed.uid] = 0 if due else count
        if not due:
            return 0
        if not above:
            return -1 if replicas.desired > service.min_replicas else 0
        on_its_way = self._settings.one_at_a_time and replicas.ready < replicas.desired
        return 0 if on_its_way or replicas.desired >= service.max_replicas else 1

    def _decision(self, now: float, observed: ServiceObservation, change: int, granted: int) -> ServiceDecision:
        replicas = _fresh(observed.replicas)
        if replicas is None:
            return without_target(now, observed)
        offsets = observed.offsets.value if observed.offsets.fresh else None
        why = [Reason.NO_FORECAST if granted else Reason.STEADY]
        if granted < change:
            why.insert(0, Reason.MAX_REPLICAS)  # the total is used up
        reasons = tuple(why)
        if observed.latency is None:
            reasons = (Reason.INPUT_ABSENT, *reasons)
        elif _mean(observed.latency) is None:
            reasons = (*fault(observed.latency), *reasons)
        if offsets is None:  # only shown
            reasons = (*reasons, *fault(observed.offsets))
        desired = replicas.desired + granted
        return ServiceDecision(observed.uid, now, replicas.desired, desired, reasons, numbers(replicas, offsets))

    def snapshot(self) -> bytes:
        """All state, as JSON."""
        return json.dumps({"kind": "aiad", "version": _VERSION, "counts": self._counts}).encode()

    def restore(self, saved: bytes) -> None:
        """Take over a snapshot. Raises ValueError when it was made by another kind or version, or for others."""
        try:
            document = json.loads(saved)
            made_by = (document["kind"], document["version"], set(document["counts"]))
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"not a snapshot of aiad: {error}") from None
        if made_by != ("aiad", _VERSION, set(self._services)):
            raise ValueError(f"a snapshot of {made_by}; allowed: {('aiad', _VERSION, set(self._services))}")
        self._counts = {uid: int(count) for uid, count in document["counts"].items()}


def make(options: Mapping[str, str]) -> PolicyMaker:
    """The policy from its options, the fields of AiadSettings. Raises ConfigError."""
    settings = read_settings(AiadSettings, "aiad", options)
    return lambda services: AiadPolicy(services, settings)


def aiad(options: Mapping[str, str]) -> MakePolicy:
    """Entry point ``aiad`` of the group ``lagcast.policies``."""
    return in_controller(make(options))


def _fresh(reading: Reading[ReplicaState]) -> ReplicaState | None:
    return reading.value if reading.fresh else None


def _mean(reading: Reading[LatencySample] | None) -> float | None:
    """Mean latency (s) over the window, 0 when nothing was answered; None: not known."""
    sample = reading.value if reading is not None and reading.fresh else None
    if sample is None or sample.count is None or sample.sum is None:
        return None
    return sample.sum / sample.count if sample.count else 0.0


def _room(observed: GroupObservation) -> int | None:
    """Replicas that the total has left; None without one. What cannot be read leaves none."""
    for pool in observed.pools:
        if pool.uid == TOTAL:
            return pool.state.value.empty if pool.state.fresh and pool.state.value is not None else 0
    return None
