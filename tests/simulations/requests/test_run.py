"""Services under a policy, request by request: what it is shown, who gets the replicas of a total, what comes of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from forecasting.series import Series
from scaler.plan.decision import GroupDecision, Numbers, ServiceDecision
from scaler.plan.observation import GroupObservation
from scaler.plan.reasons import Reason
from simulations.errors import BadSetting
from simulations.policies.catalog import entry
from simulations.request_level.record import measures, together
from simulations.request_level.run import simulate_requests
from simulations.request_level.setting import TOTAL, RequestService, RequestSetting
from simulations.service_times import Exponential
from simulations.setting import Between, Shared

MakeService = Callable[..., RequestService]
NO_REQUESTS = np.empty(0)


@dataclass
class Scripted:
    """Asks for what is written, tick by tick, for each service; keeps what it was shown."""

    desired: Sequence[Sequence[int]]
    shown: list[GroupObservation] = field(default_factory=list)

    def step(self, now: float, observed: GroupObservation) -> GroupDecision:
        row = self.desired[min(len(self.shown), len(self.desired) - 1)]
        self.shown.append(observed)
        return GroupDecision(
            tuple(
                ServiceDecision(s.uid, now, None, n, (Reason.NO_FORECAST, Reason.APPLIED), Numbers())
                for s, n in zip(observed.services, row, strict=True)
            )
        )

    def snapshot(self) -> bytes:
        return b""

    def restore(self, saved: bytes) -> None:
        raise NotImplementedError


def test_what_the_policy_is_shown(service: MakeService) -> None:
    """Arrivals at 1, 2, 12 and 13 s take 4 s each, one at a time: they leave at 5, 9, 16 and 20; ticks at 10 and 20."""
    one = service([4.0] * 4, window=10.0, overhead=0.5, lead_time=Between(3.0, 3.0))
    policy = Scripted([[1], [2], [1]])
    arrivals = np.array([1.0, 2.0, 12.0, 13.0])
    past = Series(940.0, 60.0, np.array([1.0]))
    simulate_requests(RequestSetting((one,), 10.0), [arrivals], policy, seconds=30.0, start=1000.0, history=[past])
    first, second, third = (observed.services[0] for observed in policy.shown)
    assert first.latency is not None
    assert first.latency.value is None
    assert first.history is not None
    assert first.history.value is past
    assert (second.history, third.history) == (None, None)
    assert second.offsets.value is not None
    assert (second.offsets.value.end.tolist(), second.offsets.value.committed.tolist()) == ([2], [2])
    assert second.latency is not None
    assert second.latency.value is not None
    # 5 - 1 + 0.5 and 9 - 2 + 0.5
    assert (second.latency.value.count, second.latency.value.sum) == (2.0, 12.0)
    assert second.latency.time == 1010.0
    assert third.replicas.value is not None
    assert (third.replicas.value.desired, third.replicas.value.ready, third.replicas.value.pending_since) == (2, 2, ())
    (lead,) = third.lead_times
    assert (lead.patch_to_created, lead.scheduled_to_ready, lead.ready_at) == (0.0, 3.0, 1013.0)
    assert third.latency is not None
    assert third.latency.value is not None
    # The second replica, ready at 13, took the last request: both left by 17.
    assert (third.latency.value.count, third.latency.value.sum) == (2.0, 9.0)
    assert policy.shown[0].pools == ()


def test_partitions_are_shown_and_nothing_is_served_before_it_came(service: MakeService) -> None:
    one = service(Exponential(0.5), queue=Shared(3), window=10.0)
    policy = Scripted([[1]])
    rng = np.random.default_rng(0)
    simulate_requests(RequestSetting((one,), 10.0), [np.sort(rng.uniform(0, 100, 150))], policy)
    for observed in policy.shown:
        seen = observed.services[0].offsets.value
        assert seen is not None
        assert seen.end.shape == seen.committed.shape == (3,)
        assert (seen.committed <= seen.end).all()


def test_refusals_are_shown_in_the_mean_only_where_asked(service: MakeService) -> None:
    for drops_seen, count in ((False, 1.0), (True, 3.0)):
        one = service([1.0] * 3, queue_bound=0, window=10.0, overhead=0.25, drops_seen=drops_seen)
        policy = Scripted([[1]])
        simulate_requests(RequestSetting((one,), 10.0), [np.array([0.0, 0.1, 0.2])], policy, seconds=20.0)
        latency = policy.shown[1].services[0].latency
        assert latency is not None
        assert latency.value is not None
        assert (latency.value.count, latency.value.sum) == (count, 1.0 + count * 0.25)


def test_who_asked_first_gets_the_next_replica(service: MakeService) -> None:
    """Total 4. Tick 0: a and b ask for 3 each, one of each fits, a's; tick 1: c asks; then a gives up two."""
    names = ("a", "b", "c")
    services = tuple(service([1.0], uid=uid, window=10.0, lead_time=Between(5.0, 5.0)) for uid in names)
    policy = Scripted([[2, 3, 1], [2, 3, 2], [1, 3, 2], [1, 3, 2], [1, 1, 2], [1, 1, 2]])
    record = simulate_requests(RequestSetting(services, 10.0, total=4), [NO_REQUESTS] * 3, policy, seconds=60.0)
    a, b, c = record.services
    assert a.desired.tolist() == [2, 2, 1, 1, 1, 1]
    assert a.granted.tolist() == [2, 2, 1, 1, 1, 1]
    # b wanted two at tick 0 and gets one of them when a gives one up; c, who asked at tick 1, when b takes back.
    assert b.granted.tolist() == [1, 1, 2, 2, 1, 1]
    assert c.granted.tolist() == [1, 1, 1, 1, 2, 2]
    assert [p.pools[0].uid for p in policy.shown] == [TOTAL] * 6
    pools = [p.pools[0].state.value for p in policy.shown]
    assert [(p.ready, p.empty) for p in pools if p is not None] == [(4, 1), (4, 0), (4, 0), (4, 0), (4, 0), (4, 0)]
    # A replica that was asked for and has no room does not exist, for b at tick 1: neither ready nor on its way.
    state = policy.shown[1].services[1].replicas.value
    assert state is not None
    assert (state.desired, state.ready, state.pending_since) == (3, 1, ())
    # The lead time that was seen holds the wait for room.
    (lead,) = policy.shown[3].services[1].lead_times
    assert (lead.patch_to_created, lead.scheduled_to_ready) == (20.0, 5.0)


def test_measures_by_hand(service: MakeService) -> None:
    """Objective 1 s, two at most in the queue: latencies 0.8, 1.3, 1.8, one refused, then 0.8 again."""
    one = service([0.8] * 5, queue_bound=2, window=10.0)
    arrivals = np.array([0.0, 0.3, 0.6, 0.7, 15.0])
    policy = Scripted([[1], [3]])
    record = simulate_requests(RequestSetting((one,), 10.0), [arrivals], policy, seconds=40.0)
    (row,) = measures(record)
    assert (row.requests, row.refused, row.late) == (5, 1, 3)
    assert row.missed == 3 / 5
    assert row.mean == pytest.approx((0.8 + 1.3 + 1.8 + 0.8) / 4)
    assert row.p50 == pytest.approx((0.8 + 1.3) / 2)
    assert row.replica_hours == pytest.approx((1 + 3 + 3 + 3) * 10 / 3600)
    assert row.mean_replicas == 2.5
    assert row.changes == 1
    assert together(record).missed == row.missed
    assert record.services[0].reasons[0] == "NoForecast Applied"
    assert record.ticks.tolist() == [0.0, 10.0, 20.0, 30.0]


def test_exactly_at_the_objective_is_in_time(service: MakeService) -> None:
    one = service([1.0, 1.0], window=10.0)  # within 1 s
    record = simulate_requests(RequestSetting((one,), 10.0), [np.array([0.0, 0.5])], Scripted([[1]]))
    assert record.services[0].late.tolist() == [False, True]


def test_the_last_tick_is_paid_as_far_as_the_run_goes_and_the_first_change_counts(service: MakeService) -> None:
    one = service([1.0], window=10.0)
    record = simulate_requests(RequestSetting((one,), 10.0), [NO_REQUESTS], Scripted([[2], [2], [4]]), seconds=25.0)
    (row,) = measures(record)
    assert row.replica_hours == pytest.approx((2 * 20 + 4 * 5) / 3600)
    assert row.mean_replicas == pytest.approx(60 / 25)
    assert row.changes == 2


def test_what_arrives_after_the_run_is_left_out(service: MakeService) -> None:
    one = service([1.0] * 4, window=10.0)
    arrivals = np.array([0.0, 19.5, 20.0, 20.5])
    record = simulate_requests(RequestSetting((one,), 10.0), [arrivals], Scripted([[1]]), seconds=20.0)
    assert record.services[0].arrivals.tolist() == [0.0, 19.5, 20.0]
    assert record.services[0].latency.tolist() == [1.0, 1.0, 1.5]  # served to the end
    assert measures(record)[0].replica_hours == pytest.approx(20 / 3600)


@pytest.mark.parametrize(
    ("seconds", "history", "desired", "said"),
    [
        (math.nan, None, 1, "seconds: found nan; allowed: a finite length of at least 0 s"),
        (-1.0, None, 1, "seconds: found -1.0"),
        (math.inf, None, 1, "seconds: found inf"),
        (10.0, [None, None], 1, "history: found 2; allowed: one for each service, 1, or none"),
        (10.0, None, -1, "the policy decided for u: found -1 replicas; allowed: at least 0"),
    ],
)
def test_a_run_that_cannot_be_is_refused(
    service: MakeService, seconds: float, history: list[None] | None, desired: int, said: str
) -> None:
    setting = RequestSetting((service([1.0]),), 10.0)
    with pytest.raises(BadSetting, match=said):
        simulate_requests(setting, [np.array([1.0])], Scripted([[desired]]), seconds=seconds, history=history)


def test_arrivals_that_are_no_list_of_times_are_refused(service: MakeService) -> None:
    setting = RequestSetting((service([1.0]),), 10.0)
    with pytest.raises(BadSetting, match=r"arrivals of u: found shape \(2, 2\); allowed: one time after the other"):
        simulate_requests(setting, [np.zeros((2, 2))], Scripted([[1]]))


def test_no_requests_no_figures(service: MakeService) -> None:
    record = simulate_requests(RequestSetting((service([1.0]),), 10.0), [NO_REQUESTS], Scripted([[1]]))
    (row,) = measures(record)
    assert row.requests == 0
    assert math.isnan(row.missed)
    assert math.isnan(row.p99)


def test_never_served_is_late(service: MakeService) -> None:
    record = simulate_requests(RequestSetting((service([1.0], replicas=0),), 10.0), [np.array([1.0])], Scripted([[0]]))
    (row,) = measures(record)
    assert (row.late, row.refused) == (1, 0)


def test_one_seed_the_same_result_and_policies_meet_the_same_requests(service: MakeService) -> None:
    rng = np.random.default_rng(5)
    arrivals = [np.sort(rng.uniform(0, 600, 3000)), np.sort(rng.uniform(0, 600, 1500))]

    def run(seed: int, policy: object) -> object:
        services = tuple(
            service(Exponential(0.4), uid=uid, lead_time=Between(10.0, 40.0), replicas=2) for uid in ("a", "b")
        )
        setting = RequestSetting(services, 10.0, total=8, seed=seed)
        return simulate_requests(setting, arrivals, policy)  # type: ignore[arg-type]

    def aiad() -> object:
        return entry("aiad").make({})([service([1.0], uid=uid).service for uid in ("a", "b")])

    one, two, other = run(1, aiad()), run(1, aiad()), run(2, aiad())
    for left, right in zip(one.services, two.services, strict=True):  # type: ignore[attr-defined]
        np.testing.assert_array_equal(left.latency, right.latency)
        np.testing.assert_array_equal(left.granted, right.granted)
        assert left.reasons == right.reasons
    assert not np.array_equal(one.services[0].latency, other.services[0].latency)  # type: ignore[attr-defined]
    # With room for everybody each latency is the request's own work: the same under any policy.
    ample, more = run(1, Scripted([[4, 4]])), run(1, Scripted([[4, 4]]))
    np.testing.assert_array_equal(ample.services[1].latency, more.services[1].latency)  # type: ignore[attr-defined]


def test_progress_is_told(service: MakeService) -> None:
    told: list[float] = []
    setting = RequestSetting((service([1.0]),), 10.0)
    simulate_requests(setting, [np.array([1.0])], Scripted([[1]]), seconds=40.0, progress=told.append)
    assert told == [0.25, 0.5, 0.75, 1.0]


def test_what_does_not_fit_the_services_is_refused(service: MakeService) -> None:
    setting = RequestSetting((service([1.0]),), 10.0)
    with pytest.raises(BadSetting, match="arrivals: found 2; allowed: one for each service, 1"):
        simulate_requests(setting, [NO_REQUESTS, NO_REQUESTS], Scripted([[1]]))

    class Silent(Scripted):
        def step(self, now: float, observed: GroupObservation) -> GroupDecision:
            return GroupDecision(())

    with pytest.raises(BadSetting, match=r"the policy decided for \[\]; allowed: \['u'\]"):
        simulate_requests(setting, [NO_REQUESTS], Silent([[1]]))


@pytest.mark.parametrize("name", ["keda_lag", "hpa_rate", "rate_and_lag", "lagcast_reactive"])
def test_every_policy_of_the_catalog_can_run_here(service: MakeService, name: str) -> None:
    """Load for about four replicas, from one: each policy asks for more and serves most in time."""
    one = service(Exponential(0.5), queue=Shared(16), lead_time=Between(15.0, 15.0))
    arrivals = np.cumsum(np.random.default_rng(2).exponential(0.14, 6_000))
    policy = entry(name).make({})([one.service])
    record = simulate_requests(RequestSetting((one,), 10.0, total=12), [arrivals], policy)
    assert record.services[0].ready[-1] >= 2
    assert measures(record)[0].missed < 0.6
