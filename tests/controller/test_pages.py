"""What the probes are told: by how long ago something was, not by what the clock says."""

from __future__ import annotations

from types import SimpleNamespace

from scaler.cli.pages import LATE_TICKS, Pages
from scaler.leadership import Alone

TICK = 15.0


class Clock:
    def __init__(self) -> None:
        self.steady, self.wall = 0.0, 1.7e9

    def elapsed(self) -> float:
        return self.steady

    def now(self) -> float:
        return self.wall


def pages() -> tuple[Pages, Clock, SimpleNamespace]:
    clock, controller = Clock(), SimpleNamespace(last_tick=None, rows={})
    return Pages(controller, Alone(), SimpleNamespace(missing=None), clock, TICK), clock, controller  # type: ignore[arg-type]


def test_a_clock_that_jumps_restarts_no_pod() -> None:
    told, clock, controller = pages()
    controller.last_tick = clock.steady = 30.0
    for jump in (86_400.0, -2 * 86_400.0):
        clock.wall += jump
        assert told.healthy() is None


def test_a_loop_that_stands_still_does() -> None:
    told, clock, controller = pages()
    clock.steady = LATE_TICKS * TICK - 1.0
    assert told.healthy() is None, "it still starts"
    clock.steady += 2.0
    assert told.healthy() == "no tick has ended for 151 s"
    controller.last_tick = 0.0  # of a steady clock that had just begun
    assert told.healthy() == "no tick has ended for 151 s"
    controller.last_tick = clock.steady
    assert told.healthy() is None
