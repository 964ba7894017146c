"""A table of text, as it is shown on a terminal and on a page; and how figures are written in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Table:
    """Text to be shown as it is."""

    name: str
    about: str
    titles: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]


def mean(values: Iterable[float | None]) -> float | None:
    """None when one is not known."""
    known = list(values)
    return None if not known or any(v is None for v in known) else sum(v for v in known if v is not None) / len(known)


def number(value: float | None, spec: str = ".2f") -> str:
    """``-`` for what is not known."""
    return "-" if value is None else format(value, spec)


def percent(share: float | None) -> str:
    """Rounded down, so that nothing looks attained that was not."""
    return "-" if share is None else f"{int(share * 10_000 + 1e-6) / 100:.2f}%"
