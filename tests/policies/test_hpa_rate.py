"""The HPA on the arrival rate: its metric, its target, and what it does when it sees nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scaler.errors import ConfigError
from scaler.plan.observation import Freshness
from scaler.plan.reasons import Reason
from scaler.plan.service import Service
from simulations.policies.hpa_rate import hpa_rate, make

MakeService = Callable[..., Service]
Cluster = Callable[..., Any]


def started(cluster: Cluster, service: Service, count: int, **options: str) -> Any:
    return cluster(make(options)([service]), service=service, count=count)


def test_the_count_is_rate_over_target_within_the_tolerance(service: MakeService, cluster: Cluster) -> None:
    # Target 0.8 x 2 = 1.6 requests/s a replica. 40 / 1.6 = 25; 43 / 1.6 = 26.9: 7.5 % above, and nothing changes.
    one = started(cluster, service(), 25, utilization="0.8")
    assert {d.desired for d in one.run([40.0] * 6)} == {25}
    assert {d.desired for d in one.run([43.0] * 6)} == {25}
    # Three quarters of a minute at 45: 44.5 / 1.6 = 27.8, 11.3 % above; then 45 / 1.6 = 28.1, near enough to 28.
    assert [d.desired for d in one.run([45.0] * 6)] == [25, 25, 28, 28, 28, 28]
    assert one.decisions[-1].numbers.arrival_rate == 45.0


def test_it_doubles_at_most_and_waits_300_seconds_before_it_goes_down(service: MakeService, cluster: Cluster) -> None:
    one = started(cluster, service(max_replicas=500), 3, utilization="1", rate_window="15s")
    jump = one.run([200.0] * 8)
    # Nothing is known from one sample; then 3 + 4, and doubling up to 200 / 2.
    assert [d.desired for d in jump] == [3, 7, 14, 28, 56, 100, 100, 100]
    assert jump[1].reasons == (Reason.SCALE_OUT_LIMIT, Reason.NO_FORECAST)
    assert jump[-1].reasons == (Reason.STEADY,)
    fall = one.run([20.0] * 24)
    # The last proposal of 100 is at 0 s of the window; the first of 10 comes 15 s later.
    assert [d.desired for d in fall] == [100] * 19 + [10] * 5
    assert fall[3].reasons == (Reason.SCALE_IN_DELAYED, Reason.STEADY)


def test_pending_replicas_count_as_existing(service: MakeService, observe: Any, offsets: Any) -> None:
    policy = make({"utilization": "1"})([service()])
    decisions: list[Any] = []
    for n in range(3):
        # 10 asked for, 4 ready, 6 pods pending: 21 requests/s over 2 is 10.5: 5 % above 10, not 162 % above 4.
        seen = observe(n * 15.0, 10, offsets([n * 315], [n * 315]), ready=4)
        (one,) = seen.services
        state = type(one.replicas.value)(10, 4, (0.0,) * 6, 0, "t", updating=False)
        reading = type(one.replicas)(state, n * 15.0, Freshness.FRESH)
        whole = type(seen)((type(one)("u", one.offsets, None, reading),))
        decisions += policy.step(n * 15.0, whole).services
    assert [d.desired for d in decisions] == [10] * 3
    assert (decisions[-1].numbers.ready, decisions[-1].numbers.pending) == (4, 6)


def test_a_new_topic_is_told_and_held(service: MakeService, cluster: Cluster) -> None:
    one = started(cluster, service(), 20)
    one.run([20.0] * 8)
    one.end = 0
    (decision,) = one.run([20.0])
    assert decision.reasons == (Reason.TOPIC_RECREATED,)
    assert decision.desired == decision.current


def test_a_target_at_zero_is_started_when_something_arrives(service: MakeService, cluster: Cluster) -> None:
    one = started(cluster, service(min_replicas=0), 0)
    assert [d.desired for d in one.run([0.0, 0.0, 0.0, 2.0])] == [0, 0, 0, 1]
    assert one.decisions[-1].reasons[0] is Reason.MIN_REPLICAS


def test_within_the_tolerance_nothing_ever_changes(service: MakeService, cluster: Cluster) -> None:
    one = started(cluster, service(), 20, utilization="1")
    one.run([40.0] * 5)
    assert {d.desired for d in one.run([36.4, 43.6] * 40)} == {20}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
@given(rates=st.lists(st.floats(0, 300), min_size=2, max_size=20), factor=st.floats(1.0, 2.0))
def test_more_load_never_gets_fewer_at_the_first_change(
    rates: list[float], factor: float, service: MakeService, cluster: Cluster
) -> None:
    wanted = service(max_replicas=1000)
    low, high = (started(cluster, wanted, 10, utilization="0.7") for _ in range(2))
    for rate in rates:
        (one,), (other,) = low.run([rate]), high.run([rate * factor])
        assert one.desired <= other.desired
        low.count = high.count = 10


def test_wrong_options_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"policy hpa_rate: utilization: found 0\.0; allowed: more than 0"):
        hpa_rate({"utilization": "0"})
    with pytest.raises(ConfigError, match="policy hpa_rate: scale_up: pods"):
        hpa_rate({"scale_up": "pods=4"})
