"""KEDA's lag rule: the metric partition by partition, its timing, and what it does when the metric is missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.errors import ConfigError
from scaler.plan.decision import ServiceDecision
from scaler.plan.observation import Freshness, GroupObservation, TopicOffsets
from scaler.plan.reasons import Reason
from scaler.plan.service import Service
from simulations.policies.hpa_settings import HpaBehavior
from simulations.policies.kafka_scaler import Lag, OffsetReset
from simulations.policies.kafka_scaler import kafka_lag as lag_in_thousandths
from simulations.policies.keda import KedaLag, KedaSettings, keda_lag
from simulations.policies.peers import PeerPolicy, read_settings

FEW = settings(max_examples=40, deadline=None)

Observe = Callable[..., GroupObservation]
Offsets = Callable[..., TopicOffsets]
MakeService = Callable[..., Service]


def kafka_lag(offsets: TopicOffsets, previous: dict[int, int], settings: KedaSettings) -> Lag:
    """The metric in messages."""
    lag = lag_in_thousandths(offsets, previous, settings, settings.target(1.0))
    return replace(lag, total=lag.total // 1000)


def policy(service: Service, **settings: object) -> PeerPolicy:
    return PeerPolicy("keda_lag", [KedaLag(service, KedaSettings(**settings))])  # type: ignore[arg-type]


def one(policy: PeerPolicy, now: float, observed: GroupObservation) -> ServiceDecision:
    (decision,) = policy.step(now, observed).services
    return decision


@pytest.mark.parametrize(
    ("end", "committed", "settings", "total", "active"),
    [
        ([100, 50], [90, 50], {}, 10, True),
        ([100, 50], [100, 50], {}, 0, False),
        # nothing committed: one keeps a consumer alive; earliest counts everything; or it is told to be zero
        ([100], [-1], {}, 1, True),
        ([9], [-1], {"offset_reset": OffsetReset.EARLIEST}, 9, True),
        ([100], [-1], {"scale_to_zero_on_invalid_offset": True}, 0, False),
        ([100], [-1], {"offset_reset": OffsetReset.EARLIEST, "scale_to_zero_on_invalid_offset": True}, 0, False),
        # cut to partitions x threshold, unless idle consumers are wanted
        ([500, 500], [0, 0], {}, 20, True),
        ([500, 500], [0, 0], {"allow_idle_consumers": True}, 1000, True),
        ([29, 0], [0, 0], {}, 29, True),  # 29 // 10 is 2, and 2 is not more than 2 partitions
        ([30, 0], [0, 0], {}, 20, True),
        # cut to partitions that have lag
        ([500, 0, 0], [0, 0, 0], {"limit_to_partitions_with_lag": True}, 10, True),
        # up to a divisor of the partitions
        ([11, 0, 0, 0], [0, 0, 0, 0], {"ensure_even_distribution": True}, 20, True),
        ([21, 0, 0, 0], [0, 0, 0, 0], {"ensure_even_distribution": True}, 40, True),
        ([99, 0, 0, 0], [0, 0, 0, 0], {"ensure_even_distribution": True}, 40, True),
        ([25] + [0] * 5, [0] * 6, {"ensure_even_distribution": True}, 30, True),
        # offsets are read at slightly different times: no clamp at zero
        ([100, 50], [95, 52], {}, 3, True),
        ([100], [95], {"activation_threshold": 5}, 5, False),
        ([101], [95], {"activation_threshold": 5}, 6, True),
    ],
)
def test_the_metric(
    offsets: Offsets, end: list[int], committed: list[int], settings: dict[str, object], total: int, active: bool
) -> None:
    lag = kafka_lag(offsets(end, committed), {}, KedaSettings(**settings))  # type: ignore[arg-type]
    assert (lag.total, lag.active) == (total, active)


def test_earliest_counts_what_is_there_and_not_what_was_deleted(offsets: Offsets) -> None:
    settings = KedaSettings(offset_reset=OffsetReset.EARLIEST)
    assert kafka_lag(offsets([109], [-1], [100]), {}, settings).total == 9
    assert not kafka_lag(offsets([100], [-1], [101]), {}, settings).active  # read at slightly different times


def test_persistent_lag_counts_for_activation_only_and_in_full_at_first_sight(offsets: Offsets) -> None:
    settings = KedaSettings(exclude_persistent_lag=True)
    seen = offsets([18, 50], [10, 40])
    assert kafka_lag(seen, {}, settings).total == 18
    again = kafka_lag(seen, {0: 10, 1: 39}, settings)
    assert (again.total, again.active) == (10, True)
    stuck = kafka_lag(seen, {0: 10, 1: 40}, settings)
    assert (stuck.total, stuck.active) == (0, True)


@FEW
@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=24), st.integers(1, 500))
def test_the_metric_never_asks_for_more_than_partitions_and_says_when_it_was_cut(
    ends: list[int], threshold: int
) -> None:
    nothing = np.zeros(len(ends), np.int64)
    seen = TopicOffsets(np.arange(len(ends)), np.array(ends, np.int64), nothing, nothing)
    lag = kafka_lag(seen, {}, KedaSettings(threshold=threshold))
    assert lag.total // threshold <= len(ends)
    assert lag.total <= sum(ends)
    assert lag.capped == (lag.total < sum(ends))


def test_it_climbs_as_the_real_one_was_seen_to(service: MakeService, observe: Observe, offsets: Offsets) -> None:
    keda = policy(service(max_replicas=20))
    count, counts = 1, []
    for n in range(5):
        decision = one(keda, n * 15.0, observe(n * 15.0, count, offsets([120] + [0] * 19, [0] * 20)))
        count = decision.desired or 0
        counts.append(count)
        assert decision.numbers.backlog == 120
    assert counts == [4, 8, 12, 12, 12]


def test_default_behavior_is_a_setting(service: MakeService, observe: Observe, offsets: Offsets) -> None:
    keda = policy(service(), behavior=HpaBehavior.DEFAULT)
    decision = one(keda, 0.0, observe(0.0, 1, offsets([120] + [0] * 19, [0] * 20)))
    assert decision.desired == 5
    assert decision.reasons[0] is Reason.SCALE_OUT_LIMIT


def test_between_syncs_the_count_stands(service: MakeService, observe: Observe, offsets: Offsets) -> None:
    keda = policy(service())
    lagging = offsets([500] * 20, [0] * 20)
    counts = [one(keda, now, observe(now, 1, lagging)).desired for now in (0.0, 5.0, 10.0, 14.9, 20.0, 29.5)]
    assert counts == [4, 1, 1, 4, 1, 4]


def test_syncs_within_a_long_tick_are_caught_up(service: MakeService, observe: Observe, offsets: Offsets) -> None:
    keda = policy(service(max_replicas=80))
    lagging = offsets([500] * 100, [0] * 100)
    assert one(keda, 0.0, observe(0.0, 2, lagging)).desired == 4
    assert one(keda, 60.0, observe(60.0, 4, lagging)).desired == 64
    # After an hour's silence, it is not a different rule.
    assert one(keda, 3660.0, observe(3660.0, 64, lagging)).desired == 80


def test_it_scales_in_after_the_window(service: MakeService, observe: Observe, offsets: Offsets) -> None:
    keda = policy(service())
    idle = offsets([100] * 20, [100] * 20)
    assert [one(keda, n * 15.0, observe(n * 15.0, 10, idle)).desired for n in range(21)] == [10] * 21
    assert one(keda, 315.0, observe(315.0, 10, idle)).desired == 1


@pytest.mark.parametrize("freshness", [Freshness.ABSENT, Freshness.STALE, Freshness.ERROR])
@pytest.mark.parametrize("behavior", HpaBehavior)
def test_without_the_metric_the_count_is_held(
    service: MakeService, observe: Observe, offsets: Offsets, freshness: Freshness, behavior: HpaBehavior
) -> None:
    # No window to hide behind: with a metric of zero, the second sync scales in.
    keda = policy(service(min_replicas=0), stabilization=0.0, cooldown=0.0, behavior=behavior)
    for n in range(100):
        decision = one(keda, n * 15.0, observe(n * 15.0, 10, None, freshness=freshness))
        assert decision.desired == 10
        assert decision.reason is getattr(Reason, f"INPUT_{freshness.name}")
        assert decision.reasons[1] is Reason.BROKER_UNREACHABLE
    assert (one(keda, 1500.0, observe(1500.0, 10, offsets([9], [9]))).desired or 0) < 10


def test_a_count_that_is_not_known_is_not_written(service: MakeService, observe: Observe, offsets: Offsets) -> None:
    keda = policy(service())
    lagging = offsets([500] * 20, [0] * 20)
    unknown = one(keda, 0.0, observe(0.0, 3, lagging, replicas=Freshness.ERROR))
    assert (unknown.desired, unknown.reason) == (None, Reason.TARGET_UNKNOWN)
    stale = one(keda, 15.0, observe(15.0, 3, lagging, replicas=Freshness.STALE))
    assert (stale.desired, stale.reason) == (3, Reason.INPUT_STALE)


def test_partitions_are_named_when_they_bind(service: MakeService, observe: Observe, offsets: Offsets) -> None:
    keda = policy(service())
    decision = one(keda, 0.0, observe(0.0, 3, offsets([500] * 4, [0] * 4)))
    assert decision.desired == 4
    assert Reason.PARTITIONS in decision.reasons


def test_pending_replicas_count_as_existing(service: MakeService, observe: Observe, offsets: Offsets) -> None:
    # status.replicas is 2 while 20 are asked for: the ratio is of the 2 that exist, the limit is of the 20.
    keda = policy(service(), stabilization=0.0)
    decision = one(keda, 0.0, observe(0.0, 20, offsets([21] + [0] * 9, [0] * 10), ready=2))
    assert decision.desired == 20  # the count at the start is exactly as old as the window
    decision = one(keda, 15.0, observe(15.0, 20, offsets([21] + [0] * 9, [0] * 10), ready=2))
    assert decision.desired == 2  # 21 over 2 x 10 is within the tolerance


def test_zero_and_one_are_kedas_own(service: MakeService, observe: Observe, offsets: Offsets) -> None:
    keda = policy(service(min_replicas=0))
    idle, busy = offsets([100] * 4, [100] * 4), offsets([100] * 4, [99, 100, 100, 100])
    assert one(keda, 0.0, observe(0.0, 0, idle)).desired == 0
    assert one(keda, 15.0, observe(15.0, 0, busy)).desired == 0  # KEDA polls every 30 s
    decision = one(keda, 30.0, observe(30.0, 0, busy))
    assert (decision.current, decision.desired) == (0, 1)
    assert one(keda, 60.0, observe(60.0, 1, busy)).desired == 1
    # The cooldown runs from the last time it was active; without a metric it does not run out.
    for n in range(5, 24):
        seen = None if n == 23 else idle
        assert one(keda, n * 15.0, observe(n * 15.0, 1, seen)).desired == 1
    assert one(keda, 390.0, observe(390.0, 1, idle)).desired == 0


def test_cooldown_is_only_for_the_step_to_zero(service: MakeService, observe: Observe, offsets: Offsets) -> None:
    keda = policy(service(min_replicas=1), stabilization=0.0)
    idle = offsets([100] * 4, [100] * 4)
    one(keda, 0.0, observe(0.0, 4, idle))
    assert one(keda, 15.0, observe(15.0, 4, idle)).desired == 1


def test_a_time_scale_shrinks_every_period_alike(service: MakeService, observe: Observe, offsets: Offsets) -> None:
    for behavior in HpaBehavior:
        slow = policy(service(min_replicas=0), behavior=behavior)
        fast = policy(service(min_replicas=0), behavior=behavior, time_scale=0.05)
        slow_count = fast_count = 0
        seen = []
        for n in range(120):
            lag = 200 if 10 <= n < 40 else 3 if n < 50 else 0
            observed = offsets([lag] + [0] * 29, [0] * 30)
            slow_count = one(slow, n * 15.0, observe(n * 15.0, slow_count, observed)).desired or 0
            fast_count = one(fast, n * 0.75, observe(n * 0.75, fast_count, observed)).desired or 0
            assert slow_count == fast_count
            seen.append(slow_count)
        assert (seen[0], max(seen), seen[-1]) == (1, 20, 0)


def test_a_restored_policy_decides_the_same(service: MakeService, observe: Observe, offsets: Offsets) -> None:
    settings = {"behavior": HpaBehavior.DEFAULT, "exclude_persistent_lag": True}
    first = policy(service(min_replicas=0), **settings)
    count = 3
    for n in range(100):
        lag = (n * 37) % 150 if n < 40 else 0
        now, observed = n * 15.0, offsets([1000 + lag, 40], [1000, 40 - n % 2])
        decision = one(first, now, observe(now, count, observed))
        if n % 9 == 0:
            saved = first.snapshot()
            second = policy(service(min_replicas=0), **settings)
            second.restore(saved)
            assert second.snapshot() == saved
            first = second
        count = decision.desired or 0
    assert count == 0


@pytest.mark.parametrize("saved", [b"", b"[]", b"{}", b'{"kind": "other", "version": 1, "services": {"u": {}}}'])
def test_a_snapshot_of_something_else_is_refused(service: MakeService, saved: bytes) -> None:
    with pytest.raises(ValueError, match="snapshot"):
        policy(service()).restore(saved)


@pytest.mark.parametrize(
    ("options", "pieces"),
    [
        ({"lag_threshold": "5"}, "found option lag_threshold; allowed: sync_period, "),
        ({"threshold": "0"}, "threshold: found 0; allowed: more than 0"),
        ({"threshold": "1.5"}, 'threshold: found "1.5"; allowed: a whole number'),
        ({"cooldown": "300"}, 'write "300s"'),
        ({"time_scale": "-1"}, "time_scale: found -1.0; allowed: more than 0"),
        ({"time_scale": "nan"}, "allowed: a finite number"),
        ({"behavior": "fast"}, 'behavior: found "fast"; allowed: none, default'),
        ({"allow_idle_consumers": "yes"}, "allowed: true or false"),
        ({"allow_idle_consumers": "true", "limit_to_partitions_with_lag": "true"}, "allowed: one of them"),
        ({"ensure_even_distribution": "true", "limit_to_partitions_with_lag": "true"}, "allowed: one of them"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, str], pieces: str) -> None:
    with pytest.raises(ConfigError) as refused:
        keda_lag(options)
    assert "policy keda_lag: " in str(refused.value)
    assert pieces in str(refused.value)


def test_right_options_are_taken() -> None:
    options = {
        "threshold": "25",
        "cooldown": "1m",
        "behavior": "default",
        "time_scale": "0.1",
        "offset_reset": "earliest",
    }
    settings = read_settings(KedaSettings, "keda_lag", options)
    assert (settings.threshold, settings.cooldown, settings.time_scale) == (25, 60.0, 0.1)
    assert (settings.behavior, settings.offset_reset) == (HpaBehavior.DEFAULT, OffsetReset.EARLIEST)
    assert keda_lag(options) is not None
