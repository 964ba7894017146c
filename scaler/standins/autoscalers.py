"""Autoscalers and finalizers in memory: a FloorWriter and Finalizers that pass the same conformance tests as the real
adapters, for the demo, for tests, and for trying things out.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

from scaler.act.floor import HPA, SCALED_OBJECT, Autoscaler, Fields, Mark, written_mark
from scaler.act.order import ScalerRef
from scaler.errors import Conflict, Forbidden, TargetError, TargetNotFound, Unreachable
from scaler.kube import MANAGER
from scaler.observe.ports import TargetRef

_Key = tuple[str, str, str]  # kind, namespace, name


class FakeFloors:
    """HorizontalPodAutoscalers and ScaledObjects that scale nothing."""

    def __init__(self) -> None:
        self.down = False  # the API server does not answer
        self.forbidden = False  # the controller's account may do nothing
        self.writes = 0
        self._kept: dict[_Key, Autoscaler] = {}
        self._numbers = itertools.count(1)

    def hpa(self, target: TargetRef, name: str, least: int | None, most: int) -> None:
        """Another one of the target's HorizontalPodAutoscalers. Its API fills in a minimum of 1."""
        self._make(HPA, target, name, 1 if least is None else least, most)

    def scaled_object(self, target: TargetRef, name: str, least: int | None, most: int | None) -> None:
        """Another one of the target's ScaledObjects."""
        self._make(SCALED_OBJECT, target, name, least, most)

    def one(self, namespace: str, name: str) -> Autoscaler:
        """As it is now. Raises KeyError."""
        return next(a for a in self._kept.values() if (a.namespace, a.name) == (namespace, name))

    def edit(self, namespace: str, name: str, manager: str, least: int | None, most: int | None = None) -> None:
        """Somebody else sets the minimum (and the maximum, unless None)."""
        known = self.one(namespace, name)
        most = known.most if most is None else most
        self._keep(replace(known, least=least, most=most, writer=manager))

    def remove(self, namespace: str, name: str) -> None:
        """Delete it."""
        known = self.one(namespace, name)
        del self._kept[known.fields.kind, namespace, name]

    # FloorWriter

    def autoscalers(self, namespace: str) -> Sequence[Autoscaler]:
        """As they are now."""
        self._answer("look for HorizontalPodAutoscalers")
        return [one for one in self._kept.values() if namespace in ("", one.namespace)]

    def write(self, found: Autoscaler, mark: Mark) -> None:
        """Set the minimum and its mark."""
        self._read_still(found, f"raise the floor of {found}")
        if (mark.value > found.ceiling and found.fields is HPA) or mark.value < 0:
            raise TargetError(f"cannot raise the floor of {found} to {mark.value}: it is not between 0 and its maximum")
        whole = replace(mark, expires=float(int(mark.expires)))  # the API's times are whole seconds
        marks, writer = tuple(written_mark(whole).items()), self._writer(found, mark)
        self._keep(replace(found, least=mark.value, mark=whole, marks=marks, annotated=True, writer=writer))
        self.writes += 1

    def restore(self, found: Autoscaler) -> None:
        """Put the value back that was there before, and take the mark off."""
        if not found.marks:
            return
        self._read_still(found, f"restore the floor of {found}")
        before, ours = found.least, found.mark is not None and found.untouched
        if found.mark is not None and ours:
            before = None if found.mark.before is None else min(found.mark.before, found.ceiling)
        self._keep(replace(found, least=before, mark=None, marks=(), writer=MANAGER if ours else found.writer))
        self.writes += 1

    def _writer(self, found: Autoscaler, mark: Mark) -> str | None:
        return found.writer if mark.value == found.least else MANAGER

    def _read_still(self, found: Autoscaler, doing: str) -> None:
        self._answer(doing)
        known = self._kept.get((found.fields.kind, found.namespace, found.name))
        if known is None or known.uid != found.uid:
            raise TargetNotFound(f"cannot {doing}: it is not there")
        if (known.least, known.marks) != (found.least, found.marks):
            raise Conflict(f"{found} was changed since it was read")

    def _answer(self, doing: str) -> None:
        if self.down:
            raise Unreachable("the API server does not answer (it was told to be down); it is tried again")
        if self.forbidden:
            raise Forbidden(f"cannot {doing}: forbidden (it was told so); grant it to the controller's role")

    def _make(self, fields: Fields, target: TargetRef, name: str, least: int | None, most: int | None) -> None:
        group = target.api_version.rpartition("/")[0]
        self._keep(
            Autoscaler(
                fields, target.namespace, name, f"uid-{next(self._numbers)}", "", (group, target.kind, target.name),
                least, most, writer="kubectl",
            )
        )  # fmt: skip

    def _keep(self, one: Autoscaler) -> None:
        self._kept[one.fields.kind, one.namespace, one.name] = replace(one, version=str(next(self._numbers)))


class FakeFinalizers:
    """PredictiveScalers that are only known by their names."""

    def __init__(self, *scalers: ScalerRef) -> None:
        self.there = set(scalers)
        self.going: set[ScalerRef] = set()
        self.on: set[ScalerRef] = set()
        self.down = False

    def put(self, scaler: ScalerRef) -> None:
        """Put it on."""
        self._answer()
        if scaler not in self.there or scaler in self.going:
            raise TargetNotFound(f"{scaler} is gone, or being deleted")
        self.on.add(scaler)

    def take_off(self, scaler: ScalerRef) -> None:
        """Take it off."""
        self._answer()
        self.on.discard(scaler)

    def _answer(self) -> None:
        if self.down:
            raise Unreachable("the API server does not answer (it was told to be down); it is tried again")
