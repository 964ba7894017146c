"""An integer in an object itself: read, and written together with its mark, in one patch."""

from __future__ import annotations

from dataclasses import dataclass

from scaler.act.nodepools import marks
from scaler.act.nodepools.objects import ObjectRef, Objects
from scaler.act.nodepools.pointer import as_before, found, integer, parts
from scaler.act.nodepools.ports import Mark, PoolTarget
from scaler.kube import Json


@dataclass(frozen=True, slots=True)
class Field:
    """Where a provider's number is."""

    ref: ObjectRef
    where: str  # JSON pointer
    most: str = ""  # JSON pointer to the upper limit that the object states itself; empty: it states none


class FieldWriter:
    """A NodePoolWriter over one integer; providers say what is particular to theirs."""

    marks = True

    def __init__(self, objects: Objects, field: Field) -> None:
        self._objects = objects
        self._field = field

    @property
    def what(self) -> str:
        return str(self._field.ref)

    @property
    def number(self) -> tuple[str, ...]:
        return (*self._field.ref.parts, self._field.where)

    @property
    def place(self) -> tuple[str, ...]:
        return self._field.ref.parts

    def owner(self, item: Json) -> str:
        """Who else owns the number, and what to do about it."""
        del item
        return ""

    def lacks(self) -> str:
        """What to do where there is no number."""
        return f"{self.what} has no integer at {self._field.where}; write one there first, or correct the path"

    def read(self) -> PoolTarget:
        field = self._field
        item = self._objects.read(field.ref)
        asked = integer(found(item, field.where))
        mark = marks.mark(item)
        return PoolTarget(
            asked,
            lacks=self.lacks() if asked is None else "",
            mark=mark,
            elsewhere="" if mark is None else marks.elsewhere(item, field.where),
            most=integer(found(item, field.most)) if field.most else None,
            owner=self.owner(item),
            item=item,
            way=tuple(parts(field.where)),
        )

    def write(self, target: PoolTarget, current: int, desired: int, mark: Mark | None) -> None:
        put(self._objects, self._field, target.item, desired, mark)


def put(objects: Objects, field: Field, item: Json, value: int, mark: Mark | None) -> None:
    """Write ``value`` and ``mark`` over what ``item`` shows. Raises as ``Objects.patch``."""
    raw = found(item, field.where)
    tests, changes = marks.changes(item, mark, field.where)
    wanted = as_before(raw, value)
    number = [{"op": "replace", "path": field.where, "value": wanted}] if wanted != raw else []
    objects.patch(field.ref, {field.where: raw} | tests, [*number, *changes])
