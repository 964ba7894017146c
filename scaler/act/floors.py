"""Floors on the API server: the minimums of HorizontalPodAutoscalers and ScaledObjects, and their marks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import quote

from scaler.act.floor import (
    HPA,
    SCALED_OBJECT,
    Autoscaler,
    Fields,
    Mark,
    raise_patch,
    read_autoscaler,
    restore_patch,
)
from scaler.act.managers import last_writer
from scaler.errors import Conflict, TargetError, TargetNotFound
from scaler.kube import JSON_PATCH, Json, KubeClient, failure
from scaler.observe.ports import TargetRef

TRIES = 4


def owners_of(client: KubeClient, target: TargetRef) -> list[Autoscaler]:
    """The autoscalers of a target; without the HPAs that a ScaledObject made. Raises Forbidden or Unreachable."""
    return [one for one in autoscalers(client, target.namespace, f" of {target}") if one.scales(target)]


def autoscalers(client: KubeClient, namespace: str, whose: str = "") -> list[Autoscaler]:
    """All autoscalers of a namespace ("": of all namespaces); without the HPAs that a ScaledObject made.

    ``whose`` is for the message. Raises Forbidden or Unreachable. A kind that the server does not have has no objects.
    """
    return [
        read_autoscaler(item, fields, last_writer(item, ("spec", fields.least)))
        for fields in (HPA, SCALED_OBJECT)
        for item in _items(client, fields, namespace, whose)
        if fields is not HPA or not _made_by_scaled_object(item)
    ]


class KubernetesFloors:
    """A FloorWriter over the API server."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    def autoscalers(self, namespace: str) -> Sequence[Autoscaler]:
        """As they are now."""
        return autoscalers(self._client, namespace)

    def write(self, found: Autoscaler, mark: Mark) -> None:
        """Set the minimum and its mark."""
        self._patch(found, lambda seen: raise_patch(seen, mark), f"raise the floor of {found} to {mark.value}")

    def restore(self, found: Autoscaler) -> None:
        """Put the value back that was there before, and take the mark off."""
        if found.marks:
            self._patch(found, restore_patch, f"restore the floor of {found}")

    def _patch(self, found: Autoscaler, patch: Callable[[Autoscaler], list[Json]], doing: str) -> None:
        path = _path(found.fields, found.namespace, found.name)
        seen, message = found, ""
        for _ in range(TRIES):
            answer = self._client.call("PATCH", path, body=patch(seen), content_type=JSON_PATCH)
            if answer.ok:
                return
            if answer.code not in (409, 422):
                raise failure(answer, doing)
            # A failed test is a 422 without a cause: only the object itself tells whether it was that.
            now = read_autoscaler(self._client.get(path, f"read {found}"), found.fields, None)
            if now.uid != found.uid:
                raise TargetNotFound(f"{found} is gone: there is another of that name")
            if (now.least, now.marks) != (found.least, found.marks):
                raise Conflict(
                    f"{found} was changed since it was read (its minimum is {now.least}, and was {found.least}): "
                    "decided anew at the next tick"
                )
            message = answer.message
            if now.version == seen.version:
                break
            seen = now  # an HPA's own controller writes its status all the time: that is no change of what was read
        raise TargetError(f"cannot {doing}: {message}")


def _items(client: KubeClient, fields: Fields, namespace: str, whose: str) -> list[Json]:
    doing = f"look for {fields.kind}s{whose} {f'in {namespace}' if namespace else 'in all namespaces'}"
    answer = client.call("GET", _path(fields, namespace))
    if answer.code == 404:
        return []
    # Who may not read a kind is told so before it is looked whether there is any.
    if answer.code == 403 and fields is SCALED_OBJECT and not _served(client, fields):
        return []
    if not answer.ok:
        raise failure(answer, doing)
    return list(answer.body.get("items") or [])


def _served(client: KubeClient, fields: Fields) -> bool:
    """Whether the API server has the kind; everybody may ask that."""
    try:
        client.resource(fields.api_version, fields.kind)
    except TargetNotFound:
        return False
    return True


def _path(fields: Fields, namespace: str, name: str = "") -> str:
    within = f"namespaces/{quote(namespace, safe='')}/" if namespace else ""
    path = f"/apis/{fields.api_version}/{within}{fields.plural}"
    return f"{path}/{quote(name, safe='')}" if name else path


def _made_by_scaled_object(item: Json) -> bool:
    """KEDA puts everything back that others change in it."""
    return any(
        owner.get("kind") == SCALED_OBJECT.kind and str(owner.get("apiVersion", "")).startswith("keda.sh/")
        for owner in item["metadata"].get("ownerReferences") or ()
    )
