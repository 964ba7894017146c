"""The benchmark's sweeps and what an operator would have chosen on the days before."""

from __future__ import annotations

import pytest

from simulations.bench_jobs import Tried, chosen, climb, together, tried
from simulations.compare import Job, Outcome
from tests.simulations.comparing.made import measures

LADDER = tuple(Job("hpa_rate", (("utilization", f"{v:g}"),), float(v)) for v in range(12))


class Runs:
    """Attainment and hours by place on the ladder; remembers what was run."""

    def __init__(self, attained: list[float]) -> None:
        self.attained = attained
        self.seen: list[int] = []

    def __call__(self, job: Job) -> Outcome:
        place = LADDER.index(job)
        self.seen.append(place)
        return Outcome(job, (measures(self.attained[place], 100.0 + place),))

    def over_days(self, job: Job) -> Tried:
        return together([self(job)])


STEEP = [0.1, 0.3, 0.5, 0.7, 0.9, 0.96, 0.98, 0.991, 0.995, 0.9996, 1.0, 1.0]


def test_a_climb_ends_where_enough_is_attained_and_misses_no_better_value() -> None:
    runs = Runs(STEEP)
    outcomes = climb(runs, LADDER)
    assert [LADDER.index(o.job) for o in outcomes] == [0, 3, 4, 5, 6, 7, 8, 9]
    assert len(runs.seen) == len(set(runs.seen))


def test_days_before_are_halved_to_the_first_value_that_attains_the_share() -> None:
    runs = Runs(STEEP)
    found = tried(LADDER, runs.over_days, 0.99)
    assert runs.seen == [5, 8, 6, 7]
    assert [one.value for one in found] == [5.0, 6.0, 7.0, 8.0]
    assert chosen(found, 0.99) == 7.0


def test_halving_finds_the_first_value_wherever_it_is() -> None:
    for place in range(len(LADDER)):
        attained = [0.9] * place + [0.999] * (len(LADDER) - place)
        assert chosen(tried(LADDER, Runs(attained).over_days, 0.99), 0.99) == float(place)


def test_where_nothing_attains_the_share_the_highest_is_chosen() -> None:
    found = tried(LADDER, Runs([0.5] * 6 + [0.7] * 6).over_days, 0.99)
    assert chosen(found, 0.99) == 8.0  # of those that were tried, and of equals the cheapest


def test_several_days_are_one_by_their_requests() -> None:
    days = [
        Outcome(LADDER[0], (measures(0.9, 10, requests=100),)),
        Outcome(LADDER[0], (measures(1.0, 20, requests=900),)),
    ]
    assert together(days).attainment == pytest.approx(0.99)
    assert together(days).gpu_hours == 30


def test_the_worst_service_of_several_days_counts() -> None:
    day = Outcome(LADDER[0], (measures(0.9, 10, "a"), measures(1.0, 20, "b")))
    assert together([day, day]).attainment == pytest.approx(0.9)


def test_a_silent_day_attains_nothing_and_stops_nothing() -> None:
    silent = Outcome(LADDER[0], (measures(float("nan"), 10, requests=0),))
    assert together([silent]) == Tried(None, None, 10)
    assert chosen([Tried(1.0, None, 10), Tried(2.0, 0.5, 20)], 0.99) == 2.0
