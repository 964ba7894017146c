"""While nobody can say what the load is: hold, a count, or the histogram; after a while, and never lower."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scaler.plan.fallback import Fallback, FallbackRule
from scaler.plan.observation import Freshness, LatencySample, Reading, ServiceObservation
from scaler.plan.policy import PredictivePolicy
from scaler.plan.prepared import Plan, stood_in_for
from scaler.plan.reasons import Reason
from scaler.plan.service import Service
from tests.plan.loop import LAB, Loop

OUTAGE = (100.0, 400.0)  # s after the begin
AFTER = 60.0


def busy(seconds: float, window: float = 60.0) -> LatencySample:
    return LatencySample(0.2, 0.3, 0.4, None, seconds, window)


def loop_with(service: Service, freshness: Freshness = Freshness.ERROR, replicas: int = 2, **more) -> Loop:
    """The offsets cannot be read during the outage."""

    def change(t: float, observed: ServiceObservation) -> ServiceObservation:
        if not OUTAGE[0] <= t - loop.start < OUTAGE[1]:
            return observed
        value = observed.offsets.value if freshness is Freshness.STALE else None
        return replace(observed, offsets=Reading(value, t, freshness))

    policy = PredictivePolicy([service], lambda _: None)
    loop = Loop(service, policy, lambda t: 4.0, start_replicas=replicas, change=change, **more)
    return loop


def at(loop: Loop, second: float):
    return next(d for d in loop.decisions if d.time - loop.start >= second)


@pytest.mark.parametrize("freshness", [Freshness.ERROR, Freshness.ABSENT, Freshness.STALE])
def test_a_count_after_a_while_and_until_the_load_is_known_again(freshness: Freshness) -> None:
    loop = loop_with(replace(LAB, fallback=FallbackRule(AFTER, 9)), freshness)
    loop.run(600)
    before = at(loop, 98).desired
    assert before < 3
    assert at(loop, 158).desired == before  # not yet
    raised = at(loop, 160)
    assert raised.desired == 9
    assert raised.reason is Reason.FALLBACK
    standing = at(loop, 380)
    assert standing.desired == 9
    assert Reason.FALLBACK in standing.reasons
    back = at(loop, 420)
    assert Reason.FALLBACK not in back.reasons
    assert loop.decisions[-1].desired == before


def test_never_lower_than_what_is_there_and_within_the_limits() -> None:
    loop = loop_with(replace(LAB, fallback=FallbackRule(0.0, 1)), replicas=8)
    loop.change, held = lambda t, o: replace(o, offsets=Reading(None, t, Freshness.ERROR)), loop
    held.run(200)
    assert {d.desired for d in held.decisions} == {8}
    most = loop_with(replace(LAB, fallback=FallbackRule(0.0, 9), max_replicas=5))
    most.run(200)
    assert at(most, 150).desired == 5
    assert Reason.MAX_REPLICAS in at(most, 104).reasons
    step = loop_with(replace(LAB, fallback=FallbackRule(0.0, 9), max_scale_out=2))
    step.run(200)
    assert at(step, 100).desired - at(step, 98).desired == 2


def test_without_a_rule_the_count_is_held() -> None:
    loop = loop_with(LAB)
    loop.run(380)
    assert at(loop, 370).desired == at(loop, 98).desired
    assert Reason.FALLBACK not in at(loop, 370).reasons


def test_a_source_that_comes_back_in_between_starts_the_wait_again() -> None:
    fallback = Fallback(FallbackRule(60.0, 9), 1.0)
    assert fallback.least(0.0, False, None, 2) == 0
    assert fallback.least(59.0, False, None, 2) == 0
    assert fallback.least(60.0, False, None, 2) == 9
    assert fallback.least(61.0, True, None, 2) == 0
    assert fallback.least(62.0, False, None, 2) == 0
    assert fallback.least(10.0, False, None, 2) == 0  # the clock was set back
    assert fallback.least(70.0, False, None, 2) == 9


@pytest.mark.parametrize(
    ("sample", "ready", "concurrency", "count"),
    [
        # 4 replicas busy all the time: 4 x 60 s in service in 60 s. At 80 % that is the work of 5.
        (busy(240.0), 4, 1.0, 5),
        (busy(480.0), 4, 2.0, 5),
        (busy(96.0), 4, 1.0, 2),  # 1.6 busy
        (busy(192.0), 4, 1.0, 4),  # 3.2 busy: just 80 % of 4
        (busy(9000.0), 4, 1.0, 5),  # a histogram with the time in the queue: no more can be busy than there are
        (busy(0.0), 4, 1.0, 0),
        (busy(float("nan")), 4, 1.0, 0),
        (busy(float("inf")), 4, 1.0, 0),
        (busy(10.0, 0.0), 4, 1.0, 0),
        (LatencySample(None, None, None, 5.0, None, 60.0), 4, 1.0, 0),
        (None, 4, 1.0, 0),
    ],
)
def test_as_busy_as_an_hpa_would_have_them(
    sample: LatencySample | None, ready: int, concurrency: float, count: int
) -> None:
    assert Fallback(FallbackRule(0.0), concurrency).least(0.0, False, sample, ready) == count


def test_reactive_grows_by_the_histogram_while_replicas_are_busy() -> None:
    service = replace(LAB, fallback=FallbackRule(AFTER), max_replicas=20)

    def change(t: float, observed: ServiceObservation) -> ServiceObservation:
        replicas = observed.replicas.value
        assert replicas is not None
        used = min(replicas.ready, 7.0)  # the load is worth 7 busy replicas
        latency = Reading(busy(60.0 * used), t, Freshness.FRESH)
        dark = t - loop.start >= OUTAGE[0]
        offsets = Reading(None, t, Freshness.ERROR) if dark else observed.offsets
        return replace(observed, latency=latency, offsets=offsets)

    loop = Loop(service, PredictivePolicy([service], lambda _: None), lambda t: 4.0, start_replicas=2, change=change)
    loop.run(400)
    assert at(loop, 150).desired == at(loop, 98).desired
    assert loop.decisions[-1].desired == 9  # ceil(7 / 0.8)
    assert loop.decisions[-1].reasons[0] is Reason.INPUT_ERROR
    assert Reason.FALLBACK in loop.decisions[-1].reasons


def test_a_plan_that_asks_for_more_stands() -> None:
    plan = Plan(12, Reason.FORECAST, (), None, None, 12, None)
    stood_in = stood_in_for(plan, 9)
    assert (stood_in.wanted, stood_in.source, stood_in.notes) == (12, Reason.FORECAST, (Reason.FALLBACK,))
    assert stood_in_for(plan, 15).source is Reason.FALLBACK
    assert stood_in_for(plan, 0) is plan


def dark(loop: Loop, t: float, observed: ServiceObservation) -> ServiceObservation:
    """Neither the offsets nor the count can be read."""
    if not OUTAGE[0] <= t - loop.start < OUTAGE[1]:
        return observed
    stale = Reading(observed.replicas.value, t - 20.0, Freshness.STALE)
    return replace(observed, offsets=Reading(None, t, Freshness.ERROR), replicas=stale)


def test_a_count_that_is_not_known_now_is_raised_over_what_it_was() -> None:
    """What took Kafka away may take the API server's answers away, too."""
    loop = loop_with(replace(LAB, fallback=FallbackRule(AFTER, 9)))
    loop.change = lambda t, observed: dark(loop, t, observed)
    loop.run(500)
    before = at(loop, 98).desired
    assert at(loop, 158).desired == before
    raised = at(loop, 160)
    assert (raised.current, raised.desired) == (before, 9)
    assert Reason.FALLBACK in raised.reasons
    assert Reason.INPUT_STALE in raised.reasons
    assert {d.desired for d in loop.decisions if 162 <= d.time - loop.start < 398} == {9}


def test_the_wait_goes_on_while_the_count_is_not_known() -> None:
    loop = loop_with(replace(LAB, fallback=FallbackRule(AFTER, 9)))

    def change(t: float, observed: ServiceObservation) -> ServiceObservation:
        seen = dark(loop, t, observed)
        absent = Reading(None, t, Freshness.ERROR)
        known = t - loop.start >= OUTAGE[0] + AFTER
        return replace(seen, replicas=observed.replicas if known else absent)

    loop.change = change
    loop.run(180)
    assert at(loop, 160).desired == 9, "since the load is not known, not since the count is"


def test_of_a_count_that_is_not_known_the_limits_hold_too_and_none_is_lowered() -> None:
    for rule, replicas, after in ((FallbackRule(0.0, 1), 8, 8), (FallbackRule(0.0, 9), 3, 5)):
        loop = loop_with(replace(LAB, fallback=rule, max_replicas=5), replicas=replicas)
        loop.change = lambda t, o: replace(
            o,
            offsets=Reading(None, t, Freshness.ERROR),
            replicas=Reading(o.replicas.value, t, Freshness.FRESH if t == 1_000_000.0 else Freshness.STALE),
        )
        loop.run(60)
        assert loop.decisions[-1].desired == after


def test_what_was_never_read_is_not_raised() -> None:
    loop = loop_with(replace(LAB, fallback=FallbackRule(0.0, 9)))
    loop.change = lambda t, o: replace(
        o, offsets=Reading(None, t, Freshness.ERROR), replicas=Reading(None, t, Freshness.ERROR)
    )
    loop.run(20)
    assert {d.desired for d in loop.decisions} == {None}
