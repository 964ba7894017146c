"""A change goes out only while this replica leads, with time left for it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import pytest

from scaler.clock import SystemClock
from scaler.errors import NotLeader, Unreachable
from scaler.leader import Times
from scaler.leader_fence import LeaderFence


@dataclass
class Clock:
    """Both clocks, moved by hand."""

    steady: float = 50.0
    wall: float = 1.7e9

    def elapsed(self) -> float:
        return self.steady

    def now(self) -> float:
        return self.wall

    def wait(self, seconds: float, stop: threading.Event) -> bool:
        raise AssertionError

    def pass_(self, seconds: float) -> None:
        self.steady += seconds
        self.wall += seconds


def fence() -> tuple[LeaderFence, Clock]:
    clock = Clock()
    made = LeaderFence(clock, Times())
    made.holds(made.moment())
    return made, clock


def open_(made: LeaderFence) -> bool:
    try:
        made.check()
    except NotLeader:
        return False
    return True


def test_it_is_closed_before_the_first_renewal() -> None:
    made = LeaderFence(Clock(), Times())
    assert not made.leads()
    assert not open_(made)


def test_changes_end_before_the_leadership_does() -> None:
    made, clock = fence()
    clock.pass_(6.9)
    assert open_(made)
    clock.pass_(0.2)  # 2.9 s are left, and a change may take 3
    assert not open_(made)
    assert made.leads()
    clock.pass_(2.8)
    assert made.leads()
    clock.pass_(0.2)
    assert not made.leads()


def test_a_machine_that_was_paused_from_outside_knows_by_its_wall_clock() -> None:
    made, clock = fence()
    clock.wall += 8.0  # set right after the pause; no clock of its own counted on
    assert not open_(made)


def test_a_wall_clock_that_is_set_back_gives_no_more_time() -> None:
    made, clock = fence()
    clock.pass_(9.0)
    clock.wall -= 3600.0
    assert not open_(made)


def test_it_waits_for_what_is_under_way() -> None:
    made, _ = fence()
    entered, leave = threading.Event(), threading.Event()

    def change() -> None:
        with made.writing():
            entered.set()
            leave.wait(5.0)

    thread = threading.Thread(target=change)
    thread.start()
    entered.wait(5.0)
    assert not made.close(0.01), "it has not ended"
    with pytest.raises(NotLeader), made.writing():
        pass
    leave.set()
    assert made.close(5.0)
    thread.join()


def test_a_change_without_an_answer_may_still_be_made() -> None:
    made, clock = fence()
    with pytest.raises(Unreachable), made.writing():
        raise Unreachable("no answer")
    assert not made.close(0.0)
    clock.pass_(7.9)  # 5 s on its way, as after the loss of a leader, and then the server's 3
    assert not made.close(0.0)
    clock.pass_(0.2)
    assert made.close(0.0), "the API server has given it up"


def test_an_answer_that_leaves_it_open_is_none() -> None:
    made, clock = fence()
    with made.writing():
        made.unsure()
    assert not made.close(0.0)
    clock.pass_(8.1)
    assert made.close(0.0)


def test_a_change_that_was_held_back_is_not_made() -> None:
    made, _ = fence()
    with pytest.raises(NotLeader), made.writing():
        raise NotLeader("only its content was left to be sent")
    assert made.close(0.0)


def test_times_that_leave_no_room_are_refused() -> None:
    with pytest.raises(ValueError, match="no room"):
        Times(duration=12.0)
    with pytest.raises(ValueError, match="does not fit"):
        Times(retry=7.0)


def test_the_machines_steady_clock_goes_on() -> None:
    clock = SystemClock()
    before = clock.elapsed()
    time.sleep(0.02)
    assert 0.015 < clock.elapsed() - before < 5.0
