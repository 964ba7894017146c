"""Compilation in one place: numba ships no types, and its decorator would take them away."""

from __future__ import annotations

from collections.abc import Callable
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
