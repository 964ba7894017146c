"""What the peers share: a state for each service, holding on unusable readings, settings, snapshots."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from enum import StrEnum
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, get_args, get_type_hints

from scaler.api.quantities import Duration
from scaler.errors import ConfigError
from scaler.plan.decision import GroupDecision, Numbers, PoolDecision, ServiceDecision
from scaler.plan.observation import Freshness, GroupObservation, Reading, ReplicaState, ServiceObservation, TopicOffsets
from scaler.plan.reasons import Reason
from scaler.plan.service import Service
from simulations.policies.windows import backlog

if TYPE_CHECKING:
    from scaler.controller import MakePolicy
    from simulations.policies.catalog import PolicyMaker

_VERSION = 2
_INPUT = {
    Freshness.STALE: Reason.INPUT_STALE,
    Freshness.ABSENT: Reason.INPUT_ABSENT,
    Freshness.ERROR: Reason.INPUT_ERROR,
}
S = TypeVar("S")


class Peer(Protocol):
    """A rule for one service."""

    uid: str

    def decide(self, now: float, observed: ServiceObservation) -> ServiceDecision:
        """One tick."""
        ...

    def save(self) -> dict[str, Any]:
        """All state, in JSON's types."""
        ...

    def load(self, saved: Mapping[str, Any]) -> None:
        """Take over what ``save`` gave."""
        ...


class PeerPolicy:
    """A Policy (scaler.plan.decision) of one independent rule for each service."""

    def __init__(self, kind: str, peers: Sequence[Peer]) -> None:
        self._kind = kind
        self._peers = {peer.uid: peer for peer in peers}

    def step(self, now: float, observed: GroupObservation) -> GroupDecision:
        """One tick at unix time ``now``. Raises KeyError for a service that the policy was not made for.

        No peer keeps a floor of nodes.
        """
        services = tuple([self._peers[service.uid].decide(now, service) for service in observed.services])
        if not observed.pools:
            return GroupDecision(services)
        pools = tuple([PoolDecision(pool.uid, now, None, (Reason.STEADY,)) for pool in observed.pools])
        return GroupDecision(services, pools)

    def snapshot(self) -> bytes:
        """All state, as JSON."""
        services = {uid: peer.save() for uid, peer in self._peers.items()}
        return json.dumps({"kind": self._kind, "version": _VERSION, "services": services}).encode()

    def restore(self, saved: bytes) -> None:
        """Take over a snapshot. Raises ValueError when it was made by another kind or version, or for others."""
        try:
            document = json.loads(saved)
            made_by = (document["kind"], document["version"], set(document["services"]))
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"not a snapshot of {self._kind}: {error}") from None
        if made_by != (self._kind, _VERSION, set(self._peers)):
            raise ValueError(f"a snapshot of {made_by}; allowed: {(self._kind, _VERSION, set(self._peers))}")
        for uid, peer in self._peers.items():
            peer.load(document["services"][uid])


def for_each(kind: str, make: Callable[[Service], Peer]) -> PolicyMaker:
    """A policy of one rule for each service."""
    return lambda services: PeerPolicy(kind, [make(service) for service in services])


def in_controller(maker: PolicyMaker) -> MakePolicy:
    """The same for the controller, which makes one policy for each resource."""
    return lambda resource, service: maker([service])


def fault(reading: Reading[Any]) -> tuple[Reason, ...]:
    """Reasons of a reading that is not fresh."""
    general = _INPUT.get(reading.freshness, Reason.INPUT_ABSENT)
    return (general,) if reading.reason is None else (general, reading.reason)


def held(
    now: float, observed: ServiceObservation, replicas: ReplicaState, reasons: tuple[Reason, ...], seen: Numbers
) -> ServiceDecision:
    """The decision that changes nothing."""
    return ServiceDecision(observed.uid, now, replicas.desired, replicas.desired, reasons, seen)


def without_target(now: float, observed: ServiceObservation) -> ServiceDecision:
    """The decision when the target's count is not fresh: as it was last seen, or none."""
    reading = observed.replicas
    if reading.value is None:
        return ServiceDecision(observed.uid, now, None, None, (Reason.TARGET_UNKNOWN, *fault(reading)), Numbers())
    count = reading.value.desired
    return ServiceDecision(observed.uid, now, count, count, fault(reading), Numbers())


def after(faults: tuple[Reason, ...], others: tuple[Reason, ...]) -> tuple[Reason, ...]:
    """Faults first; that the count stands is then no news."""
    return tuple(dict.fromkeys((*faults, *(reason for reason in others if reason is not Reason.STEADY))))


def numbers(
    replicas: ReplicaState, offsets: TopicOffsets | None, rate: float | None = None, waiting: float | None = None
) -> Numbers:
    """What was seen; ``waiting`` is the backlog where it is known already."""
    pending = replicas.desired - replicas.ready
    if offsets is None:
        return Numbers(ready=replicas.ready, pending=pending if pending > 0 else 0)
    return Numbers(
        rate,
        backlog(offsets) if waiting is None else waiting,
        ready=replicas.ready,
        pending=pending if pending > 0 else 0,
        partitions=len(offsets.end),
    )


def read_settings(kind: type[S], policy: str, options: Mapping[str, str]) -> S:
    """A settings dataclass from ``--policy-option name=value``.

    Durations (fields of type Duration) as in a resource, booleans as true or false. Raises ConfigError.
    """
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]  # S is a dataclass
    values: dict[str, Any] = {}
    for name, text in options.items():
        if name not in names:
            raise ConfigError(f"policy {policy}: found option {name}; allowed: {', '.join(names)}")
        try:
            values[name] = _value(hints[name], text)
        except ValueError as error:
            raise ConfigError(f"policy {policy}: {name}: {error}") from None
    try:
        return kind(**values)
    except ValueError as error:
        raise ConfigError(f"policy {policy}: {error}") from None


def _value(kind: Any, text: str) -> Any:
    if isinstance(kind, UnionType):  # None is what stands when the option is not given
        (kind,) = (one for one in get_args(kind) if one is not NoneType)
    if kind is bool:
        if text not in ("true", "false"):
            raise ValueError(f'found "{text}"; allowed: true or false')
        return text == "true"
    if kind is Duration:
        return Duration.parse(text)
    if kind is str:
        return text
    if issubclass(kind, StrEnum):
        if text not in list(kind):
            raise ValueError(f'found "{text}"; allowed: {", ".join(kind)}')
        return kind(text)
    try:
        value = kind(text)
    except ValueError:
        raise ValueError(f'found "{text}"; allowed: {"a whole number" if kind is int else "a number"}') from None
    if not math.isfinite(value):
        raise ValueError(f'found "{text}"; allowed: a finite number')
    return value
