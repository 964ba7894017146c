"""The port over the API server: each pool by its provider, with its mark, never over what another one owns."""

from __future__ import annotations

import threading

from scaler.act.contest import Contests
from scaler.act.managers import last_writer
from scaler.act.nodepools import marks
from scaler.act.nodepools.capacity_buffer import BufferWriter
from scaler.act.nodepools.integer_field import IntegerWriter
from scaler.act.nodepools.karpenter import StaticPoolWriter
from scaler.act.nodepools.machine_deployment import CountWriter, MinimumWriter
from scaler.act.nodepools.objects import Objects
from scaler.act.nodepools.placeholder_pods import PlaceholderWriter
from scaler.act.nodepools.ports import Mark, NodePoolWriter, PoolTarget
from scaler.api.gpu_node_pool import GpuNodePool, Provider
from scaler.clock import Clock
from scaler.errors import (
    Conflict,
    ContestedTarget,
    Forbidden,
    OwnedByAnother,
    TargetError,
    TargetNotFound,
    TargetWithoutScale,
)
from scaler.kube import MANAGER, KubeClient
from scaler.plan.observation import Freshness, Reading
from scaler.plan.reasons import Reason

_READINGS: tuple[tuple[type[TargetError], Freshness, Reason], ...] = (
    (TargetNotFound, Freshness.ABSENT, Reason.TARGET_NOT_FOUND),
    (TargetWithoutScale, Freshness.ABSENT, Reason.TARGET_WITHOUT_SCALE),
    (Forbidden, Freshness.ERROR, Reason.FORBIDDEN),
    (TargetError, Freshness.ERROR, Reason.KUBERNETES_UNREACHABLE),
)


def writer_for(pool: GpuNodePool, objects: Objects) -> NodePoolWriter:
    """The writer of a pool's provider."""
    provider = pool.spec.provider
    if (static := provider.karpenter) is not None:
        return StaticPoolWriter(objects, static)
    if (buffer := provider.capacity_buffer) is not None:
        return BufferWriter(objects, buffer)
    if (machines := provider.machine_deployment) is not None:
        return (MinimumWriter if machines.autoscaled else CountWriter)(objects, machines)
    if (placeholders := provider.placeholder_pods) is not None:
        return PlaceholderWriter(objects, placeholders, pool.metadata.name)
    if (anything := provider.integer_field) is not None:
        return IntegerWriter(objects, anything)
    raise TargetError(f"{pool} has no provider")


class ProviderPools:
    """NodePools over the API server. Safe for use by several threads, as long as each pool is written by one."""

    def __init__(self, kube: KubeClient, clock: Clock, life: float = marks.LIFE) -> None:
        """``life``: s from a write to the mark's expiry."""
        self._objects = Objects(kube)
        self._clock = clock
        self._life = life
        self._contests = Contests()
        self._seen: dict[str, tuple[Provider, PoolTarget]] = {}  # what was read last of each pool, by its name
        self._lock = threading.Lock()

    def floor(self, pool: GpuNodePool) -> Reading[int]:
        """The provider's number as it stands; see the port."""
        now = self._clock.now()
        try:
            _, target = self._read(pool)
        except TargetError as error:
            freshness, reason = next((f, r) for kind, f, r in _READINGS if isinstance(error, kind))
            return Reading(None, now, freshness, reason, str(error))
        if target.asked is None:
            return Reading(None, now, Freshness.ABSENT, Reason.TARGET_UNKNOWN, target.lacks)
        return Reading(target.asked, now, Freshness.FRESH)

    def write(self, pool: GpuNodePool, current: int, desired: int) -> None:
        """Set the provider's number; see the port."""
        if desired == current and not self._due(pool):
            return
        writer, target = self._read(pool)
        if target.asked is None:
            raise TargetError(target.lacks)
        if target.owner:
            raise OwnedByAnother(f"{writer.what} is not written: {target.owner}")
        own = marks.owner(pool.metadata.name)
        if target.mark is not None and target.mark.owner != own:
            raise OwnedByAnother(
                f"{writer.what} is held by {target.mark.owner}: one object belongs to one pool; "
                "name another one, or delete that pool"
            )
        if target.asked != current:
            raise Conflict(
                f"{writer.what} states {target.asked}, not the {current} that were read: "
                "somebody else changed it; decided anew at the next tick"
            )
        self._leave_to_the_other(pool, writer.what, target)
        # What is above the limit already stays; to be lowered is always allowed.
        most = desired if target.most is None else max(target.most, min(current, desired))
        goal = min(desired, most)
        mark = self._mark(pool, current, target.mark, goal) if writer.marks else None
        if goal != current or mark != target.mark:
            writer.write(target, current, goal, mark)
            self._contests.wrote(pool.uid, writer.what, goal, self._clock.now())
            self._forget(pool)
        if goal < desired:
            raise TargetError(
                f"{writer.what} is kept at {goal} and not at {desired}, for its own limit is {target.most}; "
                f"raise that, or lower nodes.max of {pool}"
            )

    def release(self, pool: GpuNodePool) -> None:
        """Put back what was there; see the port."""
        self._forget(pool)
        try:
            writer, target = self._read(pool)
        except TargetNotFound:
            return
        mark, asked = target.mark, target.asked
        if asked is None or mark is None or mark.owner != marks.owner(pool.metadata.name):
            return
        writer.write(target, asked, mark.before if asked == mark.value else asked, None)
        self._contests.blameless(pool.uid)
        self._forget(pool)

    def _leave_to_the_other(self, pool: GpuNodePool, what: str, target: PoolTarget) -> None:
        """Raises ContestedTarget while somebody puts back what is written here, time and again."""
        now = self._clock.now()
        if target.asked is not None and self._contests.suspect(pool.uid, what, target.asked):
            by = (last_writer(target.item, target.way) if target.way else None) or ""
            if by == MANAGER:  # `lagcast release`
                self._contests.blameless(pool.uid)
            else:
                self._contests.reversed(pool.uid, what, by, now)
        contested = self._contests.contested(pool.uid, what, now)
        if contested is not None:
            by, until = contested
            who = f"the field manager {by!r}" if by else "somebody who left no field manager"
            raise ContestedTarget(
                f"{what}: what was written is put back again and again, last by {who}; nothing is written before "
                f"{marks.told(until)}: have it leave the number alone, or set the mode of {pool} to Recommend"
            )

    def _read(self, pool: GpuNodePool) -> tuple[NodePoolWriter, PoolTarget]:
        writer = writer_for(pool, self._objects)
        target = writer.read()
        with self._lock:
            self._seen[pool.metadata.name] = (pool.spec.provider, target)
        return writer, target

    def _forget(self, pool: GpuNodePool) -> None:
        with self._lock:
            self._seen.pop(pool.metadata.name, None)

    def _due(self, pool: GpuNodePool) -> bool:
        """Whether a mark may be there that is to be renewed: nothing else is written where the number is right."""
        with self._lock:
            provider, target = self._seen.get(pool.metadata.name, (None, None))
        if target is None or provider != pool.spec.provider:
            return writer_for(pool, self._objects).marks
        mark = target.mark
        if mark is None or mark.owner != marks.owner(pool.metadata.name):
            return False
        return mark.expires - self._clock.now() < self._life * marks.RENEWED

    def _mark(self, pool: GpuNodePool, current: int, held: Mark | None, goal: int) -> Mark | None:
        """What is to stand there: nothing where the number is what it was before."""
        before = held.before if held is not None and held.value == current else current
        if goal == before:
            return None
        return Mark(marks.owner(pool.metadata.name), goal, before, self._clock.now() + self._life)
