"""An API server's objects in memory, with the part of JSON Patch (RFC 6902) that is used here: what the adapters speak
to where no real one runs.
"""

from __future__ import annotations

import copy
import itertools
from typing import Any

from tests.cluster.api_server import Asked, Json, status

HPAS = "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers"
SCALED_OBJECTS = "/apis/keda.sh/v1alpha1/namespaces/{}/scaledobjects"
SCALERS = "/apis/lagcast.io/v1alpha1/namespaces/{}/predictivescalers"


class Refused(Exception):
    """A patch that does not apply."""


class Objects:
    """Objects by path; collections are those that were added."""

    def __init__(self) -> None:
        self.kept: dict[str, Json] = {}
        self.collections: set[str] = set()
        self.refusals: dict[tuple[str, str], tuple[int, Json]] = {}  # (method, path) -> answer
        self.patches: list[Asked] = []
        self._versions = itertools.count(100)

    def serve(self, collection: str) -> None:
        self.collections.add(collection)

    def put(self, path: str, item: Json, manager: str = "kubectl", field: str = "") -> None:
        """Make or replace; ``manager`` wrote ``field`` of its spec."""
        item = copy.deepcopy(item)
        metadata = item.setdefault("metadata", {})
        namespace, name = path.split("/")[-3], path.rpartition("/")[2]
        metadata |= {"name": name, "namespace": namespace, "resourceVersion": str(next(self._versions))}
        metadata.setdefault("uid", f"uid-{name}")
        if field:
            metadata["managedFields"] = [{"manager": manager, "fieldsV1": {"f:spec": {f"f:{field}": {}}}}]
        self.kept[path] = item
        self.serve(path.rpartition("/")[0])

    def answer(self, asked: Asked) -> tuple[int, Any]:
        if (refusal := self.refusals.get((asked.method, asked.path))) is not None:
            return refusal
        if asked.method == "GET" and asked.path in self.collections:
            return 200, {"items": [v for k, v in self.kept.items() if k.rpartition("/")[0] == asked.path]}
        item = self.kept.get(asked.path)
        if item is None:
            return 404, status(404, f"{asked.path} not found", details={"name": asked.path.rpartition("/")[2]})
        if asked.method == "GET":
            return 200, item
        self.patches.append(asked)
        assert asked.headers["Content-Type"] == "application/json-patch+json"
        try:
            changed = patched(item, asked.body)
        except Refused:
            return 422, status(422, "the server rejected our request due to an error in our request", details={})
        changed["metadata"]["resourceVersion"] = str(next(self._versions))
        for field in ("minReplicas", "minReplicaCount"):
            if (item.get("spec") or {}).get(field) != (changed.get("spec") or {}).get(field):
                fields = {"f:spec": {f"f:{field}": {}}}
                changed["metadata"]["managedFields"] = [{"manager": "lagcast", "fieldsV1": fields}]
        self.kept[asked.path] = changed
        return 200, changed


def patched(item: Json, operations: list[Json]) -> Json:
    made = copy.deepcopy(item)
    for one in operations:
        *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in one["path"].split("/")[1:]]
        parent = made
        for key in parents:
            if not isinstance(parent, dict) or key not in parent:
                raise Refused
            parent = parent[key]
        match one["op"]:
            case "replace" | "remove" if last not in parent:
                raise Refused
            case "test":
                if parent.get(last) != one["value"]:  # as the API server's: what is not there equals null
                    raise Refused
            case "remove":
                del parent[last]
            case _:
                parent[last] = one["value"]
    return made
