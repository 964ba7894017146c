"""The strong reactive rule: rate, excess lag, the hold, and holding still when it cannot see."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scaler.errors import ConfigError
from scaler.plan.decision import ServiceDecision
from scaler.plan.observation import Freshness, GroupObservation, TopicOffsets
from scaler.plan.reasons import Reason
from scaler.plan.service import Service
from simulations.policies.peers import PeerPolicy
from simulations.policies.rate_and_lag import RateAndLag, RateAndLagSettings, rate_and_lag

Observe = Callable[..., GroupObservation]
Offsets = Callable[..., TopicOffsets]
MakeService = Callable[..., Service]
PARTITIONS = 50


def policy(service: Service, **settings: object) -> PeerPolicy:
    return PeerPolicy("rate_and_lag", [RateAndLag(service, RateAndLagSettings(**settings))])  # type: ignore[arg-type]


def one(policy: PeerPolicy, now: float, observed: GroupObservation) -> ServiceDecision:
    (decision,) = policy.step(now, observed).services
    return decision


@pytest.fixture
def drive(observe: Observe, offsets: Offsets) -> Callable[..., list[ServiceDecision]]:
    """Feeds (end, backlog) of the whole topic at ticks of 15 s; the count follows the decision."""

    def run(rule: PeerPolicy, seen: list[tuple[int, int]], start: float = 0.0, count: int = 1) -> list[ServiceDecision]:
        decisions = []
        for n, (end, backlog) in enumerate(seen):
            now = start + n * 15.0
            rest = [0] * (PARTITIONS - 1)
            decision = one(rule, now, observe(now, count, offsets([end, *rest], [end - backlog, *rest])))
            assert decision.desired is not None
            count = decision.desired
            decisions.append(decision)
        return decisions

    return run


Drive = Callable[..., list[ServiceDecision]]


def test_a_steady_rate_needs_factor_times_rate_over_service_rate(service: MakeService, drive: Drive) -> None:
    # 20 requests/s, 2 a replica; the backlog is what is in service or not yet committed: 20 x (0.5 + 0.5).
    decisions = drive(policy(service(), factor=1.3), [(n * 300, 20) for n in range(20)])
    assert decisions[0].desired == 1  # no rate from one sample
    assert decisions[0].reason is Reason.INPUT_ABSENT
    assert {decision.desired for decision in decisions[1:]} == {13}
    assert decisions[-1].numbers.arrival_rate == 20.0
    assert decisions[-1].reason is Reason.STEADY


def test_excess_lag_is_drained_in_a_minute(service: MakeService, drive: Drive) -> None:
    # 20 requests/s, and 600 messages more than what is in flight: 600 / 60 / 2 = 5 replicas more.
    decisions = drive(policy(service(), factor=1.0), [(n * 300, 620) for n in range(5)])
    assert decisions[-1].desired == 15


def test_the_rate_is_the_mean_of_the_window(service: MakeService, drive: Drive) -> None:
    ends = [n * 300 for n in range(10)] + [2700 + 1500]
    decisions = drive(policy(service()), [(end, 0) for end in ends])
    assert decisions[-2].numbers.arrival_rate == 20.0
    assert decisions[-1].numbers.arrival_rate == (3 * 300 + 1500) / 60


def test_the_largest_answer_of_ten_minutes_counts(service: MakeService, drive: Drive) -> None:
    spike = [(n * 300, 20) for n in range(4)] + [(900 + 3000, 20)]
    calm = [(3900 + n * 30, 2) for n in range(1, 80)]
    counts = [decision.desired for decision in drive(policy(service(), factor=1.0), spike + calm)]
    peak = counts[4]
    assert peak == math.ceil((3 * 300 + 3000) / 60 / 2)
    # While the spike is in the one-minute window the answer falls; the hold of each answer is 600 s.
    assert counts[4 : 4 + 41] == [peak] * 41
    assert counts[-1] == 1
    assert counts[4:] == sorted(counts[4:], key=lambda count: -(count or 0))
    reasons = [d.reason for d in drive(policy(service(), factor=1.0), spike + calm)]
    assert reasons[10] is Reason.SCALE_IN_DELAYED


def test_limits_are_named(service: MakeService, drive: Drive) -> None:
    fast = [(n * 15_000, 0) for n in range(3)]
    by_max = drive(policy(service(max_replicas=30)), fast)[-1]
    assert (by_max.desired, by_max.reason) == (30, Reason.MAX_REPLICAS)
    by_partitions = drive(policy(service(max_replicas=100)), fast)[-1]
    assert (by_partitions.desired, by_partitions.reason) == (PARTITIONS, Reason.PARTITIONS)
    by_min = drive(policy(service(min_replicas=3)), [(0, 0)] * 3, count=3)[-1]
    assert (by_min.desired, by_min.reason) == (3, Reason.MIN_REPLICAS)


@pytest.mark.parametrize("freshness", [Freshness.STALE, Freshness.ABSENT, Freshness.ERROR])
def test_without_fresh_offsets_the_count_is_held(
    service: MakeService, observe: Observe, drive: Drive, freshness: Freshness
) -> None:
    rule = policy(service())
    count = drive(rule, [(n * 300, 20) for n in range(5)])[-1].desired
    for n in range(5, 200):  # long after the hold of the last answer
        decision = one(rule, n * 15.0, observe(n * 15.0, count, None, freshness=freshness))
        assert decision.desired == count
        assert decision.reasons[1] is Reason.BROKER_UNREACHABLE
        assert decision.numbers.backlog is None
        assert decision.numbers.arrival_rate is None


def test_an_unknown_count_is_not_written(service: MakeService, observe: Observe, offsets: Offsets) -> None:
    decision = one(policy(service()), 0.0, observe(0.0, 3, offsets([1], [0]), replicas=Freshness.ABSENT))
    assert (decision.desired, decision.current) == (None, None)


def test_offsets_that_go_back_are_a_new_topic_not_a_negative_rate(service: MakeService, drive: Drive) -> None:
    decisions = drive(policy(service()), [(n * 300, 20) for n in range(5)] + [(10, 0), (310, 20)])
    assert decisions[5].reason is Reason.TOPIC_RECREATED
    assert decisions[5].desired == decisions[4].desired
    assert decisions[6].numbers.arrival_rate == 20.0


def test_messages_deleted_by_retention_are_not_backlog(
    service: MakeService, observe: Observe, offsets: Offsets
) -> None:
    rule = policy(service())
    decision = one(rule, 0.0, observe(0.0, 1, offsets([1000], [-1], begin=[990])))
    assert decision.numbers.backlog == 10


def test_a_time_scale_shrinks_every_period_alike(service: MakeService, observe: Observe, offsets: Offsets) -> None:
    # Ten times faster: ten times the rate in a tenth of the time, served by replicas ten times as fast.
    slow = policy(service(), commit_delay=0.0)
    fast = policy(service(service_rate=20.0, service_time=0.05), commit_delay=0.0, time_scale=0.1)
    end, counts = 0, [1, 1]
    for n in range(100):
        end += 600 if 20 <= n < 30 else 90
        for which, (rule, tick) in enumerate(((slow, 15.0), (fast, 1.5))):
            seen = observe(n * tick, counts[which], offsets([end] + [0] * 49, [end - 3] + [0] * 49))
            counts[which] = one(rule, n * tick, seen).desired or 0
        assert counts[0] == counts[1]


def test_a_restored_policy_decides_the_same(service: MakeService, drive: Drive) -> None:
    seen = [(n * 300 + (n % 7) * 50, n % 40) for n in range(80)]
    whole = [decision.desired for decision in drive(policy(service()), seen)]
    first, second = policy(service()), policy(service())
    halves = [decision.desired for decision in drive(first, seen[:37])]
    second.restore(first.snapshot())
    halves += [d.desired for d in drive(second, seen[37:], start=37 * 15.0, count=halves[-1] or 0)]
    assert halves == whole
    with pytest.raises(ValueError, match="a snapshot of"):
        PeerPolicy("keda_lag", []).restore(first.snapshot())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 5000)), min_size=2, max_size=30))
def test_it_never_answers_below_what_the_rate_needs_and_stays_in_bounds(
    service: MakeService, observe: Observe, offsets: Offsets, steps: list[tuple[int, int]]
) -> None:
    rule, end, count = policy(service(), factor=1.0), 0, 1
    for n, (arrived, backlog) in enumerate(steps):
        end += arrived
        seen = offsets([end] + [0] * 99, [max(end - backlog, 0)] + [0] * 99)
        decision = one(rule, n * 15.0, observe(n * 15.0, count, seen))
        assert decision.desired is not None
        assert 1 <= decision.desired <= 100
        rate = decision.numbers.arrival_rate
        if rate is not None:
            assert decision.desired >= min(100, math.ceil(rate / 2 - 1e-9))
        count = decision.desired


@pytest.mark.parametrize(
    ("options", "piece"),
    [
        ({"factor": "0"}, "factor: found 0.0; allowed: more than 0"),
        ({"factor": "big"}, 'factor: found "big"; allowed: a number'),
        ({"hold": "600"}, 'write "600s"'),
        ({"threshold": "1"}, "found option threshold; allowed: factor, rate_window"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, str], piece: str) -> None:
    with pytest.raises(ConfigError) as refused:
        rate_and_lag(options)
    assert piece in str(refused.value)


def test_right_options_are_taken() -> None:
    assert rate_and_lag({"factor": "1.3", "hold": "5m", "time_scale": "0.1"}) is not None
