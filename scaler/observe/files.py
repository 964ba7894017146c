"""Secrets and certificates that are mounted as files: read when they are needed, so that a rotated one is taken up."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

LONGEST = 1 << 20  # bytes; a Secret holds no more


class Unreadable(Exception):
    """A file that cannot be read: why, without its path or anything of what it holds."""


def read_secret(path: str) -> str:
    """What a file holds, less the line's end. Raises Unreadable."""
    try:
        return _read(path).decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise Unreadable("not UTF-8 text") from None


def fingerprint(paths: Iterable[str]) -> bytes:
    """A digest of what files hold: another when one of them was rotated; of a folder, of nothing. Raises Unreadable."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(b"" if Path(path).is_dir() else hashlib.sha256(_read(path)).digest())
    return digest.digest()


def _read(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            content = file.read(LONGEST + 1)
    except OSError as error:
        raise Unreadable(error.strerror or "cannot be opened") from None
    if len(content) > LONGEST:
        raise Unreadable("more than 1 MiB")
    return content
