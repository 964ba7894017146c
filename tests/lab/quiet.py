"""Bounds of fractions of a second, on a machine that now and then stands still for longer than that."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

ATTEMPTS = 3
Seen = TypeVar("Seen")


def quietest(run: Callable[[], Seen], quiet: Callable[[Seen], bool]) -> Seen:
    """What the first of up to ``ATTEMPTS`` runs showed that was ``quiet``; else what the last one did. A program that
    is late by itself is late in each of them, a machine that stood still in one.
    """
    for _ in range(ATTEMPTS):
        seen = run()
        if quiet(seen):
            break
    return seen
