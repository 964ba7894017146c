"""The frontier, the best in hindsight, and what a policy costs at an attainment."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulations.compare import (
    MOST,
    Job,
    Outcome,
    cheapest,
    coarse,
    frontier,
    geometric_mean,
    highest,
    hours_at,
    refined,
    sweep,
)
from simulations.errors import BadSetting
from tests.simulations.comparing.made import measures, outcome

SWEEP = [outcome(0.95, 80), outcome(0.97, 100), outcome(0.96, 110), outcome(0.99, 120), outcome(0.99, 140)]
runs = st.lists(
    st.tuples(st.floats(0, 1), st.floats(1, 1000)).map(lambda pair: outcome(*pair)), min_size=1, max_size=12
)


def test_worked_case() -> None:
    assert [o.gpu_hours for o in frontier(SWEEP)] == [80, 100, 120]
    best = cheapest(SWEEP, 0.965)
    assert best is SWEEP[1]
    assert cheapest(SWEEP, 0.991) is None
    assert highest(SWEEP) is SWEEP[3]
    assert hours_at(SWEEP, 0.98) == pytest.approx(110)  # half way from 97 % at 100 to 99 % at 120
    assert hours_at(SWEEP, 0.97) == pytest.approx(100)
    assert hours_at(SWEEP, 0.5) == 80  # nothing cheaper is known
    assert hours_at(SWEEP, 0.995) is None


@given(runs)
def test_no_run_beats_the_frontier(outcomes: list[Outcome]) -> None:
    edge = frontier(outcomes)
    for one in outcomes:
        assert any(e.gpu_hours <= one.gpu_hours and e.attainment >= one.attainment for e in edge)
    for cheap, dear in itertools.pairwise(edge):
        assert cheap.gpu_hours < dear.gpu_hours
        assert cheap.attainment < dear.attainment


@given(runs, st.floats(0, 1))
def test_interpolated_cost_lies_below_the_best_in_hindsight(outcomes: list[Outcome], share: float) -> None:
    best, hours = cheapest(outcomes, share), hours_at(outcomes, share)
    assert (best is None) == (hours is None)
    if best is not None and hours is not None:
        assert hours <= best.gpu_hours * (1 + 1e-12)
        assert best.gpu_hours == min(o.gpu_hours for o in outcomes if o.attainment >= share)


def test_a_run_without_requests_is_on_no_frontier() -> None:
    assert frontier([outcome(math.nan, 10)]) == ()
    assert highest([outcome(math.nan, 10)]) is None


def test_the_worst_service_counts_and_hours_add_up() -> None:
    both = Outcome(Job("static"), (measures(0.999, 10, "a"), measures(0.98, 30, "b")))
    assert (both.attainment, both.gpu_hours) == (0.98, 40)


def test_a_share_that_cannot_be_is_refused() -> None:
    with pytest.raises(BadSetting, match="share: found 99; allowed: 0 to 1"):
        cheapest(SWEEP, 99)


def test_geometric_mean() -> None:
    assert geometric_mean([0.5, None, 2.0]) == pytest.approx(1.0)
    assert geometric_mean([None]) is None


LADDER = tuple(Job("hpa_rate", (("utilization", f"{v:g}"),), v) for v in range(10))


def known(attainments: dict[int, float]) -> list[Outcome]:
    return [Outcome(LADDER[place], (measures(a, 1 + place),)) for place, a in attainments.items()]


def test_a_sweep_is_coarse_first_and_fine_where_it_matters() -> None:
    assert [LADDER.index(job) for job in coarse(LADDER)] == [0, 3, 6, 9]
    fine = refined(LADDER, known({0: 0.1, 3: 0.9, 6: 0.98, 9: 1.0}))
    assert [LADDER.index(job) for job in fine] == [4, 5, 7, 8]
    assert refined(LADDER, known({0: 0.1, 3: 0.2, 6: 0.3, 9: 0.4})) == ()
    fine = refined(LADDER, known({0: 0.98, 3: MOST, 6: 1.0, 9: 1.0}))
    assert [LADDER.index(job) for job in fine] == [1, 2]


def test_a_parameter_that_is_given_is_not_swept() -> None:
    assert [job.options for job in sweep("hpa_rate", {"utilization": "0.7"})] == [(("utilization", "0.7"),)]
    assert len(sweep("hpa_rate")) > 10
    assert len(sweep("lagcast")) == 1
