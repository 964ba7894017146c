"""What tuning may vary: fields of the resource, so that a chosen point can be written back as one.

The plan's own constants (scaler.plan.settings) have no field and are not varied: they were chosen over many traces,
and what one service's past prefers is no reason to differ.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scaler.api.predictive_scaler import ForecastModel, PredictiveScaler
from scaler.api.quantities import Duration
from simulations.errors import BadSetting

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Value = float | int | str
LONGEST_HOLD = 1800  # s
HOLD_STEP = 30  # s
LATE = (0.1, 5.0)  # times the declared late share: safer, and cheaper, than what is declared


@dataclass(frozen=True, slots=True)
class Field:
    """One field of the resource's spec. ``read``: what stands there, as a parameter's value; ``write``: the reverse."""

    name: str  # as in the resource, such as replicas.scaleInHold
    distribution: Callable[[PredictiveScaler], BaseDistribution]
    read: Callable[[PredictiveScaler], Value]
    write: Callable[[Value], Any]  # as in a resource's file


def _late(share: float) -> float:
    return 1.0 - share


def _share_range(scaler: PredictiveScaler) -> BaseDistribution:
    from optuna.distributions import FloatDistribution

    late = _late(scaler.spec.objective.share.fraction)
    return FloatDistribution(late * LATE[0], min(late * LATE[1], 0.5), log=True)


def _hold_range(scaler: PredictiveScaler) -> BaseDistribution:
    from optuna.distributions import IntDistribution

    return IntDistribution(0, LONGEST_HOLD, step=HOLD_STEP)


def _min_range(scaler: PredictiveScaler) -> BaseDistribution:
    from optuna.distributions import IntDistribution

    replicas = scaler.spec.replicas
    scheduled = [count for one in replicas.schedule for count in (one.min, one.max) if count is not None]
    most = min(replicas.max, *scheduled) if scheduled else replicas.max
    return IntDistribution(replicas.min, min(most, replicas.min + math.ceil(replicas.max / 4)))


def _models(scaler: PredictiveScaler) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution

    planned = scaler.spec.planned_events or scaler.spec.forecast.holidays
    models = [model for model in ForecastModel if not (planned and model is ForecastModel.NONE)]
    return CategoricalDistribution([str(model) for model in models])


def _as_percent(late: Value) -> str:
    # Six digits of the late share: what is written is what was run, see ``settled``.
    return f"{100.0 - 100.0 * float(late):.7f}".rstrip("0").rstrip(".") + "%"


FIELDS = (
    Field("objective.share", _share_range, lambda s: _late(s.spec.objective.share.fraction), _as_percent),
    Field(
        "replicas.scaleInHold",
        _hold_range,
        lambda s: round(float(s.spec.replicas.scale_in_hold)),
        lambda seconds: str(Duration(float(seconds))),
    ),
    Field("replicas.min", _min_range, lambda s: s.spec.replicas.min, int),
    Field("forecast.model", _models, lambda s: str(s.spec.forecast.model), str),
)


def fields(names: Sequence[str] = ()) -> tuple[Field, ...]:
    """The fields of those names, all of them by default. Raises BadSetting for one that is not varied."""
    known = {field.name: field for field in FIELDS}
    wrong = [name for name in names if name not in known]
    if wrong:
        raise BadSetting(f"field: found {wrong[0]}; allowed: {', '.join(known)}")
    return tuple(known[name] for name in known if name in names) if names else FIELDS


def with_values(scaler: PredictiveScaler, values: Mapping[str, Value]) -> PredictiveScaler:
    """The resource with those fields set, checked as any that is read from a file."""
    document = scaler.model_dump(mode="json", by_alias=True, exclude_unset=True)
    for field in FIELDS:
        if field.name in values:
            part, _, name = field.name.partition(".")
            document["spec"].setdefault(part, {})[name] = field.write(values[field.name])
    return PredictiveScaler.model_validate(document)


def present(scaler: PredictiveScaler, chosen: Sequence[Field]) -> dict[str, Value] | None:
    """What the resource says now; None where that lies outside of what is varied."""
    values = {field.name: field.read(scaler) for field in chosen}
    ranges = {field.name: field.distribution(scaler) for field in chosen}
    inside = all(ranges[name]._contains(ranges[name].to_internal_repr(value)) for name, value in values.items())
    return values if inside else None
