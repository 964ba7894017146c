"""Rule 1: no data, stale and error are not zero. Never scale in on them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.plan.observation import Freshness, GroupObservation, Reading
from scaler.plan.policy import PredictivePolicy
from scaler.plan.reasons import Reason
from scaler.plan.settings import PlanSettings
from tests.plan.loop import LAB
from tests.rules.situations import FAULTS, Cluster, Tick, policies, services, stretches

NAMES = {
    Freshness.STALE: Reason.INPUT_STALE,
    Freshness.ABSENT: Reason.INPUT_ABSENT,
    Freshness.ERROR: Reason.INPUT_ERROR,
}


@settings(max_examples=60, deadline=None)
@given(data=st.data(), service=services(), sequence=stretches)
def test_never_scaled_in_without_fresh_inputs(data, service, sequence) -> None:
    cluster = Cluster(service)
    known = None  # the newest count that could be read
    for tick, observed, decision in cluster.play(data.draw(policies(service)), sequence):
        if observed.replicas.fresh:
            assert observed.replicas.value is not None
            known = observed.replicas.value.desired
        if known is None:
            assert decision.desired is None
            assert decision.reason is Reason.TARGET_UNKNOWN
            continue
        assert decision.desired is not None
        faults = [f for f in (tick.offsets, tick.replicas, tick.latency) if f is not Freshness.FRESH]
        if faults or tick.invalid_latency:
            assert decision.desired >= known
        for fault in faults:
            assert NAMES[fault] in decision.reasons
        if tick.invalid_latency and tick.latency in (Freshness.FRESH, Freshness.STALE):
            assert Reason.METRIC_INVALID in decision.reasons


@pytest.mark.parametrize("source", ["offsets", "replicas", "latency"])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("forecast", [True, False])
def test_each_fault_of_each_source_holds_what_fresh_inputs_would_give_back(source, fault, forecast) -> None:
    """The same cluster twice, far too large for its load: with fresh inputs it shrinks, without it does not."""
    from tests.plan.loop import Foresight

    def run(faulty: bool) -> list[int]:
        policy = PredictivePolicy([LAB], lambda s: Foresight(lambda t: 2.0, s.step) if forecast else None)
        cluster = Cluster(LAB, replicas=20)
        quiet = Tick(2.0, 1.0)
        cluster.play(policy, [quiet] * 5)
        tick = replace(quiet, **{source: fault}) if faulty else quiet
        return [d.desired or 0 for _, _, d in cluster.play(policy, [tick] * 40)]

    assert min(run(False)) < 20
    assert run(True) == [20] * 40


def test_after_an_outage_the_hold_begins_anew() -> None:
    policy = PredictivePolicy([LAB], lambda s: None)
    cluster = Cluster(LAB, replicas=20)
    quiet = Tick(2.0, 1.0)
    cluster.play(policy, [quiet] * 5)
    cluster.play(policy, [replace(quiet, offsets=Freshness.ERROR)] * 30)
    after = [d.desired for _, _, d in cluster.play(policy, [quiet] * 15)]
    held = int(LAB.scale_in_hold / LAB.tick)
    assert after[: held - 1] == [20] * (held - 1)
    assert after[held + 1] != 20


def test_a_latency_source_that_is_not_configured_is_not_missed() -> None:
    policy = PredictivePolicy([LAB], lambda s: None)
    cluster = Cluster(LAB, replicas=20)
    desired = 20
    for _ in range(40):
        observed = replace(cluster.advance(Tick(2.0, 1.0)), latency=None)
        decision = policy.step(cluster.now, GroupObservation((observed,))).services[0]
        assert decision.desired is not None
        cluster.scale(decision.desired)
        desired = decision.desired
    assert desired < 20


def test_a_true_zero_is_a_zero() -> None:
    policy = PredictivePolicy([LAB], lambda s: None)
    cluster = Cluster(LAB, replicas=20)
    played = cluster.play(policy, [Tick(0.0, 1.0)] * 60)
    assert played[-1][2].desired == LAB.min_replicas
    assert played[-1][2].numbers.arrival_rate == 0.0


def test_what_is_not_known_is_none_in_the_numbers() -> None:
    policy = PredictivePolicy([LAB], lambda s: None)
    cluster = Cluster(LAB)
    cluster.play(policy, [Tick(10.0, 1.0)] * 5)
    numbers = cluster.play(policy, [Tick(10.0, 1.0, offsets=Freshness.ERROR)])[0][2].numbers
    assert (numbers.arrival_rate, numbers.backlog, numbers.time_lag) == (None, None, None)


def test_a_count_above_the_maximum_is_not_taken_away_in_the_dark() -> None:
    policy = PredictivePolicy([LAB], lambda s: None)
    cluster = Cluster(LAB, replicas=LAB.max_replicas + 5)
    dark = cluster.play(policy, [Tick(10.0, 1.0, offsets=Freshness.ERROR)] * 3)
    assert [d.desired for _, _, d in dark] == [LAB.max_replicas + 5] * 3
    assert cluster.play(policy, [Tick(10.0, 1.0)])[0][2].desired == LAB.max_replicas


def test_a_value_that_is_marked_fresh_but_missing_is_no_zero() -> None:
    policy = PredictivePolicy([LAB], lambda s: None)
    cluster = Cluster(LAB, replicas=20)
    cluster.play(policy, [Tick(2.0, 1.0)] * 30)
    before = cluster.desired
    for _ in range(30):
        observed = cluster.advance(Tick(2.0, 1.0))
        broken = replace(observed, offsets=Reading(None, cluster.now, Freshness.FRESH))
        decision = policy.step(cluster.now, GroupObservation((broken,))).services[0]
        assert decision.desired is not None
        assert decision.desired >= before


def test_a_count_that_is_not_known_now_is_not_changed_upwards_either() -> None:
    policy = PredictivePolicy([LAB], lambda s: None)
    cluster = Cluster(LAB, partitions=2520, replicas=4)
    cluster.play(policy, [Tick(15.0, 1.0)] * 5)
    dark = cluster.play(policy, [Tick(100.0, 1.0, replicas=Freshness.ERROR)] * 5)
    assert [d.desired for _, _, d in dark] == [dark[0][2].current] * 5
    assert (cluster.play(policy, [Tick(100.0, 1.0)])[0][2].desired or 0) >= 20


def test_a_hold_is_named() -> None:
    policy = PredictivePolicy([LAB], lambda s: None)
    played = Cluster(LAB, replicas=20).play(policy, [Tick(2.0, 1.0)] * 8)
    assert [d.reason for _, _, d in played[3:]] == [Reason.SCALE_IN_DELAYED] * 5


def test_the_mean_of_an_outage_is_not_the_present_level() -> None:
    """Hardly anything came in a long outage, and much comes now: with no hold, only the first tick could be wrong."""
    service = replace(LAB, scale_in_hold=0.0)
    policy = PredictivePolicy([service], lambda s: None)
    cluster = Cluster(service, replicas=20)
    busy, dark = Tick(90.0, 1.0), Tick(0.5, 1.0, offsets=Freshness.ERROR)
    cluster.play(policy, [busy] * 20)
    before = cluster.desired
    assert before >= 18
    cluster.play(policy, [dark] * 60)
    first = cluster.play(policy, [busy])[0][2]
    assert (first.desired, first.reason) == (before, Reason.SCALE_IN_DELAYED)
    assert all((d.desired or 0) >= 18 for _, _, d in cluster.play(policy, [busy] * 5))


def test_a_tick_that_was_missed_delays_no_scale_in() -> None:
    service = replace(LAB, scale_in_hold=0.0)
    policy = PredictivePolicy([service], lambda s: None, PlanSettings(held_leads=0.0))
    cluster = Cluster(service, replicas=20)
    cluster.play(policy, [Tick(90.0, 1.0)] * 20)
    cluster.play(policy, [Tick(10.0, 1.0, offsets=Freshness.ERROR)])
    window = round(LAB.lead_time / LAB.tick)  # in which the level is averaged that may be held
    assert (cluster.play(policy, [Tick(10.0, 1.0)] * window)[-1][2].desired or 99) < 18
