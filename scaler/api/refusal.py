"""Pydantic's errors in the words of this project: the field's path, what was found, and what is allowed."""

from __future__ import annotations

import difflib
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from scaler.api.describe import found, redacted
from scaler.api.model import FieldErrors

# What is allowed, by pydantic's error type; {} are filled from the error's context.
_ALLOWED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "string_type": "a string",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "list_type": "a list",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "string_too_short": "at least {min_length} characters",
    "string_too_long": "at most {max_length} characters",
    "too_short": "at least {min_length} entries",
    "too_long": "at most {max_length} entries",
    "literal_error": "{expected}",
    "enum": "{expected}",
}


def refusals(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """One line for each fault: ``path: found ...; allowed: ...``, in the order of the fields."""
    lines: list[str] = []
    for fault in error.errors(include_url=False):
        lines += _lines(fault, model)
    return lines


def _lines(fault: ErrorDetails, model: type[BaseModel]) -> list[str]:
    path = _path(fault["loc"])
    kind, value, context = fault["type"], fault["input"], fault.get("ctx", {})
    if kind == "value_error":
        inner = context["error"]
        if isinstance(inner, FieldErrors):
            return [f"{_join(path, _printed(below))}: {text}" for below, text in inner.faults]
        return [f"{path}: {inner}"]
    if kind == "extra_forbidden":
        # The value is not shown: it may be a secret in the wrong place.
        return [f"{path}: found an unknown field; allowed here: {_siblings(fault['loc'], model)}"]
    if kind == "missing":
        return [f"{path}: found nothing; it must be given"]
    allowed = _ALLOWED.get(kind)
    # What this project's table does not know is still a sentence, from pydantic.
    text = allowed.format_map(context) if allowed is not None else fault["msg"]
    return [f"{path}: found {found(value)}; allowed: {text}"]


def _path(loc: tuple[int | str, ...]) -> str:
    text = ""
    for part in loc:
        if part == "[key]":
            text += " (key)"
        elif isinstance(part, int):
            text += f"[{part}]"
        else:
            text = _join(text, _printed(part))
    return text


def _printed(name: str) -> str:
    """On one line, whatever somebody wrote for a name."""
    return redacted(name)[:80].encode("unicode_escape").decode("ascii")


def _join(path: str, below: str) -> str:
    return f"{path}.{below}" if path and not below.startswith("[") else f"{path}{below}"


def _siblings(loc: tuple[int | str, ...], model: type[BaseModel]) -> str:
    """Names of the fields beside the unknown one, the likeliest first."""
    inside = model
    for part in loc[:-1]:
        fields = {field.alias or name: field for name, field in inside.model_fields.items()}
        if isinstance(part, int):  # of a list, whose model this is
            continue
        annotation = fields[part].annotation if part in fields else None
        below = model_in(annotation) or items_in(annotation)
        if below is None:
            return "other fields"
        inside = below
    names = [field.alias or name for name, field in inside.model_fields.items()]
    likely = difflib.get_close_matches(str(loc[-1])[:80], names, n=1)
    return ", ".join(names) + (f'; did you mean "{likely[0]}"?' if likely else "")


def model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that a field of this annotation holds, through Annotated and Optional; None when it holds none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Annotated, Union, UnionType):
        return next((m for argument in get_args(annotation) if (m := model_in(argument)) is not None), None)
    return None


def items_in(annotation: Any) -> type[BaseModel] | None:
    """The model of the entries of a list that a field of this annotation holds; None when it holds none."""
    arguments = get_args(annotation)
    if get_origin(annotation) in (list, tuple):
        return model_in(arguments[0])
    if get_origin(annotation) in (Annotated, Union, UnionType):
        return next((m for argument in arguments if (m := items_in(argument)) is not None), None)
    return None
