"""Lagcast without foresight: the same plan over the present level.

Its parameter is the headroom over that level, which buys attainment with replicas: in ``pods`` and ``nodes`` alike it
is what the plan takes for the future, and what it holds for the last lead times.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from scaler.plan.policy import PredictivePolicy
from scaler.plan.settings import PlanSettings
from simulations.policies.peers import in_controller, read_settings

if TYPE_CHECKING:
    from scaler.controller import MakePolicy
    from simulations.policies.catalog import PolicyMaker


_PLAN = PlanSettings()


@dataclass(frozen=True, slots=True)
class ReactiveSettings:
    """``headroom``: share over the newest level; the plan's own default."""

    headroom: float = _PLAN.reactive_headroom

    def __post_init__(self) -> None:
        if not self.headroom >= 0:
            raise ValueError(f"headroom: found {self.headroom}; allowed: at least 0")


def make(options: Mapping[str, str]) -> PolicyMaker:
    """The policy from its options, the fields of ReactiveSettings. Raises ConfigError."""
    own = read_settings(ReactiveSettings, "lagcast_reactive", options)
    settings = replace(_PLAN, reactive_headroom=own.headroom)
    return lambda services: PredictivePolicy(services, lambda _: None, settings)


def lagcast_reactive(options: Mapping[str, str]) -> MakePolicy:
    """Entry point ``lagcast_reactive`` of the group ``lagcast.policies``."""
    return in_controller(make(options))
