"""Every policy that can be simulated, by name, with the parameter that a sweep varies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from scaler.plan.decision import Policy
from scaler.plan.service import Service

PolicyMaker = Callable[[Sequence[Service]], Policy]


@dataclass(frozen=True, slots=True)
class Entry:
    """A policy: how to make it from options (as text, as on the command line), and what a sweep varies.

    ``parameter`` None: nothing to sweep. ``sweep`` holds values from cheap to safe.
    """

    name: str
    make: Callable[[Mapping[str, str]], PolicyMaker]  # raises ConfigError for options it does not know
    parameter: str | None = None
    sweep: tuple[float, ...] = ()
