"""The peers that look at the past: the same time last week through KEDA, and Holt-Winters beside the rate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from forecasting.series import Series
from scaler.errors import ConfigError
from scaler.plan.observation import Freshness
from scaler.plan.reasons import Reason
from scaler.plan.service import Service
from simulations.policies import holt_winters, same_time_last_week

MakeService = Callable[..., Service]
Cluster = Callable[..., Any]
START = 1_767_571_200.0  # a Monday, 00:00 UTC
DAY = 86400.0


def last_week(step: float, rate: Callable[[float], float], days: int = 7) -> Series:
    """Rates by seconds since the beginning of the same day a week ago."""
    steps = round(days * DAY / step)
    return Series(START - days * DAY, step, np.array([rate((n * step) % DAY) for n in range(steps)]))


def spike(seconds: float) -> float:
    """10 requests/s; 90 from 1:00 to 1:30."""
    return 90.0 if 3600 <= seconds < 5400 else 10.0


def at_half_past_twelve(cluster: Cluster, policy: Any, service: Service, **changes: Any) -> Any:
    """At 0:30; half an hour of 120 ticks until the spike."""
    return cluster(policy, service=service, count=10, start=START + 1800, **changes)


def test_last_weeks_spike_is_met_by_the_lead_time_before_it_begins(service: MakeService, cluster: Cluster) -> None:
    wanted = service(lead_time=300.0)
    policy = same_time_last_week.make({"share": "1", "rate_window": "1m"})([wanted])
    one = at_half_past_twelve(cluster, policy, wanted, history=last_week(60.0, spike))
    counts = [d.desired for d in one.run([10.0] * 130)]
    # 90 over 2 is 45 replicas. The query's minute is full of the spike at 0:56, five minutes ahead.
    reached = counts.index(45)
    assert START + 1800 + reached * 15 == START + 3600 - 300 + 60
    assert max(counts[: 100 - 1]) < 20  # until 0:55 it is lag and ten requests/s


def test_the_larger_of_both_counts(service: MakeService, cluster: Cluster) -> None:
    wanted = service()
    options = {"share": "1", "seconds": "0.35"}
    # Lag of 10 requests/s x 0.7 s is 7: 7 / 0.7 is 10; last week's 10 requests/s are 5.
    both = at_half_past_twelve(
        cluster, same_time_last_week.make(options)([wanted]), wanted, history=last_week(60.0, lambda _: 10.0)
    )
    assert [d.desired for d in both.run([10.0] * 40)][-1] == 10
    # Last week's 60 requests/s are 30.
    more = at_half_past_twelve(
        cluster, same_time_last_week.make(options)([wanted]), wanted, history=last_week(60.0, lambda _: 60.0)
    )
    assert [d.desired for d in more.run([10.0] * 40)][-1] == 30


def test_without_history_a_query_is_zero_as_kedas_is_or_a_failure(service: MakeService, cluster: Cluster) -> None:
    options = {"share": "1", "stabilization": "0s"}
    zero = at_half_past_twelve(cluster, same_time_last_week.make(options)([service()]), service())
    zero.run([10.0] * 10)
    assert zero.count < 10
    failing = {**options, "ignore_null_values": "false"}
    fails = at_half_past_twelve(cluster, same_time_last_week.make(failing)([service()]), service())
    decisions = fails.run([10.0] * 10)
    assert fails.count == 10  # nothing goes down while a trigger fails
    assert decisions[-1].reason is Reason.INPUT_ABSENT


def test_it_keeps_its_own_record(service: MakeService, cluster: Cluster) -> None:
    # A day an hour: the offset of a day is a quarter of an hour in this time scale.
    policy = same_time_last_week.make({"share": "1", "offset": "15m", "lead": "0s", "rate_window": "1m"})([service()])
    one = cluster(policy, count=40)
    one.run([60.0] * 8 + [10.0] * 51)
    assert one.count < 30
    counts = [d.desired for d in one.run([10.0] * 12)]
    assert max(counts) == 30


def test_holt_winters_is_there_before_the_spike_and_never_below_the_rate(
    service: MakeService, cluster: Cluster
) -> None:
    wanted = service(lead_time=300.0)
    policy = holt_winters.make({"utilization": "1"})([wanted])
    one = at_half_past_twelve(cluster, policy, wanted, history=last_week(300.0, spike))
    before = one.run([10.0] * 118)
    # From 0:55 on, a pod asked for serves in the step that begins at 1:00: from 5 to 45 replicas, by doubling.
    first = next(n for n, d in enumerate(before) if n > 60 and d.desired > 5)
    assert first * 15 == 1500
    assert [d.desired for d in before[first - 1 : first + 3]] == [5, 10, 20, 40]
    assert 40 <= before[-1].desired <= 50
    assert Reason.FORECAST in before[first].reasons
    assert before[-1].numbers.forecast_replicas == before[-1].desired
    # A jump that nobody knew.
    after = one.run([150.0] * 8)
    assert after[-1].desired == 75
    assert Reason.FORECAST not in after[-1].reasons


def test_holt_winters_without_history_is_the_hpa_on_the_rate(service: MakeService, cluster: Cluster) -> None:
    one = cluster(holt_winters.make({"utilization": "1"})([service()]), count=10)
    decisions = one.run([40.0] * 20)
    assert decisions[-1].desired == 20
    assert decisions[-1].numbers.forecast_replicas is None


def test_holt_winters_learns_from_its_own_record_and_holds_when_blind(service: MakeService, cluster: Cluster) -> None:
    # Seasons of a quarter of an hour in steps of a minute: after two of them it forecasts.
    options = {"utilization": "1", "step": "1m", "season": "15m", "refit": "15m", "lead": "1m"}
    one = cluster(holt_winters.make(options)([service()]), count=5)
    wave = [20.0 + (60.0 if n % 60 >= 48 else 0.0) for n in range(60 * 6)]
    decisions = one.run(wave)
    known = [d.numbers.forecast_replicas for d in decisions]
    assert known[100] is None
    assert None not in known[130:]
    # In the sixth season: 10 replicas are enough until the load's step comes within the lead time of a minute.
    foreseen = [known[300 + n] or 0 for n in (30, 42, 44, 47, 52)]
    assert max(foreseen[:2]) < 20
    assert min(foreseen[2:]) > 25
    before = one.count
    assert {d.desired for d in one.run([20.0] * 60, offsets=Freshness.ERROR)} == {before}


@pytest.mark.parametrize(
    ("module", "options", "piece"),
    [
        (same_time_last_week, {"share": "0"}, "share: found 0.0; allowed: more than 0"),
        (same_time_last_week, {"offset": "1h", "lead": "2h"}, "lead: found 2h; allowed: less than offset, 1h"),
        (holt_winters, {"alpha": "2"}, "alpha: found 2.0; allowed: 0 to 1"),
        (holt_winters, {"season": "1h", "step": "7m"}, "season: found 1h; allowed: a multiple of step, 7m"),
        (holt_winters, {"step": "0s"}, "step, refit: found 0s; allowed: more"),
    ],
)
def test_wrong_options_are_refused(module: Any, options: dict[str, str], piece: str) -> None:
    with pytest.raises(ConfigError) as refused:
        module.make(options)
    assert piece in str(refused.value)
