"""The JSON of an explanation and of a journal's row: their keys are promised, and nothing is lost on the way."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.explain.encode import from_json, to_json
from scaler.explain.facts import Facts
from scaler.explain.stages import explain
from scaler.journal import line
from scaler.journal_read import parse
from scaler.plan.decision import Forecast, Numbers, ServiceDecision
from scaler.plan.observation import Freshness, LatencySample, Reading
from scaler.plan.reasons import Reason
from tests.explain.made import FORECAST, NOW, NUMBERS, observation, tick

# A key that goes away or changes its meaning needs a new version; a new key does not, and is added here.
EXPLANATION = {
    "version", "namespace", "name", "uid", "target", "mode", "time", "current", "desired", "reasons", "outcome",
    "summary", "stages",
}  # fmt: skip
STAGES = [
    "inputs", "load", "capacity", "leadTime", "forecast", "demand", "floor", "scaleIn", "limits", "outcome", "others",
]  # fmt: skip
ROW = {
    "v", "namespace", "name", "target", "mode", "service", "decision", "sources", "offsets", "latency", "replicas",
    "last_week", "outcome", "detail", "pool",
}  # fmt: skip

finite = st.floats(allow_nan=False, allow_infinity=False)
maybe = st.none() | finite
count = st.none() | st.integers(0, 10**6)
forecasts = st.builds(Forecast, finite, finite, finite, finite, finite, st.text(max_size=20))
decisions = st.builds(
    ServiceDecision,
    uid=st.text(min_size=1, max_size=40),
    time=finite,
    current=count,
    desired=count,
    reasons=st.lists(st.sampled_from(Reason), min_size=1, max_size=5, unique=True).map(tuple),
    numbers=st.builds(Numbers, maybe, maybe, maybe, maybe, maybe, count, count, st.none() | forecasts, count, count),
)


def test_the_keys_of_an_explanation() -> None:
    document = json.loads(json.dumps(to_json(explain(tick(outcome=Reason.APPLIED))), allow_nan=False))
    assert set(document) == EXPLANATION
    assert document["version"] == 1
    assert [stage["name"] for stage in document["stages"]] == STAGES
    for stage in document["stages"]:
        assert set(stage) == {"name", "numbers", "reasons", "sentence"}
        assert all(set(number) == {"name", "value", "unit", "note"} for number in stage["numbers"])
        assert all(set(reason) == {"code", "sentence"} for reason in stage["reasons"])


def test_an_explanation_comes_back() -> None:
    made = explain(tick(last_week=15.0, outcome=Reason.CONFLICT, detail="9 by hand"))
    assert from_json(json.loads(json.dumps(to_json(made)))) == made


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([], "no explanation"),
        ({"hello": 1}, "no explanation"),
        ({"version": 2}, "version: found 2; allowed: 1"),
        ({"version": 1}, "namespace: "),
    ],
)
def test_what_is_no_explanation_is_refused(document: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        from_json(document)


def test_the_keys_of_a_row() -> None:
    row = json.loads(line(tick()))
    assert set(row) == ROW
    assert row["v"] == 1
    assert line(tick()).endswith(b"}\n")
    assert line(tick()).count(b"\n") == 1


@settings(max_examples=60, deadline=None)
@given(decisions, maybe, st.none() | st.sampled_from(Reason), st.text(max_size=60))
def test_a_row_comes_back_to_the_last_bit(
    decision: ServiceDecision, last_week: float | None, outcome: Reason | None, detail: str
) -> None:
    base = tick(last_week=last_week, outcome=outcome, detail=detail)
    fields = {name: getattr(base, name) for name in Facts.__dataclass_fields__}
    row = Facts(**{**fields, "decision": decision})
    assert parse(line(row)) == row


def test_a_metric_that_cannot_be_is_null() -> None:
    mad = LatencySample(float("nan"), float("inf"), 0.5, 1.0, 1.0, 60.0)
    row = tick(observation(latency=Reading(mad, NOW, Freshness.FRESH)))
    assert row.latency is not None
    assert (row.latency.p50, row.latency.p95, row.latency.p99) == (None, None, 0.5)
    assert parse(line(row)) == row


def test_a_policy_s_number_that_cannot_be_is_not_known() -> None:
    nan, inf = float("nan"), float("inf")
    mad = replace(NUMBERS, arrival_rate=nan, service_rate=0.0, planned_rate=inf, forecast=replace(FORECAST, p99=inf))
    row = tick(numbers=mad)
    assert parse(line(row)) == row
    document = json.loads(json.dumps(to_json(explain(row)), allow_nan=False))
    load = next(stage for stage in document["stages"] if stage["name"] == "load")
    assert (load["numbers"][0]["name"], load["numbers"][0]["value"]) == ("arrival rate", None)
    assert row.decision.numbers.forecast is None
    assert row.decision.numbers.floor_replicas == NUMBERS.floor_replicas


def test_a_field_of_a_later_release_is_left_out() -> None:
    document = json.loads(line(tick()))
    document["decision"]["numbers"]["mood"] = "good"
    assert parse(json.dumps(document).encode()) == tick()


def test_a_row_of_an_earlier_release_without_the_newer_numbers_is_read() -> None:
    document = json.loads(line(tick()))
    del document["decision"]["numbers"]["late_share"]
    assert parse(json.dumps(document).encode()).decision.numbers.late_share is None
