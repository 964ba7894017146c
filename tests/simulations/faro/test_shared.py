"""A fixed number of replicas goes where it saves most late requests, and changes hands only for more than it costs."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.plan.shared_total import divide, late_rates
from simulations.faro_input import arrivals, read_jobs
from simulations.faro_run import FaroRun, faro_setting, run_faro
from simulations.policies.catalog import entry
from simulations.request_level.run import simulate_requests

RATE, WITHIN = 6.0, 0.75


def test_late_rates_of_a_known_rate() -> None:
    late = late_rates(np.array([10.0]), 4, RATE, WITHIN, 1.0)
    # One replica of 6 requests/s is too few; two leave 2 requests/s, three 8, four 14.
    expected = [10.0, 10.0, 10 * np.exp(-2 * 0.75), 10 * np.exp(-8 * 0.75), 10 * np.exp(-14 * 0.75)]
    assert late == pytest.approx(expected)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, 60), min_size=1, max_size=6))
def test_late_rates_never_grow_with_replicas_and_are_part_of_all(rates: list[float]) -> None:
    late = late_rates(np.array(rates), 12, RATE, WITHIN, 1.0)
    assert np.all(np.diff(late) <= 1e-9)
    assert late[0] == pytest.approx(np.mean(rates))
    assert late[-1] >= 0


def curves(rates: list[float], most: int) -> list[np.ndarray]:
    return [late_rates(np.array([rate]), most, RATE, WITHIN, 1.0) for rate in rates]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, 25), min_size=3, max_size=3), st.integers(3, 9))
def test_all_are_given_away_and_none_is_below_its_least(rates: list[float], total: int) -> None:
    given_ = divide(total, (1, 1, 1), (1, 1, 1), (7, 7, 7), curves(rates, 7), 1.0, 1e-9)
    assert sum(given_) == total
    assert min(given_) >= 1


def test_from_nothing_the_division_is_the_best_of_all() -> None:
    late = curves([4.0, 10.0, 17.0], 8)
    found = divide(10, (1, 1, 1), (1, 1, 1), (8, 8, 8), late, 1.0, 1e-9)
    best = min(
        (n for n in itertools.product(range(1, 9), repeat=3) if sum(n) == 10),
        key=lambda n: sum(float(one[count]) for one, count in zip(late, n, strict=True)),
    )
    assert found == best


def test_a_replica_changes_hands_only_for_more_than_the_move_costs() -> None:
    late = curves([11.0, 11.5], 6)
    # The second would save a little more with it, but not twice as much.
    assert divide(5, (3, 2), (1, 1), (6, 6), late, 1.0, 1e-9) == (2, 3)
    assert divide(5, (3, 2), (1, 1), (6, 6), late, 0.5, 1e-9) == (3, 2)
    # Two that are alike never take turns, whoever holds the odd one.
    same = curves([11.0, 11.0], 6)
    assert divide(5, (3, 2), (1, 1), (6, 6), same, 1.0, 1e-3) == (3, 2)
    assert divide(5, (2, 3), (1, 1), (6, 6), same, 1.0, 1e-3) == (2, 3)


def test_limits_stand_above_the_total() -> None:
    late = curves([10.0, 10.0], 4)
    assert divide(3, (4, 4), (2, 2), (4, 4), late, 0.5, 1e-3) == (2, 2)
    assert divide(20, (1, 1), (1, 1), (4, 3), [late[0], late[1][:4]], 0.5, 1e-3) == (4, 3)


def test_the_policy_uses_the_whole_total_and_misses_fewer_than_the_baseline(folder: Path) -> None:
    results = {policy: run_faro(FaroRun(policy, 32, 7)) for policy in ("aiad", "lagcast_shared")}
    assert results["lagcast_shared"].missed < results["aiad"].missed
    jobs = read_jobs(folder / "jobs.jsonl")
    setting = faro_setting(jobs, 12, 3)
    policy = entry("lagcast_shared").make({})([one.service for one in setting.services])
    record = simulate_requests(setting, arrivals(jobs, 3), policy, seconds=300.0)
    granted = np.sum([s.granted for s in record.services], axis=0)
    assert granted.max() == 12
    assert granted[-1] == 12
    assert min(int(s.granted.min()) for s in record.services) >= 1
