"""Replica counts through /scale, whatever the kind.

The precondition is the old count, by a JSON Patch ``test`` (RFC 6902). A resource version would not do: the version of
a /scale is its object's, and changes with every pod's status.
"""

from __future__ import annotations

from scaler.errors import Conflict, OwnedByAnother, TargetError
from scaler.kube import Json, KubeClient, failure
from scaler.observe.ports import TargetRef

JSON_PATCH = "application/json-patch+json"


class ScaleWriter:
    """A ReplicaWriter over the API server."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    def write(self, target: TargetRef, current: int, desired: int) -> None:
        """Set the target's replicas to ``desired`` if they still are ``current`` and no HorizontalPodAutoscaler owns
        them (KEDA's ScaledObjects have one, too).

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

    def _leave_to_owner(self, target: TargetRef) -> None:
        if not target.namespace:  # an autoscaler scales what is in its own namespace
            return
        path = f"/apis/autoscaling/v2/namespaces/{target.namespace}/horizontalpodautoscalers"
        answer = self._client.call("GET", path)
        if answer.code == 404:  # an API server without autoscaling
            return
        if not answer.ok:
            raise failure(answer, f"look for HorizontalPodAutoscalers of {target}")
        for item in answer.body.get("items") or []:
            ref = item["spec"]["scaleTargetRef"]
            group = str(ref.get("apiVersion", "")).rpartition("/")[0]
            if (group, ref["kind"], ref["name"]) == (target.api_version.rpartition("/")[0], target.kind, target.name):
                raise OwnedByAnother(
                    f"{target} is scaled by HorizontalPodAutoscaler {target.namespace}/{item['metadata']['name']}; "
                    "its count is not written: delete that one, or set this scaler's mode to Recommend"
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
