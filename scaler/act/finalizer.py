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
        for _ in range(TRIES):
            metadata = self._metadata(scaler)
            if metadata is None or metadata.get("deletionTimestamp"):
                raise TargetNotFound(f"{scaler} is gone, or being deleted: no floor is raised for it any more")
            has = list(metadata.get("finalizers") or ())
            if FINALIZER in has:
                return
            # A test of a list that is not there fails: then only the version of the whole can be tested.
            test = ("finalizers", has) if has else ("resourceVersion", metadata.get("resourceVersion"))
            add: Json = {"op": "add", "path": "/metadata/finalizers", "value": [*has, FINALIZER]}
            if self._patched(scaler, [_test(*test), add], "put"):
                return
        raise Conflict(f"{scaler} is changed again and again: its finalizer is tried again")

    def take_off(self, scaler: ScalerRef) -> None:
        """Take it off."""
        for _ in range(TRIES):
            metadata = self._metadata(scaler)
            has = list((metadata or {}).get("finalizers") or ())
            if FINALIZER not in has:
                return
            rest = [one for one in has if one != FINALIZER]
            whole = "/metadata/finalizers"
            change: Json = {"op": "replace", "path": whole, "value": rest} if rest else {"op": "remove", "path": whole}
            if self._patched(scaler, [_test("finalizers", has), change], "take"):
                return
        raise Conflict(f"{scaler} is changed again and again: its finalizer is tried again")

    def _metadata(self, scaler: ScalerRef) -> Json | None:
        """None when this very object is gone."""
        answer = self._client.call("GET", self._where(scaler))
        if answer.code == 404:
            return None
        if not answer.ok:
            raise failure(answer, f"read {scaler}")
        metadata: Json = answer.body.get("metadata") or {}
        return metadata if metadata.get("uid") == scaler.uid else None

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


def _test(field: str, value: object) -> Json:
    return {"op": "test", "path": f"/metadata/{field}", "value": value}
