"""Rules 2, 3 and 4: arrivals not lag; what is on its way counts; never below what the present needs."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from forecasting.series import Arrivals
from scaler.plan.capacity import PartitionSplit
from scaler.plan.guard import reactive_floor, scale_in_floor
from scaler.plan.lead_time import LeadTimes
from scaler.plan.observation import Freshness, GroupObservation
from scaler.plan.policy import PredictivePolicy
from scaler.plan.reasons import Reason
from scaler.plan.rollout import Standing
from tests.plan.loop import LAB, REAL, Foresight
from tests.rules.situations import Cluster, Tick, policies, services, stretches

# --- rule 2


def test_the_forecaster_is_told_arrivals_and_never_lag() -> None:
    """The same arrivals with consumers that serve all, half or nothing: the forecaster cannot tell them apart."""

    class Listener(Foresight):
        def __init__(self) -> None:
            super().__init__(lambda t: 20.0, LAB.step)
            self.told: list[tuple[float, float, float]] = []

        def update(self, arrivals: Arrivals) -> None:
            self.told.append((arrivals.end, arrivals.seconds, arrivals.count))
            super().update(arrivals)

    heard = []
    for served in (1.0, 0.5, 0.0):
        listener = Listener()
        policy = PredictivePolicy([LAB], lambda s, listener=listener: listener)
        Cluster(LAB).play(policy, [Tick(20.0, served), Tick(50.0, served), Tick(0.0, served)] * 5)
        heard.append(listener.told)
    assert heard[0] == heard[1] == heard[2]
    assert len(heard[0]) == 14
    assert heard[0][0][2] == pytest.approx(100, abs=24)


# --- rule 3


@settings(max_examples=100, deadline=None)
@given(
    ready=st.integers(0, 20),
    ages=st.lists(st.floats(0, 85), max_size=15),
    level=st.floats(0, 100),
    backlog=st.floats(0, 5000),
)
def test_the_floor_does_not_ask_again_for_what_is_on_its_way(ready, ages, level, backlog) -> None:
    """A replica that is pending is worth as much to the floor as the same replica that is only now asked for."""
    split, lead = PartitionSplit(500, 1e9, 0.1), LeadTimes(90.0, 5, 100)
    current = ready + len(ages)
    asked = reactive_floor(level, backlog, Standing(current, ready, tuple(ages)), split, lead, 2.0, 60.0)
    again = Standing(max(asked, current), ready, (*ages, *[0.0] * max(asked - current, 0)))
    assert reactive_floor(level, backlog, again, split, lead, 2.0, 60.0) <= max(asked, 1)
    unready = Standing(current, ready, tuple(0.0 for _ in ages))
    fresh = reactive_floor(level, backlog, unready, split, lead, 2.0, 60.0)
    assert asked <= fresh, "the older the pending ones, the less is left for others"


@settings(max_examples=40, deadline=None)
@given(rate=st.floats(1, 60), jump=st.floats(2, 6), ticks=st.integers(2, int(REAL.lead_time / REAL.tick) - 1))
@example(rate=46.0, jump=5.5, ticks=5).via("300 of 1,200 partitions: no count below 400 gives more")
def test_an_order_under_way_is_not_repeated_while_the_load_stays(rate, jump, ticks) -> None:
    """Pods that do not come yet add nothing to the order that was made at the jump."""
    service = replace(REAL, max_replicas=400)
    split = PartitionSplit(service.max_replicas, 1e9, 0.1)
    split.known(1200)
    policy = PredictivePolicy([service], lambda s: None)
    cluster = Cluster(service, partitions=1200, replicas=math.ceil(rate * 1.3 / service.service_rate) + 1)
    cluster.play(policy, [Tick(rate, 1.0)] * 5)
    high = Tick(rate * jump, 1.0, become_ready=0.0)
    counts = [d.desired or 0 for _, _, d in cluster.play(policy, [high] * ticks)]
    # Each later tick knows the earlier orders: the backlog grows tick by tick, the order hardly does; to a count that
    # gives so much, where those between give no more.
    assert counts[-1] <= split.least(1.3 * counts[0] + 3)


def test_pending_pods_and_pods_not_yet_created_are_the_same_order() -> None:
    """The count is absolute: asked for and created, asked for and not created, and ready, all count once."""
    decided = []
    for pending in (True, False):
        policy = PredictivePolicy([LAB], lambda s: None)
        cluster = Cluster(LAB, replicas=4)
        cluster.play(policy, [Tick(20.0, 1.0)] * 5)
        cluster.scale(4)
        cluster.ready, cluster.pending = 4, []
        cluster.scale(12)
        observed = cluster.observe(Tick(20.0, 1.0))
        assert observed.replicas.value is not None
        if not pending:
            state = replace(observed.replicas.value, desired=12, pending_since=())
            observed = replace(observed, replicas=replace(observed.replicas, value=state))
        decision = policy.step(cluster.now + LAB.tick, GroupObservation((observed,))).services[0]
        assert decision.numbers.pending == 8
        decided.append(decision.desired)
    assert decided == [12, 12]


# --- rule 4


@settings(max_examples=60, deadline=None)
@given(data=st.data(), service=services(), sequence=stretches)
def test_never_below_the_newest_arrivals_with_their_backlog(data, service, sequence) -> None:
    """Recomputed here by hand: level over the newest ticks, all that waits drained in a minute when counts go down."""
    service = replace(service, max_scale_out=None)
    cluster = Cluster(service, partitions=240)
    recent: list[tuple[float, float]] = []
    before: tuple[float, float] | None = None
    clean = 0
    for tick, observed, decision in cluster.play(data.draw(policies(service)), sequence):
        if not observed.offsets.fresh:
            continue
        assert observed.offsets.value is not None
        end = float(observed.offsets.value.end.sum())
        if before is not None:
            recent.append((observed.offsets.time - before[0], end - before[1]))
        before = (observed.offsets.time, end)
        stuck = Reason.CONSUMERS_NOT_PROGRESSING in decision.reasons
        clean = 0 if stuck or tick.served == 0 else clean + 1
        window = max(service.tick, min(service.within, service.lead_time / 2))
        newest, seconds, count = list(recent), 0.0, 0.0
        while newest and (seconds == 0 or seconds + newest[-1][0] <= window * 1.001):
            span, came = newest.pop()
            seconds, count = seconds + span, count + came
        if decision.desired is None or not observed.replicas.fresh or not recent or clean < 3:
            continue
        assert decision.numbers.service_rate is not None
        need = math.ceil(count / seconds / decision.numbers.service_rate - 1e-6)
        usable = min(need, service.max_replicas)  # 240 partitions: even shares up to 40 replicas, but for the remainder
        if decision.desired < usable:
            limits = {Reason.MAX_REPLICAS, Reason.SCHEDULED_MAX, Reason.PARTITIONS}
            assert limits & set(decision.reasons)
    assert recent is not None


@pytest.mark.parametrize("service", [LAB, REAL], ids=["lab", "real"])
def test_a_forecast_of_nothing_takes_nothing_that_the_present_needs(service) -> None:
    policy = PredictivePolicy([service], lambda s: Foresight(lambda t: 0.0, s.step))
    rate = 8 * service.service_rate
    cluster = Cluster(service, partitions=240, replicas=8)
    played = cluster.play(policy, [Tick(rate, 1.0)] * 60)
    assert min(d.desired or 0 for _, _, d in played) >= 8
    # Without the floor the forecast would be followed: it asks for far less.
    assert max(d.numbers.forecast_replicas or 0 for _, _, d in played[5:]) < 8


@settings(max_examples=100, deadline=None)
@given(ready=st.integers(0, 30), level=st.floats(0, 60), backlog=st.floats(0, 10_000), drain=st.floats(60, 300))
def test_the_backlog_that_is_left_when_capacity_comes_is_drained_in_time(ready, level, backlog, drain) -> None:
    split, lead, rate = PartitionSplit(2000, 1e9, 0.1), LeadTimes(90.0, 5, 100), 2.0
    count = reactive_floor(level, backlog, Standing(ready, ready, ()), split, lead, rate, drain)
    left = max(backlog + (level - ready * rate) * 90.0, 0.0)
    if left == 0 and ready * rate > level:
        left = 0.0
    assert count * rate * drain >= level * drain + left - 1e-6 * (1 + left)
    assert (count - 1) * rate * drain <= level * drain + left + 1e-6 * (1 + left) or count <= 1
    lower = scale_in_floor(level, backlog, split, rate, drain)
    assert lower * rate * drain >= level * drain + backlog - 1e-6 * (1 + backlog)


def test_a_backlog_that_will_be_gone_orders_nothing() -> None:
    """A short objective does not order pods that come after the backlog is gone."""
    split, lead = PartitionSplit(200, 1e9, 0.1), LeadTimes(90.0, 5, 100)
    assert reactive_floor(10.0, 600.0, Standing(12, 12, ()), split, lead, 2.0, 60.0) == 5
    assert reactive_floor(10.0, 600.0, Standing(5, 5, ()), split, lead, 2.0, 60.0) == 10


def test_the_floor_is_named_and_beats_a_forecast_that_is_too_low() -> None:
    policy = PredictivePolicy([LAB], lambda s: Foresight(lambda t: 5.0, s.step))
    cluster = Cluster(LAB, partitions=240, replicas=2)
    cluster.play(policy, [Tick(5.0, 1.0)] * 5)
    played = cluster.play(policy, [Tick(60.0, 1.0)] * 2)
    assert any(d.reason is Reason.REACTIVE_FLOOR for _, _, d in played)
    assert (played[-1][2].desired or 0) >= 12
    assert played[-1][1].offsets.freshness is Freshness.FRESH
    assert np.isfinite(played[-1][2].numbers.backlog or 0)
