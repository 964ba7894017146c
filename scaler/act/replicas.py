"""Replica counts through /scale, whatever the kind.

The precondition is the old count, by a JSON Patch ``test`` (RFC 6902). A resource version would not do: the version of
a /scale is its object's, and changes with every pod's status.
"""

from __future__ import annotations

from scaler.act.floors import owners_of
from scaler.act.managers import last_writer
from scaler.errors import Conflict, OwnedByAnother, TargetError, TargetNotFound
from scaler.kube import JSON_PATCH, METADATA, Json, KubeClient, failure
from scaler.observe.ports import TargetRef


class ScaleWriter:
    """A ReplicaWriter over the API server."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    def write(self, target: TargetRef, current: int, desired: int) -> None:
        """Set the target's replicas to ``desired`` if they still are ``current`` and neither a HorizontalPodAutoscaler
        nor a ScaledObject owns them (a paused ScaledObject has no HorizontalPodAutoscaler of its own).

        Raises TargetNotFound, TargetWithoutScale, OwnedByAnother, Forbidden, Unreachable, Conflict, or TargetError when
        the API server refuses the count itself.
        """
        self._leave_to_owner(target)
        answer = self._client.scale("PATCH", target, body=_patch(current, desired), content_type=JSON_PATCH)
        if answer.ok:
            return
        # A failed test is a 422 without a cause: only the count itself tells whether it was that.
        now = self._client.scale("GET", target)
        if not now.ok:
            raise failure(now, f"read the scale of {target}")
        found = (now.body.get("spec") or {}).get("replicas")
        if (found or 0) != current:
            raise Conflict(
                f"{target} has {found or 0} replicas, not the {current} that were read: "
                "somebody else changed the count; decided anew at the next tick"
            )
        if current == 0 and found == 0:  # a server that writes the zero out
            again = self._client.scale("PATCH", target, body=_patch(0, desired, written=True), content_type=JSON_PATCH)
            if again.ok:
                return
            answer = again
        if answer.code == 409:
            raise Conflict(f"{target} was changed at the same moment; decided anew at the next tick")
        raise TargetError(f"cannot scale {target} from {current} to {desired}: {answer.message}")

    def last_writer(self, target: TargetRef) -> str | None:
        """From the metadata of the object itself: what /scale shows of it does not hold it."""
        try:
            resource = self._client.resource(target.api_version, target.kind)
        except TargetNotFound:
            return None
        # Of one object by a list: the verb that the controller has anyway.
        query = {"fieldSelector": f"metadata.name={target.name}"}
        answer = self._client.call("GET", resource.collection(target.namespace), query=query, accept=METADATA.listed)
        if answer.code == 429 or answer.code >= 500:  # nothing is known, and nobody is to be blamed for that
            raise failure(answer, f"look who wrote the count of {target}")
        items = answer.body.get("items") if answer.ok else None
        return last_writer(items[0], ("spec", "replicas")) if items else None

    def _leave_to_owner(self, target: TargetRef) -> None:
        for owner in owners_of(self._client, target):
            raise OwnedByAnother(
                f"{target} is scaled by {owner}; its count is not written: delete that one, or set this scaler's mode "
                "to Floor or Recommend"
            )


def _patch(current: int, desired: int, *, written: bool = False) -> list[Json]:
    if current == 0 and not written:
        # A count of 0 is left out of the JSON, and a test of a path that is not there fails.
        return [
            {"op": "test", "path": "/spec", "value": {}},
            {"op": "add", "path": "/spec/replicas", "value": desired},
        ]
    return [
        {"op": "test", "path": "/spec/replicas", "value": current},
        {"op": "replace", "path": "/spec/replicas", "value": desired},
    ]
