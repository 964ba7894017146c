"""Compilation in one place: numba ships no types, and its decorator would take them away."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """``function`` compiled at its first call; the machine code is kept on disk for the next process, where it can be.

    It runs without the interpreter's lock, so that a refit in the background holds up no decision.
    """
    try:
        return cast(F, numba.njit(cache=True, error_model="numpy", nogil=True)(function))
    except RuntimeError:  # it finds no folder that it may write, as on a read-only root
        return cast(F, numba.njit(error_model="numpy", nogil=True)(function))


def forget_when_changed(folder: Path) -> None:
    """Remove a package's machine code when one of its files is not what it was compiled from.

    To be called before its modules are imported, from the package's ``__init__``. numba's cache looks only at the file
    of the function itself, not at those it calls, so an edit in one file would leave callers in others as they were.
    Where the folder cannot be written (an installed package) nothing is kept in it, and nothing is done.
    """
    kept = folder / "__pycache__"
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(folder.glob("*.py")))).hexdigest()
    stamp = kept / "compiled.sha256"
    try:
        if stamp.is_file() and stamp.read_text(encoding="ascii") == digest:
            return
        for code in (*kept.glob("*.nbi"), *kept.glob("*.nbc")):
            code.unlink(missing_ok=True)
        kept.mkdir(exist_ok=True)
        stamp.write_text(digest, encoding="ascii")
    except OSError:
        return
