"""A scaler's status from one tick's row, and when it is worth writing. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from pydantic import ValidationError

from scaler.act.order import Outcome
from scaler.api.quantities import Duration, Fraction
from scaler.api.status import Condition, PoolStatus, ScalerStatus, Truth
from scaler.controller import Row
from scaler.kube import Json
from scaler.plan.decision import Forecast
from scaler.resources import conditions
from scaler.resources.conditions import Lately
from scaler.resources.declared import Place, Refused, place_of

REST = 60.0  # s between writes of a status of which only the numbers changed
DIGITS = 2
_FINEST = Decimal("0.000001")  # a rate below this is shown as 0
_MOST = 10**15
_LONGEST = 3650 * 86_400.0  # s


def of_row(row: Row, before: ScalerStatus, now: float, lately: Lately | None = None) -> ScalerStatus:
    """The status after a tick; ``before`` is the one that it follows, ``now`` unix s, ``lately`` remembers."""
    place, decision, n = place_of(row.resource), row.decision, row.decision.numbers
    findings = (lately or Lately()).steady(conditions.of_row(row), now)
    ready = findings[0]
    return _status(
        observedGeneration=place.generation,
        currentReplicas=decision.current,
        desiredReplicas=decision.desired,
        forecastReplicas=n.forecast_replicas,
        neededReplicas=n.floor_replicas,
        readyReplicas=n.ready,
        pendingReplicas=n.pending,
        reason=str(decision.reason if ready.status is Truth.TRUE else ready.reason),
        arrivalRate=quantity(n.arrival_rate),
        backlog=quantity(n.backlog),
        timeLag=duration(n.time_lag),
        serviceRate=quantity(n.service_rate),
        leadTime=duration(n.lead_time),
        forecast=_forecast(n.forecast),
        lastScaleTime=_last_scale(row.outcome, before, now),
        conditions=conditions.dated(findings, before.conditions, place, now),
    )


def of_refused(refused: Refused, before: ScalerStatus, now: float) -> ScalerStatus:
    """The status of a scaler that is not run."""
    return _status(
        observedGeneration=refused.place.generation,
        reason=str(refused.reason),
        lastScaleTime=before.last_scale_time,
        conditions=conditions.dated(conditions.of_refused(refused), before.conditions, refused.place, now),
    )


def read(status: Json) -> ScalerStatus:
    """What the API server has; empty where another version wrote something that cannot be read."""
    try:
        return ScalerStatus.model_validate(status)
    except ValidationError:
        return ScalerStatus()


class Status(Protocol):
    """Of a scaler or a pool."""

    @property
    def observed_generation(self) -> int | None: ...
    @property
    def counts(self) -> tuple[int | None, ...]: ...
    @property
    def conditions(self) -> list[Condition]: ...


def patch(place: Place, status: ScalerStatus | PoolStatus) -> Json:
    """A merge patch that makes ``status`` of the object with this uid the whole status, and of no other object."""
    known: Json = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    fields = (field.alias or name for name, field in type(status).model_fields.items())
    return {"metadata": {"uid": place.uid}, "status": {field: known.get(field) for field in fields}}


@dataclass(frozen=True, slots=True)
class Written:
    """What stands on the server, and since when (unix s)."""

    status: ScalerStatus | PoolStatus
    at: float


def due(last: Written | None, fresh: ScalerStatus | PoolStatus, now: float) -> bool:
    """Whether ``fresh`` is to be written at ``now`` (unix s): at once when a condition or one of its ``counts``
    changed, once in ``REST`` when only other numbers did, never when nothing did.
    """
    if last is None or _urgent(last.status) != _urgent(fresh):
        return True
    # A clock that was set back must not silence it.
    return fresh != last.status and abs(now - last.at) >= REST


def _urgent(status: Status) -> tuple[Any, ...]:
    return (
        status.observed_generation,
        status.counts,
        tuple((c.type, c.status, c.reason) for c in status.conditions),
    )


def quantity(value: float | None) -> Fraction | None:
    """Rounded to two digits; None for what is not known, or is no number."""
    if value is None or not math.isfinite(value):
        return None
    return Fraction(_rounded(min(max(value, 0.0), _MOST)))


def duration(seconds: float | None) -> Duration | None:
    """Rounded to two digits, and to whole milliseconds."""
    if seconds is None or not math.isfinite(seconds):
        return None
    return Duration.of_milliseconds(int(_rounded(min(max(seconds, 0.0), _LONGEST)) * 1000))


def _rounded(value: float) -> Decimal:
    exact = Decimal(repr(value))
    if exact < _FINEST:
        return Decimal(0)
    step = Decimal(1).scaleb(max(exact.adjusted() - DIGITS + 1, -6))
    return (exact / step).to_integral_value() * step


def _forecast(forecast: Forecast | None) -> Mapping[str, Any] | None:
    if forecast is None:
        return None
    ahead, median, p95 = duration(forecast.at), quantity(forecast.p50), quantity(forecast.p95)
    if ahead is None or median is None or p95 is None:
        return None
    return {"ahead": ahead, "median": median, "p95": p95, "model": forecast.model[:256]}


def _last_scale(outcome: Outcome, before: ScalerStatus, now: float) -> str | None:
    return conditions.rfc3339(now) if outcome.patched else before.last_scale_time


def _status(**fields: Any) -> ScalerStatus:
    made: list[Condition] = fields.pop("conditions")
    return ScalerStatus.model_validate({**fields, "conditions": [c.model_dump(by_alias=True) for c in made]})
