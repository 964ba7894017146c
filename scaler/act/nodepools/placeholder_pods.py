"""Provider ``placeholderPods``: pods of a negative priority, each of which holds a node until real pods take it.

Their count goes through /scale. Their mark stands on the GpuNodePool: to write it on their Deployment, the controller
would need the right to change what runs in it.
"""

from __future__ import annotations

import dataclasses
from urllib.parse import quote

from scaler.act.nodepools import marks
from scaler.act.nodepools.objects import ObjectRef, Objects
from scaler.act.nodepools.pointer import found, integer
from scaler.act.nodepools.ports import Mark, PoolTarget
from scaler.act.replicas import ScaleWriter
from scaler.api.gpu_node_pool import POOL_KIND, PlaceholderPods
from scaler.api.predictive_scaler import API_VERSION
from scaler.errors import TargetError, TargetNotFound
from scaler.kube import Json, failure
from scaler.observe.ports import TargetRef

GROUP, KIND = "apps/v1", "Deployment"


class PlaceholderWriter:
    """A NodePoolWriter over a Deployment of placeholder pods."""

    marks = True

    def __init__(self, objects: Objects, given: PlaceholderPods, pool: str) -> None:
        """``pool``: the name of the GpuNodePool."""
        self._objects = objects
        self._target = TargetRef(GROUP, KIND, given.namespace, given.name)
        self._pool = ObjectRef((API_VERSION,), POOL_KIND, "", pool)

    @property
    def what(self) -> str:
        return str(self._target)

    @property
    def number(self) -> tuple[str, ...]:
        return ("apps", KIND, self._target.namespace, self._target.name, "/spec/replicas")

    @property
    def place(self) -> tuple[str, ...]:
        return self._pool.parts

    def read(self) -> PoolTarget:
        answer = self._objects.kube.scale("GET", self._target)
        if not answer.ok:
            raise failure(answer, f"read the scale of {self.what}")
        try:
            own = self._objects.read(self._pool)
        except TargetNotFound:  # a pool of a file: it can be recommended for, not written for
            own = {}
        mark = marks.mark(own)
        elsewhere = "" if mark is None else marks.elsewhere(own, field_of(self._target))  # of the placeholders before
        asked = integer(found(answer.body, "/spec/replicas")) or 0  # the API server leaves a count of 0 out
        held = mark if mark is None or elsewhere else as_held(mark, asked)
        return PoolTarget(asked, mark=held, elsewhere=elsewhere, item=own)

    def write(self, target: PoolTarget, current: int, desired: int, mark: Mark | None) -> None:
        """Raises TargetError, too, where the pods' priority is not negative: real pods would wait for them."""
        if not target.item:
            raise TargetNotFound(
                f"{self.what} is not written for {self._pool}, which is not in the cluster: its mark would stand there"
            )
        if desired > current:
            self._demand_negative_priority()
        # Two writes: whatever fails in between, the count is no higher than its mark says, and is put back some day.
        if desired > current:
            self._put_mark(target.item, mark)
        if desired != current:
            ScaleWriter(self._objects.kube).write(self._target, current, desired)
        if desired <= current:
            self._put_mark(target.item, mark)

    def _put_mark(self, own: Json, mark: Mark | None) -> None:
        tests, changes = marks.changes(own, mark, field_of(self._target))
        if changes:
            self._objects.patch(self._pool, tests, changes)

    def _demand_negative_priority(self) -> None:
        target = self._target
        deployment = self._objects.read(ObjectRef((target.api_version,), target.kind, target.namespace, target.name))
        called = found(deployment, "/spec/template/spec/priorityClassName")
        priority = None
        if called:
            path = f"/apis/scheduling.k8s.io/v1/priorityclasses/{quote(str(called), safe='')}"
            priority = self._objects.kube.get(path, f"read PriorityClass {called}").get("value")
        if not isinstance(priority, int) or priority >= 0:
            stands = f"of PriorityClass {called}, whose value is {priority}" if called else "of no PriorityClass"
            raise TargetError(
                f"{target} is not scaled: its pods are {stands}, and real pods would wait for them; "
                "give its template a priorityClassName of a negative value"
            )


def as_held(mark: Mark, held: int) -> Mark:
    """The mark with the count that it stands for: the one of its two writes that is missing is made up for."""
    return dataclasses.replace(mark, value=held) if mark.before <= held <= mark.value else mark


def field_of(target: TargetRef) -> str:
    """What a mark on a GpuNodePool names its placeholders by."""
    return f"{target.namespace}/{target.name}"


def target_of(field: str) -> TargetRef | None:
    """The placeholders that a mark names; None: it names none."""
    namespace, _, name = field.partition("/")
    return TargetRef(GROUP, KIND, namespace, name) if namespace and name and "/" not in name else None
