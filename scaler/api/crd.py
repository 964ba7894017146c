"""``python -m scaler.api.crd FOLDER``: the CustomResourceDefinitions, made from the models.

What pydantic's JSON schema says is put into the form that the API server asks for: structural, without references,
every rule in CEL (``scaler.api.cel``), descriptions from the models. Nothing here knows a single field.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from scaler.api.cel import VALIDATIONS
from scaler.api.gpu_node_pool import POOL_KIND, GpuNodePool
from scaler.api.predictive_scaler import API_VERSION, KIND, PredictiveScaler
from scaler.api.status import PoolStatus, ScalerStatus

GROUP, VERSION = API_VERSION.split("/")
_KEPT = (
    "type", "format", "description", "default", "enum", "minimum", "maximum", "minLength", "maxLength",
    "minItems", "maxItems", "minProperties", "maxProperties", "required",
    "x-kubernetes-list-type", "x-kubernetes-list-map-keys",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    """One column of ``kubectl get``; priority 1 is shown with ``-o wide`` only."""

    name: str
    path: str
    type: str = "string"
    description: str = ""
    priority: int = 0

    def as_dict(self) -> dict[str, Any]:
        made: dict[str, Any] = {"name": self.name, "type": self.type, "jsonPath": self.path}
        if self.description:
            made["description"] = self.description
        return made | ({"priority": self.priority} if self.priority else {})


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of resource."""

    model: type[BaseModel]
    status: type[BaseModel]
    kind: str
    plural: str
    short: str
    namespaced: bool
    columns: tuple[Column, ...]

    @property
    def name(self) -> str:
        """Name of its definition."""
        return f"{self.plural}.{GROUP}"


_AGE = Column("Age", ".metadata.creationTimestamp", "date")
SCALER = Kind(
    PredictiveScaler,
    ScalerStatus,
    KIND,
    "predictivescalers",
    "ps",
    namespaced=True,
    columns=(
        Column("Target", ".spec.target.name"),
        Column("Mode", ".spec.mode"),
        Column("Min", ".spec.replicas.min", "integer"),
        Column("Max", ".spec.replicas.max", "integer"),
        Column("Current", ".status.currentReplicas", "integer", "Replicas of the target"),
        Column("Desired", ".status.desiredReplicas", "integer", "Replicas that were decided"),
        Column("Forecast", ".status.forecastReplicas", "integer", "Replicas that the forecast asks for"),
        Column("Ready", '.status.conditions[?(@.type=="Ready")].status', description="Whether it can decide and act"),
        Column("Reason", ".status.reason", description="What decided the count"),
        _AGE,
        Column("Model", ".status.forecast.model", description="The leading model", priority=1),
        Column("Time Lag", ".status.timeLag", description="Age of the oldest request not yet served", priority=1),
        Column("Lead Time", ".status.leadTime", description="From a patch to a pod that serves", priority=1),
        Column("Last Scale", ".status.lastScaleTime", "date", "When the target was last patched", priority=1),
    ),
)
POOL = Kind(
    GpuNodePool,
    PoolStatus,
    POOL_KIND,
    "gpunodepools",
    "gnp",
    namespaced=False,
    columns=(
        Column("Mode", ".spec.mode"),
        Column("Min", ".spec.nodes.min", "integer"),
        Column("Max", ".status.maxNodes", "integer", "Most nodes: nodes.max, or what the budget pays for"),
        Column("Current", ".status.currentNodes", "integer", "Nodes that its provider's count keeps"),
        Column("Desired", ".status.desiredNodes", "integer", "Nodes that were decided to be kept"),
        Column("Nodes", ".status.readyNodes", "integer", "Nodes that are Ready"),
        Column("Pending", ".status.pendingNodes", "integer", "Nodes asked for that are not Ready"),
        Column("Ready", '.status.conditions[?(@.type=="Ready")].status', description="Whether it can decide and act"),
        Column("Reason", ".status.reason", description="What decided the count"),
        _AGE,
        Column("GPUs", ".spec.node.gpus", "integer", "GPUs of a node", priority=1),
        Column("Empty", ".status.emptyNodes", "integer", "Ready nodes without a pod of a scaled target", priority=1),
        Column("Lead Time", ".status.leadTime", description="From asking for a node to its being Ready", priority=1),
        Column("Cost", ".status.costPerHour", description="Cost an hour, as declared for a node", priority=1),
        Column("Last Scale", ".status.lastScaleTime", "date", "When its count was last written", priority=1),
    ),
)
KINDS = (SCALER, POOL)


def definition(kind: Kind) -> dict[str, Any]:
    """The CustomResourceDefinition of one kind."""
    resource = schema(kind.model)
    root = resource["properties"]
    root["apiVersion"] = {"type": "string", "description": "Version of this resource."}
    root["kind"] = {"type": "string", "description": "Kind of this resource."}
    root["metadata"] = {"type": "object"}  # the API server's own, with its own rules
    root["status"] = schema(kind.status)
    resource["required"] = ["spec"]
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [column.as_dict() for column in kind.columns],
        "schema": {"openAPIV3Schema": resource},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.name},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.kind.lower(),
                "shortNames": [kind.short],
                "categories": ["lagcast"],
            },
            "versions": [version],
        },
    }


def schema(model: type[BaseModel]) -> dict[str, Any]:
    """The structural schema of a model."""
    made = model.model_json_schema(by_alias=True)
    return _structural(made, made.get("$defs", {}))


def _structural(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    node = _resolved(node, definitions)
    made = {key: node[key] for key in _KEPT if key in node}
    if made.get("default", ...) is None:
        del made["default"]
    if "default" in made and "description" in made:  # kubectl explain shows the description, and no default
        made["description"] = made["description"].replace("Default: ", f"Default {_plain(made['default'])}: ")
    if "const" in node:
        made["enum"] = [node["const"]]
    if "properties" in node:
        made["properties"] = {name: _structural(below, definitions) for name, below in node["properties"].items()}
        # A part that may be left out is filled with its own defaults; the rules look at them, so each is written out.
        for name, below in node["properties"].items():
            if name not in node.get("required", ()) and "default" not in below and _is_part(below, definitions):
                part = made["properties"][name]
                part["default"] = {n: one["default"] for n, one in part["properties"].items() if "default" in one}
    if isinstance(node.get("additionalProperties"), Mapping):
        made["additionalProperties"] = _structural(node["additionalProperties"], definitions)
    if "items" in node:
        made["items"] = _structural(node["items"], definitions)
    if validations := [*node.get(VALIDATIONS, ()), *_of_keys(node)]:
        made[VALIDATIONS] = validations
    return made


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _resolved(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """Without a reference, and without the choice of null that an optional field has; what stands beside them wins."""
    beside = {key: value for key, value in node.items() if key not in ("$ref", "anyOf")}
    if "$ref" in node:
        return {**definitions[node["$ref"].rpartition("/")[2]], **beside}
    if "anyOf" in node:
        (choice,) = (one for one in node["anyOf"] if one.get("type") != "null")
        return {**_resolved(choice, definitions), **beside}
    return node


def _is_part(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> bool:
    """A model with only defaults, to be made when it is left out."""
    below = _resolved(node, definitions)
    return "$ref" in node and "properties" in below and not below.get("required")


def _of_keys(node: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """A structural schema has no rules for a map's keys: they become rules of the map."""
    keys = node.get("propertyNames", {})
    for one in keys.get(VALIDATIONS, ()):
        short = f"size(k) <= {keys['maxLength']} && " if "maxLength" in keys else ""
        yield {"rule": f"self.all(k, {short}{one['rule'].replace('self.', 'k.')})", "message": one["message"]}


def documents() -> dict[str, str]:
    """File name -> YAML of each definition."""
    return {f"{kind.name}.yaml": _HEADER + _yaml(definition(kind)) for kind in KINDS}


_HEADER = "# Made by `python -m scaler.api.crd`; change the models in scaler/api and make it again.\n"


def _yaml(value: Any) -> str:
    return yaml.dump(value, sort_keys=False, width=118, allow_unicode=True, Dumper=_Dumper)


class _Dumper(yaml.SafeDumper):
    """Without anchors: the same rule stands wherever it is needed."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def write(folder: Path) -> None:
    """Write each definition into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in documents().items():
        (folder / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
