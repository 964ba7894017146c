"""Lagcast without foresight: the same plan over the present level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from scaler.plan.policy import PredictivePolicy
from simulations.policies.lagcast import without_options
from simulations.policies.peers import in_controller

if TYPE_CHECKING:
    from scaler.controller import MakePolicy
    from simulations.policies.catalog import PolicyMaker


def make(options: Mapping[str, str]) -> PolicyMaker:
    """The policy; it takes no options. Raises ConfigError for any."""
    without_options("lagcast_reactive", options)
    return lambda services: PredictivePolicy(services, lambda _: None)


def lagcast_reactive(options: Mapping[str, str]) -> MakePolicy:
    """Entry point ``lagcast_reactive`` of the group ``lagcast.policies``."""
    return in_controller(make(options))
