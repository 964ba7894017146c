"""The plan in a closed loop: what is foreseen is ready in time, and what is over is given back."""

from __future__ import annotations

import pytest

from scaler.plan.service import Service
from tests.plan.loop import LAB, REAL, Loop, policy_for, spike

LOADS = [
    pytest.param(LAB, spike(15, 80, 60, 120), 4, (60.0, 120.0, 240.0), 0.5, id="lab"),
    pytest.param(REAL, spike(10, 60, 600, 1500), 6, (600.0, 1500.0, 3000.0), 2.5, id="real", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("service", "load", "replicas", "times", "dt"), LOADS)
def test_a_foreseen_spike_finds_its_replicas_ready(service: Service, load, replicas, times, dt) -> None:
    start, end, total = times
    loop = Loop(service, policy_for(service, load), load, start_replicas=replicas, dt=dt)
    loop.run(total)
    needed = load(loop.start + start) / service.service_rate
    ready = min(n for t, n in loop.ready if start < t - loop.start <= end)
    assert ready >= needed
    ordered = next(at for at, _, after in loop.changes(start / 2) if after >= needed)
    ahead = start - ordered
    assert service.lead_time <= ahead <= service.lead_time + 4 * service.tick, "about one lead time ahead, not more"
    assert loop.attainment(start, end) >= 0.99
    assert loop.attainment() >= 0.99
    after = max(service.scale_in_hold, 4 * service.lead_time) + 6 * service.tick
    given_back = [n for t, n in loop.ready if t - loop.start >= end + after]
    assert max(given_back) <= 2 * load(loop.start) / service.service_rate + 2


@pytest.mark.parametrize(("service", "load", "replicas", "times", "dt"), LOADS)
def test_foresight_beats_the_same_plan_without_it(service: Service, load, replicas, times, dt) -> None:
    start, end, total = times
    seen, blind = (
        Loop(service, policy_for(service, known), load, start_replicas=replicas, dt=dt) for known in (load, None)
    )
    seen.run(total)
    blind.run(total)
    assert seen.attainment(start, end) > blind.attainment(start, end) + 0.05
    assert seen.seconds < 1.25 * blind.seconds, "and is not bought with standing replicas"
