"""JSON pointers (RFC 6901) to an integer in an object, and how the integer is written there."""

from __future__ import annotations

from typing import Any


def parts(pointer: str) -> list[str]:
    """The names on the way, decoded."""
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def pointer(*names: str) -> str:
    """The pointer of names as they stand in the object."""
    return "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in names)


def found(item: Any, where: str) -> Any:
    """What stands at the pointer ``where``; None when there is nothing."""
    for part in parts(where):
        if isinstance(item, list) and part.isascii() and part.isdigit() and int(part) < len(item):
            item = item[int(part)]
        elif isinstance(item, dict):
            item = item.get(part)
        else:
            return None
    return item


def integer(raw: object) -> int | None:
    """The integer >= 0 that stands there, as a number or, as in annotations, as text; None: it is no such thing."""
    if isinstance(raw, bool):
        return None
    if isinstance(raw, str) and raw.isascii() and raw.isdigit() and len(raw) < 10:
        return int(raw)
    return raw if isinstance(raw, int) and raw >= 0 else None


def as_before(raw: object, value: int) -> int | str:
    """``value`` in the form of ``raw``."""
    return str(value) if isinstance(raw, str) else value
