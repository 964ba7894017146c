"""A rule twice, side by side: checked here in Python, and by the API server in CEL (``x-kubernetes-validations``).

The CRDs are made from the models' JSON schemas, so a rule's CEL is written where its Python is. Both sides say what is
allowed in the same words. Patterns are used by both: they keep to what Python's ``re`` (with ``ASCII``) and RE2 share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import core_schema

VALIDATIONS = "x-kubernetes-validations"


@dataclass(frozen=True, slots=True)
class Rule:
    """One validation of the API server: CEL over ``self``, and in words what is allowed.

    ``field`` (".max") is the field to blame; ``message`` is CEL that makes a fuller sentence.
    """

    expression: str
    allowed: str
    field: str = ""
    message: str = ""

    def as_dict(self) -> dict[str, str]:
        """As it stands in a CRD."""
        made = {"rule": self.expression, "message": f"allowed: {self.allowed}"}
        if self.message:
            made["messageExpression"] = self.message
        if self.field:
            made["fieldPath"] = self.field
        return made


def text(value: str) -> str:
    """``value`` as a CEL string, without escapes."""
    if "'" in value or "\n" in value:
        raise ValueError(f"no raw CEL string: {value!r}")
    return f"r'{value}'"


def texts(values: Iterable[str]) -> str:
    """A CEL list of strings."""
    return "[" + ", ".join(text(value) for value in values) + "]"


def whole(pattern: str, subject: str = "self") -> str:
    """CEL for: ``subject`` is wholly ``pattern``."""
    return f"{subject}.matches({text(f'^(?:{pattern})$')})"


def milliseconds(subject: str) -> str:
    """CEL for the whole milliseconds of a duration's spelling. CEL's own durations know no days."""
    days = f"{subject}.find({text('^[0-9]+d')})"
    whole_days = f"int('0' + {days}.replace('d', ''))"
    return f"({whole_days} * 86400000 + duration('0s' + {subject}.substring(size({days}))).getMilliseconds())"


@dataclass(frozen=True, slots=True)
class Checked:
    """What a field's annotation takes: ``check`` returns the value or raises ValueError; ``rules`` say the same."""

    check: Callable[[Any], Any]
    rules: tuple[Rule, ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        made = dict(handler(schema))
        return made | {VALIDATIONS: [*made.get(VALIDATIONS, ()), *(rule.as_dict() for rule in self.rules)]}
