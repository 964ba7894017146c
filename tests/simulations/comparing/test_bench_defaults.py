"""Constants are chosen on all traces but one: what is left out never has a say."""

from __future__ import annotations

import pytest

from scaler.plan.settings import PlanSettings
from simulations.bench_defaults import (
    RANK,
    Candidate,
    DefaultsJob,
    Reached,
    best,
    candidates,
    cost,
    days_before,
    defaults_tables,
    jobs_on,
)
from simulations.scenarios import Cell, cells

A, B, C = (Cell("pods", trace, 1) for trace in ("a", "b", "c"))
USUAL, CHEAP, DEAR = Candidate(), Candidate("aim", 0.7), Candidate("aim", 0.35)
ALL = (USUAL, CHEAP, DEAR)


def found(**late: dict[str, tuple[float, float]]) -> dict[DefaultsJob, Reached]:
    by_trace = {"a": A, "b": B, "c": C}
    by_name = {one.name: one for one in ALL}
    return {
        DefaultsJob(by_trace[trace], by_name[name]): Reached(*reached)
        for trace, some in late.items()
        for name, reached in some.items()
    }


FIGURES = found(
    a={"defaults": (0.995, 100.0), "aim 0.7": (0.992, 80.0), "aim 0.35": (0.999, 120.0)},
    b={"defaults": (0.995, 200.0), "aim 0.7": (0.992, 180.0), "aim 0.35": (0.999, 220.0)},
    c={"defaults": (0.991, 50.0), "aim 0.7": (0.970, 40.0), "aim 0.35": (0.995, 80.0)},
)


def test_the_cheapest_that_attains_enough_is_chosen() -> None:
    assert best(FIGURES, ALL, [A, B]) == CHEAP
    assert best(FIGURES, ALL, [A, B, C]) == USUAL  # the cheap one is below 98 % on c


def test_where_none_attains_enough_the_one_that_attains_most_is() -> None:
    poor = found(a={"defaults": (0.90, 100.0), "aim 0.7": (0.80, 10.0), "aim 0.35": (0.95, 900.0)})
    assert best(poor, ALL, [A]) == DEAR


def test_cost_is_a_geometric_mean_over_that_of_the_defaults() -> None:
    assert cost(FIGURES, CHEAP, [A, B]) == pytest.approx((0.8 * 0.9) ** 0.5)
    assert cost(FIGURES, USUAL, [A, B, C]) == pytest.approx(1.0)


def test_a_trace_that_is_left_out_has_no_say_in_what_is_chosen_for_it() -> None:
    left_out, every = defaults_tables(FIGURES, [A, B, C])
    assert left_out.lines == (
        ("pods a 1", "defaults", "1.000", "99.50%", "99.50%"),
        ("pods b 1", "defaults", "1.000", "99.50%", "99.50%"),
        ("pods c 1", "aim 0.7", "0.800", "97.00%", "99.10%"),  # chosen on a and b, and poor on c
    )
    assert "attains 99% there in the mean and 98% in each" in left_out.about
    assert every.lines[0] == ("pods", "defaults", "1.000", "99.36%", "99.10%")
    assert len(every.lines) == len(ALL)


def test_no_day_that_the_benchmark_scores_is_chosen_on() -> None:
    scored = {(c.trace, c.day) for c in cells((0,))}
    assert not scored & {(c.trace, c.day) for c in days_before()}
    assert {c.scenario for c in days_before()} == {"pods", "nodes"}


@pytest.mark.parametrize("scenario", ["pods", "nodes"])
def test_each_candidate_is_the_defaults_but_for_one_constant(scenario: str) -> None:
    among = candidates(scenario)
    assert among[0] == Candidate()
    assert len(set(among)) == len(among)
    for one in among[1:]:
        assert (one.settings == among[0].settings) == (one.constant == RANK)


def test_the_constants_of_nodes_are_tried_where_there_are_nodes() -> None:
    plain, pooled = candidates("pods"), candidates("nodes")
    assert set(plain) < set(pooled)
    assert {one.settings.nodes for one in plain} == {PlanSettings().nodes}
    tried = {one.settings.nodes for one in pooled}
    assert {settings.held_leads for settings in tried} == {1.5, PlanSettings().nodes.held_leads, 4.0}


def test_a_cell_is_asked_of_the_candidates_of_its_scenario() -> None:
    jobs = jobs_on([Cell("pods", "a", 1), Cell("nodes", "a", 1)])
    assert len(jobs) == len(candidates("pods")) + len(candidates("nodes"))
