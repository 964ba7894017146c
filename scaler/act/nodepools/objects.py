"""Whole objects of any kind, read and patched only over what was read."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from scaler.act.nodepools.pointer import found
from scaler.errors import Conflict, TargetError, TargetNotFound
from scaler.kube import JSON, JSON_PATCH, Json, KubeClient, Resource, failure

PAGE = 500  # objects a request


class NotServed(TargetNotFound):
    """A kind is there, but in none of the versions that were asked for: its objects are not gone."""


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """One object; of the versions of its kind, the first that the API server has is used."""

    api_versions: tuple[str, ...]
    kind: str
    namespace: str  # empty: its kind has none
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"

    @property
    def parts(self) -> tuple[str, str, str, str]:
        """Which object it is: of its group, for versions are views of one object."""
        return (self.api_versions[0].rpartition("/")[0], self.kind, self.namespace, self.name)


def over(tests: Mapping[str, object], changes: Sequence[Json]) -> list[Json]:
    """A JSON Patch: ``changes``, if at each pointer of ``tests`` still stands what was read."""
    return [*({"op": "test", "path": where, "value": value} for where, value in tests.items()), *changes]


def pages(kube: KubeClient, path: str, doing: str, *, selector: str = "", accept: str = JSON) -> Iterator[list[Json]]:
    """The objects of a collection with the labels of ``selector``, as they come. Raises Forbidden, Unreachable."""
    more = ""
    while True:
        query: dict[str, str | int] = {"limit": PAGE}
        query |= {key: value for key, value in (("continue", more), ("labelSelector", selector)) if value}
        listed = kube.get(path, doing, query=query, accept=accept)
        yield listed.get("items") or []
        more = str((listed.get("metadata") or {}).get("continue") or "")
        if not more:
            return


class Objects:
    """All objects that the account may see."""

    def __init__(self, kube: KubeClient) -> None:
        self.kube = kube
        self._known: dict[tuple[tuple[str, ...], str], Resource] = {}
        self._lock = threading.Lock()

    def read(self, ref: ObjectRef) -> Json:
        """Raises TargetNotFound, NotServed, Forbidden, Unreachable."""
        answer = self.kube.call("GET", self.path(ref))
        if answer.code == 404 and not answer.names_object:
            self._forget(ref)
            self._look_elsewhere(ref.api_versions, ref.kind)
        if not answer.ok:
            raise failure(answer, f"read {ref}")
        return answer.body

    def patch(self, ref: ObjectRef, tests: Mapping[str, object], changes: list[Json]) -> None:
        """Apply ``changes`` (JSON Patch operations) if at each pointer of ``tests`` still stands what was read.

        Raises Conflict when it does not, TargetError when the API server refuses the change itself, and as ``read``.
        """
        answer = self.kube.call("PATCH", self.path(ref), body=over(tests, changes), content_type=JSON_PATCH)
        if answer.ok:
            return
        if answer.code in (401, 403, 404, 429) or answer.code >= 500:
            raise failure(answer, f"patch {ref}")
        # A failed test is a 422 that names no field: only the object itself tells whether it was that.
        item = self.read(ref)
        changed = [where for where, value in tests.items() if found(item, where) != value]
        if answer.code == 409 or changed:
            where = f" ({changed[0]})" if changed else ""
            raise Conflict(f"somebody else changed {ref} since it was read{where}; decided anew at the next tick")
        raise TargetError(f"cannot patch {ref}: {answer.message}")

    def every(
        self, api_versions: tuple[str, ...], kind: str, namespace: str = "", selector: str = ""
    ) -> Iterator[Json]:
        """All objects of a kind in a namespace ("": the cluster) with the labels of ``selector``; none where the kind
        is not installed. Raises NotServed, Forbidden, Unreachable.
        """
        try:
            resource = self._resource(api_versions, kind)
        except NotServed:
            raise
        except TargetNotFound:
            return
        for page in pages(self.kube, resource.collection(namespace), f"list {kind}", selector=selector):
            yield from page

    def served(self, api_versions: tuple[str, ...], kind: str) -> str:
        """The version in use. Raises TargetNotFound."""
        prefix = self._resource(api_versions, kind).prefix
        return prefix.removeprefix("/apis/").removeprefix("/api/")

    def path(self, ref: ObjectRef) -> str:
        """Raises TargetNotFound for an unknown kind, and for a namespace where the kind has none or lacks one."""
        resource = self._resource(ref.api_versions, ref.kind)
        if resource.namespaced != bool(ref.namespace):
            rule = "name its namespace" if resource.namespaced else "leave the namespace out"
            raise TargetNotFound(
                f"cannot read {ref}: {ref.kind} is a kind of "
                f"{'namespaces' if resource.namespaced else 'the whole cluster'}; {rule}"
            )
        return resource.path(ref.namespace, ref.name)

    def _resource(self, api_versions: tuple[str, ...], kind: str) -> Resource:
        key = (api_versions, kind)
        with self._lock:
            known = self._known.get(key)
        if known is not None:
            return known
        for number, version in enumerate(api_versions, 1):
            try:
                made = self.kube.resource(version, kind)
            except TargetNotFound:
                if number == len(api_versions):
                    self._look_elsewhere(api_versions, kind)
                    raise
            else:
                with self._lock:
                    self._known[key] = made
                return made
        raise TargetNotFound(f"{kind}: no version of it is named")

    def _look_elsewhere(self, api_versions: tuple[str, ...], kind: str) -> None:
        """Raises NotServed where the group of ``api_versions`` has the kind in another one, Forbidden, Unreachable."""
        group = api_versions[0].rpartition("/")[0]
        if not group:
            return  # the core group has one version
        answer = self.kube.call("GET", f"/apis/{group}")
        if answer.code == 404:
            return
        if not answer.ok:
            raise failure(answer, f"look up the versions of {group}")
        served = [str(one.get("groupVersion")) for one in answer.body.get("versions") or ()]
        others = [version for version in served if version not in api_versions and self._has(version, kind)]
        if others:
            raise NotServed(
                f"the API server has {kind} in {', '.join(others)}, and not in {', '.join(api_versions)}; "
                "where apiVersion is given, give one that it has"
            )

    def _has(self, version: str, kind: str) -> bool:
        try:
            self.kube.resource(version, kind)
        except TargetNotFound:
            return False
        return True

    def _forget(self, ref: ObjectRef) -> None:
        """The kind is served no more, or in another version."""
        with self._lock:
            self._known.pop((ref.api_versions, ref.kind), None)
