"""``python -m scaler.api.reference``: the configuration reference, made from the models, in Markdown on stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from scaler.api.gpu_node_pool import POOL_KIND, GpuNodePool
from scaler.api.predictive_scaler import API_VERSION, KIND, PredictiveScaler
from scaler.api.quantities import DURATION_ALLOWED, FRACTION_ALLOWED, SHARE_ALLOWED
from scaler.api.refusal import model_in

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
This version checks a pool and does not act on one yet.
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
        below = model_in(field.annotation)
        if below is not None:
            yield from rows(below, here)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default_factory is not None or field.default is None or field.default is PydanticUndefined:
        return "-"
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def _kind(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        schema = next(choice for choice in schema["anyOf"] if choice.get("type") != "null")
        return _kind(schema, definitions)
    if choices := schema.get("enum", [schema["const"]] if "const" in schema else []):
        return " or ".join(f"`{value}`" for value in choices)
    if schema.get("type") == "integer":
        return f"integer, {schema['minimum']} to {schema['maximum']}"
    if schema.get("type") == "boolean":
        return "`true` or `false`"
    if schema.get("type") == "object":
        return "object" if "properties" in schema else "map of strings"
    # Only the quantities carry a title of their own that is not made from the field's name.
    return schema["title"] if schema.get("title") in ("duration", "share", "quantity") else "string"


def render() -> str:
    """The whole page."""
    return f"{_INTRODUCTION}\n## {KIND}\n\n{_table(PredictiveScaler)}\n## {POOL_KIND}\n{_POOLS}\n{_table(GpuNodePool)}"


def _table(model: type[Any]) -> str:
    lines = ["| field | type | default | what it is |", "|---|---|---|---|"]
    for path, kind, default, description in rows(model):
        lines.append(f"| `{path}` | {kind} | {default} | {description.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render())
