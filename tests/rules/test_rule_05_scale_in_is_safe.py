"""Rule 5: scale in only where the lower count would still have met the objective over the same paths."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.plan.capacity import PartitionSplit
from scaler.plan.lead_time import LeadTimes
from scaler.plan.observation import GroupObservation
from scaler.plan.paths import Futures
from scaler.plan.policy import PredictivePolicy
from scaler.plan.reasons import Reason
from scaler.plan.rollout import Queue, Rollout, Standing, Terms
from scaler.plan.settings import PlanSettings
from tests.plan.loop import LAB, Foresight
from tests.rules.situations import Cluster, Tick


def rollout(
    paths: np.ndarray, current: int, partitions: int = 5040, backlog: float = 0.0, rate: float = 2.0
) -> Rollout:
    split = PartitionSplit(60, 1e9, 0.1)
    split.known(partitions)
    terms = Terms(rate=rate, slack=5.0, window=60.0, price=10.0, pause=0.0, inflation=1.0)
    standing, queue = Standing(current, current, ()), Queue(backlog, 1.0)
    points = LeadTimes(45.0, 5, 100).points
    return Rollout(Futures(paths, 5.0, 0.0), queue, standing, split.table, points, terms)


def steady(*rates: float) -> np.ndarray:
    return np.repeat(np.array(rates)[:, None], 20, axis=1)


def test_the_lowest_count_that_meets_the_objective_is_taken() -> None:
    paths = steady(*[10.0] * 99, 16.0)  # one path of a hundred needs eight, the others five
    assert rollout(paths, 8).safe(3, 8, 0.02) == 5, "what one path lacks is less than 2 % of all"
    assert rollout(paths, 8).safe(6, 8, 0.02) == 6
    assert rollout(steady(*[10.0] * 90, *[16.0] * 10), 8).safe(3, 8, 0.02) > 5
    assert rollout(paths, 8).safe(3, 8, 0.0) > 5


def test_none_is_taken_where_all_lower_ones_miss_it() -> None:
    assert rollout(steady(15.9), 8).safe(3, 8, 0.0) == 8


def test_a_huge_backlog_makes_no_lower_count_safe() -> None:
    """Every count is late, so none is worse than another; that is no reason to give any back."""
    assert rollout(steady(10.0), 8, backlog=1e5).safe(1, 8, 0.01) == 8


def test_a_lower_count_that_serves_the_same_is_safe() -> None:
    assert rollout(steady(500.0), 12, partitions=16).safe(8, 12, 0.01) == 8
    assert rollout(steady(500.0), 12, partitions=16).safe(6, 12, 0.01) == 8


@settings(max_examples=60, deadline=None)
@given(
    rates=st.lists(st.floats(0, 100), min_size=1, max_size=12),
    backlog=st.floats(0, 500),
    count=st.integers(0, 30),
    more=st.integers(0, 30),
    share=st.floats(0, 0.1),
)
def test_what_is_taken_meets_it_and_one_fewer_would_not(rates, backlog, count, more, share) -> None:
    current = count + more
    of = rollout(steady(*rates), current, backlog=backlog)
    taken = of.safe(count, current, share)
    assert count <= taken <= current
    assert taken == current or of.late_share(taken) <= share + 1e-12
    assert taken == count or of.late_share(taken - 1) > share


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
    later = cluster.play(policy, [tick] * 40)  # what the load has just been is held for four lead times
    assert (later[-1][2].desired or 0) * service.service_rate < base * rise * 0.75 or needed <= 3


class Split(Foresight):
    """A tenth of its paths is high."""

    def paths(self, steps: int, count: int, rng: np.random.Generator, out: np.ndarray | None = None) -> np.ndarray:
        drawn = super().paths(steps, count, rng, out)
        drawn[: count // 10] *= 2.0
        return drawn


def test_the_hold_that_the_paths_make_is_named() -> None:
    """What the price alone would give back, and the objective does not allow, is ScaleInUnsafe, not Steady."""
    service = replace(LAB, scale_in_hold=0.0, min_replicas=1)
    cheap = PlanSettings(price_scale=1e-4, held_leads=0.0)
    policy = PredictivePolicy([service], lambda s: Split(lambda t: 15.0, s.step, 0.0), cheap)
    cluster = Cluster(service, partitions=2520, replicas=6)
    reasons = [d.reason for _, _, d in cluster.play(policy, [Tick(15.0, 1.0)] * 10)]
    assert cluster.desired == 6, "the high paths need six"
    assert Reason.SCALE_IN_UNSAFE in reasons
