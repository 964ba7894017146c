"""Lagcast itself at its defaults, as the controller runs it: the plan over the default forecaster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from scaler.errors import ConfigError
from scaler.plan.policy import PredictivePolicy

if TYPE_CHECKING:
    from forecasting.forecaster import Forecaster
    from scaler.plan.service import Service
    from simulations.policies.catalog import PolicyMaker


def make(options: Mapping[str, str]) -> PolicyMaker:
    """The policy; it takes no options. Raises ConfigError for any."""
    without_options("lagcast", options)
    return lambda services: PredictivePolicy(services, forecaster)


def forecaster(service: Service) -> Forecaster:
    """The default one of a resource, at the service's step."""
    from forecasting.competition_default import default_competition

    return default_competition(service.step, service.lead_time)


def without_options(name: str, options: Mapping[str, str]) -> None:
    """Raise ConfigError for any."""
    if options:
        raise ConfigError(f"policy {name} takes no options; found {', '.join(sorted(options))}")
