"""The larger of what the present rate needs and what Holt-Winters foresees, through an HPA.

As the older predictive HPAs do it: the forecast of one model for the time at which a pod asked for now would serve, as
a point and without a band, beside the reactive proposal; the higher counts, and ``behavior`` smooths the way down.
"""

# ruff: noqa: RUF009 - a Duration is an immutable float

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from scaler.api.quantities import Duration
from scaler.plan.decision import ServiceDecision
from scaler.plan.observation import ServiceObservation
from scaler.plan.reasons import Reason
from scaler.plan.service import Service
from simulations.policies.hpa_loop import HpaLoop, Metric, reasons
from simulations.policies.hpa_metrics import average_value, milli
from simulations.policies.hpa_rate import HpaRateSettings
from simulations.policies.past import Past
from simulations.policies.peers import after, fault, for_each, in_controller, numbers, read_settings, without_target
from simulations.policies.smoothing import HoltWinters, Weights
from simulations.policies.windows import RateWindow

if TYPE_CHECKING:
    from scaler.controller import MakePolicy
    from simulations.policies.catalog import PolicyMaker

_SEASONS = 7  # kept


@dataclass(frozen=True, slots=True)
class HoltWintersSettings(HpaRateSettings):
    """The model's options beside those of the HPA on the rate.

    ``alpha``, ``beta``, ``gamma`` None: chosen at each ``refit`` by what forecast the last week best. ``lead`` None:
    the declared lead time.
    """

    step: Duration = Duration(300)
    season: Duration = Duration(86400)
    lead: Duration | None = None
    alpha: float | None = None
    beta: float | None = None
    gamma: float | None = None
    refit: Duration = Duration(86400)

    def __post_init__(self) -> None:
        HpaRateSettings.__post_init__(self)
        for name in ("alpha", "beta", "gamma"):
            if (found := getattr(self, name)) is not None and not 0 <= found <= 1:
                raise ValueError(f"{name}: found {found}; allowed: 0 to 1")
        if not self.step > 0 or not self.refit > 0:
            raise ValueError("step, refit: found 0s; allowed: more")
        steps = self.season / self.step
        if steps < 2 or abs(steps - round(steps)) > 1e-9:
            raise ValueError(f"season: found {self.season}; allowed: a multiple of step, {self.step}, and more than it")


class HoltWintersPeer:
    """The rule for one service."""

    def __init__(self, service: Service, settings: HoltWintersSettings) -> None:
        scale = settings.time_scale
        self.uid = service.uid
        self._least = max(service.min_replicas, 1)
        self._target = max(milli(settings.utilization * service.service_rate), 1)
        self._lead = service.lead_time if settings.lead is None else settings.lead * scale
        self._weights = Weights(settings.alpha, settings.beta, settings.gamma)
        season = round(settings.season / settings.step)
        self._refit = max(round(settings.refit / settings.step), 1)  # steps
        self._fitted: int | None = None  # step of the newest fit
        self._learned: int | None = None  # the step that was open when steps were last taken in
        self._window = RateWindow(settings.rate_window * scale)
        self._past = Past(settings.step * scale, _SEASONS * settings.season * scale)
        self._model = HoltWinters(season)
        self._hpa = HpaLoop(service, settings)

    def decide(self, now: float, observed: ServiceObservation) -> ServiceDecision:
        """One tick. Without fresh offsets, or before a rate is known, the count is held, whatever is foreseen."""
        if observed.history is not None and observed.history.fresh and observed.history.value is not None:
            self._past.fill(observed.history.value)
        offsets = observed.offsets.value if observed.offsets.fresh else None
        recreated = False
        if offsets is not None:
            recreated = self._window.take(observed.offsets.time, offsets)
            if (newest := self._window.newest()) is not None:
                self._past.take(*newest)
                self._learn()
        replicas = observed.replicas.value
        if replicas is None or not observed.replicas.fresh:
            return without_target(now, observed)
        rate = None if offsets is None else self._window.rate()
        metrics: list[Metric] = [(None if rate is None else milli(rate), self._target)]
        foreseen = None if rate is None else self._foreseen(now)
        if foreseen is not None:
            metrics.append((milli(foreseen), self._target))
        current = replicas.desired
        count, outcome = self._hpa.sync(self._hpa.due(now), current, replicas, metrics)
        why = reasons(outcome, changed=count != current)
        if offsets is None:
            why = after(fault(observed.offsets), why)
        elif rate is None:
            why = after((Reason.TOPIC_RECREATED if recreated else Reason.INPUT_ABSENT,), why)
        elif current == 0 and any(total for total, _ in metrics):
            count, why = self._least, (Reason.MIN_REPLICAS, Reason.NO_FORECAST)
        if foreseen is not None and rate is not None and foreseen > rate:
            why = tuple(Reason.FORECAST if one is Reason.NO_FORECAST else one for one in why)
        seen = numbers(replicas, offsets, rate)
        if foreseen is not None:
            seen = replace(seen, forecast_replicas=average_value(milli(foreseen), self._target, 0))
        return ServiceDecision(self.uid, now, current, count, why, seen)

    def _learn(self) -> None:
        """Steps that were closed go into the model; the model is made anew once a ``refit``."""
        opened = self._past.first_open
        if opened is None or opened == self._learned:
            return
        self._learned = opened
        if self._fitted is None or opened >= self._fitted + self._refit:
            first, rates = self._past.column()
            if self._model.fit(first, rates, self._weights):
                self._fitted = opened
                return
        if self._fitted is not None:
            for index in range(self._model.next, opened):
                self._model.update(self._past.rate(index))

    def _foreseen(self, now: float) -> float | None:
        """Rate (requests/s) of the step in which a replica asked for now would serve; None before a fit."""
        return self._model.forecast(int((now + self._lead) // self._past.step))

    def save(self) -> dict[str, Any]:
        """All state, in JSON's types."""
        return {
            "window": self._window.save(),
            "past": self._past.save(),
            "model": self._model.save(),
            "fitted": self._fitted,
            "learned": self._learned,
            "hpa": self._hpa.save(),
        }

    def load(self, saved: Mapping[str, Any]) -> None:
        """Take over what ``save`` gave."""
        self._window.load(saved["window"])
        self._past.load(saved["past"])
        self._model.load(saved["model"])
        self._fitted = saved["fitted"]
        self._learned = saved["learned"]
        self._hpa.load(saved["hpa"])


def make(options: Mapping[str, str]) -> PolicyMaker:
    """The policy from its options, the fields of HoltWintersSettings. Raises ConfigError."""
    settings = read_settings(HoltWintersSettings, "holt_winters", options)
    return for_each("holt_winters", lambda service: HoltWintersPeer(service, settings))


def holt_winters(options: Mapping[str, str]) -> MakePolicy:
    """Entry point ``holt_winters`` of the group ``lagcast.policies``."""
    return in_controller(make(options))
