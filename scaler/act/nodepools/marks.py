"""Marks: annotations that say whose number stands on an object, what stood there before, and until when it holds.

They outlive the controller: ``lagcast release --expired``, run by a CronJob, puts back what is past its expiry.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from scaler.act.floor import BEFORE, EXPIRES, LIFE, OWNER, RENEW, VALUE
from scaler.act.nodepools.pointer import integer, pointer
from scaler.act.nodepools.ports import Mark
from scaler.kube import Json

FIELD = "lagcast.io/floor-field"  # JSON pointer to the number; of a placeholders' pool: namespace/name of them
__all__ = ["BEFORE", "EXPIRES", "FIELD", "LIFE", "OWNER", "VALUE"]
ALL = "/metadata/annotations"
NAMES = (OWNER, VALUE, BEFORE, EXPIRES, FIELD)
RENEWED = RENEW / LIFE  # of its life is left when it is renewed

_OWNED = "GpuNodePool/"


def owner(pool: str) -> str:
    """What stands in OWNER for the GpuNodePool of this name."""
    return _OWNED + pool


def noted(item: Json) -> dict[str, Any]:
    """The object's annotations."""
    return (item.get("metadata") or {}).get("annotations") or {}


def mark(item: Json) -> Mark | None:
    """The mark of any GpuNodePool on an object as the API server shows it; None: there is none.

    One whose expiry cannot be read has expired; one whose numbers cannot be read is none.
    """
    found = noted(item)
    value, before = integer(found.get(VALUE)), integer(found.get(BEFORE))
    whose = found.get(OWNER, "")
    if not isinstance(whose, str) or not whose.startswith(_OWNED) or value is None or before is None:
        return None
    return Mark(whose, value, before, _time(str(found.get(EXPIRES, ""))))


def elsewhere(item: Json, field: str) -> str:
    """The number that the object's mark is of, where that is not the one at ``field``; empty where it is."""
    marked = str(noted(item).get(FIELD, field))
    return "" if marked == field else marked


def changes(item: Json, wanted: Mark | None, field: str) -> tuple[dict[str, object], list[Json]]:
    """(tests, operations) of a JSON Patch that leaves ``wanted`` as the object's mark.

    The tests see to it that annotations that others write at the same moment are kept.
    """
    found = noted(item)
    if wanted is None:
        held = [name for name in NAMES if name in found]
        return _tests(found), [{"op": "remove", "path": _path(name)} for name in held]
    numbers = {VALUE: str(wanted.value), BEFORE: str(wanted.before)}
    values = {OWNER: wanted.owner, **numbers, EXPIRES: told(wanted.expires), FIELD: field}
    if not found:  # to add one, the map has to be there; to add the map would drop one that was just made
        return {ALL: _whole(item)}, [{"op": "add", "path": ALL, "value": values}]
    return _tests(found), [{"op": "add", "path": _path(name), "value": value} for name, value in values.items()]


def noting(item: Json, name: str, value: str | None) -> tuple[dict[str, object], list[Json]]:
    """(tests, operations) of a JSON Patch, made only over what was read, after which ``value`` stands in one annotation
    (None: it is not there).
    """
    found, where = noted(item), _path(name)
    if value is None:
        return ({where: found[name]}, [{"op": "remove", "path": where}]) if name in found else ({}, [])
    if found:
        return {where: found.get(name)}, [{"op": "add", "path": where, "value": value}]
    return {ALL: _whole(item)}, [{"op": "add", "path": ALL, "value": {name: value}}]


def _whole(item: Json) -> object:
    """The map of annotations as it was read; None: there was none, which a test of the value null holds to. What
    others write elsewhere in the object meanwhile (its status, most of all) is no reason to write nothing.
    """
    return (item.get("metadata") or {}).get("annotations")


def _tests(found: Mapping[str, Any]) -> dict[str, object]:
    """A mark that another one wrote since is not written over: neither its owner nor what it remembers."""
    return {_path(name): found[name] for name in (OWNER, VALUE, BEFORE) if name in found}


def _path(name: str) -> str:
    return pointer("metadata", "annotations", name)


def told(time: float) -> str:
    """A unix time as it stands in EXPIRES."""
    return datetime.datetime.fromtimestamp(round(time), tz=datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _time(text: str) -> float:
    try:
        read = datetime.datetime.fromisoformat(text)
    except ValueError:
        return float("-inf")
    return read.timestamp() if read.tzinfo is not None else float("-inf")
