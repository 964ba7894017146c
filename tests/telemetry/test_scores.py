"""Scores of forecasts, worked out by hand."""

from __future__ import annotations

import pytest

from scaler.metrics.scores import Score, Scores, pinball
from scaler.plan.decision import Forecast

MADE = Forecast(at=60.0, p05=4.0, p50=8.0, p95=9.0, p99=20.0, model="seasonal")


def run(until: int, rate: float = 10.0, gap: tuple[int, int] = (0, 0), gap_allowed: float = 60.0) -> list[Score]:
    """One forecast at 0, then ticks of 15 s of even load."""
    scores = Scores(step=30.0, gap=gap_allowed)
    found = []
    for tick in range(until // 15 + 1):
        if gap[0] < tick < gap[1]:
            continue
        time = 15.0 * tick
        found += scores.step(time, rate * time, MADE if tick == 0 else None, 7.0)
    return found


def test_a_forecast_is_scored_once_when_its_step_is_over() -> None:
    assert run(60) == [], "the step around 60 s ends at 75 s"
    for until in (75, 300):
        (score,) = run(until)
        assert score.outcome == pytest.approx(10.0)
        assert score.below == (False, False, False, True)
        assert score.loss == pytest.approx((0.05 * 6, 0.5 * 2, 0.95 * 1, 0.01 * 10))
        assert score.naive_loss == pytest.approx(0.5 * 3)


def test_one_whose_time_fell_into_an_outage_is_dropped() -> None:
    assert run(300, gap=(1, 12)) == []
    assert len(run(300, gap=(4, 12))) == 0, "its step was not over when the outage began"
    assert len(run(300, gap=(5, 7))) == 1, "a missed tick is no outage"


def test_the_pinball_loss_is_the_textbooks() -> None:
    assert pinball(0.9, 10.0, 12.0) == pytest.approx(1.8)
    assert pinball(0.9, 12.0, 10.0) == pytest.approx(0.2)


def test_a_topic_made_anew_forgets_what_was_promised() -> None:
    scores = Scores(step=30.0, gap=60.0)
    scores.step(0.0, 1000.0, MADE, 7.0)
    assert [s for t in range(1, 10) for s in scores.step(15.0 * t, 1.0 * t, None, 7.0)] == []


def test_one_whose_time_began_before_the_first_sample_is_dropped() -> None:
    scores = Scores(step=60.0, gap=60.0)
    near = Forecast(at=20.0, p05=4.0, p50=8.0, p95=9.0, p99=20.0, model="seasonal")
    found = [s for t in range(10) for s in scores.step(15.0 * t, 150.0 * t, near if t == 0 else None, 7.0)]
    assert found == [], "its 60 s began 10 s before anything was seen"
