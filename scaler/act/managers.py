"""Who wrote a field last, from an object's ``metadata.managedFields``. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from scaler.kube import MANAGER, Json


def last_writer(item: Json, path: Sequence[str]) -> str | None:
    """The field manager that owns ``path`` (as ("spec", "replicas")) and wrote last; None when nobody says so.

    Where several own it with the same value, one that is not ours is named: it is the one that would put it back.
    """
    found: list[tuple[bool, str, str]] = []
    for entry in (item.get("metadata") or {}).get("managedFields") or ():
        fields = entry.get("fieldsV1")
        for name in path:
            fields = fields.get(f"f:{name}") if isinstance(fields, dict) else None
        if fields is not None:
            manager = str(entry.get("manager", ""))
            found.append((manager != MANAGER, str(entry.get("time", "")), manager))
    return max(found)[2] if found else None
