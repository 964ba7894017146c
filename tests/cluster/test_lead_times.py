"""Lead times from what pods tell: parts, resolution, and pods that must not be counted."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.observe.lead_times import LeadTimes
from scaler.observe.pods import Pod

T = 1_800_000_000.0


def pod(name: str = "chat-1", **more: object) -> Pod:
    fresh = Pod(
        uid=name,
        name=name,
        created=T,
        scheduled=None,
        ready=None,
        ends=None,
        finished=False,
        restarted=False,
        template="1",
    )
    return replace(fresh, **more)  # type: ignore[arg-type]


def test_seen_live_the_parts_are_exact() -> None:
    leads = LeadTimes()
    leads.asked(1, 2, at=T - 0.4)
    leads.see(pod(), arrived=T + 0.1)
    leads.see(pod(scheduled=T + 2), arrived=T + 2.7)
    leads.see(pod(scheduled=T + 2, ready=T + 30), arrived=T + 30.2)
    (lead,) = leads.take()
    assert lead.patch_to_created == pytest.approx(0.5)
    assert lead.created_to_scheduled == pytest.approx(2.6)
    assert lead.scheduled_to_ready == pytest.approx(27.5)
    assert lead.ready_to_partitions is None
    assert lead.total == pytest.approx(30.6)
    assert lead.ready_at == pytest.approx(T + 30.2)


def test_found_in_a_list_the_parts_are_differences_of_stamps() -> None:
    leads = LeadTimes()
    leads.see(pod(scheduled=T + 2, ready=T + 30), arrived=None)
    (lead,) = leads.take()
    assert (lead.patch_to_created, lead.created_to_scheduled, lead.scheduled_to_ready) == (None, 2.0, 28.0)


@given(
    created=st.floats(0, 1),
    to_scheduled=st.floats(0, 500),
    to_ready=st.floats(0, 500),
    lag=st.sampled_from([0.0, 0.02, 0.2, 1.0, 3.0, 60.0]),
    live=st.booleans(),
)
def test_how_far_a_part_can_be_off(
    created: float, to_scheduled: float, to_ready: float, lag: float, live: bool
) -> None:
    at = [T + created, T + created + to_scheduled, T + created + to_scheduled + to_ready]
    stamps = [float(int(t)) for t in at]
    arrived = [t + lag if live else None for t in at]
    leads = LeadTimes()
    leads.see(pod(created=stamps[0]), arrived=arrived[0])
    leads.see(pod(created=stamps[0], scheduled=stamps[1]), arrived=arrived[1])
    leads.see(pod(created=stamps[0], scheduled=stamps[1], ready=stamps[2]), arrived=arrived[2])
    (lead,) = leads.take()
    assert lead.created_to_scheduled is not None
    assert lead.scheduled_to_ready is not None
    limit = min(0.5 + lag, 1.5) if live and lag else 0.0 if live else 1.0
    for part, true in ((lead.created_to_scheduled, to_scheduled), (lead.scheduled_to_ready, to_ready)):
        assert part >= 0.0
        assert abs(part - true) <= limit + 1e-6


def test_a_clock_that_differs_does_not_leak_into_the_parts() -> None:
    leads = LeadTimes()
    skew = -40.0  # this machine's clock is behind the API server's
    leads.see(pod(), arrived=T + skew)
    leads.see(pod(scheduled=T, ready=T + 20), arrived=T + 20 + skew)
    (lead,) = leads.take()
    assert lead.total == pytest.approx(20.0, abs=1.0)


def test_each_pod_is_told_once_however_often_it_is_seen() -> None:
    leads = LeadTimes()
    for _ in range(3):
        leads.see(pod(scheduled=T, ready=T + 9), arrived=T + 9.5)
    assert len(leads.take()) == 1
    assert leads.take() == ()


def test_ready_again_is_no_second_sample() -> None:
    leads = LeadTimes()
    leads.see(pod(scheduled=T, ready=T + 9), arrived=T + 9.5)
    leads.see(pod(scheduled=T), arrived=T + 50.0)
    leads.see(pod(scheduled=T, ready=T + 70), arrived=T + 70.5)
    assert [lead.ready_at for lead in leads.take()] == [T + 9.5]


def test_a_pod_found_after_restarts_is_not_believed() -> None:
    leads = LeadTimes()
    leads.see(pod(scheduled=T, ready=T + 900, restarted=True), arrived=None)
    leads.see(pod("chat-2", scheduled=T, restarted=True), arrived=None)
    leads.see(pod("chat-2", scheduled=T, ready=T + 950, restarted=True), arrived=T + 950.5)
    assert leads.take() == ()


def test_a_new_pod_that_crashes_on_its_way_is_believed() -> None:
    leads = LeadTimes()
    leads.see(pod(), arrived=T + 0.1)
    leads.see(pod(scheduled=T, restarted=True), arrived=T + 40.0)
    leads.see(pod(scheduled=T, ready=T + 90, restarted=True), arrived=T + 90.5)
    assert len(leads.take()) == 1


def test_a_pod_found_with_an_endless_way_was_ready_before() -> None:
    leads = LeadTimes(longest=3600.0)
    leads.see(pod(scheduled=T, ready=T + 86_400), arrived=None)
    assert leads.take() == ()


def test_a_pod_found_not_ready_after_days_teaches_nothing_when_it_is_ready_again() -> None:
    """Its readiness probe failed as the controller started: five days are no lead time."""
    leads = LeadTimes()
    leads.see(pod(scheduled=T), arrived=None)
    leads.see(pod(scheduled=T, ready=T + 432_000), arrived=T + 432_000.5)
    assert leads.take() == ()


def test_a_long_way_that_was_watched_is_believed() -> None:
    leads = LeadTimes(longest=3600.0)
    leads.see(pod(), arrived=T + 0.2)
    leads.see(pod(scheduled=T + 7000, ready=T + 7100), arrived=T + 7100.5)
    (lead,) = leads.take()
    assert lead.total > 7000.0


@pytest.mark.parametrize("state", [{"ends": T}, {"finished": True}])
def test_pods_on_their_way_out_teach_nothing(state: dict[str, bool]) -> None:
    leads = LeadTimes()
    leads.see(pod(scheduled=T, ready=T + 9, **state), arrived=T + 9.5)
    assert leads.take() == ()


def test_without_a_scheduler_the_total_is_still_right() -> None:
    leads = LeadTimes()
    leads.see(pod(ready=T + 12), arrived=None)
    (lead,) = leads.take()
    assert (lead.created_to_scheduled, lead.scheduled_to_ready, lead.total) == (None, 12.0, 12.0)


def test_an_ask_explains_as_many_pods_as_it_was_for() -> None:
    leads = LeadTimes()
    leads.asked(3, 5, at=T - 1.0)
    for number in range(3):  # the third one replaces a pod that crashed
        leads.see(pod(f"chat-{number}", scheduled=T, ready=T + 9), arrived=None)
    assert [lead.patch_to_created for lead in leads.take()] == [1.5, 1.5, None]


def test_the_newest_ask_before_the_pod_is_its_own() -> None:
    leads = LeadTimes()
    leads.asked(1, 2, at=T - 100.0)
    leads.asked(2, 3, at=T - 3.0)
    leads.asked(3, 4, at=T + 50.0)
    leads.see(pod(scheduled=T, ready=T + 60), arrived=None)
    (lead,) = leads.take()
    assert lead.patch_to_created == 3.5


def test_scaling_in_explains_no_pod() -> None:
    leads = LeadTimes()
    leads.asked(5, 2, at=T - 1.0)
    leads.see(pod(scheduled=T, ready=T + 9), arrived=None)
    (lead,) = leads.take()
    assert lead.patch_to_created is None


def test_a_pod_older_than_the_ask_is_not_its_own() -> None:
    leads = LeadTimes()
    leads.asked(0, 1, at=T + 5.0)
    leads.see(pod(scheduled=T, ready=T + 9), arrived=None)
    (lead,) = leads.take()
    assert lead.patch_to_created is None


def test_noted_a_moment_late_the_ask_still_counts() -> None:
    leads = LeadTimes()
    leads.see(pod(), arrived=T + 0.30)
    leads.asked(0, 1, at=T + 0.35)  # the writer noted it after the API server's answer
    leads.see(pod(scheduled=T, ready=T + 9), arrived=T + 9.5)
    (lead,) = leads.take()
    assert lead.patch_to_created == 0.0


def test_what_nobody_fetches_is_bounded() -> None:
    leads = LeadTimes()
    for number in range(1500):
        leads.see(pod(f"chat-{number}", scheduled=T, ready=T + 9), arrived=None)
        leads.gone(f"chat-{number}")
    told = leads.take()
    assert len(told) == 1000
    assert told[-1].pod == "chat-1499"
