"""The attainment that corrects the plan, from arrivals and commits alone."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scaler.plan.attained import Attained, bound, correction, doubt
from scaler.plan.lateness import Lateness
from scaler.plan.progress import Progress
from scaler.plan.settings import PlanSettings
from tests.plan.loop import LAB

DAY = 86_400.0


def test_what_leaves_in_time_is_not_late_and_what_waits_longer_is() -> None:
    """Ten a second for a minute; nothing is served for 20 s, then all at once: late is what came long before."""
    of = Attained(10.0, 1e12)
    for t in range(0, 100):
        came = 10.0 if 0 < t <= 60 else 0.0
        waiting = 10.0 * (min(t, 39) - 20) if 20 <= t < 40 else 0.0
        of.learn(1000.0 + t, came, waiting, True)
    assert of.arrived == pytest.approx(600.0)
    # From 20 s on they pile up; between 39 and 40 s all leave. Late: those that came from 20 s to 29 or 30 s.
    assert 90.0 - 1e-6 <= of.late <= 100.0


def test_a_request_that_nobody_serves_is_late() -> None:
    of = Attained(10.0, 1e12)
    for t in range(0, 61):
        of.learn(float(t), 5.0 if t else 0.0, 5.0 * t, True)
    assert of.late == of.arrived == pytest.approx(250.0)


def test_between_ticks_commits_are_taken_as_even() -> None:
    of = Attained(10.0, 1e12)
    for t, backlog in ((0.0, 0.0), (15.0, 150.0), (30.0, 0.0), (45.0, 0.0)):
        of.learn(t, 150.0 if 0.0 < t <= 15.0 else 0.0, backlog, True)
    # 150 by 15 s; those that had left by 25 s are two thirds.
    assert of.late == pytest.approx(50.0)


def test_what_is_not_the_plans_to_answer_for_does_not_count() -> None:
    of = Attained(10.0, DAY)
    for t in range(0, 60):
        of.learn(float(t), 5.0, 5.0 * t, False)
    assert (of.late, of.arrived) == (0.0, 0.0)


def test_a_restart_forgets_what_was_waiting() -> None:
    of = Attained(10.0, DAY)
    of.learn(0.0, 0.0, 0.0, True)
    of.learn(1.0, 100.0, 100.0, True)
    of.restart()
    of.learn(1000.0, 50.0, 0.0, True)
    of.learn(1020.0, 10.0, 0.0, True)
    assert of.late == 0.0


def test_old_requests_fade() -> None:
    of = Attained(1.0, DAY)
    of.learn(0.0, 0.0, 0.0, True)
    of.learn(60.0, 600.0, 600.0, True)
    for hour in range(1, 49):
        of.learn(60.0 + hour * 3600.0, 36_000.0, 0.0, True)
    assert of.late == pytest.approx(600.0 * math.exp(-2.0), rel=0.05)


def test_the_correction_is_one_on_target_and_moves_with_the_share() -> None:
    def after(late: float, hours: float) -> float:
        of = Attained(10.0, DAY)
        of.late, of.arrived, of.seconds = late * hours * 3600.0, hours * 3600.0, hours * 3600.0
        return correction(of, 0.005, 4 * 3600.0)

    assert correction(Attained(10.0, DAY), 0.005, 4 * 3600.0) == 1.0
    assert after(0.005, 10.0) == pytest.approx(1.0)
    assert after(0.02, 12.0) == pytest.approx((0.02 * 12 + 0.005 * 4) / (0.005 * 16))
    assert after(0.0, 12.0) == pytest.approx(0.25)
    assert after(0.02, 1 / 60) < 1.02, "one bad minute after a start is not a verdict"


def test_two_plans_have_a_record_each() -> None:
    of = Attained(1.0, DAY)
    of.learn(0.0, 0.0, 0.0, True)
    of.learn(60.0, 600.0, 600.0, True)
    of.learn(120.0, 600.0, 1200.0, True)
    late = of.late
    assert late > 0.0
    assert of.judge(True)
    assert (of.late, of.arrived) == (0.0, 0.0)
    assert not of.judge(True)
    of.learn(180.0, 600.0, 0.0, True)
    assert of.judge(False)
    assert of.late == late


def test_who_takes_over_from_one_that_was_wrong_is_taken_to_fall_short() -> None:
    """At three hours of the usual load, as far as the correction goes; a record that says no less stays."""
    share, prior, limit = 0.005, 3 * 3600.0, 2.0
    of = Attained(10.0, 6 * 3600.0)
    doubt(of, share, prior, limit, 0.0)
    assert correction(of, share, prior) == 1.0, "nothing is known of the load"
    doubt(of, share, prior, limit, 10.0)
    assert correction(of, share, prior) == pytest.approx(limit)
    for minute in range(12 * 60):
        of.learn(60.0 * minute, 600.0, 0.0, True)
    assert correction(of, share, prior) < 0.6, "half a day later it is what it is seen to need"
    before = of.late, of.arrived, of.seconds
    doubt(of, share, prior, 0.1, 10.0)
    assert (of.late, of.arrived, of.seconds) == before


def test_a_plan_that_loses_its_forecasts_has_all_the_headroom_there_is() -> None:
    lateness = Lateness(LAB, PlanSettings(), 1.0)

    def minutes(begin: int, end: int) -> None:
        for minute in range(begin, end):
            came, nothing = np.array([600.0]), np.zeros(1)
            interval = Progress(60.0 * minute, 60.0, came, came, nothing, nothing, False)
            lateness.learn(interval, 0.0, 60.0, 1.0, False)

    assert lateness.inflation == PlanSettings().inflation
    lateness.judge(False)
    assert lateness.inflation == PlanSettings().inflation, "without forecasts from the start, nothing is taken away"
    lateness.judge(True)
    minutes(0, 600)
    foreseen = lateness.inflation
    assert foreseen < PlanSettings().inflation
    lateness.judge(False)
    assert lateness.inflation == PlanSettings().inflation_most
    lateness.learn(
        Progress(36_000.0, 60.0, np.array([600.0]), np.array([600.0]), np.zeros(1), np.zeros(1), False),
        0.0,
        60.0,
        1.5,
        False,
    )
    assert lateness.inflation > 0.9 * PlanSettings().inflation_most, "also at another service rate"
    lateness.judge(True)
    lateness.judge(False)
    assert lateness.inflation > 0.9 * PlanSettings().inflation_most
    lateness.judge(True)
    assert lateness.inflation == PlanSettings().inflation, "of this rate nothing is known yet"


def test_forecasts_of_a_few_minutes_were_not_relied_on() -> None:
    lateness = Lateness(LAB, PlanSettings(), 1.0)
    lateness.judge(True)
    lateness.judge(False)
    assert lateness.inflation == PlanSettings().inflation


def test_what_no_correction_answers_to_is_forgotten() -> None:
    """An hour in which all is late counts as far as the correction goes, and no further: an hour later it is lower."""
    of, limit = Attained(10.0, 6 * 3600.0), 2.0
    backlog = 0.0
    for minute in range(240):
        late = minute < 60
        backlog = backlog + 600.0 if late else 0.0
        of.learn(60.0 * minute, 600.0, backlog, True)
        bound(of, 0.005, 3600.0, limit)
        reached = correction(of, 0.005, 3600.0)
        assert reached <= limit + 1e-9
        if 10 < minute < 60:
            assert reached == pytest.approx(limit)
    assert reached < 0.75 * limit


def test_the_bound_leaves_what_is_below_it() -> None:
    of = Attained(10.0, DAY)
    bound(of, 0.005, 3600.0, 2.0)
    assert of.late == 0.0
    of.late, of.arrived, of.seconds = 5.0, 1000.0, 600.0
    bound(of, 0.005, 3600.0, 2.0)
    assert of.late == 5.0
