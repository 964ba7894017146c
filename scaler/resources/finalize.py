"""Scalers that are to go, or are in Floor mode no longer, and whose floor is to be put back first."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence

from scaler.act.finalizer import FINALIZER
from scaler.act.order import ScalerRef
from scaler.act.ports import Finalizers, FloorWriter
from scaler.act.release import of_scaler, release
from scaler.api.predictive_scaler import Mode
from scaler.errors import NotLeader, Silent, TargetError, where
from scaler.kube import Json
from scaler.observe.watch import Handler

log = logging.getLogger(__name__)


def ending(item: Json) -> bool:
    """Whether an object waits for its floor: it has the finalizer, and keeps no floor any more."""
    metadata = item.get("metadata") or {}
    if FINALIZER not in (metadata.get("finalizers") or ()):
        return False
    return bool(metadata.get("deletionTimestamp")) or (item.get("spec") or {}).get("mode") != Mode.FLOOR


class Endings:
    """The handler of a watch of PredictiveScalers: which of them wait for their floor."""

    def __init__(self) -> None:
        self._waiting: dict[str, ScalerRef] = {}
        self._lock = threading.Lock()

    def listed(self, objects: Sequence[Json], at: float) -> None:
        """All of them."""
        waiting = {one.uid: one for one in map(_ref, filter(ending, objects))}
        with self._lock:
            self._waiting = waiting

    def changed(self, item: Json, at: float) -> None:
        """One is new, or has changed."""
        with self._lock:
            if ending(item):
                self._waiting[_ref(item).uid] = _ref(item)
            else:
                self._waiting.pop(_ref(item).uid, None)

    def removed(self, item: Json, at: float) -> None:
        """One is gone."""
        with self._lock:
            self._waiting.pop(_ref(item).uid, None)

    def waiting(self) -> tuple[ScalerRef, ...]:
        """All of them."""
        with self._lock:
            return tuple(self._waiting.values())


class Both:
    """Two handlers of one watch."""

    def __init__(self, first: Handler, second: Handler) -> None:
        self._handlers = (first, second)

    def listed(self, objects: Sequence[Json], at: float) -> None:
        for handler in self._handlers:
            handler.listed(objects, at)

    def changed(self, item: Json, at: float) -> None:
        for handler in self._handlers:
            handler.changed(item, at)

    def removed(self, item: Json, at: float) -> None:
        for handler in self._handlers:
            handler.removed(item, at)


class Finalizing:
    """Puts floors back and takes the finalizer off; what fails is tried again at the next tick."""

    def __init__(self, floors: FloorWriter, finalizers: Finalizers) -> None:
        self._floors = floors
        self._finalizers = finalizers
        self._said: dict[str, str] = {}  # by uid: what went wrong last

    def finish(self, scalers: Iterable[ScalerRef]) -> None:
        """Each in turn; never raises for what the API server answers."""
        said = {}
        for scaler in scalers:
            try:
                self._one(scaler)
            except NotLeader:
                break
            except TargetError as error:
                said[scaler.uid] = str(error)
                if self._said.get(scaler.uid) != str(error):  # once, not at every tick
                    log.warning("%s keeps its finalizer: %s", scaler, error)
                if isinstance(error, Silent):  # each would wait for as long again
                    break
            except Exception as error:  # noqa: BLE001 - one that cannot be let go holds up no other
                said[scaler.uid] = where(error)
                if self._said.get(scaler.uid) != said[scaler.uid]:
                    log.error("%s keeps its finalizer: %s; please report it", scaler, said[scaler.uid])
        self._said = said

    def _one(self, scaler: ScalerRef) -> None:
        for one in release(self._floors, scaler.namespace, of_scaler(scaler.uid)):
            if one.fault:
                raise TargetError(one.fault)
            log.info("%s: the floor of %s is put back: %s", scaler, one.found, one.note or f"it is {one.after}")
        self._finalizers.take_off(scaler)


def _ref(item: Json) -> ScalerRef:
    metadata = item["metadata"]
    return ScalerRef(str(metadata.get("namespace", "")), str(metadata["name"]), str(metadata["uid"]))
