"""An API server in the process: objects by path, /scale, and JSON Patch as RFC 6902 has it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from kubernetes.client.configuration import Configuration

from scaler.errors import TargetError, Unreachable
from scaler.kube import JSON, JSON_PATCH, Answer, Json, KubeClient

SCALED = ("deployments", "machinedeployments", "nodepools")


class FakeApi(KubeClient):
    """A client whose server is a dictionary; kinds are those that ``kinds`` names."""

    def __init__(self, kinds: Mapping[str, tuple[tuple[str, str, bool], ...]]) -> None:
        """``kinds``: group version -> (plural, kind, namespaced)."""
        super().__init__(Configuration())
        self.kinds = dict(kinds)
        self.objects: dict[str, Json] = {}
        self.asked: list[tuple[str, str, Any]] = []
        self.down = False
        self.forbidden: set[str] = set()  # methods
        self.faults: dict[str, TargetError] = {}  # by how the paths end that it does not serve
        self.refuses = ""  # what it says against every patch whose tests hold
        self.meanwhile: list[tuple[str, Json]] = []  # what others merge in before the next patch

    def put(self, path: str, item: Json) -> None:
        way = path.split("/")
        item.setdefault("metadata", {})["name"] = way[-1]
        if "namespaces" in way:
            item["metadata"]["namespace"] = way[way.index("namespaces") + 1]
        item["metadata"]["resourceVersion"] = "1"
        self.objects[path] = item

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        body: Any = None,
        content_type: str = JSON,
        accept: str = JSON,
        read_timeout: float | None = None,
    ) -> Answer:
        self.asked.append((method, path, body))
        if self.down:
            raise Unreachable("the API server does not answer")
        for end, fault in self.faults.items():
            if path.endswith(end):
                raise fault
        if method in self.forbidden:
            return _status(403, f"may not {method} {path}")
        if method == "GET":
            return self._get(path, str((query or {}).get("labelSelector", "")))
        assert (method, content_type) == ("PATCH", JSON_PATCH)
        while self.meanwhile:
            where, change = self.meanwhile.pop()
            _merge(self.objects[where], change)
            self._bump(where)
        return self._patch(path, body)

    def _get(self, path: str, selector: str = "") -> Answer:
        whole, _, last = path.rpartition("/")
        if path in self.objects:
            return Answer(200, copy.deepcopy(self.objects[path]))
        if last == "scale" and whole in self.objects:
            return Answer(200, self._scale(whole))
        if path.endswith("horizontalpodautoscalers"):
            return Answer(200, {"items": []})
        return self._of_kinds(path, last, dict(one.split("=") for one in selector.split(",") if one))

    def _of_kinds(self, path: str, last: str, labels: Mapping[str, str]) -> Answer:
        """Discovery, a whole collection, or an object that is not there."""
        versions = [version for version in self.kinds if path == f"/apis/{version.rpartition('/')[0]}"]
        if versions:
            return Answer(200, {"versions": [{"groupVersion": version} for version in versions]})
        for version, kinds in self.kinds.items():
            if path in (f"/apis/{version}", f"/api/{version}"):
                return Answer(200, {"resources": self._discovered(version)})
            for plural, kind, _ in kinds:
                if path.startswith(f"/apis/{version}/") and last == plural:
                    there = [item for at, item in self.objects.items() if at.split("/")[-2] == plural]
                    if "/namespaces/" in path:
                        there = [item for item in there if item["metadata"].get("namespace") == path.split("/")[-2]]
                    items = [
                        copy.deepcopy(i) for i in there if labels.items() <= i["metadata"].get("labels", {}).items()
                    ]
                    return Answer(200, {"items": items})
                if path.startswith(f"/apis/{version}/") and f"/{plural}/" in path:
                    return _status(404, f"{kind} {last} not found", details={"name": last})
        return _status(404, "the server could not find the requested resource")

    def _discovered(self, version: str) -> list[Json]:
        listed: list[Json] = []
        for plural, kind, namespaced in self.kinds[version]:
            listed.append({"name": plural, "kind": kind, "namespaced": namespaced})
            if plural in SCALED:
                listed.append({"name": f"{plural}/scale", "kind": "Scale", "namespaced": namespaced})
        return listed

    def _scale(self, path: str) -> Json:
        replicas = self.objects[path].get("spec", {}).get("replicas", 0)
        return {"metadata": {"name": "scale"}, "spec": {"replicas": replicas} if replicas else {}}

    def _patch(self, path: str, operations: list[Json]) -> Answer:
        whole = path.removesuffix("/scale")
        if whole not in self.objects:
            return _status(404, f"{path} not found", details={"name": whole.rpartition("/")[2]})
        item = self._scale(whole) if path != whole else copy.deepcopy(self.objects[path])
        try:
            for operation in operations:
                _apply(item, operation)
        except (LookupError, AssertionError):
            return _status(422, "the server rejected our request due to an error in our request", details={})
        if self.refuses:
            return _status(422, self.refuses, details={"causes": [{"field": "spec"}]})
        if path != whole:
            self.objects[whole].setdefault("spec", {})["replicas"] = item["spec"]["replicas"]
        else:
            self.objects[path] = item
        self._bump(whole)
        return Answer(200, item)

    def _bump(self, path: str) -> None:
        metadata = self.objects[path]["metadata"]
        metadata["resourceVersion"] = str(int(metadata["resourceVersion"]) + 1)


def _status(code: int, message: str, **more: Any) -> Answer:
    return Answer(code, {"message": message, **more})


def _apply(item: Any, operation: Json) -> None:
    *way, last = [part.replace("~1", "/").replace("~0", "~") for part in unquote(operation["path"]).split("/")[1:]]
    for part in way:
        item = item[int(part)] if isinstance(item, list) else item[part]
    key: Any = int(last) if isinstance(item, list) else last
    match operation["op"]:
        case "test":
            # As the API server's: what is not there equals null.
            stands = item.get(key) if isinstance(item, dict) else item[key]
            assert stands == operation["value"]
            assert type(stands) is type(operation["value"])
        case "replace":
            assert item[key] is not None  # it has to be there
            item[key] = operation["value"]
        case "add":
            item[key] = operation["value"]
        case "remove":
            del item[key]


def _merge(item: Json, change: Json) -> None:
    for key, value in change.items():
        if isinstance(value, dict):
            _merge(item.setdefault(key, {}), value)
        else:
            item[key] = value
