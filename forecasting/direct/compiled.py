"""Compilation in one place: numba ships no types, and its decorator would take them away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """``function`` compiled at its first call; the machine code is kept on disk for the next process.

    It runs without the interpreter's lock, so that a refit in the background holds up no decision.
    """
    return cast(F, numba.njit(cache=True, error_model="numpy", nogil=True)(function))
