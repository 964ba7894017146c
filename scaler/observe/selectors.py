"""Label selectors, as a /scale names its pods by one: what they ask of an object's labels. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_KEY = r"(?P<key>[A-Za-z0-9](?:[-A-Za-z0-9_./]*[A-Za-z0-9])?)"
_OK = r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?"  # as the API server has it: what it refuses is none here
_VALUE = rf"(?P<value>{_OK})"
_REQUIREMENTS = tuple(
    re.compile(form)
    for form in (
        rf"{_KEY} *(?P<operator>==?|!=) *{_VALUE}",
        rf"{_KEY} +(?P<operator>in|notin) *\((?P<values> *{_OK} *(?:, *{_OK} *)*)\)",
        rf"(?P<operator>!?) *{_KEY}",
    )
)
_COMMA = re.compile(r",(?![^(]*\))")  # not one between the values of a set


@dataclass(frozen=True, slots=True)
class Requirement:
    """Of one label."""

    key: str
    values: frozenset[str] | None  # one of them; None: any
    negated: bool  # a label that is not there fulfils it, too

    def met(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        return (value is not None and (self.values is None or value in self.values)) is not self.negated


@dataclass(frozen=True, slots=True)
class Selector:
    """All requirements at once."""

    requirements: tuple[Requirement, ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(one.met(labels) for one in self.requirements)

    @property
    def label(self) -> tuple[str, str] | None:
        """A label (key, value) that whatever matches has; None when the selector asks for no one value."""
        for one in self.requirements:
            if not one.negated and one.values is not None and len(one.values) == 1:
                return one.key, next(iter(one.values))
        return None


def parse(text: str) -> Selector | None:
    """The selector in Kubernetes' notation (``app=chat,tier in (a,b),!canary``); None for what cannot be read here:
    only the API server knows what it matches."""
    requirements = []
    for part in _COMMA.split(text):
        found = next(filter(None, (form.fullmatch(part.strip()) for form in _REQUIREMENTS)), None)
        if found is None:
            return None
        given, operator = found.groupdict(), found["operator"]
        values: frozenset[str] | None = None
        if "values" in given:
            values = frozenset(value.strip() for value in given["values"].split(","))
        elif "value" in given:
            values = frozenset((given["value"],))
        requirements.append(Requirement(given["key"], values, operator in ("!=", "notin", "!")))
    return Selector(tuple(requirements))
