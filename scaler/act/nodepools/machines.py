"""Which Machines a lowered MachineDeployment gives up: those that carry Cluster API's own annotation for it.

A MachineSet deletes the Machines that are being deleted already first, then those that are annotated, then the
unhealthy, then by its order (Cluster API 1.14, ``machineset_deletion_order.go``). A MachineDeployment that rolls out
has several MachineSets, and how it shares a lowered count among them is not foreseen here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from scaler.act.nodepools import marks
from scaler.act.nodepools.objects import ObjectRef, Objects
from scaler.act.nodepools.ports import Singled
from scaler.errors import Conflict, TargetError, TargetNotFound
from scaler.kube import Json

KIND = "Machine"
DEPLOYMENT = "MachineDeployment"
FIRST = "cluster.x-k8s.io/delete-machine"  # the value says nothing to Cluster API: ours says whose it is
_OURS = "lagcast.io/"
_PAUSED = "cluster.x-k8s.io/paused"


def ours(item: Json) -> bool:
    """Whether a Machine is annotated by any GpuNodePool."""
    return str(marks.noted(item).get(FIRST, "")).startswith(_OURS)


@dataclass(frozen=True, slots=True)
class _Machine:
    ref: ObjectRef
    item: Json

    @property
    def node(self) -> str:
        """Its node's name; empty while it has none."""
        return str((((self.item.get("status") or {}).get("nodeRef")) or {}).get("name") or "")

    @property
    def set(self) -> str:
        """The MachineSet that it belongs to; empty where that is not known."""
        owners = (self.item.get("metadata") or {}).get("ownerReferences") or ()
        return next((str(o.get("name")) for o in owners if o.get("kind") == "MachineSet" and o.get("controller")), "")

    @property
    def labels(self) -> dict[str, str]:
        return (self.item.get("metadata") or {}).get("labels") or {}

    @property
    def first(self) -> str | None:
        """What stands in the annotation; None: it is not there."""
        value = marks.noted(self.item).get(FIRST)
        return None if value is None else str(value)


def _selector(deployment: Json) -> tuple[str, dict[str, str]]:
    """The namespace and the labels of its Machines."""
    spec = deployment.get("spec") or {}
    return str(deployment["metadata"].get("namespace")), (spec.get("selector") or {}).get("matchLabels") or {}


def _to_go(deployment: Json, machines: Sequence[_Machine]) -> bool:
    """Whether Cluster API still has to take some of its Machines, none of which is being deleted yet, away."""
    return len(machines) > int(deployment["spec"].get("replicas") or 0)


class Machines:
    """The Machines of MachineDeployments."""

    def __init__(self, objects: Objects, versions: tuple[str, ...]) -> None:
        self._objects = objects
        self._versions = versions

    def single_out(self, deployment: Json, pool: str, nodes: Sequence[str]) -> Singled:
        """Annotate the Machines of ``nodes`` and no others of the MachineDeployment, for the GpuNodePool ``pool``;
        the nodes that go for sure. Raises Forbidden, Unreachable, Conflict.
        """
        machines = list(self._of(deployment))
        owners = {machine.set for machine in machines}
        if len(owners) > 1 or "" in owners:
            return Singled((), "it rolls out, or its Machines are of several MachineSets: which of them go is unknown")
        if deployment["spec"].get("paused") or _PAUSED in marks.noted(deployment):
            return Singled((), "it is paused: nothing would be taken away, and later maybe another Machine")
        if _to_go(deployment, machines):  # one that was given up before would be counted once more
            return Singled((), "Machines that it was lowered by before are still to go")
        by_node = {machine.node: machine for machine in machines}
        going = tuple(node for node in nodes if node and node in by_node)
        chosen = {by_node[node].ref.name for node in going}
        own = _OURS + pool
        theirs = [m for m in machines if m.first not in (None, own) and m.ref.name not in chosen]
        if theirs:
            held = f"Machine {theirs[0].ref.name} is annotated {FIRST} by somebody else, and would go first"
            return Singled((), held)
        for machine in machines:
            if machine.first == own and machine.ref.name not in chosen:
                self._write(machine, None)
        for node in going:
            if by_node[node].first is None:
                self._write(by_node[node], own)
        missing = [node for node in nodes if node not in by_node]
        return Singled(going, f"no Machine says that node {missing[0]} is its own (status.nodeRef)" if missing else "")

    def take_back(self, deployment: Json, pool: str) -> bool:
        """Take our annotations off, unless Machines are still to go; whether none is left."""
        machines = list(self._of(deployment))
        marked = [machine for machine in machines if machine.first == _OURS + pool]
        if marked and _to_go(deployment, machines):
            return False  # Cluster API is about to choose: without them it would take any
        for machine in marked:
            self._write(machine, None)
        return True

    def clear(self) -> Iterator[tuple[ObjectRef, str]]:
        """Take every annotation of ours off, of all GpuNodePools, but where Machines are still to go; what became of
        each, and what went wrong. Raises Forbidden, Unreachable when they cannot be listed.
        """
        left = [_Machine(self._ref(item), item) for item in self._objects.every(self._versions, KIND) if ours(item)]
        try:
            waiting = self._waiting(left)
        except TargetError as error:  # then it is not known whether it may be taken off
            yield from ((machine.ref, str(error)) for machine in left)
            return
        for machine in left:
            if machine.ref in waiting:
                yield machine.ref, f"it keeps {FIRST}: Machines are still to go, and without it others would; try later"
                continue
            try:
                self._write(machine, None)
            except TargetError as error:
                yield machine.ref, str(error)
            else:
                yield machine.ref, ""

    def _waiting(self, marked: Sequence[_Machine]) -> set[ObjectRef]:
        """The Machines of those MachineDeployments of ``marked`` that are still to lose some."""
        found: set[ObjectRef] = set()
        for deployment in self._objects.every(self._versions, DEPLOYMENT) if marked else ():
            namespace, labels = _selector(deployment)
            if any(m.ref.namespace == namespace and labels.items() <= m.labels.items() for m in marked):
                machines = list(self._of(deployment))
                found |= {machine.ref for machine in machines if _to_go(deployment, machines)}
        return found

    def _of(self, deployment: Json) -> Iterator[_Machine]:
        """Those that are not being deleted."""
        namespace, labels = _selector(deployment)
        if not labels:
            return
        selector = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        for item in self._objects.every(self._versions, KIND, namespace, selector):
            if not (item.get("metadata") or {}).get("deletionTimestamp"):
                yield _Machine(self._ref(item), item)

    def _ref(self, item: Json) -> ObjectRef:
        metadata = item.get("metadata") or {}
        return ObjectRef(self._versions, KIND, str(metadata.get("namespace") or ""), str(metadata.get("name")))

    def _write(self, machine: _Machine, value: str | None) -> None:
        """Only over what was read; one that is gone needs nothing."""
        tests, changes = marks.noting(machine.item, FIRST, value)
        try:
            self._objects.patch(machine.ref, {"/metadata/uid": machine.item["metadata"].get("uid")} | tests, changes)
        except TargetNotFound as gone:
            if value is not None:
                raise Conflict(f"{machine.ref} is gone; decided anew at the next tick") from gone
