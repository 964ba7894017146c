"""Rule 13: backlog, ready replicas and no commits is not load: freeze, hold, say so; freeze in rebalances, too."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.plan.observation import GroupObservation
from scaler.plan.policy import PredictivePolicy
from scaler.plan.reasons import Reason
from tests.plan.loop import LAB, REAL, Foresight
from tests.rules.situations import Cluster, Tick, policies, services


def stuck_after(service) -> int:
    """Ticks without a commit after which consumers count as stuck."""
    return round(max(4 * service.tick, 4 * service.service_time, 10.0) / service.tick)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), service=services(), rate=st.floats(1, 100), ticks=st.integers(1, 40))
def test_stuck_consumers_are_held_whatever_the_load_and_the_forecast(data, service, rate, ticks) -> None:
    service = replace(service, schedule=())  # a limit that begins meanwhile holds, whatever the consumers do
    cluster = Cluster(service, replicas=max(service.min_replicas, min(4, service.max_replicas)))
    policy = data.draw(policies(service))
    cluster.play(policy, [Tick(rate, 1.0, nobody_obeys=True)] * 5)
    stuck = Tick(rate, 0.0)
    cluster.play(policy, [stuck] * (stuck_after(service) + 1))
    count, learned = cluster.desired, None
    for _, _, decision in cluster.play(policy, [stuck] * ticks):
        if cluster.ready == 0:
            return  # nobody is there who could be stuck
        assert decision.reason is Reason.CONSUMERS_NOT_PROGRESSING
        assert decision.desired == count
        assert learned in (None, decision.numbers.service_rate)
        learned = decision.numbers.service_rate


@pytest.mark.parametrize("service", [LAB, REAL], ids=["lab", "real"])
def test_a_growing_pile_is_not_answered_before_it_is_certain_either(service) -> None:
    policy = PredictivePolicy([service], lambda s: None)
    rate = 3 * service.service_rate
    cluster = Cluster(service, partitions=2520, replicas=5)
    cluster.play(policy, [Tick(rate, 1.0)] * 10)
    before = cluster.desired
    cluster.play(policy, [Tick(rate, 0.0)] * 100)
    assert cluster.desired <= before + 1


def test_it_takes_a_while_and_every_condition() -> None:
    def reasons(tick: Tick, ticks: int, replicas: int = 5) -> list[Reason]:
        policy = PredictivePolicy([LAB], lambda s: None)
        cluster = Cluster(LAB, replicas=replicas)
        cluster.play(policy, [Tick(20.0, 1.0)] * 5)
        return [r for _, _, d in cluster.play(policy, [tick] * ticks) for r in d.reasons]

    stuck = Reason.CONSUMERS_NOT_PROGRESSING
    after = stuck_after(LAB)
    assert stuck not in reasons(Tick(20.0, 0.0), after - 1), "commits come in batches"
    assert stuck in reasons(Tick(20.0, 0.0), after + 1)
    assert stuck not in reasons(Tick(20.0, 0.5), 40), "slow is not stuck"
    assert stuck not in reasons(Tick(0.0, 0.0), 40), "no backlog"


def test_nobody_is_given_up_in_a_tick_without_a_commit() -> None:
    service = replace(LAB, scale_in_hold=4 * LAB.tick)
    policy = PredictivePolicy([service], lambda s: None)
    cluster = Cluster(service, replicas=8)
    cluster.play(policy, [Tick(10.0, 1.0)] * 4)  # far too many, and nearly long enough so
    before = cluster.desired
    cluster.play(policy, [Tick(10.0, 0.0)] * (stuck_after(service) - 1))
    assert cluster.desired == before
    cluster.play(policy, [Tick(10.0, 1.0)] * 20)
    assert cluster.desired < before


def test_no_replica_is_not_stuck() -> None:
    service = replace(LAB, min_replicas=0)
    policy = PredictivePolicy([service], lambda s: None)
    cluster = Cluster(service, replicas=0)
    played = cluster.play(policy, [Tick(10.0, 1.0, become_ready=0.0)] * 30)
    assert all(Reason.CONSUMERS_NOT_PROGRESSING not in d.reasons for _, _, d in played)
    assert played[-1][2].desired is not None
    assert played[-1][2].desired >= 2


def test_when_they_move_again_the_backlog_is_load() -> None:
    policy = PredictivePolicy([LAB], lambda s: None)
    cluster = Cluster(LAB, partitions=2520, replicas=5)
    cluster.play(policy, [Tick(18.0, 1.0)] * 5)
    cluster.play(policy, [Tick(18.0, 0.0)] * 60)
    before = cluster.desired
    moved = cluster.play(policy, [Tick(18.0, 1.0)] * 3)
    assert Reason.CONSUMERS_NOT_PROGRESSING not in moved[-1][2].reasons
    assert cluster.desired > before


def overloaded(**changes) -> list[float]:
    """Service rates over 40 ticks of saturated work at 3 requests/s a replica, declared as 5; nobody scales."""
    policy = PredictivePolicy([LAB], lambda s: None)
    cluster = Cluster(LAB, replicas=6)
    cluster.play(policy, [Tick(60.0, 0.6, nobody_obeys=True)] * 20)
    rates = []
    for k in range(40):
        observed = cluster.advance(Tick(60.0, 0.6))
        state = observed.replicas.value
        assert state is not None
        changed = {name: value(k) for name, value in changes.items()}
        observed = replace(observed, replicas=replace(observed.replicas, value=replace(state, **changed)))
        decision = policy.step(cluster.now, GroupObservation((observed,))).services[0]
        rates.append(decision.numbers.service_rate or 0.0)
    return rates


def test_the_service_rate_is_learned_when_nothing_is_in_the_way() -> None:
    assert overloaded()[-1] == pytest.approx(3.0, rel=0.02)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"updating": lambda k: True}, id="rolling update"),
        pytest.param({"template": lambda k: f"t{k}"}, id="template changes"),
        pytest.param({"ready": lambda k: 5 + k % 2}, id="consumers join and leave"),
        pytest.param({"terminating": lambda k: 1}, id="consumers are leaving"),
    ],
)
def test_nothing_is_learned_in_a_rebalance_or_a_rolling_update(changes) -> None:
    rates = overloaded(**changes)
    assert len(set(rates[2:])) == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"updating": True}, Reason.ROLLING_UPDATE), ({"terminating": 1}, Reason.REBALANCING)],
)
def test_nothing_is_given_back_in_a_rebalance_or_a_rolling_update(changes, reason) -> None:
    def run(changes: dict[str, object]) -> tuple[int, set[Reason]]:
        policy = PredictivePolicy([LAB], lambda s: Foresight(lambda t: 2.0, s.step))
        cluster = Cluster(LAB, replicas=12)
        named: set[Reason] = set()
        for _ in range(40):
            observed = cluster.advance(Tick(2.0, 1.0))
            state = observed.replicas.value
            assert state is not None
            observed = replace(observed, replicas=replace(observed.replicas, value=replace(state, **changes)))
            decision = policy.step(cluster.now, GroupObservation((observed,))).services[0]
            named |= set(decision.reasons)
            cluster.scale(decision.desired or 0)
        return cluster.desired, named

    desired, named = run(changes)
    assert desired == 12
    assert reason in named
    assert run({})[0] < 12
