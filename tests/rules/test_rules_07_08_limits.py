"""Rules 7 and 8: no more than can be given work; every change passes the limits, and the limit is named."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.plan.guard import limited
from scaler.plan.policy import PredictivePolicy
from scaler.plan.reasons import Reason
from tests.plan.loop import LAB, Foresight
from tests.rules.situations import Cluster, Tick, policies, services, stretches

LIMITS = {
    Reason.PARTITIONS,
    Reason.MIN_REPLICAS,
    Reason.MAX_REPLICAS,
    Reason.SCALE_OUT_LIMIT,
    Reason.SCALE_IN_LIMIT,
}


@settings(max_examples=60, deadline=None)
@given(data=st.data(), service=services(), sequence=stretches, partitions=st.integers(1, 40))
def test_every_change_passes_the_limits(data, service, sequence, partitions) -> None:
    cluster = Cluster(service, partitions=partitions)
    for _, observed, decision in cluster.play(data.draw(policies(service)), sequence):
        current, desired = decision.current, decision.desired
        if current is None or desired is None:
            continue
        if desired > current:
            assert desired <= service.max_replicas
            asked = max(service.min_replicas, *(window.least or 0 for window in service.schedule), 0)
            assert desired <= max(partitions, asked) or not observed.offsets.fresh
            if service.max_scale_out is not None:
                assert desired - current <= service.max_scale_out
        if desired < current:
            assert desired >= service.min_replicas
            if service.max_scale_in is not None:
                assert current - desired <= service.max_scale_in
        outside = not service.min_replicas <= desired <= service.max_replicas
        if outside and observed.replicas.fresh and observed.offsets.fresh and not decision_faulty(decision):
            assert Reason.SCALE_OUT_LIMIT in decision.reasons or Reason.SCALE_IN_LIMIT in decision.reasons


def decision_faulty(decision) -> bool:
    return any(r in decision.reasons for r in (Reason.INPUT_STALE, Reason.INPUT_ABSENT, Reason.INPUT_ERROR))


@given(data=st.data(), service=services(), wanted=st.integers(0, 80), current=st.integers(0, 60))
def test_a_limit_is_named_when_and_only_when_it_moves_the_number(data, service, wanted, current) -> None:
    cap = data.draw(st.one_of(st.none(), st.integers(1, 60)))
    count, named = limited(wanted, current, cap, service)
    assert bool(named) == (count != wanted) or (named and count == wanted and len(named) > 1)
    least, most = service.min_replicas, service.max_replicas
    assert (Reason.MAX_REPLICAS in named) == (min(wanted, max(cap or 99, current, least)) > most)
    assert (Reason.MIN_REPLICAS in named) == (wanted < least)
    inside = min(max(wanted, least), most)
    if cap is not None and wanted > max(cap, current, least):
        assert Reason.PARTITIONS in named
        inside = min(max(cap, current, least), most)
    out, into = service.max_scale_out, service.max_scale_in
    expected = inside if out is None else min(inside, current + out)
    expected = expected if into is None else max(expected, current - into)
    assert count == expected


@pytest.mark.parametrize(
    ("changes", "replicas", "rate", "reason", "desired"),
    [
        pytest.param({"max_replicas": 6}, 4, 100.0, Reason.MAX_REPLICAS, 6, id="max"),
        pytest.param({"max_scale_out": 2}, 4, 100.0, Reason.SCALE_OUT_LIMIT, 6, id="step out"),
        pytest.param({"min_replicas": 5}, 4, 5.0, Reason.MIN_REPLICAS, 5, id="min"),
        pytest.param({"max_replicas": 9}, 12, 5.0, Reason.MAX_REPLICAS, 9, id="above max"),
        pytest.param({"max_replicas": 9, "max_scale_in": 2}, 14, 5.0, Reason.SCALE_IN_LIMIT, 12, id="step in"),
        pytest.param({}, 4, 200.0, Reason.PARTITIONS, 24, id="partitions"),
    ],
)
def test_the_limit_that_moved_the_number_is_named(changes, replicas, rate, reason, desired) -> None:
    service = replace(LAB, **changes)
    policy = PredictivePolicy([service], lambda s: None)
    cluster = Cluster(service, partitions=24, replicas=replicas)
    tick = Tick(rate, 1.0, nobody_obeys=True)
    decision = cluster.play(policy, [tick] * 4)[-1][2]
    assert decision.desired == desired
    assert reason in decision.reasons


def test_more_replicas_than_partitions_are_never_asked_for() -> None:
    policy = PredictivePolicy([LAB], lambda s: Foresight(lambda t: 500.0, s.step))
    cluster = Cluster(LAB, partitions=6)
    played = cluster.play(policy, [Tick(500.0, 1.0)] * 20)
    assert max(d.desired or 0 for _, _, d in played) == 6
    assert all(Reason.PARTITIONS in d.reasons for _, _, d in played[3:])


def test_counts_that_serve_no_more_are_not_asked_for() -> None:
    """16 partitions: nine to fifteen consumers drain no faster than eight."""
    for rate in (36.0, 45.0, 52.0, 62.0):
        policy = PredictivePolicy([LAB], lambda s, rate=rate: Foresight(lambda t: rate, s.step))
        cluster = Cluster(LAB, partitions=16, replicas=6)
        cluster.play(policy, [Tick(rate, 1.0)] * 30)
        assert cluster.desired in (6, 8, 16), rate


def test_no_limit_is_named_when_none_binds() -> None:
    policy = PredictivePolicy([LAB], lambda s: Foresight(lambda t: 20.0, s.step))
    played = Cluster(LAB, partitions=24, replicas=6).play(policy, [Tick(20.0, 1.0)] * 20)
    assert not LIMITS & {r for _, _, d in played for r in d.reasons}
