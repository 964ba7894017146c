"""Policies by name: entry points of the group ``lagcast.policies``, so that a peer runs in the same shell."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points

from scaler.controller import MakePolicy
from scaler.errors import ConfigError

GROUP = "lagcast.policies"


def find_policy(name: str, options: Mapping[str, str]) -> MakePolicy:
    """The policy factory of that name, with its options. Raises ConfigError with the names that there are."""
    points = {point.name: point for point in entry_points(group=GROUP)}
    if name not in points:
        raise ConfigError(f"policy {name!r}: no such policy; there are {', '.join(sorted(points))}")
    made: MakePolicy = points[name].load()(options)
    return made
