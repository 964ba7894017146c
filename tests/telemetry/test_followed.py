"""What following would have given, against cases worked out by hand."""

from __future__ import annotations

import pytest

from scaler.metrics.followed import Capacity, Followed


def run(asked: list[int], rate: float, lead: float, arrivals: float, running: int = 2, most: int | None = None) -> list:
    """Ticks of 10 s; (replica-seconds, due, late) in all."""
    shadow = Followed(within=10.0, gap=40.0)
    cost = due = late = 0.0
    for tick, count in enumerate(asked):
        seconds, judged = shadow.step(10.0 * tick, arrivals * 10.0 * tick, running, Capacity(count, rate, lead, most))
        cost, due, late = cost + seconds, due + judged.due, late + judged.late
    return [cost, due, late]


def test_enough_replicas_cost_what_they_are_and_miss_nothing() -> None:
    assert run([4] * 7, rate=1.0, lead=0.0, arrivals=3.0, running=4) == pytest.approx([4 * 60.0, 3 * 50.0, 0.0])


def test_a_replica_is_paid_for_from_being_asked_for_and_serves_after_the_lead_time() -> None:
    # 4 requests/s on 2 replicas of 1 request/s, 8 asked for at 0, serving from 30 on. Backlog 60 at 30, gone at 45. The
    # request due at t came at t - 10 as number 4 (t - 10); by then 2 t have left, or 60 + 8 (t - 30) from 30 on.
    # Late while 4 t - 40 > 2 t, from 20 to 30, and while 4 t - 40 > 8 t - 180, until 35: 15 s of 4 requests/s.
    found = run([8] * 7, rate=1.0, lead=30.0, arrivals=4.0)
    assert found == pytest.approx([8 * 60.0, 4 * 50.0, 4 * 15.0])


def test_replicas_without_a_partition_serve_nothing() -> None:
    assert run([8] * 7, rate=1.0, lead=0.0, arrivals=4.0, running=8, most=4)[2] == 0.0
    assert run([8] * 7, rate=1.0, lead=0.0, arrivals=4.0, running=8, most=2)[2] > 0.0


def test_a_count_given_back_goes_at_once_and_takes_first_what_does_not_serve_yet() -> None:
    # 6 asked for at 0 (serving from 30), 4 at 10, 4 from then on: 2 of those on their way are given back.
    found = run([6, 4, 4, 4, 4, 4, 4], rate=1.0, lead=30.0, arrivals=4.0)
    assert found[0] == pytest.approx(6 * 10.0 + 4 * 50.0)
    assert found[2] == pytest.approx(4 * 40.0), "backlog 60 at 30 stays: 4 arrive, 4 are served; late from 20 on"


def test_unknown_numbers_say_nothing_and_it_begins_anew() -> None:
    shadow = Followed(within=10.0, gap=40.0)
    known = Capacity(0, 1.0, 0.0)
    for tick in range(4):
        shadow.step(10.0 * tick, 100.0 * tick, 1, known)
    assert shadow.step(40.0, 400.0, 1, None)[0] == 0.0
    seconds, judged = shadow.step(50.0, 500.0, 5, Capacity(5, 100.0, 0.0))
    assert (seconds, judged.due) == (0.0, 0.0)
    assert shadow.step(60.0, 510.0, 5, Capacity(5, 100.0, 0.0))[0] == 50.0
    assert shadow.step(200.0, 510.0, 5, Capacity(5, 100.0, 0.0))[0] == 0.0, "a gap of 140 s is more than 40 s"


def test_a_replica_serves_as_the_decision_before_said() -> None:
    shadow = Followed(within=10.0, gap=40.0)
    late = 0.0
    for tick, rate in enumerate([10.0, 10.0, 10.0, 1.0]):  # told at the end of the time in which it served ten
        late += shadow.step(10.0 * tick, 50.0 * tick, 1, Capacity(1, rate, 0.0))[1].late
    assert late == 0.0
    assert shadow.step(40.0, 200.0, 1, Capacity(1, 1.0, 0.0))[1].late == 0.0, "what came in the ten before had left"
    assert shadow.step(50.0, 250.0, 1, Capacity(1, 1.0, 0.0))[1].late > 0.0
