"""One object, as YAML has it or as the API server hands it over."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from scaler.api import gpu_node_pool
from scaler.api.gpu_node_pool import GpuNodePool
from scaler.api.objects import is_ours, parse
from scaler.api.predictive_scaler import KIND, PredictiveScaler
from tests.configuration.objects import GOOD, POOL, RIGHT, RIGHT_POOLS, WRONG_POOLS, spoil


@pytest.mark.parametrize(
    ("base", "field", "value"),
    [(GOOD, field, value) for field, value in RIGHT] + [(POOL, field, value) for field, value in RIGHT_POOLS],
)
def test_right(base: dict[str, Any], field: str, value: object) -> None:
    assert parse(spoil(base, field, value)).faults == ()


@pytest.mark.parametrize(("field", "value", "pieces"), WRONG_POOLS)
def test_wrong_pools(field: str, value: object, pieces: list[str]) -> None:
    parsed = parse(spoil(POOL, field, value))
    assert parsed.resource is None
    for piece in pieces:
        assert piece in "\n".join(parsed.faults)


def test_all_that_is_wrong_with_a_pool_comes_at_once() -> None:
    made = spoil(spoil(POOL, "spec.node.gpus", 0), "spec.nodes.max", 0)
    assert len(parse(made).faults) == 2


def test_what_the_api_server_adds_is_passed_over() -> None:
    item = copy.deepcopy(GOOD)
    item["metadata"] |= {
        "creationTimestamp": "2026-01-02T03:04:05Z",
        "resourceVersion": "17",
        "generation": 3,
        "uid": "0f0e0d0c-0b0a-4908-8706-050403020100",
        "managedFields": [{"manager": "kubectl"}],
        "ownerReferences": [],
        "finalizers": ["a/b"],
    }
    item["status"] = {"conditions": [{"type": "Ready"}], "whatever": 1}
    resource = parse(item).resource
    assert isinstance(resource, PredictiveScaler)
    assert (resource.metadata.generation, resource.uid) == (3, "0f0e0d0c-0b0a-4908-8706-050403020100")


def test_a_null_is_a_field_that_was_left_out_as_for_the_api_server() -> None:
    nulls = spoil(spoil(spoil(GOOD, "spec.latency", None), "spec.mode", None), "spec.replicas.leadTime", None)
    left_out = copy.deepcopy(GOOD)
    del left_out["spec"]["latency"]
    assert parse(nulls).resource == parse(left_out).resource
    assert parse(spoil(GOOD, "spec.kafka", None)).faults == ("spec.kafka: found nothing (null); allowed: a mapping",)


def test_what_this_version_does_not_carry_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = parse(POOL).resource
    assert isinstance(pool, GpuNodePool)
    assert pool.not_carried_out == ""
    monkeypatch.setattr(gpu_node_pool, "PROVIDED", frozenset({"capacityBuffer"}))
    assert "spec.provider.karpenter" in pool.not_carried_out


def test_only_the_kinds_that_are_asked_for() -> None:
    assert parse(POOL, (KIND,)).faults == ('kind: found "GpuNodePool"; allowed: PredictiveScaler',)
    assert parse({"kind": "Pod", "apiVersion": "v1"}).faults[1].endswith("allowed: PredictiveScaler or GpuNodePool")


@pytest.mark.parametrize(
    ("item", "ours"),
    [
        ({"apiVersion": "apps/v1"}, False),
        ({"apiVersion": "v1"}, False),
        ({"apiVersion": "lagcast.io/v2"}, True),
        ({"kind": "PredictiveScaler"}, True),
        ("text", True),
    ],
)
def test_what_may_be_passed_over(item: object, ours: bool) -> None:
    assert is_ours(item) is ours
