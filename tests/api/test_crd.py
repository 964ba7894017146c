"""The definitions: as in the repository, structural, every list and string bounded, every field described."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from scaler.api.crd import KINDS, POOL, SCALER, Kind, definition, documents

FOLDER = Path(__file__).parents[2] / "manifests" / "crd"
PAIRS = {"$ref", "anyOf", "allOf", "oneOf", "title", "examples", "const", "propertyNames", "exclusiveMinimum", "$defs"}


def schema_of(kind: Kind) -> dict[str, Any]:
    made: dict[str, Any] = definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return made


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema of the tree with its path."""
    yield path, schema
    for name, below in schema.get("properties", {}).items():
        if (path, name) != ("", "metadata"):  # the API server's own
            yield from nodes(below, f"{path}.{name}")
    for inner in ("items", "additionalProperties"):
        if inner in schema:
            yield from nodes(schema[inner], f"{path}[]")


@pytest.fixture(params=KINDS, ids=lambda kind: kind.kind)
def kind(request: pytest.FixtureRequest) -> Kind:
    made: Kind = request.param
    return made


def test_the_repository_holds_what_the_models_make() -> None:
    assert {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.lagcast.io.yaml")} == documents()


def test_what_is_written_is_yaml_of_the_definition(kind: Kind) -> None:
    assert yaml.safe_load(documents()[f"{kind.name}.yaml"]) == definition(kind)


def test_it_is_structural(kind: Kind) -> None:
    for path, node in nodes(schema_of(kind)):
        assert "type" in node, path
        assert not PAIRS & node.keys(), path
        assert node.get("additionalProperties") is not False, path


def test_every_list_string_map_and_number_is_bounded(kind: Kind) -> None:
    for path, node in nodes(schema_of(kind)):
        if path in (".apiVersion", ".kind"):
            continue  # the API server knows both
        what = node["type"]
        if what == "string":
            assert "enum" in node or node["maxLength"] <= 4096, path
        elif what == "array":
            assert node["maxItems"] <= 64, path
        elif what == "integer":
            assert {"minimum", "maximum"} <= node.keys(), path
        elif what == "object" and "additionalProperties" in node:
            assert node["maxProperties"] <= 64, path
        else:
            assert what in ("object", "boolean"), f"{path}: {what}: no floats in a resource"


def test_every_field_is_described_and_states_its_default(kind: Kind) -> None:
    for path, node in nodes(schema_of(kind)):
        if path.endswith("[]"):
            continue
        assert len(node["description"]) > 10, path
        if isinstance(default := node.get("default"), str | bool):
            assert f"Default {str(default).lower() if isinstance(default, bool) else default}: " in node["description"]


def test_a_default_holds_all_that_the_rules_look_at() -> None:
    forecast = schema_of(SCALER)["properties"]["spec"]["properties"]["forecast"]
    assert forecast["default"] == {name: field["default"] for name, field in forecast["properties"].items()}
    assert {"step", "season", "history"} <= forecast["default"].keys()


def test_every_rule_says_what_is_allowed(kind: Kind) -> None:
    rules = [rule for _, node in nodes(schema_of(kind)) for rule in node.get("x-kubernetes-validations", ())]
    assert len(rules) > 20
    for rule in rules:
        assert rule["message"].startswith("allowed: ")
        assert "\n" not in rule["message"]
        assert "allowed: " in rule.get("messageExpression", "allowed: ")
        for pattern in re.findall(r"\.matches\(r'(.*?)'\)", rule["rule"]):
            re.compile(pattern)
            assert not re.search(r"\(\?[=!<]", pattern), "RE2 has no look-around"


def test_the_columns_are_those_of_the_documentation() -> None:
    columns = definition(SCALER)["spec"]["versions"][0]["additionalPrinterColumns"]
    shown = [c["name"].upper() for c in columns if not c.get("priority")]
    wide = [c["name"].upper() for c in columns if c.get("priority")]
    assert shown == ["TARGET", "MODE", "MIN", "MAX", "CURRENT", "DESIRED", "FORECAST", "READY", "REASON", "AGE"]
    assert wide == ["MODEL", "TIME LAG", "LEAD TIME", "LAST SCALE"]


def test_every_column_leads_to_a_field(kind: Kind) -> None:
    fields = dict(nodes(schema_of(kind)))
    for column in kind.columns:
        path = re.sub(r"\[\?.*?\]", "[]", column.path)
        assert path in fields or path.startswith(".metadata."), column


def test_the_scope() -> None:
    assert definition(SCALER)["spec"]["scope"] == "Namespaced"
    assert definition(POOL)["spec"]["scope"] == "Cluster"
    assert all(definition(k)["spec"]["versions"][0]["subresources"] == {"status": {}} for k in KINDS)
