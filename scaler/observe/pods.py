"""What is read from a pod object. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]

# Labels in which the built-in controllers, and Argo's of Rollouts, write the hash of the pod template.
TEMPLATE_LABELS = ("pod-template-hash", "controller-revision-hash", "rollouts-pod-template-hash")
# What of a container makes it another one: the rest of a pod's spec is partly filled in by the API server.
CONTAINER_FIELDS = ("name", "image", "command", "args", "env", "envFrom", "resources", "ports")

LINGERS = 30.0  # s after its time to end, above which a pod stays for want of who removes it: a kubelet takes seconds
UNSCHEDULED = 30.0  # s from created to bound to a node, above which no node has room: a scheduler's back-off is 10 s

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
"""Annotation: of the pods that serve, a ReplicaSet deletes the one with the lowest first."""
MARKED = "lagcast.io/deletion-cost"
"""Annotation: the deletion cost that Lagcast wrote; another one is somebody else's."""


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod. Times are unix s in whole seconds, as the API server writes them; None: not (or not yet) so."""

    uid: str
    name: str
    created: float
    scheduled: float | None  # when it was bound to a node
    ready: float | None  # since when it is Ready; None while it is not
    ends: float | None  # when the time that it was given to end in is over; None: it is not being deleted
    finished: bool  # all containers have ended for good: it is no replica any more
    restarted: bool  # a container was started more than once
    template: str
    node: str | None = None  # name of the node that it is bound to
    deletion_cost: str | None = None  # as annotated
    marked: str | None = None  # the deletion cost that Lagcast wrote

    @property
    def terminating(self) -> bool:
        """It is being deleted."""
        return self.ends is not None

    @property
    def counts(self) -> bool:
        """It is a replica: it exists, runs or will run, and is not being deleted."""
        return not self.terminating and not self.finished


def read_pod(item: Json) -> Pod:
    """From the API's JSON. Raises KeyError or ValueError for an object that is no pod."""
    metadata, status = item["metadata"], item.get("status") or {}
    conditions = {c.get("type"): c for c in status.get("conditions") or () if c.get("status") == "True"}
    spec, annotations = item.get("spec") or {}, metadata.get("annotations") or {}
    return Pod(
        uid=metadata["uid"],
        name=metadata["name"],
        created=unix(metadata["creationTimestamp"]),
        scheduled=_since(conditions.get("PodScheduled")),
        ready=_since(conditions.get("Ready")),
        ends=unix(metadata["deletionTimestamp"]) if metadata.get("deletionTimestamp") else None,
        finished=status.get("phase") in ("Succeeded", "Failed"),
        restarted=any(c.get("restartCount", 0) > 0 for c in status.get("containerStatuses") or ()),
        template=_template(metadata, spec),
        node=spec.get("nodeName") or None,
        deletion_cost=annotations.get(DELETION_COST),
        marked=annotations.get(MARKED),
    )


def trim_pod(item: Json) -> Json:
    """The same pod with its labels and what :func:`read_pod` reads: a tenth of it, and none of its environment where
    its controller has labelled it. Raises KeyError for an object that is no pod.
    """
    metadata, spec, status = item["metadata"], item.get("spec") or {}, item.get("status") or {}
    annotations = metadata.get("annotations") or {}
    labelled = any((metadata.get("labels") or {}).get(label) for label in TEMPLATE_LABELS)
    containers = () if labelled else ("initContainers", "containers")
    return {
        "metadata": _only(metadata, "uid", "name", "creationTimestamp", "deletionTimestamp", "labels")
        | {"annotations": _only(annotations, DELETION_COST, MARKED)},
        "spec": _only(spec, "nodeName", *containers),
        "status": _only(status, "phase", "conditions")
        | {"containerStatuses": [_only(one, "restartCount") for one in status.get("containerStatuses") or ()]},
    }


def newest_template(pods: Iterable[Pod]) -> str | None:
    """Template hash of the newest pod; None without pods."""
    newest = max(pods, key=lambda p: (p.created, p.name), default=None)
    return None if newest is None else newest.template


def unscheduled_since(now: float, pods: Iterable[Pod]) -> tuple[float, ...]:
    """When each pod was created (unix s, ascending) that no node has taken at ``now`` for longer than UNSCHEDULED."""
    waiting = [p for p in pods if p.node is None and p.scheduled is None and p.ready is None]
    return tuple(sorted(p.created for p in waiting if now - p.created > UNSCHEDULED))


def leaving(now: float, pods: Iterable[Pod]) -> int:
    """How many still end at ``now``. One that should be gone for longer than LINGERS, as of a node that is lost or with
    a finalizer that nobody takes off, has left its group."""
    return sum(p.ends is not None and not p.finished and now - p.ends <= LINGERS for p in pods)


def unix(stamp: str) -> float:
    """Unix s of an RFC 3339 time."""
    moment = datetime.fromisoformat(stamp)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _only(of: Json, *names: str) -> Json:
    return {name: of[name] for name in names if name in of}


def _since(condition: Json | None) -> float | None:
    stamp = None if condition is None else condition.get("lastTransitionTime")
    return None if stamp is None else unix(stamp)


def _template(metadata: Json, spec: Json) -> str:
    labels = metadata.get("labels") or {}
    for label in TEMPLATE_LABELS:
        if labels.get(label):
            return str(labels[label])
    containers = [
        {field: container.get(field) for field in CONTAINER_FIELDS}
        for group in ("initContainers", "containers")
        for container in spec.get(group) or ()
    ]
    return hashlib.sha256(json.dumps(containers, sort_keys=True).encode()).hexdigest()[:10]
