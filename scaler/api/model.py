"""The base of every model that a user writes, and the string types they share."""

from __future__ import annotations

import re
from collections import Counter
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from scaler.api.cel import VALIDATIONS, Checked, Rule, texts, whole
from scaler.api.describe import found

M = TypeVar("M", bound="Model")


class FieldErrors(ValueError):
    """Rules over several fields that do not hold: (path below the model, what is wrong) for each."""

    def __init__(self, *faults: tuple[str, str]) -> None:
        super().__init__("; ".join(f"{path}: {text}" for path, text in faults))
        self.faults = faults


class Model(BaseModel):
    """Closed, frozen, camelCase outside and snake_case inside."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel)


def rules(*validations: Rule) -> ConfigDict:
    """A model's rules over several of its fields, for the API server; the same in Python stand in its validators."""
    made: list[Any] = [rule.as_dict() for rule in validations]
    return ConfigDict(json_schema_extra={VALIDATIONS: made})


def once(entries: tuple[M, ...], key: str) -> tuple[M, ...]:
    """The entries of a list whose field ``key`` tells them apart. Raises ValueError when one stands there twice."""
    counts = Counter(getattr(entry, key) for entry in entries)
    twice = [value for value, count in counts.items() if count > 1]
    if twice:
        raise ValueError(f"found {key} {twice[0]} a second time; allowed: each once")
    return entries


def matches(pattern: str, allowed: str, *, but: tuple[str, ...] = (), shown: bool = True) -> Checked:
    """Refuse a string that is not wholly ``pattern``, or is one of ``but``; ``allowed`` says in words what is taken.
    One that is not ``shown`` may be a secret in the wrong place: a refusal does not quote it.
    """
    compiled = re.compile(pattern, re.ASCII)

    def check(value: str) -> str:
        if compiled.fullmatch(value) is None or value in but:
            raise ValueError(f"found {found(value) if shown else 'something else'}; allowed: {allowed}")
        return value

    never = f" && !(self in {texts(but)})" if but else ""
    return Checked(check, (Rule(whole(pattern) + never, allowed),))


DNS_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
# As the API server has it: only the whole is bounded, not each label.
_PART = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
DNS_NAME = rf"{_PART}(?:\.{_PART})*"

Name = Annotated[
    str,
    Field(strict=True, min_length=1, max_length=253),
    matches(DNS_NAME, "a Kubernetes name: lower-case letters, digits, '-' and '.', at most 253 characters"),
]
Namespace = Annotated[
    str,
    Field(strict=True, min_length=1, max_length=63),
    matches(DNS_LABEL, "a Kubernetes namespace: lower-case letters, digits and '-', at most 63 characters"),
]

# As the API server has them: a name of at most 63 characters, after a domain of at most 253 and a slash.
_QUALIFIED = matches(
    rf"(?:{DNS_NAME}/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?",
    'a label\'s name, such as "app" or "example.com/team"',
)
LabelKey = Annotated[str, Field(strict=True, min_length=1, max_length=317), _QUALIFIED]
LabelValue = Annotated[
    str,
    Field(strict=True, max_length=63),
    matches(
        r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?)?",
        "a label's value: at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit",
    ),
]
Labels = Annotated[dict[LabelKey, LabelValue], Field(max_length=256)]
Annotations = Annotated[dict[LabelKey, Annotated[str, Field(strict=True, max_length=262_144)]], Field(max_length=256)]
