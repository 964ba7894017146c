"""One scaler's figures over time, as far as they are more than the sum of their parts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scaler.metrics.ledger import Ledger
from scaler.plan.decision import Numbers, ServiceDecision
from scaler.plan.observation import Freshness, LeadTime, Reading, ReplicaState, ServiceObservation, TopicOffsets
from scaler.plan.reasons import Reason
from scaler.plan.service import Service

SERVICE = Service(
    uid="u",
    within=10.0,
    share=0.99,
    min_replicas=1,
    max_replicas=10,
    service_rate=1.0,
    service_time=1.0,
    lead_time=60.0,
    tick=10.0,
    step=60.0,
    scale_in_hold=0.0,
)


def followed_late(ways: tuple[LeadTime, ...]) -> float:
    """4 requests/s, 2 replicas of 1 request/s run, 8 are recommended from the first tick on; planned lead time 60 s."""
    ledger, late = Ledger(SERVICE), 0.0
    one = np.zeros(1, dtype=np.int64)
    for tick in range(10):
        time = 10.0 * tick
        offsets = TopicOffsets(one, one + int(4 * time), one, one)
        state = Reading(ReplicaState(2, 2, (), 0, "a", False), time, Freshness.FRESH)
        seen = ServiceObservation("u", Reading(offsets, time, Freshness.FRESH), None, state)
        seen = replace(seen, lead_times=ways if tick == 0 else ())
        numbers = Numbers(service_rate=1.0, lead_time=60.0, partitions=20)
        late += ledger.step(seen, ServiceDecision("u", time, 2, 8, (Reason.FORECAST,), numbers)).followed.late
    return late


def test_replicas_serve_after_the_usual_lead_time_and_before_any_was_seen_after_the_planned_one() -> None:
    ways = tuple(LeadTime(f"pod-{k}", 0.0, 0.0, total, None, 0.0) for k, total in enumerate((10.0, 30.0, 300.0)))
    # With a lead time L, of the requests due at t late are those with 4 (t - 10) > 2 t, or, from L on,
    # 4 (t - 10) > 2 L + 8 (t - L): from t = 20 until (6 L - 40) / 4, which is 35 for L = 30 and 80 for L = 60.
    assert followed_late(ways) == pytest.approx(4 * 15.0)
    assert followed_late(()) == pytest.approx(4 * 60.0)
