"""Rule 5: scale in only where the lower count would still have met the objective over the same paths."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.plan.capacity import PartitionSplit
from scaler.plan.guard import safe_count
from scaler.plan.observation import GroupObservation
from scaler.plan.policy import PredictivePolicy
from scaler.plan.reasons import Reason
from scaler.plan.rollout import Costs
from scaler.plan.settings import PlanSettings
from tests.plan.loop import LAB, Foresight
from tests.rules.situations import Cluster, Tick


def priced(late: dict[int, float], arrivals: float = 1000.0) -> Costs:
    counts = np.array(sorted(late))
    values = np.array([late[int(c)] for c in counts])
    return Costs(counts, np.zeros(len(counts)), values, arrivals, np.zeros(1))


def plain(most: int = 40) -> PartitionSplit:
    return PartitionSplit(most, 1e9, 0.1)


def test_the_lowest_count_that_meets_the_objective_is_taken() -> None:
    costs = priced({3: 400.0, 4: 30.0, 5: 9.0, 6: 0.0, 8: 0.0})
    assert safe_count(costs, 3, 8, 0.01, plain(), 0.5) == 5
    assert safe_count(costs, 6, 8, 0.01, plain(), 0.5) == 6
    assert safe_count(costs, 3, 8, 0.0, plain(), 0.5) == 6


def test_none_is_taken_where_all_lower_ones_miss_it() -> None:
    costs = priced({3: 400.0, 4: 30.0, 8: 0.0})
    assert safe_count(costs, 3, 8, 0.01, plain(), 0.5) == 8


def test_a_huge_backlog_makes_no_lower_count_safe() -> None:
    """Every candidate is late, so none is worse than another; that is no reason to give any back."""
    assert safe_count(priced({1: 900.0, 4: 900.0, 8: 900.0}), 1, 8, 0.01, plain(), 0.5) == 8


def test_a_lower_count_that_serves_the_same_is_safe() -> None:
    split = plain()
    split.known(16)
    assert safe_count(priced({8: 900.0, 12: 900.0}), 8, 12, 0.01, split, 0.5) == 8
    assert safe_count(priced({6: 900.0, 12: 900.0}), 6, 12, 0.01, split, 0.5) == 12


def test_hardly_any_expected_request_is_none() -> None:
    assert safe_count(priced({0: 0.2, 1: 0.0}, arrivals=0.2), 0, 1, 0.01, plain(), 0.5) == 0
    assert safe_count(priced({0: 2.0, 1: 0.0}, arrivals=2.0), 0, 1, 0.01, plain(), 0.5) == 1


@settings(max_examples=100, deadline=None)
@given(
    late=st.dictionaries(st.integers(0, 20), st.floats(0, 1000), min_size=1),
    wanted=st.integers(0, 20),
    current=st.integers(0, 20),
    share=st.floats(0, 0.1),
)
def test_what_is_taken_is_a_candidate_that_meets_it_or_the_current_one(late, wanted, current, share) -> None:
    count = safe_count(priced(late), wanted, current, share, plain(), 0.5)
    if count != current:
        assert wanted <= count < current
        assert late[count] <= share * 1000.0 + 1e-9
        assert all(late[c] > share * 1000.0 for c in late if wanted <= c < count)


@settings(max_examples=40, deadline=None)
@given(base=st.floats(5, 40), dip=st.floats(0.05, 0.5), rise=st.floats(1.5, 4.0))
def test_a_dip_before_a_rise_within_the_lead_time_gives_nothing_back_that_the_rise_needs(base, dip, rise) -> None:
    """The load falls, and the paths say that it comes back before a new replica could. Then the paths say that it stays
    low, and the replicas are given back: it was the paths that held them.
    """
    service = replace(LAB, scale_in_hold=0.0, max_replicas=200)
    back_at = [np.inf]
    policy = PredictivePolicy(
        [service], lambda s: Foresight(lambda t: base * rise if t >= back_at[0] else base * dip, s.step, 0.0)
    )
    needed = int(np.ceil(base * rise / service.service_rate / 0.85)) + 1
    cluster = Cluster(service, partitions=2520, replicas=needed)
    cluster.play(policy, [Tick(base * rise, 1.0, nobody_obeys=True)] * 4)
    back_at[0] = cluster.now + 10.0
    tick = Tick(base * dip, 1.0)
    observed = cluster.advance(tick)
    held = policy.step(cluster.now, GroupObservation((observed,))).services[0]
    assert held.desired is not None
    assert held.desired * service.service_rate >= base * rise * 0.75, "the queue's slack may carry a part"
    back_at[0] = np.inf
    later = cluster.play(policy, [tick] * 12)
    assert (later[-1][2].desired or 0) * service.service_rate < base * rise * 0.75 or needed <= 3


def test_the_hold_that_the_paths_make_is_named() -> None:
    """What the margin of scaling in does not allow is ScaleInUnsafe, not Steady."""
    service = replace(LAB, scale_in_hold=0.0, min_replicas=1)
    policy = PredictivePolicy(
        [service], lambda s: Foresight(lambda t: 22.3, s.step, 0.0), PlanSettings(scale_in_margin=0.3)
    )
    cluster = Cluster(service, partitions=2520, replicas=6)
    reasons = [d.reason for _, _, d in cluster.play(policy, [Tick(22.3, 1.0)] * 10)]
    assert cluster.desired == 6
    assert Reason.SCALE_IN_UNSAFE in reasons
