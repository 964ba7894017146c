"""What a status says, how coarse its numbers are, and when it is written."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.act.order import Outcome
from scaler.api.crd import SCALER, schema
from scaler.api.status import Condition, ConditionType, PoolStatus, Refusal, ScalerStatus, Truth
from scaler.plan.decision import Numbers
from scaler.plan.observation import Freshness, Reading
from scaler.plan.reasons import Reason
from scaler.resources.conditions import Lately
from scaler.resources.declared import Refused, place_of
from scaler.resources.status import REST, Written, due, duration, of_refused, of_row, patch, quantity, read
from tests.resources.made import NOW, NUMBERS, row, scaler

NONE = ScalerStatus()


def conditions(status: ScalerStatus) -> dict[str, tuple[str, str]]:
    return {str(c.type): (str(c.status), c.reason) for c in status.conditions}


def dump(status: ScalerStatus) -> dict[str, Any]:
    made: dict[str, Any] = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    return made


def test_the_numbers_of_a_tick() -> None:
    said = dump(of_row(row(), NONE, NOW))
    del said["conditions"]
    assert said == {
        "observedGeneration": 1,
        "currentReplicas": 4,
        "desiredReplicas": 9,
        "forecastReplicas": 9,
        "neededReplicas": 7,
        "readyReplicas": 3,
        "pendingReplicas": 1,
        "reason": "Forecast",
        "arrivalRate": "8",
        "backlog": "1200",
        "timeLag": "12s",
        "serviceRate": "0.3",
        "leadTime": "2m20s",
        "forecast": {"ahead": "2m", "median": "9.9", "p95": "15", "model": "levelSeason"},
    }


def test_what_is_not_known_is_left_out_never_zero() -> None:
    said = dump(of_row(row(Reason.TARGET_UNKNOWN, desired=None, numbers=Numbers()), NONE, NOW))
    assert said.keys() == {"observedGeneration", "currentReplicas", "reason", "conditions"}


def test_all_is_well() -> None:
    assert conditions(of_row(row(), NONE, NOW)) == {
        "Ready": ("True", "Deciding"),
        "Active": ("True", "LoadPresent"),
        "ScalingLimited": ("False", "WithinLimits"),
        "Fallback": ("False", "Forecasting"),
        "Paused": ("False", "NotPaused"),
    }


GONE: Reading[Any] = Reading(None, NOW, Freshness.ERROR, Reason.BROKER_UNREACHABLE, "kafka:9092 does not answer")
LOST: Reading[Any] = Reading(None, NOW, Freshness.ABSENT, Reason.TARGET_NOT_FOUND, "no Deployment chat")


@pytest.mark.parametrize(
    ("made", "kind", "expected"),
    [
        (row(Reason.INPUT_ERROR, offsets=GONE), "Ready", ("False", "BrokerUnreachable")),
        (row(Reason.INPUT_ERROR, offsets=GONE), "Fallback", ("True", "InputError")),
        (row(Reason.INPUT_ERROR, Reason.FALLBACK, offsets=GONE), "Fallback", ("True", "Fallback")),
        (row(Reason.FORECAST, Reason.SCHEDULED_MIN), "ScalingLimited", ("True", "ScheduledMin")),
        (row(Reason.FORECAST, Reason.SCHEDULED_MAX), "ScalingLimited", ("True", "ScheduledMax")),
        (row(Reason.TARGET_UNKNOWN, replicas=LOST, desired=None), "Ready", ("False", "TargetNotFound")),
        (row(Reason.TARGET_UNKNOWN, replicas=LOST, desired=None), "ScalingLimited", ("Unknown", "NotDecided")),
        (row(outcome=Outcome(Reason.OWNED_BY_ANOTHER, "an HPA")), "Ready", ("False", "OwnedByAnother")),
        (row(outcome=Outcome(Reason.CONFLICT, "changed")), "Ready", ("True", "Deciding")),
        (row(Reason.INTERNAL_ERROR), "Ready", ("False", "InternalError")),
        (row(Reason.FORECAST, Reason.MAX_REPLICAS), "ScalingLimited", ("True", "MaxReplicas")),
        (row(Reason.FORECAST, Reason.PARTITIONS), "ScalingLimited", ("True", "Partitions")),
        (row(Reason.REACTIVE_FLOOR, Reason.NO_FORECAST), "Fallback", ("True", "NoForecast")),
        (row(Reason.NO_FORECAST, Reason.FORECAST_DEMOTED), "Fallback", ("True", "ForecastDemoted")),
        (
            row(Reason.NO_FORECAST, resource=scaler(spec__forecast={"model": "none"})),
            "Fallback",
            ("False", "ReactiveByChoice"),
        ),
        (row(numbers=Numbers(arrival_rate=0.0, backlog=0.0)), "Active", ("False", "NoLoad")),
        (row(numbers=Numbers(arrival_rate=0.0, backlog=3.0)), "Active", ("True", "LoadPresent")),
        (row(numbers=Numbers(arrival_rate=0.0)), "Active", ("Unknown", "LoadUnknown")),
        (
            row(resource=scaler(metadata__annotations={"lagcast.io/paused": "true"})),
            "Paused",
            ("True", "Paused"),
        ),
    ],
)
def test_a_condition_says_what_is_so(made: Any, kind: str, expected: tuple[str, str]) -> None:
    status = of_row(made, NONE, NOW)
    assert conditions(status)[kind] == expected
    if kind == "Ready" and expected[0] == "False":
        assert status.reason == expected[1], "what kept it from deciding is what the column shows"


def test_the_message_of_a_fault_is_that_of_the_reading() -> None:
    (ready, *_) = of_row(row(Reason.INPUT_ERROR, offsets=GONE), NONE, NOW).conditions
    assert ready.message == "kafka:9092 does not answer"


def test_every_status_passes_the_definition() -> None:
    """Reasons and lengths, as the API server checks them."""
    node = schema(SCALER.status)["properties"]["conditions"]["items"]["properties"]
    for reason in Reason:
        for condition in of_row(row(reason, outcome=Outcome(reason, "x" * 5000)), NONE, NOW).conditions:
            assert re.fullmatch(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?", condition.reason)
            assert len(condition.reason) <= node["reason"]["maxLength"]
            assert len(condition.message) <= node["message"]["maxLength"]


def test_a_transition_is_dated_when_the_status_changes_and_not_when_the_reason_does() -> None:
    first = of_row(row(), NONE, NOW)
    later = of_row(row(Reason.FORECAST, Reason.MAX_REPLICAS), first, NOW + 30)
    last = of_row(row(Reason.FORECAST, Reason.PARTITIONS), later, NOW + 60)
    times = [{c.type: c.last_transition_time for c in s.conditions} for s in (first, later, last)]
    assert [t[ConditionType.SCALING_LIMITED] for t in times] == [
        "2023-11-14T22:13:20Z",
        "2023-11-14T22:13:50Z",
        "2023-11-14T22:13:50Z",
    ]
    assert {t[ConditionType.READY] for t in times} == {"2023-11-14T22:13:20Z"}


def test_a_count_near_a_limit_and_sparse_load_change_no_condition_at_every_tick() -> None:
    lately, status = Lately(), NONE
    quiet = Numbers(arrival_rate=0.0, backlog=0.0)
    said = []
    for tick in range(12):
        odd = tick % 2 == 1
        made = row(*((Reason.STEADY,) if odd else (Reason.PARTITIONS,)), numbers=quiet if odd else NUMBERS)
        status = of_row(made, status, NOW + 15 * tick, lately)
        said.append((conditions(status)["Active"], conditions(status)["ScalingLimited"]))
    assert set(said) == {(("True", "LoadPresent"), ("True", "Partitions"))}
    calm = []
    for tick in range(12, 18):
        status = of_row(row(Reason.STEADY, numbers=quiet), status, NOW + 15 * tick, lately)
        calm.append((conditions(status)["Active"][0], conditions(status)["ScalingLimited"][0]))
    assert calm == [("True", "True")] * 2 + [("False", "False")] * 4, "when it was not so for a minute"


def test_what_keeps_from_deciding_does_not_linger() -> None:
    lately = Lately()
    broken = of_row(row(Reason.INPUT_ERROR, offsets=GONE), NONE, NOW, lately)
    well = of_row(row(), broken, NOW + 15, lately)
    assert [conditions(s)["Ready"][0] for s in (broken, well)] == ["False", "True"]


def test_the_last_scale_is_kept_until_the_next() -> None:
    first = of_row(row(outcome=Outcome(Reason.APPLIED, "4 -> 9")), NONE, NOW)
    second = of_row(row(outcome=Outcome(Reason.UNCHANGED)), first, NOW + 30)
    assert first.last_scale_time == second.last_scale_time == "2023-11-14T22:13:20Z"
    assert of_row(row(), NONE, NOW).last_scale_time is None


def test_a_scaler_that_is_not_run_says_why() -> None:
    status = of_refused(Refused(place_of(scaler()), Refusal.TARGET_TAKEN, "another has it"), NONE, NOW)
    assert conditions(status) == {
        "Ready": ("False", "TargetTaken"),
        **dict.fromkeys(("Active", "ScalingLimited", "Fallback", "Paused"), ("Unknown", "NotDecided")),
    }
    assert status.reason == "TargetTaken"
    assert status.desired_replicas is None


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (0.0344, "0.034"), (0.999, "1"), (9.96, "10"), (1249, "1200"), (1250.1, "1300"), (1e-9, "0"),
     (123456789.0, "120000000"), (1e30, "1000000000M"), (-1.0, "0")],
)  # fmt: skip
def test_two_digits(value: float, shown: str) -> None:
    assert str(quantity(value)) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.0, "0s"), (0.7234, "720ms"), (59.6, "1m"), (143.0, "2m20s"), (86_399.0, "23h53m20s")]
)
def test_two_digits_of_a_duration(seconds: float, shown: str) -> None:
    assert str(duration(seconds)) == shown


@given(st.floats(1e-4, 1e14))
def test_what_is_shown_is_near_and_short(value: float) -> None:
    made = quantity(value)
    assert made is not None
    assert float(made) == pytest.approx(value, rel=0.051)
    assert len(made.value.normalize().as_tuple().digits) <= 2


def test_what_is_no_number_is_not_known() -> None:
    for value in (None, float("nan"), float("inf")):
        assert quantity(value) is None
        assert duration(value) is None


def with_numbers(**changed: float) -> ScalerStatus:
    return of_row(row(numbers=dataclasses.replace(NUMBERS, **changed)), of_row(row(), NONE, NOW), NOW)


class TestWhenItIsWritten:
    stands = of_row(row(), NONE, NOW)
    last = Written(stands, NOW)

    def test_at_once_when_it_never_was(self) -> None:
        assert due(None, self.stands, NOW)

    def test_never_when_nothing_changed(self) -> None:
        assert not due(self.last, of_row(row(), self.stands, NOW + 3600), NOW + 3600)

    def test_never_for_a_change_below_two_digits(self) -> None:
        assert not due(self.last, with_numbers(backlog=1240.0), NOW + 3600)

    def test_numbers_wait_a_minute(self) -> None:
        fresh = with_numbers(arrival_rate=80.0)
        assert not due(self.last, fresh, NOW + REST - 1)
        assert due(self.last, fresh, NOW + REST)
        assert REST == 60.0

    def test_a_clock_that_was_set_back_does_not_silence_it(self) -> None:
        assert due(self.last, with_numbers(arrival_rate=80.0), NOW - 3600)

    def test_the_desired_count_does_not_wait(self) -> None:
        assert due(self.last, of_row(row(desired=10), self.stands, NOW), NOW + 1)

    def test_nodes_that_come_do_not_wait(self) -> None:
        """Who scales a pool out looks at it for minutes, and sees what it costs."""
        last = Written(PoolStatus(desiredNodes=4, readyNodes=1, pendingNodes=3, emptyNodes=0), NOW)
        assert due(last, PoolStatus(desiredNodes=4, readyNodes=2, pendingNodes=2, emptyNodes=0), NOW + 1)
        assert not due(last, PoolStatus(desiredNodes=4, readyNodes=1, pendingNodes=3, emptyNodes=1), NOW + 1)

    def test_a_condition_does_not_wait(self) -> None:
        assert due(self.last, of_row(row(Reason.FORECAST, Reason.MAX_REPLICAS), self.stands, NOW), NOW + 1)

    def test_another_reason_of_a_condition_does_not_wait(self) -> None:
        limited = of_row(row(Reason.FORECAST, Reason.MAX_REPLICAS), self.stands, NOW)
        other = of_row(row(Reason.FORECAST, Reason.PARTITIONS), limited, NOW)
        assert due(Written(limited, NOW), other, NOW + 1)

    def test_the_reason_of_a_steady_count_waits(self) -> None:
        assert not due(self.last, of_row(row(Reason.SCALE_IN_UNSAFE), self.stands, NOW), NOW + 1)

    def test_a_new_generation_does_not_wait(self) -> None:
        assert due(self.last, of_row(row(resource=scaler(generation=2)), self.stands, NOW), NOW + 1)


def test_a_patch_names_the_object_and_takes_away_what_is_no_longer_known() -> None:
    full, empty = of_row(row(), NONE, NOW), ScalerStatus()
    made = patch(place_of(scaler()), full)
    assert made["metadata"] == {"uid": "uid-chat"}
    assert made["status"]["timeLag"] == "12s"
    assert made["status"]["lastScaleTime"] is None
    emptied = patch(place_of(scaler()), empty)["status"]
    assert emptied.pop("conditions") == []
    assert set(emptied.values()) == {None}
    assert emptied.keys() | {"conditions"} == made["status"].keys()


def test_a_status_is_read_back_as_it_was_written() -> None:
    status = of_row(row(outcome=Outcome(Reason.APPLIED)), NONE, NOW)
    known = {k: v for k, v in patch(place_of(scaler()), status)["status"].items() if v is not None}
    assert read(known) == status


def test_a_status_of_another_version_is_begun_anew() -> None:
    assert read({"phase": "Happy"}) == NONE
    assert read({"conditions": [{"type": "Odd"}]}) == NONE


def test_a_condition_needs_no_generation() -> None:
    made = Condition(type=ConditionType.READY, status=Truth.TRUE, reason="X", message="", lastTransitionTime="t")  # type: ignore[call-arg]
    assert made.observed_generation is None
