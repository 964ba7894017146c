"""The annotations that pause, and what the Paused and the other conditions say of them."""

from __future__ import annotations

import pytest

from scaler.act.order import Outcome
from scaler.api.pause import Pause, read_pause
from scaler.api.status import ConditionType
from scaler.plan.reasons import Reason
from scaler.resources import conditions
from tests.resources.made import row, scaler


@pytest.mark.parametrize(
    ("annotations", "pause"),
    [
        ({}, Pause()),
        ({"lagcast.io/paused": "true"}, Pause(everything=True)),
        ({"lagcast.io/paused": "false", "lagcast.io/paused-scale-in": "false"}, Pause()),
        ({"lagcast.io/paused-replicas": "0"}, Pause(replicas=0)),
        ({"lagcast.io/paused-replicas": "100000"}, Pause(replicas=100_000)),
        ({"lagcast.io/paused-scale-in": "true"}, Pause(scale_in=True)),
    ],
)
def test_what_is_asked_for(annotations: dict[str, str], pause: Pause) -> None:
    assert read_pause(annotations) == pause
    assert pause.any is bool(annotations and "false" not in annotations.values())


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("paused", "yes", '"true" or "false"'),
        ("paused", "", '"true" or "false"'),
        ("paused-scale-in", "TRUE", '"true" or "false"'),
        ("paused-replicas", "-1", "from 0 to 100000"),
        ("paused-replicas", "100001", "from 0 to 100000"),
        ("paused-replicas", "3.5", "from 0 to 100000"),
        ("paused-replicas", "٣", "from 0 to 100000"),
        ("paused-replicas", "9" * 5000, "from 0 to 100000"),
    ],
)
def test_a_wrong_value_is_named_and_holds_more_not_less(name: str, value: str, allowed: str) -> None:
    pause = read_pause({f"lagcast.io/{name}": value})
    assert pause.any
    assert pause.replicas is None
    (fault,) = pause.faults
    assert fault.startswith(f'lagcast.io/{name}: found "')
    assert f"allowed: {'a whole number ' if 'replicas' in name else ''}{allowed}" in fault
    assert len(fault) < 300


def paused(mode: str = "Enforce", **annotations: str) -> tuple[str, str, str]:
    made = scaler(
        spec__mode=mode, metadata__annotations={f"lagcast.io/{k.replace('_', '-')}": v for k, v in annotations.items()}
    )
    (found,) = [f for f in conditions.of_row(row(resource=made)) if f.type is ConditionType.PAUSED]
    return str(found.status), str(found.reason), found.message


def test_the_paused_condition() -> None:
    assert paused() == ("False", "NotPaused", "no annotation asks for it")
    assert paused(paused="true")[:2] == ("True", "Paused")
    assert "nothing is changed; `lagcast resume default/chat` goes on" in paused(paused="true")[2]
    assert "the count is held at 3;" in paused(paused_replicas="3")[2]
    assert "the floor is held at 3;" in paused("Floor", paused_replicas="3")[2]
    most = scaler().spec.replicas.max
    assert f"held at {most} (spec.replicas.max; {most + 1} was asked for)" in paused(paused_replicas=str(most + 1))[2]
    assert "nothing is taken away" in paused(paused_scale_in="true")[2]
    status, reason, message = paused(paused_replicas="few", paused_scale_in="maybe")
    assert (status, reason) == ("True", "InvalidAnnotation")
    assert 'lagcast.io/paused-replicas: found "few"' in message
    assert 'lagcast.io/paused-scale-in: found "maybe"' in message


@pytest.mark.parametrize(
    "reason", [Reason.CONTESTED_TARGET, Reason.NO_AUTOSCALER, Reason.SEVERAL_AUTOSCALERS, Reason.OWNED_BY_ANOTHER]
)
def test_what_keeps_a_decision_from_being_carried_out_is_in_ready(reason: Reason) -> None:
    found = conditions.of_row(row(outcome=Outcome(reason, "last by the field manager 'flux'")))[0]
    assert (found.type, str(found.status), found.reason) == (ConditionType.READY, "False", reason)
    assert "'flux'" in found.message


def test_a_clipped_floor_is_in_scaling_limited() -> None:
    outcome = Outcome(Reason.APPLIED, "floor", Reason.FLOOR_ABOVE_MAX, "a floor of 30 is above spec.maxReplicas")
    (found,) = [f for f in conditions.of_row(row(outcome=outcome)) if f.type is ConditionType.SCALING_LIMITED]
    assert (str(found.status), found.reason) == ("True", Reason.FLOOR_ABOVE_MAX)
    assert found.message == "a floor of 30 is above spec.maxReplicas"
