"""What goes wrong in a cluster, in a closed loop: outages, stuck consumers, a topic made anew, a huge backlog."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from scaler.plan.decision import GroupDecision
from scaler.plan.observation import Freshness, GroupObservation, Reading, ServiceObservation, TopicOffsets
from scaler.plan.reasons import Reason
from scaler.plan.service import Service
from scaler.plan.settings import PlanSettings
from tests.plan.loop import LAB, REAL, Loop, outage, policy_for, spike


def flickers(loop: Loop) -> list[float]:
    """When a count was given back and asked for again within a scale-in hold, by steady load."""
    changes = loop.changes(20 * loop.service.tick)
    pairs = [(a, b) for a, b in pairwise(changes) if a[2] < a[1] and b[2] > b[1]]
    return [b[0] for a, b in pairs if b[0] - a[0] < loop.service.scale_in_hold]


@pytest.mark.parametrize("known", [True, False], ids=["foresight", "reactive"])
@pytest.mark.parametrize(
    ("service", "rate", "dt", "ticks"), [(LAB, 20.0, 0.5, 400), (LAB, 43.0, 0.5, 400), (REAL, 31.0, 1.25, 200)]
)
def test_steady_noisy_load_does_not_flap(service: Service, rate: float, dt: float, ticks: int, known: bool) -> None:
    def load(t: float) -> float:
        return rate

    need = rate / service.service_rate
    policy = policy_for(service, load if known else None, 0.1, experiments=False)
    loop = Loop(service, policy, load, start_replicas=round(1.3 * need), dt=dt)
    loop.run(ticks * service.tick)
    assert flickers(loop) == []
    changes = loop.changes(20 * service.tick)
    reversals = sum(1 for a, b in pairwise(changes) if (a[2] - a[1]) * (b[2] - b[1]) < 0)
    assert len(changes) <= ticks / 25
    assert reversals <= ticks / 40
    assert loop.attainment() >= 0.99
    assert loop.seconds <= 2.0 * need * ticks * service.tick


@pytest.mark.parametrize("source", ["offsets", "replicas", "latency"])
def test_an_outage_in_a_spike_never_scales_in_and_is_over_within_two_ticks(source: str) -> None:
    load = spike(15, 60, 40, 90)
    change = outage(80, 110, source)  # the load ends in the middle of it
    loop = Loop(LAB, policy_for(LAB, load), load, change=change, latency=True)
    loop.run(200)
    during = [d for d in loop.decisions if 80 <= d.time - loop.start < 110]
    assert len(during) == 15
    assert all(d.desired is not None and d.current is not None and d.desired >= d.current for d in during)
    assert all(Reason.INPUT_ERROR in d.reasons for d in during)
    why = {"offsets": Reason.BROKER_UNREACHABLE, "replicas": Reason.KUBERNETES_UNREACHABLE}
    assert all(why.get(source, Reason.PROMETHEUS_UNREACHABLE) in d.reasons for d in during)
    after = [d for d in loop.decisions if d.time - loop.start >= 112]
    assert all(Reason.INPUT_ERROR not in d.reasons for d in after)
    assert after[0].numbers.arrival_rate is not None
    assert loop.attainment() >= 0.99
    assert loop.desired < 8, "it is given back when the sources are there again"


def test_an_outage_is_no_hole_in_the_arrivals() -> None:
    load = spike(20, 20, 0, 0)
    loop = Loop(LAB, policy_for(LAB, None), load, start_replicas=6, change=outage(40, 70, "offsets"))
    loop.run(80)
    first = next(d for d in loop.decisions if d.time - loop.start >= 70)
    assert first.numbers.arrival_rate == pytest.approx(20, rel=0.2), "over the whole interval, not in one tick"


def test_an_outage_of_the_offsets_is_not_taken_for_stuck_consumers() -> None:
    """Nobody saw the commits; that is no sign that there were none. A spike is ordered in a long outage, too."""
    load = spike(15, 60, 66, 120)
    loop = Loop(LAB, policy_for(LAB, load), load, change=outage(40, 90, "offsets"))
    loop.run(90)
    dark = [d for d in loop.decisions if d.time - loop.start >= 40]
    assert all(Reason.CONSUMERS_NOT_PROGRESSING not in d.reasons for d in dark)
    assert all(Reason.BROKER_UNREACHABLE in d.reasons for d in dark)
    assert [at for at, _, after in loop.changes(50) if after >= 12], "ordered after the time in which stuck is told"


def test_consumers_that_were_stuck_all_through_an_outage_are_so_right_after_it() -> None:
    load = spike(20, 20, 0, 0)
    policy = policy_for(LAB, None)
    frozen = lambda t: 40 <= t - 1_000_000 < 100  # noqa: E731
    loop = Loop(LAB, policy, load, start_replicas=6, frozen=frozen, change=outage(42, 80, "offsets"))
    loop.run(81)
    assert loop.decisions[-1].reason is Reason.CONSUMERS_NOT_PROGRESSING


@pytest.mark.parametrize("back", [1.0, 3_600.0])
def test_a_clock_that_is_set_back_does_not_blind(back: float) -> None:
    """Not for as long as the clock takes to come to where it was: the load is seen two ticks later, and given back."""
    load = spike(20, 80, 60, 120)
    policy = policy_for(LAB, None)
    loop = Loop(LAB, policy, load, start_replicas=6)
    step = policy.step

    def set_back(now: float, observed: GroupObservation) -> GroupDecision:
        late = back if now - loop.start >= 58 else 0.0
        one = observed.services[0]
        moved = {
            name: replace(getattr(one, name), time=getattr(one, name).time - late) for name in ("offsets", "replicas")
        }
        return step(now - late, GroupObservation((replace(one, **moved),)))

    policy.step = set_back  # type: ignore[method-assign]
    loop.run(66)
    assert loop.decisions[-1].numbers.arrival_rate == pytest.approx(80, rel=0.2)
    assert loop.desired >= 16
    loop.run(114)
    assert loop.desired <= 8, "the hold runs out after the hold, not after the hour"


def test_a_forecast_that_begins_in_the_future_is_not_used() -> None:
    load = spike(20, 20, 0, 0)
    policy = policy_for(LAB, load)
    loop = Loop(LAB, policy, load, start_replicas=6)
    loop.run(20)
    observed = loop.observe()
    assert observed.offsets.value is not None
    assert policy.step(loop.now, GroupObservation((observed,))).services[0].numbers.forecast is not None
    earlier = replace(observed, offsets=replace(observed.offsets, time=loop.now - 3_600))
    decided = policy.step(loop.now - 3_600, GroupObservation((earlier,))).services[0]
    assert decided.numbers.forecast is None
    assert Reason.NO_FORECAST in decided.reasons


def test_a_foreseen_spike_is_ordered_in_an_outage_of_the_offsets() -> None:
    load = spike(15, 60, 60, 120)
    loop = Loop(LAB, policy_for(LAB, load), load, change=outage(44, 59, "offsets"))
    loop.run(60)
    assert loop.serving >= 12
    ordered = next(d for d in loop.decisions if d.desired is not None and d.desired >= 12)
    assert 44 <= ordered.time - loop.start < 59
    assert ordered.reason is Reason.FORECAST
    assert Reason.BROKER_UNREACHABLE in ordered.reasons


def anew_from(begin: float) -> Callable[[float, ServiceObservation], ServiceObservation]:
    """The topic is made anew ``begin`` s after the start: its offsets are 15 lower from there on."""

    def anew(t: float, observed: ServiceObservation) -> ServiceObservation:
        value = observed.offsets.value
        if t - 1_000_000 < begin or value is None:
            return observed
        end, done = value.end - 15, value.committed - 15
        made = TopicOffsets(value.partitions, end, np.zeros_like(end), done)
        return replace(observed, offsets=Reading(made, t, Freshness.FRESH))

    return anew


def test_a_recreated_topic_is_held_and_then_followed() -> None:
    load = spike(20, 20, 0, 0)
    loop = Loop(LAB, policy_for(LAB, None), load, start_replicas=12, change=anew_from(40), partitions=6)
    loop.run(42)
    assert loop.decisions[-1].reason is Reason.TOPIC_RECREATED
    assert loop.decisions[-1].desired == loop.decisions[-1].current
    assert loop.decisions[-1].numbers.arrival_rate is None
    loop.run(40)
    assert loop.decisions[-1].numbers.arrival_rate == pytest.approx(20, rel=0.6)
    assert Reason.TOPIC_RECREATED not in loop.decisions[-1].reasons


def test_a_recreated_topic_is_said_and_held_for_a_tick_also_when_more_is_foreseen() -> None:
    load = spike(20, 200, 40, 100)
    loop = Loop(LAB, policy_for(LAB, load), load, start_replicas=8, change=anew_from(26), partitions=48)
    loop.run(40)
    (told,) = [d for d in loop.decisions if Reason.TOPIC_RECREATED in d.reasons]
    assert told.reason is Reason.TOPIC_RECREATED
    assert told.desired == told.current
    after = loop.decisions[loop.decisions.index(told) + 1]
    assert (after.desired or 0) > (told.desired or 0), "the spike that was foreseen is ordered at the next tick"


@pytest.mark.parametrize("known", [True, False], ids=["foresight", "reactive"])
def test_stuck_consumers_are_held_not_multiplied(known: bool) -> None:
    load = spike(20, 20, 0, 0)
    policy = policy_for(LAB, load if known else None)
    loop = Loop(LAB, policy, load, start_replicas=6, frozen=lambda t: 40 <= t - 1_000_000 < 140)
    loop.run(40)
    before = loop.desired
    loop.run(100)
    held = [d for d in loop.decisions if 52 <= d.time - loop.start < 140]
    assert all(d.reason is Reason.CONSUMERS_NOT_PROGRESSING for d in held)
    assert all(d.desired == d.current for d in held)
    assert loop.desired <= before + 1, "not multiplied in the time it takes to be sure, either"
    assert {d.numbers.service_rate for d in held} == {held[0].numbers.service_rate}, "and nothing is learned from it"
    loop.run(60)
    freed = [d for d in loop.decisions if d.time - loop.start >= 146]
    assert all(Reason.CONSUMERS_NOT_PROGRESSING not in d.reasons for d in freed)
    assert max(d.desired or 0 for d in freed) > before, "when they move again, their backlog is load"


@pytest.mark.parametrize("down", [40.0, 300.0])
def test_a_message_that_ends_each_consumer_that_reads_it_is_no_load(down: float) -> None:
    """They are Ready for 20 s, and then none is for ``down`` s, as in a CrashLoopBackOff."""
    load = spike(2, 2, 0, 0)

    def crashing(t: float, observed: ServiceObservation) -> ServiceObservation:
        since, pods = t - loop.start - 600.0, observed.replicas.value
        if pods is None or since < 0 or since % (20.0 + down) < 20.0:
            return observed
        waiting = pods.pending_since + (loop.start + 600.0,) * pods.ready
        return replace(
            observed, replicas=replace(observed.replicas, value=replace(pods, ready=0, pending_since=waiting))
        )

    frozen = lambda t: t - loop.start >= 600.0  # noqa: E731
    loop = Loop(REAL, policy_for(REAL, None), load, start_replicas=2, partitions=48, frozen=frozen, change=crashing)
    loop.run(3600)
    assert Reason.CONSUMERS_NOT_PROGRESSING in loop.decisions[-1].reasons
    assert loop.desired <= 6


def test_who_stands_still_and_is_taken_away_begins_anew() -> None:
    """Somebody sets the count to 0 to stop it, and mends what they wait for: the backlog is load again."""
    service = replace(REAL, min_replicas=0)
    load = spike(4, 4, 0, 0)
    frozen = lambda t: 600.0 <= t - loop.start < 1500.0  # noqa: E731
    loop = Loop(service, policy_for(service, None), load, start_replicas=3, partitions=48, frozen=frozen)
    loop.run(1200)
    assert loop.decisions[-1].reason is Reason.CONSUMERS_NOT_PROGRESSING
    loop.scale(0)
    loop.run(1200)
    assert Reason.CONSUMERS_NOT_PROGRESSING not in loop.decisions[-1].reasons
    assert loop.desired >= 3


def test_pods_of_a_node_that_is_lost_are_not_taken_for_stuck_ones() -> None:
    """They are told Ready for a minute, and then others come in their stead, later than the load."""
    load = spike(60, 60, 0, 0)

    def lost(t: float, observed: ServiceObservation) -> ServiceObservation:
        since, pods = t - loop.start - 600.0, observed.replicas.value
        if pods is None or not 75.0 <= since < 600.0:
            return observed
        new = (loop.start + 675.0,) * pods.ready
        return replace(observed, replicas=replace(observed.replicas, value=replace(pods, ready=0, pending_since=new)))

    frozen = lambda t: 600.0 <= t - loop.start < 1200.0  # noqa: E731
    loop = Loop(REAL, policy_for(REAL, None), load, start_replicas=40, partitions=240, frozen=frozen, change=lost)
    loop.run(1000)
    assert Reason.CONSUMERS_NOT_PROGRESSING not in loop.decisions[-1].reasons
    assert loop.desired > 50, "their backlog is load"


def test_a_huge_backlog_is_not_given_up() -> None:
    load = spike(10, 10, 0, 0)
    loop = Loop(LAB, policy_for(LAB, load), load, start_replicas=4, backlog=20_000, partitions=90)
    loop.run(60)
    needed = (20_000 / 60 + 10) / LAB.service_rate
    assert loop.decisions[1].desired == LAB.max_replicas
    assert needed > LAB.max_replicas
    assert Reason.MAX_REPLICAS in loop.decisions[1].reasons
    loop.run(60)
    assert loop.desired == LAB.max_replicas


@pytest.mark.slow
def test_the_service_rate_is_learned_in_the_loop() -> None:
    declared = replace(LAB, service_rate=8.0)
    load = spike(40, 40, 0, 0)
    loop = Loop(LAB, policy_for(declared, load), load, start_replicas=5)
    loop.service = LAB  # the replicas serve 5 requests/s, not the declared 8
    loop.run(800)
    assert loop.decisions[-1].numbers.service_rate == pytest.approx(5.0, rel=0.2)
    # Learning needs late requests, so a declared rate that is far too high costs some of them for a while.
    assert loop.attainment(0, 30) < 0.9
    assert loop.attainment(300) >= 0.99


def test_a_long_commit_interval_is_no_saturation() -> None:
    """Offsets committed every 4 s, within an objective of 5 s: the lag is there, the work is done."""
    load = spike(20, 20, 0, 0)

    def batched(t: float, observed: ServiceObservation) -> ServiceObservation:
        value = observed.offsets.value
        assert value is not None
        if int(t) % 4 == 0 or "done" not in kept:
            kept["done"] = value.committed
        made = replace(value, committed=kept["done"])
        return replace(observed, offsets=Reading(made, t, Freshness.FRESH))

    kept: dict[str, np.ndarray] = {}
    loop = Loop(LAB, policy_for(LAB, load), load, start_replicas=6, change=batched)
    loop.run(400)
    assert loop.decisions[-1].numbers.service_rate == LAB.service_rate
    assert loop.desired <= 10


def test_a_hot_partition_is_not_answered_with_replicas() -> None:
    weights = np.ones(16)
    weights[3] = 15.0  # half of the load
    load = spike(30, 30, 0, 0)
    loop = Loop(LAB, policy_for(LAB, load), load, start_replicas=4, partitions=16, weights=weights)
    loop.run(120)
    assert loop.desired <= 16
    assert Reason.PARTITIONS in loop.decisions[-1].reasons
    even = Loop(LAB, policy_for(LAB, load), load, start_replicas=4, partitions=16)
    even.run(120)
    assert even.desired <= 8


@pytest.mark.slow
def test_hot_neighbours_need_less_where_the_group_is_known_to_deal_them_out() -> None:
    """Two hot partitions side by side: ranges of 2 to 8 consumers hold them together, round robin never does."""
    weights = np.array([4.0, 4.0] + [1.0] * 14)

    def run(assignor: str | None, told: bool = True) -> Loop:
        def change(now: float, observed: ServiceObservation) -> ServiceObservation:
            if told or observed.offsets.value is None:
                return observed
            offsets = replace(observed.offsets, value=replace(observed.offsets.value, assignor=None))
            return replace(observed, offsets=offsets)

        policy = policy_for(LAB, lambda t: 17.0)
        loop = Loop(LAB, policy, lambda t: 17.0, 16, 16, weights=weights, assignor=assignor, change=change)
        loop.run(400)
        return loop

    dealt, untold, ranges, unknown = run("roundrobin"), run("roundrobin", told=False), run("range"), run(None)
    for loop in (dealt, untold, ranges, unknown):
        assert loop.attainment(60.0) > 0.99
    assert dealt.seconds < 0.75 * untold.seconds
    assert [d.desired for d in ranges.decisions] == [d.desired for d in unknown.decisions], "ranges are the default"


def test_from_zero_and_back_to_zero() -> None:
    service = replace(LAB, min_replicas=0)
    load = spike(0, 10, 40, 60)
    loop = Loop(service, policy_for(service, None), load, start_replicas=0)
    loop.run(40)
    assert loop.desired == 0
    loop.run(20)
    assert loop.desired >= 2
    loop.run(100)
    assert loop.desired == 0
    assert sum(b[1] for q in loop.queues for b in q) == 0


def test_zero_is_left_before_a_foreseen_load() -> None:
    service = replace(LAB, min_replicas=0)
    load = spike(0, 10, 40, 80)
    loop = Loop(service, policy_for(service, load), load, start_replicas=0)
    loop.run(160)
    assert loop.attainment() >= 0.99
    assert loop.desired == 0
    assert next(at for at, _, after in loop.changes() if after > 0) >= 20


def test_one_waiting_message_is_enough() -> None:
    service = replace(LAB, min_replicas=0)
    loop = Loop(service, policy_for(service, None), lambda t: 0.0, start_replicas=0, partitions=1, backlog=1)
    loop.run(4)
    assert loop.desired == 1


@pytest.mark.parametrize("rate", [1e-3, 1e-6, 1e-10])
def test_a_forecast_of_next_to_nothing_keeps_and_starts_no_replica(rate: float) -> None:
    """Fewer requests than one half, until a replica asked for now would serve, are none; but one that is there is."""
    service = replace(REAL, min_replicas=0)
    assert rate * (service.lead_time + 2 * service.tick) < PlanSettings().scale_to_zero_below
    loop = Loop(service, policy_for(service, lambda t: rate), lambda t: 0.0, start_replicas=3, dt=5.0)
    loop.run(1800)
    gone = next(at for at, _, after in loop.changes() if after == 0)
    assert gone <= service.scale_in_hold + 4 * service.tick
    assert loop.changes()[-1][0] == gone, "and it stays gone"
    loop._arrive(np.eye(1, loop.partitions)[0])
    loop.run(service.tick)
    assert loop.desired == 1
    loop.run(1800)
    assert loop.desired == 0
    assert sum(len(queue) for queue in loop.queues) == 0


@pytest.mark.parametrize(("rate", "count"), [(0.003, 0), (0.006, 1)])
def test_the_threshold_lies_at_one_half_of_a_request_within_a_lead_time(rate: float, count: int) -> None:
    """120 s: a lead time and two ticks. From either side, by the forecast alone."""
    service = replace(REAL, min_replicas=0)
    for start in (0, 1):
        loop = Loop(service, policy_for(service, lambda t: rate), lambda t: 0.0, start_replicas=start, dt=5.0)
        loop.run(900)
        assert loop.desired == count
