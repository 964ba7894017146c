"""Lagcast's finalizer on its own objects."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

from scaler.act.order import ScalerRef
from scaler.api.predictive_scaler import API_VERSION
from scaler.errors import Conflict, TargetNotFound
from scaler.kube import JSON_PATCH, Json, KubeClient, failure

FINALIZER = "lagcast.io/floor"
PLURAL = "predictivescalers"
TRIES = 4  # its status is written all the time, by ourselves


def path_of(scaler: ScalerRef) -> str:
    """Where the object is."""
    namespace, name = quote(scaler.namespace, safe=""), quote(scaler.name, safe="")
    return f"/apis/{API_VERSION}/namespaces/{namespace}/{PLURAL}/{name}"


class ClusterFinalizers:
    """On the objects of the API server."""

    def __init__(self, client: KubeClient, where: Callable[[ScalerRef], str] = path_of) -> None:
        """``where``: path of an object."""
        self._client = client
        self._where = where

    def put(self, scaler: ScalerRef) -> None:
        """Put it on."""

        def patch(item: Json) -> list[Json]:
            if going(item):
                raise TargetNotFound(f"{scaler} is gone, or being deleted: no floor is raised for it any more")
            return putting(item)

        self._change(scaler, patch, "put")

    def take_off(self, scaler: ScalerRef) -> None:
        """Take it off."""
        self._change(scaler, taking, "take")

    def _change(self, scaler: ScalerRef, patch: Callable[[Json], list[Json]], doing: str) -> None:
        """Make the changes that ``patch`` finds in the object, and its tests of what it found; an object that somebody
        else changes at the same moment is read again.
        """
        for _ in range(TRIES):
            changes = patch(self._item(scaler))
            if not changes or self._patched(scaler, changes, doing):
                return
        raise Conflict(f"{scaler} is changed again and again: its finalizer is tried again")

    def _item(self, scaler: ScalerRef) -> Json:
        """Empty when this very object is gone."""
        answer = self._client.call("GET", self._where(scaler))
        if answer.code == 404:
            return {}
        if not answer.ok:
            raise failure(answer, f"read {scaler}")
        return answer.body if (answer.body.get("metadata") or {}).get("uid") == scaler.uid else {}

    def _patched(self, scaler: ScalerRef, patch: list[Json], doing: str) -> bool:
        """False when it was changed since it was read."""
        same = _test("uid", scaler.uid)
        answer = self._client.call("PATCH", self._where(scaler), body=[same, *patch], content_type=JSON_PATCH)
        if not answer.ok and answer.code not in (404, 409, 422):
            raise failure(answer, f"{doing} the finalizer {FINALIZER} of {scaler}")
        return answer.ok


class NoFinalizers:
    """For scalers of a configuration file: there is no object that could wait for its floor."""

    def put(self, scaler: ScalerRef) -> None:
        """Nothing: what such a scaler raised and does not renew expires."""

    def take_off(self, scaler: ScalerRef) -> None:
        """Nothing was put on."""


def going(item: Json) -> bool:
    """Whether an object is gone, or being deleted."""
    return not item or bool((item.get("metadata") or {}).get("deletionTimestamp"))


def putting(item: Json) -> list[Json]:
    """A JSON Patch that puts the finalizer on; empty where it is."""
    metadata = item.get("metadata") or {}
    has = list(metadata.get("finalizers") or ())
    if FINALIZER in has:
        return []
    # A test of a list that is not there fails: then only the version of the whole can be tested.
    test = _test("finalizers", has) if has else _test("resourceVersion", metadata.get("resourceVersion"))
    return [test, {"op": "add", "path": "/metadata/finalizers", "value": [*has, FINALIZER]}]


def taking(item: Json) -> list[Json]:
    """A JSON Patch that takes the finalizer off; empty where it is not."""
    has = list((item.get("metadata") or {}).get("finalizers") or ())
    if FINALIZER not in has:
        return []
    rest = [one for one in has if one != FINALIZER]
    change: Json = {"op": "replace", "value": rest} if rest else {"op": "remove"}
    return [_test("finalizers", has), {**change, "path": "/metadata/finalizers"}]


def _test(field: str, value: object) -> Json:
    return {"op": "test", "path": f"/metadata/{field}", "value": value}
