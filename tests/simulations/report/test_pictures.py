"""Pictures of a frontier and of a tuning: what is marked, and what cannot be drawn."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from simulations.picture import (
    BoundPoint,
    FrontierPoint,
    Trial,
    draw_frontier,
    draw_pareto,
    hindsight_best,
    nines,
)

PNG = b"\x89PNG\r\n\x1a\n"
POINTS = (
    FrontierPoint("hpa_rate", 0.992, 120.0, "target", 0.9),
    FrontierPoint("hpa_rate", 0.99, 110.0, "target", 1.0),
    FrontierPoint("hpa_rate", 0.97, 90.0, "target", 1.1),
    FrontierPoint("keda_lag", 0.98, 80.0, "target", 3.0),
    FrontierPoint("static", 1.0, 300.0),
    FrontierPoint("broken", math.nan, 10.0),
)


def test_hindsight_takes_the_cheapest_that_attained_the_share_and_no_policy_that_did_not() -> None:
    assert hindsight_best(POINTS, 0.99) == {"hpa_rate": POINTS[1], "static": POINTS[4]}
    assert hindsight_best(POINTS, 0.999) == {"static": POINTS[4]}


@pytest.mark.parametrize(("attainment", "shown"), [(0.9, 1.0), (0.99, 2.0), (0.999, 3.0), (1.0, 5.0), (0.0, 0.0)])
def test_nines(attainment: float, shown: float) -> None:
    assert nines(attainment) == pytest.approx(shown)


@pytest.mark.slow
def test_pictures_are_drawn_also_of_nothing(tmp_path: Path) -> None:
    trials = [Trial(0, 0.9, 10.0, True), Trial(1, 0.99, 20.0, True), Trial(2, 0.9, 20.0, False)]
    bound = [BoundPoint(0.99, 70.0), BoundPoint(0.999, 75.0)]
    draw_frontier(POINTS, bound, tmp_path / "several.png")
    draw_frontier(POINTS, bound[:1], tmp_path / "one.png")
    draw_frontier([], [], tmp_path / "nothing.png")
    draw_pareto(trials, tmp_path / "pareto.png", chosen=1, share=0.99)
    draw_pareto([], tmp_path / "no-trial.png")
    drawn = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(set(drawn.values())) == 5
    assert all(picture.startswith(PNG) for picture in drawn.values())
