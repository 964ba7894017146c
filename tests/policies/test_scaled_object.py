"""KEDA's fallback and its own step, through the HPA, for one trigger and for two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from scaler.api.quantities import Duration
from scaler.errors import ConfigError
from scaler.plan.observation import Freshness, ReplicaState
from scaler.plan.reasons import Reason
from scaler.plan.service import Service
from simulations.policies.keda import keda_lag, make
from simulations.policies.scaled_object import FallbackBehavior, ScaledObject, ScaledObjectSettings, Trigger

MakeService = Callable[..., Service]
Cluster = Callable[..., Any]
BUSY, FAILED = Trigger(100, 10, active=True), Trigger(None, 10, active=False)


def state(count: int) -> ReplicaState:
    return ReplicaState(count, count, (), 0, "t", updating=False)


def after_failures(service: Service, count: int, failures: int, **settings: Any) -> list[int]:
    """Counts at the syncs of 15 s, all of which fail, after one that proposed ``count``."""
    scaled = ScaledObject(service, ScaledObjectSettings(**settings))
    counts = []
    for n in range(failures + 1):
        trigger = Trigger(10 * count, 10, active=count > 0) if n == 0 else FAILED
        count, _ = scaled.step(n * 15.0, scaled.due(n * 15.0), state(count), (trigger,))
        counts.append(count)
    return counts[1:]


def test_the_fallback_acts_after_more_failures_in_a_row_than_the_threshold(service: MakeService) -> None:
    # Three failures are held, the fourth falls back; from 5 the HPA without behavior goes to 10 and 12.
    assert after_failures(service(), 5, 6, fallback_replicas=12) == [5, 5, 5, 10, 12, 12]
    assert after_failures(service(), 5, 3, fallback_replicas=12, fallback_failures=0) == [10, 12, 12]


def test_without_a_fallback_the_count_is_held_for_ever(service: MakeService) -> None:
    assert after_failures(service(), 5, 60) == [5] * 60


def test_one_success_starts_the_counting_anew(service: MakeService) -> None:
    scaled = ScaledObject(service(), ScaledObjectSettings(fallback_replicas=12))
    counts = []
    for n in range(12):
        trigger = Trigger(50, 10, active=True) if n % 4 == 0 else FAILED
        counts.append(scaled.step(n * 15.0, scaled.due(n * 15.0), state(5), (trigger,))[0])
    assert counts == [5] * 12


@pytest.mark.parametrize(
    ("behavior", "declared", "counts"),
    [
        (FallbackBehavior.STATIC, 8, (8, 8)),  # to 8 from 5, and from 20
        (FallbackBehavior.CURRENT, 8, (5, 20)),
        (FallbackBehavior.CURRENT_IF_HIGHER, 8, (8, 20)),
        (FallbackBehavior.CURRENT_IF_LOWER, 8, (5, 8)),
    ],
)
def test_the_fallbacks_behaviors(
    service: MakeService, behavior: FallbackBehavior, declared: int, counts: tuple[int, int]
) -> None:
    for start, expected in zip((5, 20), counts, strict=True):
        reached = after_failures(
            service(),
            start,
            40,  # long enough for the down window
            fallback_replicas=declared,
            fallback_failures=0,
            fallback_behavior=behavior,
        )
        assert reached[-1] == expected


def test_the_fallback_is_subject_to_the_tolerance(service: MakeService) -> None:
    # 11 for 10 is within ten percent: the HPA does not move, as keda#2908 found near the cap.
    assert after_failures(service(), 10, 10, fallback_replicas=11, fallback_failures=0) == [10] * 10


def test_at_zero_the_polls_count_failures_and_a_fallback_is_active(service: MakeService) -> None:
    # Polls at 30, 60, 90 and 120 s fail: the fourth, the eighth tick, starts one, and the HPA goes on from there.
    counts = after_failures(service(min_replicas=0), 0, 10, fallback_replicas=8)
    assert counts == [0] * 7 + [4, 8, 8]
    assert after_failures(service(min_replicas=0), 0, 20) == [0] * 20  # without a fallback nobody starts it


def test_with_a_least_of_zero_polls_and_syncs_both_count_failures(service: MakeService) -> None:
    # Failures 1 at 15 s, 2 and 3 at 30 s, 4 at 45 s; with a least of 1 only the syncs count: 4 at 60 s.
    assert after_failures(service(min_replicas=0), 5, 4, fallback_replicas=8) == [5, 5, 8, 8]
    assert after_failures(service(min_replicas=1), 5, 4, fallback_replicas=8) == [5, 5, 5, 8]


def test_the_initial_cooldown_is_for_what_was_never_active(service: MakeService) -> None:
    settings = ScaledObjectSettings(initial_cooldown=Duration(600), cooldown=Duration(60))
    for active, zero_at in ((False, 600.0), (True, 60.0)):
        scaled = ScaledObject(service(min_replicas=0), settings)
        for n in range(41):
            trigger = Trigger(0, 10, active=active and n == 0)
            count, _ = scaled.step(n * 15.0, scaled.due(n * 15.0), state(1), (trigger,))
            if count == 0:
                break
        assert n * 15.0 == zero_at


def zero_after(service: Service, triggers: tuple[Trigger, ...], **settings: Any) -> float | None:
    """Seconds until a service that was active at first, and then as ``triggers`` for 10 min, then idle, is at zero."""
    scaled = ScaledObject(service, ScaledObjectSettings(**settings), triggers=2)
    idle = Trigger(0, 10, active=False)
    for n in range(81):
        seen = (BUSY, BUSY) if n == 0 else triggers if n <= 40 else (idle, idle)
        count, _ = scaled.step(n * 15.0, scaled.due(n * 15.0), state(1), seen)
        if count == 0:
            return n * 15.0
    return None


def test_beside_a_failing_trigger_the_cooldown_does_not_begin_anew(service: MakeService) -> None:
    idle = Trigger(0, 10, active=False)
    one = service(min_replicas=0)
    assert zero_after(one, (BUSY, idle)) == 900.0  # active until 600 s
    assert zero_after(one, (BUSY, FAILED)) == 630.0  # last active alone at 0 s: at the first poll without a failure
    assert zero_after(one, (idle, FAILED)) == 630.0
    # A fallback to zero replicas holds nothing up.
    assert zero_after(one, (idle, FAILED), fallback_replicas=0, fallback_failures=1000) == 300.0
    assert zero_after(one, (idle, FAILED), fallback_replicas=2, fallback_failures=1000) == 630.0


def test_a_failed_trigger_stops_the_way_down_but_not_the_way_up(service: MakeService) -> None:
    settings = ScaledObjectSettings(stabilization=ScaledObjectSettings().initial_cooldown)  # no window
    scaled = ScaledObject(service(), settings, triggers=2)
    counts = []
    for n, triggers in enumerate(
        [(BUSY, BUSY), (FAILED, Trigger(20, 10, active=True)), (FAILED, Trigger(180, 10, True))]
    ):
        counts.append(scaled.step(n * 15.0, scaled.due(n * 15.0), state(10), triggers)[0])
    assert counts == [10, 10, 18]


def test_a_trigger_that_fails_is_not_idle(service: MakeService) -> None:
    scaled = ScaledObject(service(min_replicas=0), ScaledObjectSettings(), triggers=2)
    idle = Trigger(0, 10, active=False)
    for n in range(60):
        count, _ = scaled.step(n * 15.0, scaled.due(n * 15.0), state(1), (idle, FAILED))
        assert count == 1
    count, why = scaled.step(900.0, scaled.due(900.0), state(1), (idle, idle))
    assert (count, why) == (0, (Reason.NO_FORECAST,))


def test_below_a_minimum_keda_itself_goes_there(service: MakeService) -> None:
    for trigger in (Trigger(1, 10, active=True), Trigger(0, 10, active=False)):
        scaled = ScaledObject(service(min_replicas=3), ScaledObjectSettings())
        assert scaled.step(0.0, scaled.due(0.0), state(0), (trigger,))[0] == 3


def test_a_broker_outage_under_the_whole_policy(service: MakeService, cluster: Cluster) -> None:
    policy = make({"seconds": "0.6", "fallback_replicas": "60", "fallback_failures": "4"})([service()])
    one = cluster(policy, count=30)
    one.run([40.0] * 10)
    before = one.count
    down = one.run([40.0] * 8, offsets=Freshness.ERROR)
    # Held for four failures, then doubled to the fallback's.
    assert [d.desired for d in down[:4]] == [before] * 4
    assert down[5].desired == 60
    assert down[4].reasons[0] is Reason.INPUT_ERROR


@pytest.mark.parametrize(
    ("options", "piece"),
    [
        ({"fallback_replicas": "-1"}, "fallback_replicas: found -1; allowed: at least 0"),
        ({"fallback_replicas": "many"}, 'fallback_replicas: found "many"; allowed: a whole number'),
        ({"fallback_failures": "5"}, "fallback_failures: found 5 without fallback_replicas; allowed: only beside it"),
        (
            {"fallback_behavior": "currentReplicas"},
            "fallback_behavior: found currentReplicas without fallback_replicas",
        ),
        ({"fallback_behavior": "higher"}, "allowed: static, currentReplicas, currentReplicasIfHigher"),
        ({"polling_interval": "0s"}, "polling_interval: found 0s; allowed: more"),
        ({"seconds": "0"}, "seconds: found 0.0; allowed: more than 0"),
        ({"seconds": "1", "threshold": "5"}, "threshold: found beside seconds; allowed: one of them"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, str], piece: str) -> None:
    with pytest.raises(ConfigError) as refused:
        keda_lag(options)
    assert piece in str(refused.value)
