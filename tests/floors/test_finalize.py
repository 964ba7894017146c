"""Scalers that wait for their floor: which they are, and how they are let go."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from scaler.act.finalizer import FINALIZER
from scaler.act.order import ScalerRef
from scaler.act.release import of_scaler, release
from scaler.errors import Conflict, NotLeader
from scaler.resources.finalize import Both, Endings, Finalizing, ending
from tests.floors.made import CHAT, WHO, Stage


def item(
    name: str = "chat", mode: str | None = "Floor", *, guarded: bool = True, going: bool = False
) -> dict[str, Any]:
    metadata: dict[str, Any] = {"namespace": "shop", "name": name, "uid": f"uid-{name}"}
    if guarded:
        metadata["finalizers"] = ["someone.else/x", FINALIZER]
    if going:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return {"metadata": metadata, "spec": {} if mode is None else {"mode": mode}}


@pytest.mark.parametrize(
    ("one", "waits"),
    [
        (item(), False),
        (item(going=True), True),
        (item(mode="Recommend"), True),
        (item(mode="Enforce"), True),
        (item(mode=None), True),
        (item(going=True, guarded=False), False),
        (item(mode="Recommend", guarded=False), False),
        ({"metadata": {"finalizers": [FINALIZER]}, "spec": None}, True),
    ],
)
def test_who_waits(one: dict[str, Any], waits: bool) -> None:
    assert ending(one) is waits


def test_the_watch_tells_who_waits() -> None:
    endings, other = Endings(), Endings()
    both = Both(endings, other)
    both.listed([item("a"), item("b", going=True)], 0.0)
    both.changed(item("a", "Recommend"), 0.0)
    assert [one.name for one in endings.waiting()] == ["b", "a"]
    assert endings.waiting()[0] == ScalerRef("shop", "b", "uid-b")
    both.removed(item("b"), 0.0)
    both.changed(item("a"), 0.0)
    assert endings.waiting() == other.waiting() == ()
    both.listed([item("c", going=True)], 0.0)
    both.listed([], 0.0)
    assert endings.waiting() == ()


@pytest.fixture
def stage() -> Stage:
    made = Stage()
    made.floors.hpa(CHAT, "chat", 2, 20)
    made.tick(9)
    return made


def finalizing(stage: Stage) -> Finalizing:
    return Finalizing(stage.floors, stage.finalizers)


def test_the_floor_first_and_then_the_finalizer(stage: Stage) -> None:
    finalizing(stage).finish([WHO])
    assert stage.floor() == (2, None)
    assert stage.finalizers.on == set()


def test_without_a_floor_or_an_autoscaler_nothing_waits(stage: Stage) -> None:
    stage.floors.remove("shop", "chat")
    finalizing(stage).finish([WHO])
    assert stage.finalizers.on == set()


def test_another_scalers_floor_is_none_of_its_concern(stage: Stage) -> None:
    other = ScalerRef("shop", "other", "uid-2")
    finalizing(stage).finish([other])
    assert stage.floor() == (9, "shop/chat")


def test_while_the_floor_stands_the_finalizer_does_and_it_is_said_once(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    letting_go = finalizing(stage)
    stage.floors.down = True
    with caplog.at_level(logging.WARNING):
        letting_go.finish([WHO])
        letting_go.finish([WHO])
    assert stage.finalizers.on == {WHO}
    assert len([r for r in caplog.records if "keeps its finalizer" in r.message]) == 1
    stage.floors.down = False
    letting_go.finish([WHO])
    assert (stage.floor(), stage.finalizers.on) == ((2, None), set())


def test_one_that_does_not_lead_lets_nobody_go(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    def fenced(found: object) -> None:
        raise NotLeader("another replica leads")

    stage.floors.restore = fenced  # type: ignore[method-assign]
    finalizing(stage).finish([WHO])
    assert stage.finalizers.on == {WHO}
    assert caplog.records == []


def test_one_that_is_changed_at_the_same_moment_is_read_again(stage: Stage) -> None:
    restore, tries = stage.floors.restore, []

    def meddled(found: Any) -> None:
        tries.append(found.least)
        if len(tries) == 1:
            stage.floors.edit("shop", "chat", "kubectl", 5)
            raise Conflict("changed")
        restore(found)

    stage.floors.restore = meddled  # type: ignore[method-assign]
    (one,) = release(stage.floors, "shop", of_scaler(WHO.uid))
    assert (tries, one.fault, one.after) == ([9, 5], "", 5)
    assert stage.floor() == (5, None)


def test_one_that_never_stands_still_is_a_fault(stage: Stage) -> None:
    def meddled(found: Any) -> None:
        raise Conflict("changed")

    stage.floors.restore = meddled  # type: ignore[method-assign]
    (one,) = release(stage.floors, "shop", of_scaler(WHO.uid))
    assert one.fault == "changed"
    finalizing(stage).finish([WHO])
    assert stage.finalizers.on == {WHO}


def test_one_that_cannot_be_let_go_holds_up_no_other(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = finalizing(stage)
    one = made._one

    def broken(scaler: ScalerRef) -> None:
        if scaler.name == "odd":
            raise ValueError("hunter2")
        one(scaler)

    monkeypatch.setattr(made, "_one", broken)
    for _ in range(2):
        made.finish([ScalerRef("shop", "odd", "uid-odd"), WHO])
    assert stage.floor() == (2, None)
    assert caplog.text.count("shop/odd keeps its finalizer: ValueError in ") == 1
    assert "hunter2" not in caplog.text
