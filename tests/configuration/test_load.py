"""A right file is read whole, in any of its forms, and resolves to what the plan needs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from scaler.api.config import load
from scaler.api.predictive_scaler import ForecastModel, Mode, PredictiveScaler, to_service
from scaler.api.reference import render, rows

ROOT = Path(__file__).parents[2]
Make = Callable[..., dict[str, Any]]
Write = Callable[..., Path]


def names(scalers: tuple[PredictiveScaler, ...]) -> list[str]:
    return [scaler.metadata.name for scaler in scalers]


def pair(resource: Make) -> list[dict[str, Any]]:
    return [resource({"metadata.name": name, "spec.target.name": name}) for name in ("b", "a")]


def test_documents_a_list_and_a_kind_list_are_the_same(resource: Make, write: Write) -> None:
    two = pair(resource)
    as_documents = load(write(*two))
    as_list = load(write(two))
    as_kind_list = load(write({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": two}))
    assert names(as_documents) == ["b", "a"]
    assert as_documents == as_list == as_kind_list


def test_empty_documents_a_byte_order_mark_and_json_are_read(resource: Make, write: Write) -> None:
    text = yaml.safe_dump(resource())
    assert names(load(write(f"---\n---\n{text}---\n"))) == ["chat"]
    assert names(load(write(b"\xef\xbb\xbf" + text.encode()))) == ["chat"]
    assert names(load(write(json.dumps(resource())))) == ["chat"]


def test_anchors_may_be_used(resource: Make, write: Write) -> None:
    text = yaml.safe_dump_all(pair(resource)).replace("within: 10s", "within: &w 10s", 1)
    assert names(load(write(text))) == ["b", "a"]


def test_the_same_name_in_two_namespaces_is_two_scalers(resource: Make, write: Write) -> None:
    first, second = load(write(resource(), resource({"metadata.namespace": "other"})))
    assert first.uid != second.uid


def test_defaults(resource: Make, write: Write) -> None:
    (scaler,) = load(write(resource()))
    spec = scaler.spec
    assert scaler.metadata.namespace == "default"
    assert (spec.target.api_version, spec.target.kind) == ("apps/v1", "Deployment")
    assert spec.mode is Mode.RECOMMEND
    assert spec.forecast.model is ForecastModel.AUTO
    assert (spec.forecast.step, spec.forecast.season, spec.forecast.history) == (15, 86_400, 604_800)
    assert spec.latency is not None
    assert (spec.latency.metric, spec.latency.window) == ("inference_latency_seconds", 60)


def test_latency_is_optional_and_history_can_be_switched_off(resource: Make, write: Write) -> None:
    made = resource({"spec.forecast": {"history": "0s", "model": "none"}})
    del made["spec"]["latency"]
    (scaler,) = load(write(made))
    assert scaler.spec.latency is None
    assert scaler.spec.forecast.history == 0


def test_a_service_is_in_seconds_and_shares_of_one(resource: Make, write: Write) -> None:
    made = resource(
        {
            "metadata.uid": "u-1",
            "spec.objective": {"within": "720ms", "share": "99.5%"},
            "spec.replicas": {
                "min": 0, "max": 7, "serviceRate": "2500m", "leadTime": "1m30s", "scaleInHold": "10m", "maxScaleIn": 2,
            },
            "spec.forecast": {"step": "30s"},
        }
    )  # fmt: skip
    service = to_service(load(write(made))[0], tick=15.0)
    assert (service.uid, service.tick, service.step) == ("u-1", 15.0, 30.0)
    assert (service.within, service.share) == (0.72, 0.995)
    assert (service.min_replicas, service.max_replicas) == (0, 7)
    assert (service.service_rate, service.service_time) == (2.5, 0.4)
    assert (service.lead_time, service.scale_in_hold) == (90.0, 600.0)
    assert (service.max_scale_out, service.max_scale_in) == (None, 2)
    assert type(service.within) is float


def test_a_given_service_time_wins_over_the_rate(resource: Make, write: Write) -> None:
    (scaler,) = load(write(resource({"spec.replicas.serviceTime": "8s"})))
    assert to_service(scaler, 1.0).service_time == 8.0


def test_a_derived_uid_stays_the_same_whatever_else_changes(resource: Make, write: Write) -> None:
    (first,) = load(write(resource()))
    (second,) = load(write(resource({"spec.replicas.max": 99})))
    # Fixed for ever: a new uid would forget what was learned.
    assert first.uid == second.uid == "c187ae1f-1c0f-5fb7-9716-2b35e8df61aa"


def test_a_resource_survives_being_written_and_read_again(resource: Make, write: Write) -> None:
    (scaler,) = load(write(resource({"spec.replicas.leadTime": "90s", "metadata.labels": {"a": "b"}})))
    again = PredictiveScaler.model_validate(scaler.model_dump(mode="json", by_alias=True))
    assert again == scaler
    with pytest.raises(ValueError, match="frozen"):
        scaler.spec.replicas.max = 3


def test_the_example_is_right() -> None:
    scalers = load(ROOT / "manifests" / "examples" / "scalers.yaml")
    assert names(scalers) == ["chat", "embeddings"]


def test_the_reference_is_up_to_date_and_describes_every_field() -> None:
    assert (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8") == render()
    table = list(rows(PredictiveScaler))
    assert len({path for path, *_ in table}) == len(table) > 35
    assert all(len(description) > 10 for *_, description in table)
    # A field with a default says why it is that.
    undefended = [path for path, _, default, text in table if default.startswith("`") and "Default" not in text]
    assert undefended == []
