"""The base of every model that a user writes, and the string types they share."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from scaler.api.describe import found


class FieldErrors(ValueError):
    """Rules over several fields that do not hold: (path below the model, what is wrong) for each."""

    def __init__(self, *faults: tuple[str, str]) -> None:
        super().__init__("; ".join(f"{path}: {text}" for path, text in faults))
        self.faults = faults


class Model(BaseModel):
    """Closed, frozen, camelCase outside and snake_case inside."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel)


def matches(pattern: str, allowed: str) -> AfterValidator:
    """Refuse a string that is not wholly ``pattern``; ``allowed`` says in words what is."""
    compiled = re.compile(pattern, re.ASCII)

    def check(value: str) -> str:
        if compiled.fullmatch(value) is None:
            raise ValueError(f"found {found(value)}; allowed: {allowed}")
        return value

    return AfterValidator(check)


DNS_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
DNS_NAME = rf"{DNS_LABEL}(?:\.{DNS_LABEL})*"

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
