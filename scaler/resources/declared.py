"""The scalers that the cluster holds, as their watch tells them, and which of them can be run."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any, Generic, TypeVar

from scaler.api.gpu_node_pool import GpuNodePool
from scaler.api.objects import parse
from scaler.api.predictive_scaler import KIND, PredictiveScaler
from scaler.api.status import Refusal
from scaler.kube import Json
from scaler.resources.credentials import CREDENTIALS, outside


@dataclass(frozen=True, slots=True)
class Place:
    """Which object a status belongs to."""

    namespace: str
    name: str
    uid: str
    generation: int | None


R = TypeVar("R", PredictiveScaler, GpuNodePool)


@dataclass(frozen=True, slots=True, eq=False)
class Declared(Generic[R]):
    """One object of the cluster: read, or with what is wrong; and the newest status that was seen of it."""

    place: Place
    created: str  # RFC 3339, UTC: sorts as text
    resource: R | None
    faults: tuple[str, ...]
    status: Json


@dataclass(frozen=True, slots=True)
class Refused:
    """A scaler that is not run, and why."""

    place: Place
    reason: Refusal
    text: str


@dataclass(frozen=True, slots=True)
class Choice:
    """What becomes of all the scalers of a cluster."""

    run: tuple[PredictiveScaler, ...]
    refused: tuple[Refused, ...]

    def without(self, refusals: Mapping[str, str]) -> Choice:
        """The same, less those that the policy refuses: uid -> what it said."""
        run = tuple(one for one in self.run if one.uid not in refusals)
        refused = tuple(
            Refused(place_of(one), Refusal.POLICY_REFUSED, refusals[one.uid]) for one in self.run if one.uid in refusals
        )
        return Choice(run, self.refused + refused)


def place_of(resource: PredictiveScaler) -> Place:
    """Where its status is written."""
    metadata = resource.metadata
    return Place(metadata.namespace, metadata.name, resource.uid, metadata.generation)


def choose(declared: Iterable[Declared[PredictiveScaler]], credentials: PurePosixPath = CREDENTIALS) -> Choice:
    """Which scalers are run. Of several on one target it is the oldest, so that a new one takes nothing away.

    ``credentials``: the folder below which each namespace has the files that its scalers may name.
    """
    run: list[PredictiveScaler] = []
    refused: list[Refused] = []
    first: dict[tuple[str, str, str, str], str] = {}
    for one in sorted(declared, key=lambda d: (d.created, d.place.namespace, d.place.name)):
        resource = one.resource
        if resource is None:
            refused.append(Refused(one.place, Refusal.INVALID_SPEC, "; ".join(one.faults)))
        elif said := outside(resource, credentials):
            refused.append(Refused(one.place, Refusal.CREDENTIALS_REFUSED, said))
        elif (holder := first.setdefault(resource.subject, str(resource))) != str(resource):
            target = resource.spec.target
            said = (
                f"spec.target: found {target.kind} {target.name}, which {holder} scales; allowed: one scaler a target"
            )
            refused.append(Refused(one.place, Refusal.TARGET_TAKEN, said))
        else:
            run.append(resource)
    return Choice(tuple(sorted(run, key=lambda r: (r.metadata.namespace, r.metadata.name))), tuple(refused))


@dataclass(slots=True)
class _Kept(Generic[R]):
    declared: Declared[R]
    seen: tuple[Any, ...] = field(default=())  # what of the object matters here


class Store(Generic[R]):
    """The handler of the watch; ``take`` is for the controller's thread."""

    def __init__(self, kind: str, model: type[R]) -> None:
        """``model`` reads the objects of this ``kind``."""
        self._kind = kind
        self._model: type[R] = model
        self._kept: dict[str, _Kept[R]] = {}
        self._changed = False
        self._lock = threading.Lock()

    def listed(self, objects: Sequence[Json], at: float) -> None:
        """All of them."""
        alive = [item for item in objects if not _going(item)]
        gone = self._kept.keys() - {item["metadata"]["uid"] for item in alive}
        for item in alive:
            self._put(item)
        self._drop(gone)
        with self._lock:
            self._changed = True  # also when there is none: that is known now

    def changed(self, item: Json, at: float) -> None:
        """One is new, or has changed: its spec, or just the status that we wrote."""
        if _going(item):
            self._drop([item["metadata"]["uid"]])
        else:
            self._put(item)

    def removed(self, item: Json, at: float) -> None:
        """One is gone."""
        self._drop([item["metadata"]["uid"]])

    def take(self) -> tuple[Declared[R], ...] | None:
        """All that there are; None when nothing but statuses changed since the last call."""
        with self._lock:
            if not self._changed:
                return None
            self._changed = False
            return tuple(kept.declared for kept in self._kept.values())

    def known(self) -> tuple[Declared[R], ...]:
        """All that there are, whether or not they were taken."""
        with self._lock:
            return tuple(kept.declared for kept in self._kept.values())

    def _put(self, item: Json) -> None:
        metadata = item["metadata"]
        uid = str(metadata["uid"])
        seen = (metadata.get("generation"), metadata.get("annotations"), metadata.get("labels"))
        known = self._kept.get(uid)
        if known is not None and known.seen == seen:
            with self._lock:
                known.declared = replace(known.declared, status=_status(item))
            return
        made = self._declared(item)
        with self._lock:
            self._kept[uid] = _Kept(made, seen)
            self._changed = True

    def _drop(self, uids: Iterable[str]) -> None:
        with self._lock:
            for uid in list(uids):
                self._changed |= self._kept.pop(uid, None) is not None

    def _declared(self, item: Json) -> Declared[R]:
        metadata = item["metadata"]
        generation = metadata.get("generation")
        place = Place(
            str(metadata.get("namespace", "")),
            str(metadata["name"]),
            str(metadata["uid"]),
            generation if isinstance(generation, int) else None,
        )
        parsed = parse(item, (self._kind,))
        resource = parsed.resource if isinstance(parsed.resource, self._model) else None
        created = str(metadata.get("creationTimestamp", ""))
        return Declared(place, created, resource, parsed.faults, _status(item))


class ScalerStore(Store[PredictiveScaler]):
    """Of PredictiveScalers."""

    def __init__(self) -> None:
        super().__init__(KIND, PredictiveScaler)


def _going(item: Json) -> bool:
    """It is being deleted: nothing is decided for it any more."""
    return bool(item["metadata"].get("deletionTimestamp"))


def _status(item: Json) -> Json:
    status = item.get("status")
    return status if isinstance(status, dict) else {}
