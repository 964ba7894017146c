"""``python -m scaler.api.reference``: the configuration reference, made from the models, in Markdown on stdout."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from enum import StrEnum
from itertools import pairwise
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from scaler.api.gpu_node_pool import POOL_KIND, GpuNodePool
from scaler.api.predictive_scaler import API_VERSION, KIND, PredictiveScaler
from scaler.api.quantities import DURATION_ALLOWED, FRACTION_ALLOWED, SHARE_ALLOWED
from scaler.api.refusal import items_in, model_in
from scaler.api.status import Because, Refusal, ScalerStatus

_INTRODUCTION = f"""# Configuration

<!-- Made by `python -m scaler.api.reference`; change the descriptions in scaler/api and make it again. -->

Two kinds of `{API_VERSION}`: `{KIND}`, one service and its objective, and `{POOL_KIND}`, GPU nodes for such services.

In a cluster they are custom resources: `lagcast crd | kubectl apply --server-side -f -` installs their definitions
(they are also in `manifests/crd/`), `kubectl explain predictivescaler.spec` shows what stands below, and `lagcast run`
without `--config` watches the scalers of all namespaces. The API server refuses a wrong object; what only shows beside
others (two scalers on one target, a mode that this version does not carry out) is said in the condition `Ready`.

`lagcast run --config scalers.yaml` reads scalers from a file instead: one or several YAML documents, a `kind: List`, or
a YAML list of objects. An example is `manifests/examples/scalers.yaml`. A wrong file is refused whole: each fault has
a line that names file, object and field, what was found and what is allowed. At a reload, a wrong file changes nothing.

`lagcast validate FILE` gives the API server's answers without one.

Units:

- duration: {DURATION_ALLOWED}.
- share: {SHARE_ALLOWED}.
- quantity: {FRACTION_ALLOWED}.

A number is written as a string wherever it has a fraction or a unit. One target has one scaler; a name is used once in
a namespace.
"""

_POOLS = """
Providers, what is written where, and what becomes of it without Lagcast: docs/node-pools.md.
"""


_ENDLESS = 2**53  # a bound of the wire's, and of no interest

_STATUS = """
`kubectl get predictivescalers -o wide` shows the most of it. Numbers are rounded to two digits; what is not known is
left out. The status is written at once when the desired count, a condition, or a pool's Ready or pending nodes change,
otherwise at most once a minute.
"""

_REASONS = """
Reasons of conditions, beside those of decisions (`reason` in the status, in Events and in the metric `lagcast_reason`):

| reason | what it says |
|---|---|
"""


def rows(model: type[Any], path: str = "") -> Iterator[tuple[str, str, str, str]]:
    """(path, type, default, description) of each field of ``model`` and of those below it, in order."""
    schema = model.model_json_schema(by_alias=True)
    definitions = schema.get("$defs", {})
    for name, field in model.model_fields.items():
        alias = field.alias or name
        here = f"{path}.{alias}" if path else alias
        kind = _kind(schema["properties"][alias], definitions)
        yield here, kind, _default(field), field.description or ""
        if (below := model_in(field.annotation)) is not None:
            yield from rows(below, here)
        if (below := items_in(field.annotation)) is not None:
            yield from rows(below, f"{here}[]")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default_factory is not None or field.default is None or field.default is PydanticUndefined:
        return "-"
    if isinstance(field.default, tuple):
        return "all of them" if field.default else "none"
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def _kind(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        schema = next(choice for choice in schema["anyOf"] if choice.get("type") != "null")
        return _kind(schema, definitions)
    if choices := schema.get("enum", [schema["const"]] if "const" in schema else []):
        return " or ".join(f"`{value}`" for value in choices)
    if schema["type"] == "integer":
        least, most = schema["minimum"], schema["maximum"]
        return f"integer, {least} to {most}" if most < _ENDLESS else "integer"
    if schema["type"] != "string":
        if schema["type"] == "array":
            entry = _kind(schema["items"], definitions)
            return "list of objects" if entry == "object" else f"list of {entry}"
        several = "object" if "properties" in schema else "map of strings"
        return {"boolean": "`true` or `false`"}.get(schema["type"], several)
    # Only the quantities carry a title of their own that is not made from the field's name.
    return schema["title"] if schema.get("title") in ("duration", "share", "quantity") else "string"


def render() -> str:
    """The whole page."""
    scaler = f"\n## {KIND}\n\n{_table(PredictiveScaler)}"
    reasons = "".join(f"| `{value}` | {text} |\n" for one in (Refusal, Because) for value, text in _members(one))
    status = f"\n## Status of a {KIND}\n{_STATUS}\n{_fields(ScalerStatus, 'status')}"
    status += f"{_REASONS}{reasons}"
    return f"{_INTRODUCTION}{scaler}{status}\n## {POOL_KIND}\n{_POOLS}\n{_table(GpuNodePool)}"


def _table(model: type[Any]) -> str:
    lines = ["| field | type | default | what it is |", "|---|---|---|---|"]
    lines += [f"| `{path}` | {kind} | {default} | {_cell(text)} |" for path, kind, default, text in rows(model)]
    return "\n".join(lines) + "\n"


def _fields(model: type[Any], path: str) -> str:
    lines = ["| field | type | what it is |", "|---|---|---|"]
    lines += [f"| `{here}` | {kind} | {_cell(text)} |" for here, kind, _, text in rows(model, path)]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _members(kind: type[StrEnum]) -> Iterator[tuple[str, str]]:
    """Value and docstring of each member, as they stand in the source."""
    (body,) = (node.body for node in ast.parse(inspect.getsource(kind)).body if isinstance(node, ast.ClassDef))
    for member, after in pairwise(body):
        match member, after:
            case ast.Assign(value=ast.Constant(value=str(value))), ast.Expr(value=ast.Constant(value=str(text))):
                yield value, text


if __name__ == "__main__":
    sys.stdout.write(render())
