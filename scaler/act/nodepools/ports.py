"""The ports of GPU node pools: how the controller reads and writes the count of nodes that one is to keep.

What a provider's number counts differs. A static pool, a MachineDeployment and an integer field count *all nodes*. A
CapacityBuffer and placeholder pods count *spare* nodes, which are kept free beside those that pods hold: ``written``
and ``kept`` translate between that number and the nodes of the whole pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from scaler.api.gpu_node_pool import POOL_KIND, GpuNodePool, Provider
from scaler.kube import Json
from scaler.plan.observation import Reading

SPARE = frozenset({"capacityBuffer", "placeholderPods"})
"""The providers whose number counts spare nodes."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a GpuNodePool may have raised: by one provider, which need not be the one that it names now."""

    name: str  # of the pool
    uid: str
    provider: Provider

    def __str__(self) -> str:
        return f"{POOL_KIND} {self.name}"


@dataclass(frozen=True, slots=True)
class Singled:
    """The nodes that a lowered count takes away for sure, and why not the others that were to go, too."""

    nodes: tuple[str, ...]
    why: str = ""


class NodePools(Protocol):
    """All GpuNodePools, whatever their providers."""

    def floor(self, pool: GpuNodePool) -> Reading[int]:
        """The provider's number as last written, by whomever. Raises nothing: an object that is not there or states no
        number is absent, never 0; an API server that does not answer or refuses is an error.
        """
        ...

    def write(self, pool: GpuNodePool, current: int, desired: int) -> None:
        """Set the provider's number to ``desired``, only if it still is ``current`` (a JSON Patch ``test``) and no
        other controller owns it. A floor is never set below ``least``, whatever is desired.

        Call it at each tick, also when the two are equal: then nothing is written but the mark's expiry, when a third
        of its life is over. Whether the pool is in mode Enforce is for the caller to know.

        Raises TargetNotFound, TargetWithoutScale, OwnedByAnother, ContestedTarget, Forbidden, Unreachable, Conflict, or
        TargetError when the object cannot take the number: also when it can take a part of it only, which is written.
        """
        ...

    def least(self, pool: GpuNodePool) -> int:
        """The number that the user of the provider's object has set, as last read: what a floor is never below. 0 where
        the count is Lagcast's, and where nothing was read.
        """
        ...

    def single_out(self, pool: GpuNodePool, nodes: Sequence[str]) -> Singled:
        """Before the number is lowered by so many as ``nodes``: see to it that just these are taken away. Those for
        which that is so; providers that take empty nodes first of their own accord need nothing for it. Raises as
        ``write``.
        """
        ...

    def take_back(self, pool: GpuNodePool) -> None:
        """Where nothing is decided any more: the nodes of ``single_out`` are not to go after all, but those that a
        lowered number still takes away. Raises as ``write``.
        """
        ...

    def release(self, held: Held) -> None:
        """Put the value back that was there before Lagcast raised it, and take its mark away; nothing where there is
        no mark of this pool. To be called before the pool's finalizer is removed, and when its provider has changed.
        Raises as ``write``.
        """
        ...

    def unmark(self, held: Held) -> None:
        """Take the mark of this pool away and leave the number, by which the pool counts in another way now: there it
        is put back by nobody. Raises as ``write``.
        """
        ...


@dataclass(frozen=True, slots=True)
class Mark:
    """What stands on an object whose number Lagcast wrote: whose it is, what was there, until when it holds.

    A number that is no longer ``value`` was changed by somebody else since, and is theirs: it is never put back.
    """

    owner: str  # "GpuNodePool/a100"
    value: int  # what was written
    before: int
    expires: float  # unix s


@dataclass(frozen=True, slots=True)
class PoolTarget:
    """What one provider's object says."""

    asked: int | None  # None: the object is there and states no number that could be written
    lacks: str = ""  # then why, and what to do about it
    mark: Mark | None = None
    most: int | None = None  # the object's own upper limit; None: it states none
    owner: str = ""  # another controller that owns the number, and what to do about it; empty: none
    elsewhere: str = ""  # the mark is of another number, which is named here: that one has to be put back first
    item: Json = field(default_factory=dict, repr=False, compare=False)  # what was read: the patch tests it
    way: tuple[str, ...] = ()  # the names on the way to the number in ``item``; none: it is not in there


class NodePoolWriter(Protocol):
    """One provider's object."""

    @property
    def what(self) -> str:
        """The object, in words: "NodePool h100-static"."""
        ...

    @property
    def number(self) -> tuple[str, ...]:
        """Which number it is: the same for two writers of one."""
        ...

    @property
    def marks(self) -> bool:
        """Whether what it raises is marked, and put back when Lagcast is gone."""
        ...

    @property
    def place(self) -> tuple[str, ...]:
        """Where its mark stands; empty: nowhere."""
        ...

    def read(self) -> PoolTarget:
        """Raises TargetNotFound, TargetWithoutScale, Forbidden, Unreachable, or TargetError."""
        ...

    def write(self, target: PoolTarget, current: int, desired: int, mark: Mark | None) -> None:
        """Over what ``target`` says, which was just read and asks for ``current``; ``mark`` is what is to stand there
        then (None: none). Raises as ``NodePools.write``.
        """
        ...


def written(pool: GpuNodePool, floor: int, busy: int) -> int:
    """The provider's number (>= 0) with which the pool keeps ``floor`` nodes, ``busy`` of which hold pods that are no
    placeholders.
    """
    return max(floor - busy, 0) if pool.spec.provider.name in SPARE else floor


def kept(pool: GpuNodePool, number: int, busy: int) -> int:
    """The nodes that the pool keeps with the provider's ``number``, while ``busy`` of them hold pods."""
    return number + busy if pool.spec.provider.name in SPARE else number
