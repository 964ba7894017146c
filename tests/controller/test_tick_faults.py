"""What fails in a tick fails alone: the other scalers, and the ticks that follow, go on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from scaler.plan.reasons import Reason
from tests.controller.tick_bench import Bench, resource


@pytest.mark.parametrize("part", ["_actor.apply", "_telemetry.decided"])
def test_a_fault_in_acting_or_reporting_leaves_the_other_scalers_alone(
    bench: Callable[..., Bench], part: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    b = bench(a=9, b=9)
    b.controller.configure([resource("a"), resource("b")])
    owner, name = part.split(".")
    whole = getattr(getattr(b.controller, owner), name)

    def broken(who: Any, *rest: Any) -> Any:
        if getattr(who, "scaler", who).name == "a":  # an order, or who it is
            raise ValueError("hunter2")
        return whole(who, *rest)

    monkeypatch.setattr(getattr(b.controller, owner), name, broken)
    rows = {r.resource.metadata.name: r.outcome.reason for r in b.controller.tick().values()}
    assert rows["b"] is Reason.APPLIED
    assert rows["a"] is (Reason.INTERNAL_ERROR if owner == "_actor" else Reason.APPLIED)
    assert "default/a" in caplog.text
    assert "hunter2" not in caplog.text


def test_a_tick_that_fails_as_a_whole_is_said_and_the_next_one_is_made(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    b = bench(chat=4)
    b.controller.configure([resource()])
    stop, gather, passes = threading.Event(), b.controller._gatherer.gather, []

    def fails_once(now: float, scalers: Any) -> Any:
        passes.append(now)
        if len(passes) == 1:
            raise RuntimeError("hunter2")
        stop.set()
        return gather(now, scalers)

    monkeypatch.setattr(b.controller._gatherer, "gather", fails_once)
    b.controller.run(stop)
    assert passes == [1000.0, 1015.0]
    assert "the tick failed: RuntimeError in " in caplog.text
    assert "hunter2" not in caplog.text


def test_a_configuration_that_cannot_be_taken_over_stops_no_tick(
    bench: Callable[..., Bench], caplog: pytest.LogCaptureFixture
) -> None:
    b = bench(chat=9)
    b.controller.configure([resource()])
    stop = threading.Event()

    def before() -> None:
        raise ValueError("hunter2")

    b.controller.run(stop, before, stop.set)
    assert [(w.before, w.after) for w in b.cluster.written] == [(4, 9)]
    assert "what is declared could not be taken over: ValueError in " in caplog.text
    assert "hunter2" not in caplog.text


def test_who_is_told_to_end_asks_for_nothing_more_after_the_tick(bench: Callable[..., Bench]) -> None:
    b = bench(a=9)
    b.controller.configure([resource("a")])
    stop, told = threading.Event(), []
    b.controller.run(stop, stop.set, lambda: told.append(1))
    assert told == []


def test_a_clock_that_is_set_back_is_said_once(bench: Callable[..., Bench], caplog: pytest.LogCaptureFixture) -> None:
    b = bench(chat=4)
    b.controller.configure([resource()])
    b.controller.tick()
    b.clock._now -= 3600.0
    for _ in range(3):
        b.clock.advance(15.0)
        b.controller.tick()
    assert caplog.text.count("the clock was set back by 3585 s") == 1
    assert caplog.text.count("was set back") == 1


class BrokenPools:
    """Whatever it is asked for, it fails."""

    def __init__(self, *works: str) -> None:
        self.works = works

    def __getattr__(self, name: str) -> Any:
        def asked(*_: Any, **__: Any) -> Any:
            if name in self.works:
                return {"pool": object()}
            raise ValueError("hunter2")

        return asked


@pytest.mark.parametrize("works", [(), ("begin",), ("begin", "gather")])
def test_a_fault_in_what_pools_need_leaves_the_scalers_alone(
    bench: Callable[..., Bench], works: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    b = bench(chat=9)
    b.controller.configure([resource()])
    b.controller._pools = BrokenPools(*works)  # type: ignore[assignment]
    b.controller._declared = (SimpleNamespace(uid="pool", metadata=SimpleNamespace(name="pool")),)  # type: ignore[assignment]
    rows = b.controller.tick()
    assert [row.outcome.reason for row in rows.values()] == [Reason.APPLIED]
    assert "please report it" in caplog.text
    assert "hunter2" not in caplog.text
