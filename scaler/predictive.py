"""Lagcast's own policy for a resource: which forecaster, and the plan around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from forecasting.calendar_time import LocalTime
from forecasting.events_planned import Planned
from forecasting.fitting import FitJob, FitRun, Fitter, InPlace
from forecasting.forecaster import Forecaster, Keeping
from scaler.api.events import to_events
from scaler.api.predictive_scaler import Forecast, ForecastModel, PredictiveScaler
from scaler.controller import MakePolicy
from scaler.errors import ConfigError
from scaler.plan.decision import Policy
from scaler.plan.policy import PredictivePolicy
from scaler.plan.service import Service
from scaler.pools.groups import Member

NEAR = 3600.0  # s, and
LEADS = 3.0  # declared lead times: an event so near is planned for even where no model is trusted


def make_forecaster(resource: PredictiveScaler) -> Forecaster | None:
    """The forecaster that a resource asks for; None for a plan without forecasts. A model is imported when used.

    By the clock of its time zone, and with what is planned, where it says so.
    """
    forecast, lead = resource.spec.forecast, float(resource.spec.replicas.lead_time)
    if forecast.model is ForecastModel.NONE:
        return None
    make = partial(_bare, forecast, lead)
    calendar = forecast.calendar
    made: Keeping = make() if calendar.time_zone == "UTC" else LocalTime(make, calendar)
    events = to_events(resource.spec.planned_events, calendar)
    if not (events or calendar.holidays):
        return made
    return Planned(made, events, calendar, reach=max(NEAR, LEADS * lead))


def _bare(forecast: Forecast, lead: float) -> Keeping:
    """What ``forecast`` names, with its referee; it lives by the clock that it is given."""
    from forecasting.competition_default import default_competition, refereed

    if forecast.model is ForecastModel.AUTO:
        season, keep = float(forecast.season), float(forecast.history)
        return default_competition(float(forecast.step), lead, season=season, keep=keep)
    return refereed(_named(forecast), lead)


def _named(forecast: Forecast) -> Callable[[], Forecaster]:
    """Makes the one model that ``forecast`` names."""
    step, season = float(forecast.step), float(forecast.season)
    if forecast.model is ForecastModel.SEASONAL_NAIVE:
        from forecasting.models.seasonal_naive import SeasonalNaive

        return partial(SeasonalNaive, step, season)
    if forecast.model is ForecastModel.LEVEL_SEASON:
        from forecasting.seasons import ALONE, by_season

        return partial(by_season, step, season, ALONE)
    from forecasting.competition_default import remembered
    from forecasting.models.direct import Direct

    return partial(Direct, step, keep=remembered(float(forecast.history), step))


class MakePredictive:
    """Makes the policy of a scaler; ``fitter`` runs the fits of all their forecasters, by default in each step."""

    def __init__(self, fitter: Fitter | None = None) -> None:
        self._fitter = fitter or InPlace()

    def __call__(self, resource: PredictiveScaler, service: Service) -> Policy:
        return self.together([Member(resource, service)])

    def together(self, members: Sequence[Member]) -> Policy:
        """The policy of scalers that are planned together, with the nodes that they stand on."""
        resources = {member.service.uid: member.resource for member in members}
        named = _Named(self._fitter, {uid: f"{r.metadata.namespace}/{r.metadata.name}" for uid, r in resources.items()})
        services = [member.service for member in members]
        return PredictivePolicy(services, lambda one: make_forecaster(resources[one.uid]), fitter=named)

    def fitted_by(self, fitter: Fitter) -> MakePredictive:
        """The same with another fitter."""
        return MakePredictive(fitter)


@dataclass(frozen=True, slots=True)
class _Named:
    """Tells whose a fit is by the name that its user knows."""

    fitter: Fitter
    names: Mapping[str, str]  # by the service's uid

    def start(self, job: FitJob) -> FitRun | None:
        return self.fitter.start(replace(job, of=self.names.get(job.of, job.of)))


make_policy = MakePredictive()


def predictive(options: Mapping[str, str]) -> MakePolicy:
    """Entry point ``lagcast`` of the group ``lagcast.policies``; it takes no options. Raises ConfigError for any."""
    if options:
        raise ConfigError(f"policy lagcast takes no options; found {', '.join(sorted(options))}")
    return make_policy
