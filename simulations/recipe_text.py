"""A recipe of the generator as text: YAML, in a file or on the command line.

::

    mean: 80
    length: 8d
    daily: {amplitude: 0.5, peak: 14h}
    weekly: {weekend: 0.6}
    noise: azure_llm_conv
    flash_crowds: [{at: 7d13h, height: 6, rise: 1m, decay: 20m}]
    cron: [{every: 1h, length: 2m, height: 0.5}]
    jumps: [{at: 7d18h, factor: 2}]
    gaps: [{at: 3d, length: 2h}]
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Union, get_args, get_origin, get_type_hints

import yaml

from forecasting.errors import BadSeries
from scaler.api.quantities import Duration
from simulations.burstiness import KNOWN, Noise
from simulations.generator import Recipe

_UNIONS = (Union, types.UnionType)


def read_recipe(text: str, where: str) -> Recipe:
    """The recipe in ``text``. ``where``: its file, or the option's name. Raises BadSeries with ``where``:line."""
    try:
        node = yaml.compose(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as broken:
        line = broken.problem_mark.line + 1 if broken.problem_mark else 1
        raise BadSeries(f"{where}:{line}: not YAML: {broken.problem}") from None
    except yaml.YAMLError as broken:
        raise BadSeries(f"{where}: not YAML: {broken}") from None
    if node is None:
        raise BadSeries(f"{where}: empty: a recipe has at least a mean, such as mean: 80")
    recipe: Recipe = _Reader(where).dataclass(Recipe, node, "")
    return recipe


class _Reader:
    """Reads nodes as the types of a dataclass's fields."""

    def __init__(self, where: str) -> None:
        self._where = where

    def dataclass(self, kind: type[Any], node: yaml.Node, path: str) -> Any:
        if not isinstance(node, yaml.MappingNode):
            raise self._bad(node, path or "the recipe", _shown(node), f"fields, such as {_example(kind)}")
        hints, given = get_type_hints(kind), {}
        for key, value in node.value:
            name = str(key.value)
            if name not in hints:
                raise self._bad(key, f"{path}.{name}".strip("."), "no such field", ", ".join(hints))
            if name in given:
                raise self._bad(key, f"{path}.{name}".strip("."), "it a second time", "once")
            given[name] = self._value(hints[name], value, f"{path}.{name}".strip("."))
        for field in fields(kind):
            if field.name not in given and field.default is MISSING:
                raise self._bad(node, f"{path}.{field.name}".strip("."), "nothing", _example(hints[field.name]))
        try:
            return kind(**given)
        except BadSeries as wrong:
            raise BadSeries(f"{self._where}:{node.start_mark.line + 1}: {wrong}") from None

    def _value(self, kind: Any, node: yaml.Node, path: str) -> Any:
        if get_origin(kind) in _UNIONS:
            if node.tag == "tag:yaml.org,2002:null":
                return None
            (kind,) = (k for k in get_args(kind) if k is not types.NoneType)
        if get_origin(kind) is tuple:
            if not isinstance(node, yaml.SequenceNode):
                raise self._bad(node, path, _shown(node), f"a list of {{{_example(get_args(kind)[0])}}}")
            return tuple(self.dataclass(get_args(kind)[0], n, f"{path}[{k}]") for k, n in enumerate(node.value))
        if kind is Noise and isinstance(node, yaml.ScalarNode):
            if node.value not in KNOWN:
                raise self._bad(node, path, _shown(node), f"{', '.join(KNOWN)}, or {{{_example(Noise)}}}")
            return KNOWN[node.value]
        if is_dataclass(kind):
            return self.dataclass(kind, node, path)  # type: ignore[arg-type]  # a class, not an instance
        return self._scalar(kind, node, path)

    def _scalar(self, kind: Any, node: yaml.Node, path: str) -> Any:
        value = yaml.safe_load(yaml.serialize(node)) if isinstance(node, yaml.ScalarNode) else None
        if kind is Duration:
            try:
                return Duration.parse(value)
            except ValueError as wrong:
                raise BadSeries(f"{self._where}:{node.start_mark.line + 1}: {path}: {wrong}") from None
        # In the spelling of a field that is not a Duration, a number: seconds of the noise, or a plain factor.
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._bad(node, path, _shown(node), "a number")
        return float(value)

    def _bad(self, node: yaml.Node, path: str, found: str, allowed: str) -> BadSeries:
        return BadSeries(f"{self._where}:{node.start_mark.line + 1}: {path}: found {found}; allowed: {allowed}")


def _shown(node: yaml.Node) -> str:
    kinds: Mapping[type[yaml.Node], str] = {yaml.MappingNode: "fields", yaml.SequenceNode: "a list"}
    return repr(node.value)[:60] if isinstance(node, yaml.ScalarNode) else kinds[type(node)]


def _example(kind: Any) -> str:
    """How a value of this kind is written."""
    if get_origin(kind) in _UNIONS:
        (kind,) = (k for k in get_args(kind) if k is not types.NoneType)
    if is_dataclass(kind):
        return ", ".join(f"{name}: {_example(hint)}" for name, hint in get_type_hints(kind).items())
    if get_origin(kind) is tuple:
        return "[...]"
    return "10m" if kind is Duration else "0.5"
