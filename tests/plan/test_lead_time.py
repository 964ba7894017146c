"""Lead times: begun with what was declared, learned from pods, conditional on a pod's age."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.plan.lead_time import LeadTimes
from scaler.plan.observation import LeadTime


def pod(total: float, **parts: float | None) -> LeadTime:
    whole = {
        "patch_to_created": 0.0,
        "created_to_scheduled": 0.0,
        "scheduled_to_ready": total,
        "ready_to_partitions": 0.0,
    }
    return LeadTime("p", **{**whole, **parts}, ready_at=0.0)  # type: ignore[arg-type]


def test_the_declared_value_stands_until_pods_tell_otherwise() -> None:
    lead = LeadTimes(90.0, prior=5, size=100)
    assert lead.quantile(0.95) == 90.0
    lead.learn([pod(30.0)])
    assert lead.quantile(0.95) == 90.0, "one pod is no distribution"
    assert lead.quantile(0.2) == 30.0
    lead.learn([pod(30.0 + k) for k in range(10)])
    assert lead.quantile(0.95) == pytest.approx(39.0)


def test_old_pods_are_forgotten() -> None:
    lead = LeadTimes(90.0, prior=5, size=10)
    lead.learn([pod(200.0)] * 10)
    lead.learn([pod(20.0)] * 10)
    assert lead.quantile(1.0) == 20.0


def test_a_part_that_was_not_seen_is_not_zero() -> None:
    lead = LeadTimes(90.0, prior=1, size=100)
    lead.learn([pod(50.0, patch_to_created=10.0)] * 3)
    lead.learn([pod(50.0, patch_to_created=None)])
    assert lead.quantile(0.01) == pytest.approx(60.0)


def test_parts_that_cannot_be_are_not_learned() -> None:
    lead = LeadTimes(90.0, prior=2, size=100)
    nothing = LeadTime("p", None, float("nan"), -5.0, float("inf"), 0.0)
    lead.learn([nothing] * 5)
    assert lead.quantile(0.5) == 90.0


def test_share_ready_is_conditional_on_age() -> None:
    lead = LeadTimes(90.0, prior=1, size=100)
    lead.learn([pod(float(t)) for t in (10, 20, 30, 40)])
    after = np.array([0.0, 5.0, 10.0, 20.0, 40.0])
    assert lead.ready_share(0.0, after).tolist() == [0.0, 0.0, 0.25, 0.5, 1.0]
    assert lead.ready_share(25.0, after).tolist() == [0.0, 0.5, 0.5, 1.0, 1.0]


def test_an_overdue_replica_is_still_on_its_way() -> None:
    lead = LeadTimes(90.0, prior=1, size=100)
    assert lead.ready_share(500.0, np.array([0.0, 89.0, 91.0])).tolist() == [0.0, 0.0, 1.0]


@given(
    st.lists(st.floats(0.1, 500), min_size=1, max_size=30),
    st.floats(0, 600),
    st.lists(st.floats(0, 1000), min_size=2, max_size=10),
)
def test_shares_grow_from_zero_to_one(totals: list[float], age: float, after: list[float]) -> None:
    lead = LeadTimes(60.0, prior=3, size=100)
    lead.learn([pod(t) for t in totals])
    shares = lead.ready_share(age, np.sort(np.array([0.0, *after, 1e6])))
    assert shares[0] == 0.0
    assert shares[-1] == 1.0
    assert np.all(np.diff(shares) >= 0)


def test_a_lead_time_is_above_zero() -> None:
    with pytest.raises(ValueError, match="above 0"):
        LeadTimes(0.0, 1, 1)


def test_holding_partitions_takes_a_while_after_ready_also_where_nobody_sees_it() -> None:
    lead = LeadTimes(90.0, prior=1, size=100, join=2.0)
    assert lead.quantile(0.95) == 90.0, "what was declared is the whole way"
    lead.learn([LeadTime(f"p{n}", 0.0, 1.0, 5.0, None, 0.0) for n in range(10)])
    assert lead.quantile(0.95) == 8.0
    lead.learn([LeadTime(f"q{n}", 0.0, 1.0, 5.0, 4.0, 0.0) for n in range(100)])
    assert lead.quantile(0.95) == 10.0


def stuck(n: int, seconds: float, at: float) -> list[LeadTime]:
    """Pods that became Ready ``at`` (unix s) after their image was away."""
    return [LeadTime(f"{at}-{k}", 1.0, 1.0, seconds, 2.0, at + k) for k in range(n)]


@pytest.mark.parametrize("times", [1, 6])
def test_pods_that_were_held_up_for_hours_say_little_of_the_next(times: int) -> None:
    """However many of them came together: their image was away for all."""
    leads = LeadTimes(60.0, 5, 200)
    leads.learn(stuck(10, 56.0, 0.0))
    leads.learn(stuck(times, 10_800.0, 10_000.0))
    assert leads.quantile(0.95) == 241.0, "and a second for the scheduler"
    leads.learn(stuck(20 * times, 56.0, 20_000.0))
    assert leads.quantile(0.95) == 60.0


def test_pods_that_take_longer_by_now_are_followed() -> None:
    leads, found = LeadTimes(60.0, 5, 200), []
    for k in range(4):
        leads.learn(stuck(5, 596.0, 10_000.0 * k))
        found.append(leads.quantile(0.95))
    assert found == pytest.approx([241.0, 600.0, 600.0, 600.0])
    declared = LeadTimes(600.0, 5, 200)
    declared.learn(stuck(1, 2000.0, 0.0))
    assert declared.quantile(0.95) == 2004.0, "what is declared is usual, too"


@pytest.mark.parametrize("part", ["patch_to_created", "scheduled_to_ready", "ready_to_partitions"])
def test_whatever_held_a_pod_up_its_parts_stay_in_proportion(part: str) -> None:
    leads = LeadTimes(60.0, 5, 200)
    leads.learn(stuck(10, 56.0, 0.0))
    (usual,) = stuck(1, 56.0, 10_000.0)
    leads.learn([replace(usual, **{part: 7200.0})])
    assert leads.quantile(0.95) == pytest.approx(241.0)
    known = leads.part("scheduled_to_ready")
    assert known is not None
    assert known.points[0] > 1.0


def test_the_wait_for_a_node_is_no_part_of_what_held_a_pod_up() -> None:
    leads = LeadTimes(60.0, 5, 200)
    leads.learn([LeadTime("a", 1.0, 1800.0, 56.0, 2.0, 0.0)] * 5)
    assert (leads.quantile(0.95), leads.pod.quantile(0.95)) == (1859.0, 59.0)
