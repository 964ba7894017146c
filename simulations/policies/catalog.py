"""Every policy that can be simulated, by name, with the parameter that a sweep varies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module

from scaler.errors import ConfigError
from scaler.plan.decision import Policy
from scaler.plan.service import Service

PolicyMaker = Callable[[Sequence[Service]], Policy]


@dataclass(frozen=True, slots=True)
class Entry:
    """A policy: how to make it from options (as text, as on the command line), and what a sweep varies.

    ``parameter`` None: nothing to sweep. ``sweep`` holds values from cheap to safe. ``needs_latency``: it decides by
    the latency from arrival to finish, or a total that services share: only the request-level simulation
    (simulations.request_level) shows them.
    """

    name: str
    make: Callable[[Mapping[str, str]], PolicyMaker]  # raises ConfigError for options it does not know
    parameter: str | None = None
    sweep: tuple[float, ...] = ()
    needs_latency: bool = False


# Shares of a replica's service rate, or seconds of its work: each replica gets less to do, and there are more of them.
_TARGETS = (
    *(2.0, 1.5, 1.2, 1.1, 1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6),
    *(0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.1, 0.05, 0.02),
)
_UTILIZATIONS = (
    *(1.1, 1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6),
    *(0.55, 0.5, 0.45, 0.4, 0.35, 0.3, 0.25, 0.2, 0.15, 0.1, 0.05),
)
_SECONDS = (
    *(20.0, 10.0, 5.0, 3.0, 2.0, 1.5, 1.2, 1.0, 0.9, 0.8, 0.7, 0.65, 0.6),
    *(0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.1, 0.05, 0.02),
)
_FACTORS = (
    *(0.9, 1.0, 1.05, 1.1, 1.15, 1.2, 1.3, 1.4, 1.5, 1.7),
    *(2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0, 12.0, 20.0),
)
_SHARES = (
    *(0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4),
    *(0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0),
)
_HEADROOMS = (0.0, 0.15, 0.4, 1.0, 2.5, 6.0, 12.0)

# name: (module, its parameter, values from cheap to safe)
_KNOWN: dict[str, tuple[str, str | None, tuple[float, ...]]] = {
    "lagcast": ("lagcast", None, ()),
    "lagcast_reactive": ("lagcast_reactive", "headroom", _HEADROOMS),
    "lagcast_shared": ("lagcast_shared", None, ()),
    "static": ("static", "share", _SHARES),
    "hpa_rate": ("hpa_rate", "utilization", _UTILIZATIONS),
    "keda_lag": ("keda", "seconds", _SECONDS),
    "same_time_last_week": ("same_time_last_week", "share", _TARGETS),
    "holt_winters": ("holt_winters", "utilization", _UTILIZATIONS),
    "rate_and_lag": ("rate_and_lag", "factor", _FACTORS),
    "aiad": ("aiad", None, ()),
}
_NEED_LATENCY = frozenset({"aiad", "lagcast_shared"})


def entries() -> dict[str, Entry]:
    """All policies by name, in the order in which they are shown. A policy's module is imported when it is made."""
    return {name: _entry(name) for name in _KNOWN}


def entry(name: str) -> Entry:
    """The policy of that name. Raises ConfigError with the names that there are."""
    if name not in _KNOWN:
        raise ConfigError(f"policy {name!r}: no such policy; there are {', '.join(_KNOWN)}")
    return _entry(name)


def _entry(name: str) -> Entry:
    module, parameter, sweep = _KNOWN[name]

    def make(options: Mapping[str, str]) -> PolicyMaker:
        made: PolicyMaker = import_module(f"simulations.policies.{module}").make(options)
        return made

    return Entry(name, make, parameter, sweep, name in _NEED_LATENCY)
