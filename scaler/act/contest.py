"""Who changes what was written: a hand edit is respected, and a writer that comes back again and again is left to win.

Pure: time is told. A reversal is a value that is no longer the one that was written here, and that somebody else wrote.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Patience:
    """When to give way, and for how long."""

    reversals: int = 3  # within the window: a person corrects once or twice, a tool every time
    window: float = 3600.0  # s; GitOps tools look every few minutes, the slow ones every 20
    pause: float = 1800.0  # s without a write; then one is tried, and another reversal doubles it ...
    longest: float = 14_400.0  # s; ... up to this


@dataclass(slots=True)
class _Kept:
    where: str  # the object whose value it is
    written: int | None = None
    by: str = ""  # who reversed last
    reversals: list[float] = field(default_factory=list)  # unix s
    until: float | None = None  # unix s; nothing is written before
    pause: float = 0.0


class Contests:
    """What was written for each scaler (by uid), and what became of it."""

    def __init__(self, patience: Patience | None = None) -> None:
        self._patience = patience or Patience()
        self._kept: dict[str, _Kept] = {}

    def suspect(self, uid: str, where: str, value: int) -> bool:
        """Whether ``value``, as it was read, is not what was written there last."""
        kept = self._kept.get(uid)
        return kept is not None and kept.where == where and kept.written is not None and kept.written != value

    def knows(self, uid: str, where: str) -> bool:
        """Whether anything was written there since this process began."""
        kept = self._kept.get(uid)
        return kept is not None and kept.where == where

    def reversed(self, uid: str, where: str, by: str, now: float) -> None:
        """``by`` changed what was written there; called once for each write."""
        kept, patience = self._of(uid, where), self._patience
        kept.written, kept.by = None, by
        kept.reversals = [at for at in kept.reversals if now - at < patience.window] + [now]
        # After a pause the first reversal is enough.
        if len(kept.reversals) >= patience.reversals or kept.pause:
            kept.pause = min(2 * kept.pause, patience.longest) if kept.pause else patience.pause
            kept.until = now + kept.pause

    def blameless(self, uid: str) -> None:
        """What was written is no longer there by our own hand, as after a release."""
        if uid in self._kept:
            self._kept[uid].written = None

    def wrote(self, uid: str, where: str, value: int, now: float) -> None:
        """``value`` was written."""
        kept = self._of(uid, where)
        if kept.until is not None and now - kept.until >= self._patience.window:
            kept.reversals, kept.until, kept.pause = [], None, 0.0  # it was left alone since: all is forgiven
        kept.written = value

    def contested(self, uid: str, where: str, now: float) -> tuple[str, float] | None:
        """Who puts the value back, and until when (unix s) it is left alone; None when it may be written."""
        kept = self._kept.get(uid)
        if kept is None or kept.where != where or kept.until is None or now >= kept.until:
            return None
        if kept.until - now > kept.pause:  # the clock was set back: no pause is longer than it was meant to be
            kept.until = now + kept.pause
        return kept.by, kept.until

    def keep(self, uids: Container[str]) -> None:
        """Forget the scalers that are gone."""
        self._kept = {uid: kept for uid, kept in self._kept.items() if uid in uids}

    def _of(self, uid: str, where: str) -> _Kept:
        """What is known; where another object is written from now on, the old one's past does not count."""
        kept = self._kept.get(uid)
        if kept is None or kept.where != where:
            kept = self._kept[uid] = _Kept(where)
        return kept
