"""A pool that has all its nodes and holds less than is asked for: who gets what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it loads the compiler, and commands that show a decision need none
    from scaler.plan.nodes_share import Shares


@dataclass(frozen=True, slots=True, eq=False)
class Division:
    """Of the GPUs that the pool can have at most, at one tick."""

    shares: Shares
    gpus: tuple[int, ...]  # of a pod of each service
    current: tuple[int, ...]  # pods of each service
    least: tuple[int, ...]  # pods that are not given up, though the others may not make way for all of them
    most: tuple[int, ...]
    total: int  # GPUs
    move: bool  # a GPU may change hands

    def fits(self, asked: Sequence[int]) -> bool:
        """Whether there is room for all pods that are ``asked`` for."""
        return sum(n * gpus for n, gpus in zip(asked, self.gpus, strict=True)) <= self.total

    def divided(self, asked: Sequence[int]) -> tuple[int, ...]:
        """Pods that each service may have of those ``asked`` for, see :meth:`fits`."""
        tops = [max(min(n, most), least) for n, most, least in zip(asked, self.most, self.least, strict=True)]
        parts = self.shares.divide(self.total, self.current, self.move, tops)
        return tuple([max(part, least) for part, least in zip(parts, self.least, strict=True)])
