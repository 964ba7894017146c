"""One object as it stands in YAML or as the API server hands it over: read by the models, or refused in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from scaler.api.describe import found
from scaler.api.gpu_node_pool import POOL_KIND, GpuNodePool
from scaler.api.predictive_scaler import API_VERSION, KIND, PredictiveScaler
from scaler.api.refusal import items_in, model_in, refusals

Resource = PredictiveScaler | GpuNodePool
_MODELS: Mapping[str, type[PredictiveScaler] | type[GpuNodePool]] = {KIND: PredictiveScaler, POOL_KIND: GpuNodePool}
KINDS = tuple(_MODELS)

# The API server's own part of an object: it fills these in, or takes them from nobody.
_SERVERS_METADATA = frozenset(
    {
        "creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "finalizers", "generateName",
        "managedFields", "ownerReferences", "resourceVersion", "selfLink",
    }
)  # fmt: skip
_SERVERS = frozenset({"status"})


@dataclass(frozen=True, slots=True)
class Parsed:
    """An object read, or (``resource`` None) what is wrong with it: one line for each fault."""

    resource: Resource | None
    faults: tuple[str, ...] = ()


def parse(item: object, kinds: Sequence[str] = KINDS) -> Parsed:
    """Read one object of one of ``kinds``."""
    if not isinstance(item, Mapping):
        return Parsed(None, (f"found {found(item)}; allowed: an object of {API_VERSION} {' or '.join(kinds)}",))
    # Of another kind of object, nothing but its kind is worth a line.
    wrong = tuple(
        f"{field}: found {found(item.get(field))}; allowed: {' or '.join(allowed)}"
        for field, allowed in (("apiVersion", (API_VERSION,)), ("kind", tuple(kinds)))
        if item.get(field) not in allowed
    )
    if wrong:
        return Parsed(None, wrong)
    model = _MODELS[item["kind"]]
    try:
        return Parsed(model.model_validate(_without_nulls(_own(item), model)))
    except ValidationError as error:
        return Parsed(None, tuple(refusals(error, model)))


def is_ours(item: object) -> bool:
    """Whether it means to be one of Lagcast's objects, right or wrong."""
    if not isinstance(item, Mapping):
        return True
    version = item.get("apiVersion")
    return not isinstance(version, str) or version.partition("/")[0] == API_VERSION.partition("/")[0]


def _own(item: Mapping[Any, Any]) -> dict[Any, Any]:
    """What a user declares of it."""
    own = {key: value for key, value in item.items() if key not in _SERVERS}
    metadata = own.get("metadata")
    if isinstance(metadata, Mapping):
        own["metadata"] = {key: value for key, value in metadata.items() if key not in _SERVERS_METADATA}
    return own


def _without_nulls(item: dict[Any, Any], model: type[BaseModel]) -> dict[Any, Any]:
    """As the API server does: a null in a field that may be left out is left out."""
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    made = {}
    for key, value in item.items():
        field = fields.get(key)
        if field is None:
            made[key] = value
            continue
        if value is None and not field.is_required():
            continue
        made[key] = _below(value, model_in(field.annotation), items_in(field.annotation))
    return made


def _below(value: Any, model: type[BaseModel] | None, entries: type[BaseModel] | None) -> Any:
    if model is not None and isinstance(value, Mapping):
        return _without_nulls(dict(value), model)
    if entries is not None and isinstance(value, list):
        return [_below(one, entries, None) for one in value]
    return value
