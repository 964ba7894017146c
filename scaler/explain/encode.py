"""An explanation as JSON, and back. The keys are the fields' names; docs/explain.md tells them."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from scaler.explain.explanation import VERSION, Explanation


@cache
def explanations() -> TypeAdapter[Explanation]:
    """Reads and writes explanations; built at the first use."""
    return TypeAdapter(Explanation)


def to_json(explanation: Explanation) -> dict[str, Any]:
    """Plain data for ``json.dumps``; what is not known is null."""
    made: dict[str, Any] = explanations().dump_python(explanation, mode="json")
    return made


def from_json(document: Any) -> Explanation:
    """What :func:`to_json` made. Raises ValueError with what is wrong."""
    if not isinstance(document, dict) or "version" not in document:
        raise ValueError("it is no explanation")
    if document["version"] != VERSION:
        raise ValueError(
            f"version: found {document['version']!r}; allowed: {VERSION}: use the same lagcast on both sides"
        )
    try:
        return explanations().validate_python(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{place}: {first['msg']}") from None
