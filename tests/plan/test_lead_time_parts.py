"""Lead times in their parts: pods that waited for a node do not blur the way of those that did not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.plan.lead_time import PARTS, Distribution, LeadTimes
from scaler.plan.observation import LeadTime


def pod(name: str, node: float | None, own: float | None = 60.0, patch: float | None = 1.0) -> LeadTime:
    return LeadTime(name, patch, node, own, 2.0, 0.0)


def learned(*pods: LeadTime) -> LeadTimes:
    lead = LeadTimes(90.0, prior=2, size=200)
    lead.learn(pods)
    return lead


def test_a_mixture_is_two_kinds_and_their_sum() -> None:
    quick = [pod(f"q{n}", 0.5) for n in range(20)]
    slow = [pod(f"s{n}", 400.0 + n) for n in range(20)]
    lead = learned(*quick, *slow)
    assert lead.pod.quantile(0.95) == pytest.approx(63.5)
    assert lead.pod.quantile(0.05) == pytest.approx(63.5)
    assert lead.node is not None
    assert lead.node.quantile(0.5) == pytest.approx(409.0)
    assert lead.waited == 0.5
    assert lead.quantile(0.25) == pytest.approx(63.5), "what an order takes, is both"
    assert lead.quantile(0.95) > 463.0
    assert lead.points.tolist() == sorted(lead.points.tolist())


def test_all_waited_and_the_pods_own_way_is_still_told() -> None:
    lead = learned(*[pod(f"s{n}", 400.0) for n in range(20)])
    assert lead.pod.quantile(0.95) == pytest.approx(63.0)
    assert lead.quantile(0.5) == pytest.approx(463.0)


def test_nobody_waited() -> None:
    lead = learned(*[pod(f"q{n}", 0.5) for n in range(20)], pod("unseen", None))
    assert lead.node is None
    assert lead.waited == 0.0
    assert lead.pod is lead.total


def test_both_are_conditional_on_age() -> None:
    lead = learned(*[pod(f"s{n}", float(300 + 10 * n)) for n in range(10)])
    assert lead.node is not None
    assert lead.node.over(345.0, np.array([5.0, 15.0, 100.0])).tolist() == [0.2, 0.4, 1.0]
    assert lead.ready_share(0.0, np.array([300.0, 500.0])).tolist() == [0.0, 1.0]


def test_each_part_by_itself() -> None:
    lead = LeadTimes(90.0, prior=2, size=200)
    assert lead.part("scheduled_to_ready") is None
    lead.learn([pod("a", 0.5, 50.0), pod("b", 0.5, 70.0), pod("c", None, None)])
    own = lead.part("scheduled_to_ready")
    assert own is not None
    assert own.points.tolist() == [50.0, 70.0]
    with pytest.raises(ValueError, match="not in"):
        lead.part("nonsense")


def test_the_points_are_made_only_when_pods_were_learned() -> None:
    lead = learned(pod("a", 0.5))
    points = lead.points
    lead.learn([])
    assert lead.points is points
    assert points.dtype == np.float64
    lead.learn([pod("b", 0.5)])
    assert lead.points is not points


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 900), st.floats(1, 300)), min_size=1, max_size=40), st.floats(0, 1))
def test_the_pods_way_is_never_longer_than_the_whole(pods: list[tuple[float, float]], q: float) -> None:
    lead = LeadTimes(1e-3, prior=1, size=200)
    lead.learn([pod(f"p{n}", node, own) for n, (node, own) in enumerate(pods)])
    assert lead.pod.quantile(q) <= lead.quantile(q) + 1e-9
    assert all(lead.part(part) is not None for part in PARTS)


def test_what_lasts_longer_than_all_is_given_another_median() -> None:
    seen = Distribution(np.array([10.0, 20.0, 30.0]))
    assert seen.over(100.0, np.array([19.0, 20.0])).tolist() == [0.0, 1.0]
