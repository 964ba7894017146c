"""Lagcast's own policy for a resource: which forecaster, and the plan around it."""

from __future__ import annotations

from collections.abc import Mapping

from forecasting.forecaster import Forecaster
from scaler.api.predictive_scaler import ForecastModel, PredictiveScaler
from scaler.controller import MakePolicy
from scaler.errors import ConfigError
from scaler.plan.decision import Policy
from scaler.plan.policy import PredictivePolicy
from scaler.plan.service import Service


def make_forecaster(resource: PredictiveScaler) -> Forecaster | None:
    """The forecaster that a resource asks for; None for a plan without forecasts. A model is imported when used."""
    forecast = resource.spec.forecast
    if forecast.model is ForecastModel.NONE:
        return None
    if forecast.model is ForecastModel.SEASONAL_NAIVE:
        from forecasting.models.seasonal_naive import SeasonalNaive

        return SeasonalNaive(step=forecast.step, season=forecast.season)
    if forecast.model is ForecastModel.LEVEL_SEASON:
        from forecasting.models.level_season import LevelSeason

        return LevelSeason(step=forecast.step, season=forecast.season)
    if forecast.model is ForecastModel.DIRECT:
        from forecasting.models.direct import Direct

        return Direct(float(forecast.step), keep=max(float(forecast.history), 20 * float(forecast.step)))
    from forecasting.competition_default import default_competition

    lead = float(resource.spec.replicas.lead_time)
    return default_competition(float(forecast.step), lead, season=float(forecast.season), keep=float(forecast.history))


def make_policy(resource: PredictiveScaler, service: Service) -> Policy:
    """The policy of one scaler."""
    return PredictivePolicy([service], lambda _: make_forecaster(resource))


def predictive(options: Mapping[str, str]) -> MakePolicy:
    """Entry point ``lagcast`` of the group ``lagcast.policies``; it takes no options. Raises ConfigError for any."""
    if options:
        raise ConfigError(f"policy lagcast takes no options; found {', '.join(sorted(options))}")
    return make_policy
