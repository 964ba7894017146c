"""The kernel of whole seconds and the one of single requests: the same load and replicas, the same figures.

A backlog of thousands, so that a request's place within its second, which the first leaves out, does not matter; and no
pause when replicas change, which the second does not have.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from scaler.plan.decision import GroupDecision, Numbers, ServiceDecision
from scaler.plan.observation import GroupObservation
from scaler.plan.reasons import Reason
from simulations.measures import measure
from simulations.record import LatencyHistogram
from simulations.request_level.record import measures
from simulations.request_level.run import simulate_requests
from simulations.request_level.setting import RequestService, RequestSetting
from simulations.run import simulate
from simulations.service_times import Fixed
from simulations.setting import Between, Load, Rebalance, ServiceSetting, Setting, Shared

TICK, SECONDS, LEAD = 10.0, 600, 20.0
TIME = 0.25  # s of service: 4 requests/s
# By tick: too few for the burst of 100 requests/s from 60 s to 180 s, then enough for it, then few again.
SCHEDULE = [10] * 12 + [30] * 24 + [14] * 24


class Scripted:
    """Asks for what is written, tick by tick."""

    def __init__(self, desired: Sequence[int]) -> None:
        self._desired = list(desired)

    def step(self, now: float, observed: GroupObservation) -> GroupDecision:
        (seen,), reasons = observed.services, (Reason.NO_FORECAST, Reason.APPLIED)
        assert seen.replicas.value is not None
        current, desired = seen.replicas.value.desired, self._desired.pop(0)
        return GroupDecision((ServiceDecision(seen.uid, now, current, desired, reasons, Numbers()),))

    def snapshot(self) -> bytes:
        return b""

    def restore(self, saved: bytes) -> None:
        raise NotImplementedError


def mean(latency: LatencyHistogram) -> float:
    middles = (latency.edges[:-1] + latency.edges[1:]) / 2
    some = latency.requests > 0
    return float((middles[some] * latency.requests[some]).sum() / latency.requests.sum())


@pytest.mark.parametrize("within", [15.0, 35.0])
def test_attainment_latency_and_hours_agree(service: Callable[..., RequestService], within: float) -> None:
    rates = np.full(SECONDS, 20.0)
    rates[60:180] = 100.0
    single = service(Fixed(TIME), within=within, lead_time=Between(LEAD, LEAD), replicas=10, window=TICK)
    # Each second's requests, evenly over it.
    arrivals = np.concatenate([second + np.arange(n) / n for second, n in enumerate(rates.astype(int).tolist())])
    record = simulate_requests(RequestSetting((single,), TICK), [arrivals], Scripted(SCHEDULE), seconds=SECONDS)
    (requests,) = measures(record)

    fluid = ServiceSetting(
        single.service, 1 / TIME, TIME, Shared(), Between(LEAD, LEAD), Rebalance(pause=0.0), replicas=10
    )
    run = simulate(Setting((fluid,), None, TICK), (Load(0.0, rates),), Scripted(SCHEDULE), name="scripted")
    (seconds,) = measure(run)

    assert run.services[0].backlog.max() > 3000
    assert seconds.requests == requests.requests == len(arrivals)
    assert 0.1 < requests.missed < 0.9
    assert 1 - seconds.attainment == pytest.approx(requests.missed, rel=0.01)
    assert mean(run.services[0].latency) == pytest.approx(requests.mean, rel=0.01)
    assert seconds.p50 == pytest.approx(requests.p50, rel=0.01)
    assert seconds.p99 == pytest.approx(requests.p99, rel=0.01)
    assert seconds.replica_hours == pytest.approx(requests.replica_hours, rel=0.01)
    assert seconds.changes == requests.changes == 2
