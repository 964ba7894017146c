"""How a found value is named in an error: short, on one line, and without credentials."""

from __future__ import annotations

import re

_CREDENTIALS = re.compile(r"[^\s/,]*@")
_LONGEST = 60


def redacted(text: str) -> str:
    """``text`` without what stands before an @, as in ``https://user:password@host``."""
    return _CREDENTIALS.sub("***@", text)


def found(value: object) -> str:
    """Name ``value`` as it stood in the file; containers by their kind only."""
    match value:
        case None:
            text = "nothing (null)"
        case bool():
            text = f"{str(value).lower()} (a boolean)"
        case int() if abs(value) >= 10**18:
            # str() of a huge integer raises; such a number is wrong wherever it stands.
            text = "a number beyond all bounds"
        case int() | float():
            text = f"the number {value}"
        case str():
            text = _quoted(value)
        case dict():
            text = "a mapping"
        case list():
            text = "a list"
        case _:
            text = f"a {type(value).__name__}"
    return text


def _quoted(value: str) -> str:
    text = redacted(value)
    text = text if len(text) <= _LONGEST else text[:_LONGEST] + "..."
    return f'"{text}"' if text.isprintable() else f'"{text.encode("unicode_escape").decode("ascii")}"'
