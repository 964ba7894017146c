"""YAML as configuration needs it: no duplicate keys, no merge keys, no tags, and every fault one clear sentence."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml

# Pyyaml quotes what it stumbled on, which may be part of a secret; its names for tokens, '<scalar>', may stay.
_QUOTED = re.compile(r"'(?!<)[^']{2,}'")


class YamlError(ValueError):
    """A file that is not YAML, or uses what a configuration may not."""


_TAG = "tag:yaml.org,2002:"


class _Loader(yaml.SafeLoader):
    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        """As kubectl reads it: a date or a time of day without quotes is a string, and no number in base 60."""
        tag = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]
        if kind is not yaml.ScalarNode or not implicit[0]:
            return tag
        sixty = tag in (f"{_TAG}int", f"{_TAG}float") and ":" in value
        return f"{_TAG}str" if sixty or tag == f"{_TAG}timestamp" else tag

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a plain string", key.start_mark)
            if key.tag == "tag:yaml.org,2002:merge":
                # Merges of merges grow without bound, and hide what an object says.
                raise yaml.constructor.ConstructorError(None, None, "merge keys are not allowed", key.start_mark)
            if key.value in seen:
                # Nothing of the file is quoted here but the key.
                problem = f"the key {key.value[:60]!a} stands twice in one mapping"
                raise _DuplicateKeyError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


class _DuplicateKeyError(yaml.constructor.ConstructorError):
    pass


def read_documents(raw: bytes) -> list[object]:
    """The documents of a YAML file. Raises YamlError with the line where there is one."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise YamlError(f"line {line}: found bytes that are not UTF-8; allowed: a text file in UTF-8") from None
    try:
        return list(yaml.load_all(text, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        problem = error.problem or "not YAML"
        if not isinstance(error, _DuplicateKeyError):
            problem = _QUOTED.sub("'...'", problem)
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
        raise YamlError(f"{where}{problem}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlError(f"line {line}: found a character that YAML does not allow (#x{error.character:04x})") from None
    except RecursionError:
        raise YamlError("found too many levels of nesting; allowed: what the resource has") from None
    except ValueError:
        # A scalar of YAML's own types that cannot be: a number of thousands of digits.
        raise YamlError("found a number that cannot be read; put it in quotes") from None
