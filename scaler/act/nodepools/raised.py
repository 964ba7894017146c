"""What a GpuNodePool may have raised, by which providers: an annotation of the pool itself, written before anything is.

It outlives a restart and a change of ``spec.provider``, and tells what to put back where the spec cannot be read.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from pydantic import ValidationError

from scaler.act.nodepools import marks
from scaler.api.gpu_node_pool import Provider
from scaler.kube import Json

RAISED = "lagcast.io/raised"


def raised(item: Json) -> tuple[Provider, ...] | None:
    """The providers that the pool has raised something by; None where what is written there cannot be read."""
    text = marks.noted(item).get(RAISED)
    if text is None:
        return ()
    try:
        listed = json.loads(text)
        return tuple(Provider.model_validate(one) for one in listed) if isinstance(listed, list) else None
    except (RecursionError, TypeError, ValueError):  # pydantic's error is a ValueError; [[[[... is too deep
        return None


def told(providers: Sequence[Provider]) -> str:
    """As the annotation has them."""
    given = [one.model_dump(mode="json", by_alias=True, exclude_none=True) for one in providers]
    return json.dumps(given, sort_keys=True, separators=(",", ":"))


def named(item: Json) -> Provider | None:
    """The provider that the pool names, even where the rest of its spec is refused; None where it cannot be read."""
    try:
        return Provider.model_validate((item.get("spec") or {}).get("provider"))
    except ValidationError:
        return None


def may_hold(item: Json) -> tuple[Provider, ...] | None:
    """All that there may be to put back for the pool; None where that cannot be told."""
    noted, now = raised(item), named(item)
    if noted is None or (not noted and now is None):
        return None
    return noted if now is None or now in noted else (*noted, now)
