"""The port over the API server: each pool by its provider, with its mark, never over what another one owns."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Sequence

from scaler.act.contest import Contests
from scaler.act.floor_mode import SLACK
from scaler.act.managers import last_writer
from scaler.act.nodepools import marks
from scaler.act.nodepools.capacity_buffer import BufferWriter
from scaler.act.nodepools.integer_field import IntegerWriter
from scaler.act.nodepools.karpenter import StaticPoolWriter
from scaler.act.nodepools.machine_deployment import CountWriter, MinimumWriter
from scaler.act.nodepools.objects import NotServed, Objects
from scaler.act.nodepools.placeholder_pods import PlaceholderWriter
from scaler.act.nodepools.ports import Held, Mark, NodePoolWriter, PoolTarget, Singled
from scaler.act.nodepools.raised import RAISED, raised
from scaler.api.gpu_node_pool import GpuNodePool, Provider
from scaler.clock import Clock
from scaler.errors import (
    Conflict,
    ContestedTarget,
    Forbidden,
    NotLeader,
    OwnedByAnother,
    Silent,
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


def writer_for(provider: Provider, pool: str, objects: Objects) -> NodePoolWriter:
    """The writer of a provider, for the GpuNodePool of the name ``pool``."""
    if (static := provider.karpenter) is not None:
        return StaticPoolWriter(objects, static)
    if (buffer := provider.capacity_buffer) is not None:
        return BufferWriter(objects, buffer)
    if (machines := provider.machine_deployment) is not None:
        return (MinimumWriter if machines.autoscaled else CountWriter)(objects, machines)
    if (placeholders := provider.placeholder_pods) is not None:
        return PlaceholderWriter(objects, placeholders, pool)
    if (anything := provider.integer_field) is not None:
        return IntegerWriter(objects, anything)
    raise TargetError(f"GpuNodePool {pool} has no provider")


class ProviderPools:
    """NodePools over the API server. Safe for use by several threads, as long as each pool is written by one."""

    def __init__(self, kube: KubeClient, clock: Clock, life: float = marks.LIFE) -> None:
        """``life``: s from a write to the mark's expiry."""
        self._objects = Objects(kube)
        self._clock = clock
        self._life = life
        self._contests = Contests()
        self._seen: dict[str, tuple[Provider, PoolTarget]] = {}  # what was read last of each pool, by its name
        # By uid of pool: unix s at which none of its Machines was annotated. Another replica may annotate some later.
        self._settled: dict[str, float] = {}
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
        if desired >= current:
            self._keep(pool, raising=desired > current)
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
        if target.elsewhere:
            raise Conflict(
                f"{writer.what} is not written: what {pool} raised at {target.elsewhere} is put back first; "
                "decided anew at the next tick"
            )
        if writer.marks and self._marked_elsewhere(pool, writer):
            raise Conflict(
                f"{writer.what} is not written: what {pool} raised there by its provider before is put back first; "
                "decided anew at the next tick"
            )
        if target.asked != current:
            raise Conflict(
                f"{writer.what} states {target.asked}, not the {current} that were read: "
                "somebody else changed it; decided anew at the next tick"
            )
        self._leave_to_the_other(pool, writer.what, target)
        # What is above the limit already stays; to be lowered is always allowed.
        most = max(current, desired) if target.most is None else max(target.most, min(current, desired))
        goal = min(max(desired, _own(target)) if writer.marks else desired, most)
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

    def least(self, pool: GpuNodePool) -> int:
        """What its user has set; see the port."""
        with self._lock:
            provider, target = self._seen.get(pool.metadata.name, (None, None))
        if target is None or provider != pool.spec.provider or not writer_for(provider, "", self._objects).marks:
            return 0
        ours = target.mark is None or target.mark.owner == marks.owner(pool.metadata.name)
        return _own(target) if ours and not target.elsewhere else 0

    def single_out(self, pool: GpuNodePool, nodes: Sequence[str]) -> Singled:
        """See to it that these go; see the port."""
        writer = writer_for(pool.spec.provider, pool.metadata.name, self._objects)
        if not isinstance(writer, CountWriter):
            return Singled(tuple(nodes))
        target = writer.read()
        if target.owner:  # it is not to be written: then no Machine of it, either
            raise OwnedByAnother(f"{writer.what} is not written: {target.owner}")
        self._settled.pop(pool.uid, None)
        return writer.machines.single_out(target.item, pool.metadata.name, nodes)

    def release(self, held: Held) -> None:
        """Put back what was there; see the port."""
        with self._lock:
            self._seen.pop(held.name, None)
        writer = writer_for(held.provider, held.name, self._objects)
        target = _standing(writer, held)
        if target is None:
            return
        if isinstance(writer, CountWriter):
            with contextlib.suppress(Forbidden):  # without the right to see Machines, none was annotated
                writer.machines.take_back(target.item, held.name)
        mark, asked = _held_by(held, target), target.asked
        if asked is None or mark is None:
            return
        writer.write(target, asked, mark.before if asked == mark.value else asked, None)
        self._contests.blameless(held.uid)

    def unmark(self, held: Held) -> None:
        """Leave the number; see the port."""
        writer = writer_for(held.provider, held.name, self._objects)
        target = _standing(writer, held)
        if target is None:
            return
        if target.asked is not None and _held_by(held, target) is not None:
            writer.write(target, target.asked, target.asked, None)

    def _marked_elsewhere(self, pool: GpuNodePool, writer: NodePoolWriter) -> bool:
        """Whether it has raised the same number by another provider, whose mark stands elsewhere: what was there before
        stands in that one alone.
        """
        noted = raised({"metadata": {"annotations": pool.metadata.annotations}}) or ()
        others = (writer_for(one, pool.metadata.name, self._objects) for one in noted)
        return any(one.number == writer.number and one.place not in ((), writer.place) for one in others)

    def take_back(self, pool: GpuNodePool) -> None:
        """The Machines that were to go stay; see the port. What fails is tried again."""
        writer = writer_for(pool.spec.provider, pool.metadata.name, self._objects)
        now = self._clock.now()
        if not isinstance(writer, CountWriter) or 0 <= now - self._settled.get(pool.uid, -math.inf) < self._life:
            return
        settled = True
        try:
            settled = writer.machines.take_back(writer.read().item, pool.metadata.name)
        except Forbidden:
            pass  # without the right to see Machines, none was annotated
        except (Conflict, TargetNotFound):
            settled = False
        if settled:
            self._settled[pool.uid] = now

    def _keep(self, pool: GpuNodePool, *, raising: bool) -> None:
        """Where the count is not lowered any more. What fails is told where nothing is to be raised: it holds up no
        node.
        """
        try:
            self.take_back(pool)
        except TargetError as error:
            if not raising or isinstance(error, NotLeader | Silent):  # then nothing more is asked for, either
                raise

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
        writer = writer_for(pool.spec.provider, pool.metadata.name, self._objects)
        target = writer.read()
        with self._lock:
            self._seen[pool.metadata.name] = (pool.spec.provider, target)
        return writer, target

    def _forget(self, pool: GpuNodePool) -> None:
        with self._lock:
            self._seen.pop(pool.metadata.name, None)

    def _due(self, pool: GpuNodePool) -> bool:
        """Whether a mark may be there that is to be renewed, or something is in the way: nothing else is written where
        the number is right.
        """
        with self._lock:
            provider, target = self._seen.get(pool.metadata.name, (None, None))
        writer = writer_for(pool.spec.provider, pool.metadata.name, self._objects)
        if target is None or provider != pool.spec.provider:
            return writer.marks
        if target.owner or target.elsewhere or self._contests.contested(pool.uid, writer.what, self._clock.now()):
            return True  # to say so
        mark = target.mark
        if mark is None:
            return False
        if mark.owner != marks.owner(pool.metadata.name):
            return True  # to say whose it is
        left = mark.expires - self._clock.now()  # more than its life: written by a clock that was ahead
        return not self._life * marks.RENEWED <= left <= self._life + SLACK

    def _mark(self, pool: GpuNodePool, current: int, held: Mark | None, goal: int) -> Mark | None:
        """What is to stand there: nothing where the number is what it was before."""
        before = _before(held, current)
        if goal == before:
            return None
        return Mark(marks.owner(pool.metadata.name), goal, before, self._clock.now() + self._life)


def _before(held: Mark | None, current: int) -> int:
    """What the user has set: what was there before the mark, unless it was changed since."""
    return held.before if held is not None and held.value == current else current


def _standing(writer: NodePoolWriter, held: Held) -> PoolTarget | None:
    """What a provider's object says; None: it is gone, and so nothing is to be put back."""
    try:
        return writer.read()
    except NotServed as error:  # its mark still stands
        if not writer.marks:
            return None
        raise TargetError(f"{error}: in spec.provider, and in the annotation {RAISED} of {held}") from error
    except TargetNotFound:
        return None


def _held_by(held: Held, target: PoolTarget) -> Mark | None:
    """The mark of this pool, and of this number."""
    mark = target.mark
    return mark if mark is not None and mark.owner == marks.owner(held.name) and not target.elsewhere else None


def _own(target: PoolTarget) -> int:
    return 0 if target.asked is None else _before(target.mark, target.asked)
