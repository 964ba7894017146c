"""Pools that are to go, or name another provider now, and what is to be put back first."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

from scaler.act.finalizer import FINALIZER, ClusterFinalizers, going, putting, taking
from scaler.act.nodepools import marks
from scaler.act.nodepools.objects import Objects, over
from scaler.act.nodepools.pools import writer_for
from scaler.act.nodepools.ports import Held, NodePools
from scaler.act.nodepools.raised import RAISED, may_hold, named, raised, told
from scaler.act.order import ScalerRef
from scaler.api.gpu_node_pool import POOL_KIND, GpuNodePool, Provider
from scaler.api.predictive_scaler import API_VERSION
from scaler.errors import NotLeader, Silent, TargetError, TargetNotFound, where
from scaler.kube import Json, KubeClient

log = logging.getLogger(__name__)

PLURAL = "gpunodepools"


@dataclass(frozen=True, slots=True)
class PoolRef(ScalerRef):
    """One GpuNodePool, which has no namespace; with the provider by which it is about to be raised."""

    provider: Provider | None = None

    def __str__(self) -> str:
        return f"{POOL_KIND} {self.name}"


def pool_ref(pool: GpuNodePool) -> PoolRef:
    """Which object a pool is."""
    return PoolRef("", pool.metadata.name, pool.uid, pool.spec.provider)


def ref_of(item: Json) -> PoolRef:
    """Which object it is, as the API server hands it over."""
    metadata = item["metadata"]
    return PoolRef("", str(metadata["name"]), str(metadata["uid"]))


def put_back(pool: GpuNodePool) -> bool:
    """Whether what was raised is a floor, which is put back in the end; a count of nodes that is ours stays."""
    machines = pool.spec.provider.machine_deployment
    return pool.spec.provider.karpenter is None and (machines is None or machines.autoscaled)


@dataclass(frozen=True, slots=True)
class Left:
    """A provider that a pool names no longer; where its number is still the pool's, that is not put back."""

    provider: Provider
    renamed: Provider | None = None  # the same number and mark in other words: the provider that it names now
    unmarked: bool = False  # the pool counts by the number itself now, without a mark


class PoolMemory(Protocol):
    """What stands on GpuNodePools of what was raised for them: the finalizer, and by which providers."""

    def take_off(self, scaler: ScalerRef) -> None:
        """Take both off: all is put back. Raises Forbidden, Unreachable, Conflict."""
        ...

    def left(self, ref: ScalerRef) -> tuple[Left, ...]:
        """The providers by which something was raised, and that the pool does not name at this very moment; none where
        that cannot be told. Raises Forbidden, Unreachable.
        """
        ...

    def forget(self, ref: ScalerRef, provider: Provider, renamed: Provider | None = None) -> None:
        """What was raised by ``provider`` is put back; or stands by ``renamed`` from now on, which is noted instead.
        Raises as ``take_off``.
        """
        ...


class PoolFinalizers(ClusterFinalizers):
    """Finalizers and PoolMemory on the objects of the API server; both are written in one patch."""

    def __init__(self, client: KubeClient) -> None:
        super().__init__(client, _path)

    def put(self, scaler: ScalerRef) -> None:
        """Put the finalizer on, and note the provider: before anything is raised."""
        provider = scaler.provider if isinstance(scaler, PoolRef) else None

        def patch(item: Json) -> list[Json]:
            if going(item):
                raise TargetNotFound(f"{scaler} is gone, or being deleted: nothing is raised for it any more")
            known = raised(item) or ()
            noted = known if provider is None or provider in known else (*known, provider)
            return [*(_noting(item, noted) if noted != known else ()), *putting(item)]

        self._change(scaler, patch, "put")

    def take_off(self, scaler: ScalerRef) -> None:
        """Take both off."""
        self._change(scaler, lambda item: [*_noting(item, ()), *taking(item)], "take")

    def left(self, ref: ScalerRef) -> tuple[Left, ...]:
        """See PoolMemory."""
        item, objects = self._item(ref), Objects(self._client)
        now = named(item)
        if now is None:
            return ()
        return tuple(_left(ref.name, one, now, objects) for one in raised(item) or () if one != now)

    def forget(self, ref: ScalerRef, provider: Provider, renamed: Provider | None = None) -> None:
        """See PoolMemory."""

        def patch(item: Json) -> list[Json]:
            known = raised(item) or ()
            if provider not in known:
                return []
            rest = [one for one in known if one != provider]
            if renamed is not None and renamed not in rest:
                rest.append(renamed)
            return _noting(item, rest)

        self._change(ref, patch, "note what is put back beside")


class PoolEndings:
    """The handler of a watch of GpuNodePools: which of them have something to be put back.

    Nothing is remembered here: it stands on the pools, so that a replica that begins to lead finds it.
    """

    def __init__(self, counts: NodePools, memory: PoolMemory) -> None:
        self._counts = counts
        self._memory = memory
        self._waiting: dict[str, Json] = {}
        self._said: dict[str, str] = {}  # by uid: what went wrong last
        self._lock = threading.Lock()

    def listed(self, objects: Sequence[Json], at: float) -> None:
        """All of them."""
        with self._lock:
            self._waiting = {item["metadata"]["uid"]: item for item in objects if _ending(item) or _moved(item)}

    def changed(self, item: Json, at: float) -> None:
        """One is new, or has changed."""
        with self._lock:
            if _ending(item) or _moved(item):
                self._waiting[item["metadata"]["uid"]] = item
            else:
                self._waiting.pop(item["metadata"]["uid"], None)

    def removed(self, item: Json, at: float) -> None:
        """One is gone."""
        with self._lock:
            self._waiting.pop(item["metadata"]["uid"], None)

    def finish(self) -> Mapping[str, tuple[Json, str]]:
        """Put back what is to be, and take the finalizer off those that are being deleted; what fails is tried again at
        the next tick. The deletions that wait, by uid: the object, and why.

        For the leader alone.
        """
        with self._lock:
            waiting = dict(self._waiting)
        said: dict[str, str] = {}
        for uid, item in waiting.items():
            try:
                if _ending(item):
                    self._end(item)
                else:
                    self._move(item)
            except NotLeader:
                break
            except TargetError as error:
                said[uid] = str(error)
                if self._said.get(uid) != str(error):  # once, not at every tick
                    log.warning("%s: what it raised is not put back: %s", ref_of(item), error)
                if isinstance(error, Silent):  # each would wait for as long again
                    break
            except Exception as error:  # noqa: BLE001 - one that cannot be let go holds up no other
                said[uid] = f"internal error: {where(error)}; please report it"
                if self._said.get(uid) != said[uid]:
                    log.error("%s: what it raised is not put back: %s", ref_of(item), said[uid])
        self._said = said
        return {uid: (waiting[uid], text) for uid, text in said.items() if _ending(waiting[uid])}

    def _end(self, item: Json) -> None:
        ref = ref_of(item)
        providers = may_hold(item)
        if providers is None:
            raise TargetError(unknown(ref.name))
        for provider in providers:
            self._counts.release(Held(ref.name, ref.uid, provider))
        self._memory.take_off(ref)
        log.info("%s: what it raised is put back", ref)

    def _move(self, item: Json) -> None:
        """What the pool names now is looked up again: the watch may be late."""
        ref = ref_of(item)
        for one in self._memory.left(ref):
            held = Held(ref.name, ref.uid, one.provider)
            if one.unmarked:  # the mark would end some day, and the number fall to what was there before
                self._counts.unmark(held)
            elif one.renamed is None:
                self._counts.release(held)
                log.info("%s: what it raised by the provider before is put back: %s", ref, told((one.provider,)))
            self._memory.forget(ref, one.provider, one.renamed)


def unknown(pool: str) -> str:
    """What to do where nothing tells what a pool has raised."""
    return (
        f"it is not known what it raised, for neither spec.provider nor its annotation {RAISED} can be read: correct "
        f"one of them; or set the number back by hand on the object whose annotation lagcast.io/floor-owner is "
        f"{POOL_KIND}/{pool} (lagcast.io/floor-before says to what), and take the finalizer {FINALIZER} off: "
        f'kubectl patch gpunodepool {pool} --type=merge -p \'{{"metadata":{{"finalizers":null}}}}\''
    )


def _ending(item: Json) -> bool:
    metadata = item["metadata"]
    return bool(metadata.get("deletionTimestamp")) and FINALIZER in (metadata.get("finalizers") or ())


def _moved(item: Json) -> bool:
    """Something was raised by a provider that the pool does not name now."""
    now = named(item)
    return now is not None and any(one != now for one in raised(item) or ())


def _left(pool: str, before: Provider, now: Provider, objects: Objects) -> Left:
    """What becomes of what was raised by ``before``."""
    first, then = (writer_for(one, pool, objects) for one in (before, now))
    if first.number != then.number:
        return Left(before)
    if first.place == then.place:
        return Left(before, renamed=now)
    return Left(before, unmarked=not then.place)  # else the next mark stands elsewhere: it begins anew


def _path(ref: ScalerRef) -> str:
    return f"/apis/{API_VERSION}/{PLURAL}/{quote(ref.name, safe='')}"


def _noting(item: Json, providers: Sequence[Provider]) -> list[Json]:
    """A JSON Patch after which ``providers`` are noted."""
    return over(*marks.noting(item, RAISED, told(providers) if providers else None))
