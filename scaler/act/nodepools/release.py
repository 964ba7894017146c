"""What Lagcast raised on GPU node pools, found by its marks, and put back: without the controller, and by anybody."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from scaler.act.nodepools import capacity_buffer, machine_deployment, machines, marks, placeholder_pods
from scaler.act.nodepools.fields import Field, put
from scaler.act.nodepools.objects import NotServed, ObjectRef, Objects
from scaler.act.nodepools.pointer import found, integer
from scaler.act.nodepools.ports import Mark
from scaler.act.nodepools.raised import named, raised
from scaler.act.replicas import ScaleWriter
from scaler.api.gpu_node_pool import POOL_KIND
from scaler.api.predictive_scaler import API_VERSION
from scaler.errors import Forbidden, TargetError
from scaler.kube import Json, KubeClient, failure


@dataclass(frozen=True, slots=True)
class Released:
    """One number that was put back, or (``fault``) could not be."""

    what: str  # "MachineDeployment fleet/h100"
    owner: str  # "GpuNodePool/h100"
    held: int | None  # what stood there; None: not known
    value: int | None  # what stands there now: what was before, or what others have written since
    fault: str = ""


def release(kube: KubeClient, *, expired_only: bool, now: float, also: frozenset[str] = frozenset()) -> list[Released]:
    """Put back every number that a GpuNodePool raised and marked, or only those whose mark has expired at ``now``
    (unix s) or whose owner is among ``also``. Objects of ``integerField`` are found by the GpuNodePools that name their
    kind, or have raised one of it.

    A fault at one object is in its line, and the others go on; so is a kind that may not be listed, once for each pool
    that names it. Raises Unreachable or Forbidden when the GpuNodePools cannot be listed.
    """
    objects = Objects(kube)
    wanted = _Wanted(expired_only, now, also)
    pools = list(objects.every((API_VERSION,), POOL_KIND))
    done = []
    for one in _kinds(pools):
        try:
            listed = objects.every(one.versions, one.kind)
            marked = [(item, mark) for item in listed if (mark := wanted.mark(item)) is not None]
        except (Forbidden, NotServed) as error:
            # By nobody named: nothing was ever written there, for its provider's ClusterRole was left out, or it is
            # newer than this program.
            done += [Released(one.kind, owner, None, None, str(error)) for owner in one.named]
            continue
        except TargetError as error:
            done += [Released(one.kind, owner, None, None, str(error)) for owner in one.named or ("",)]
            continue
        refs = [(ObjectRef(one.versions, one.kind, *_name(item)), item, mark) for item, mark in marked]
        done += [_release_field(objects, ref, item, mark) for ref, item, mark in refs]
    held = [(pool, mark) for pool in pools if (mark := wanted.mark(pool)) is not None]
    done += [_release_placeholders(objects, pool, mark) for pool, mark in held]
    if not expired_only:
        done += _release_machines(objects)
    return done


def holders(kube: KubeClient) -> frozenset[str]:
    """Owners of the marks that stand at this moment; of a kind that cannot be listed, all that may have one. Raises
    Unreachable or Forbidden when the GpuNodePools cannot be listed.
    """
    objects = Objects(kube)
    items = list(objects.every((API_VERSION,), POOL_KIND))
    owners: set[str] = set()
    for one in _kinds(list(items)):
        try:
            items += objects.every(one.versions, one.kind)
        except TargetError:
            owners.update(one.named)
    return frozenset(owners | {mark.owner for item in items if (mark := marks.mark(item)) is not None})


@dataclass(frozen=True, slots=True)
class _Marked:
    """A kind on which marks may stand."""

    versions: tuple[str, ...]
    kind: str
    named: tuple[str, ...]  # owners: the pools that name it, or have raised something of it


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which marks are to go."""

    expired_only: bool
    now: float  # unix s
    also: frozenset[str]  # owners

    def mark(self, item: Json) -> Mark | None:
        """The object's, if it is to go."""
        mark = marks.mark(item)
        if mark is None or (self.expired_only and mark.expires > self.now and mark.owner not in self.also):
            return None
        return mark


_Kind = tuple[tuple[str, ...], str]  # its versions, and its name


def _kinds(pools: list[Json]) -> Iterator[_Marked]:
    """Each once. Marks of pools that are gone stand on the providers' own kinds, too."""
    own: tuple[_Kind, _Kind] = (
        (capacity_buffer.VERSIONS, capacity_buffer.KIND),
        (machine_deployment.VERSIONS, machine_deployment.KIND),
    )
    known: dict[tuple[str, str], tuple[str, ...]] = {
        (version, kind): versions for versions, kind in own for version in versions
    }
    owners: dict[_Kind, list[str]] = {(versions, kind): [] for versions, kind in own}
    for pool in pools:
        now = named(pool)
        for provider in (*(raised(pool) or ()), *(() if now is None else (now,))):
            if provider.capacity_buffer is not None:
                key = own[0]
            elif provider.machine_deployment is not None:
                key = own[1]
            elif (anything := provider.integer_field) is not None:
                pair = (anything.api_version, anything.kind)
                key = (known.get(pair, (anything.api_version,)), anything.kind)
            else:
                continue  # placeholders: their mark stands on the pool; a static pool's count is not marked
            owners.setdefault(key, []).append(marks.owner(str(pool["metadata"]["name"])))
    for (versions, kind), named_by in owners.items():
        yield _Marked(versions, kind, tuple(dict.fromkeys(named_by)))


def _release_machines(objects: Objects) -> Iterator[Released]:
    """Machines that were to go first, and have not gone."""
    try:
        for ref, fault in machines.Machines(objects, machine_deployment.VERSIONS).clear():
            yield Released(str(ref), "", None, None, fault)
    except (Forbidden, NotServed):
        return  # then none was annotated
    except TargetError as error:
        yield Released(machines.KIND, "", None, None, str(error))


def _name(item: Json) -> tuple[str, str]:
    metadata = item.get("metadata") or {}
    return str(metadata.get("namespace") or ""), str(metadata.get("name"))


def _release_field(objects: Objects, ref: ObjectRef, item: Json, mark: Mark) -> Released:
    where = str(marks.noted(item).get(marks.FIELD, ""))
    held = integer(found(item, where))
    if held is None:
        fault = f"{ref} has no integer at {where!r}, which its mark names: take the annotations lagcast.io/floor-* away"
        return Released(str(ref), mark.owner, None, None, fault)
    value = mark.before if held == mark.value else held
    try:
        put(objects, Field(ref, where), item, value, None)
    except TargetError as error:
        return Released(str(ref), mark.owner, held, held, str(error))
    return Released(str(ref), mark.owner, held, value)


def _release_placeholders(objects: Objects, pool: Json, mark: Mark) -> Released:
    target = placeholder_pods.target_of(str(marks.noted(pool).get(marks.FIELD, "")))
    own = ObjectRef((API_VERSION,), POOL_KIND, *_name(pool))
    if target is None:
        fault = f"the mark of {own} names no placeholders: take its annotations lagcast.io/floor-* away"
        return Released(str(own), mark.owner, None, None, fault)
    held = None
    try:
        answer = objects.kube.scale("GET", target)
        if not answer.ok:
            raise failure(answer, f"read the scale of {target}")
        held = integer(found(answer.body, "/spec/replicas")) or 0
        mark = placeholder_pods.as_held(mark, held)
        if held == mark.value != mark.before:
            ScaleWriter(objects.kube).write(target, held, mark.before)
        tests, changes = marks.changes(pool, None, "")
        objects.patch(own, tests, changes)
    except TargetError as error:
        return Released(str(target), mark.owner, held, held, str(error))
    return Released(str(target), mark.owner, held, mark.before if held == mark.value else held)
