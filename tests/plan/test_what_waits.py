"""What of a backlog, and of a level, the plan goes by: partitions that more replicas do not help, and long requests."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from forecasting.fitting import InPlace
from scaler.plan.planner import LONG, ServicePlanner
from scaler.plan.progress import Progress
from scaler.plan.reasons import Reason
from scaler.plan.service import Service
from scaler.plan.settings import PlanSettings
from tests.plan.loop import REAL, Loop, outage, policy_for


def planner(service: Service = REAL) -> ServicePlanner:
    return ServicePlanner(service, None, PlanSettings(), InPlace())


def drainable(waits: list[float], consumed: list[float], ready: int) -> float:
    """Of consumers that drain 120 messages in a minute."""
    given = np.array(consumed), np.array(waits)
    return planner()._drainable(Progress(0.0, 15.0, given[0], given[0], given[1], given[1], False), ready)


def test_of_a_partition_that_nobody_serves_as_much_counts_as_one_consumer_drains() -> None:
    assert drainable([5000.0, 40.0, 200.0], [0.0, 30.0, 30.0], ready=2) == 120.0 + 40.0 + 200.0
    assert drainable([5000.0, 40.0, 200.0], [10.0, 30.0, 30.0], ready=2) == 5240.0, "others wait behind it"


def test_where_each_has_its_consumer_no_further_one_helps() -> None:
    assert drainable([5000.0, 40.0, 200.0], [30.0, 30.0, 30.0], ready=3) == 120.0 + 40.0 + 120.0


@dataclass
class Poisoned(Loop):
    """From 600 s on nobody gets past a message in partition 5."""

    def _serve(self, held: np.ndarray, budget: float) -> None:
        if self.now - self.start > 600.0:
            held = held[held != 5]
        super()._serve(held, budget)


@pytest.mark.slow
def test_a_message_that_cannot_be_processed_is_no_load() -> None:
    service = replace(REAL, max_replicas=200)
    loop = Poisoned(service, policy_for(service, None), lambda t: 24.0, start_replicas=24, dt=1.0)
    loop.run(5400.0)
    assert loop.queues[5]
    assert max(d.desired or 0 for d in loop.decisions) <= 24, "not all 48"
    assert sum(one[1] for one in loop.queues[5]) > 2000.0


# --- the level


JOBS = replace(REAL, within=1800.0, service_time=600.0, service_rate=1 / 600, lead_time=120.0, max_replicas=200)


@pytest.mark.parametrize(
    ("service", "seconds"),
    [
        (REAL, 15.0),
        (replace(REAL, within=60.0), 45.0),
        (JOBS, 600.0),
        (replace(JOBS, within=900.0), 150.0),
        (replace(JOBS, service_time=1795.0), 60.0),
    ],
)
def test_the_level_is_a_mean_over_as_long_as_a_request_takes_and_its_objective_lets_it_wait(
    service: Service, seconds: float
) -> None:
    assert planner(service)._window == seconds


@pytest.mark.slow
def test_the_mean_of_an_outage_is_no_level_however_long_requests_take() -> None:
    """25 minutes in which nothing was known, at a sixth of the load that there is after it: nobody goes."""

    def load(t: float) -> float:
        return 4 / 60 if t - loop.start < 3600.0 or t - loop.start > 5000.0 else 0.2 / 60

    service = replace(JOBS, scale_in_hold=0.0)
    change = outage(3600.0, 5100.0, "offsets")
    loop = Loop(service, policy_for(service, None), load, start_replicas=60, partitions=240, dt=5.0, change=change)
    loop.run(5100.0)
    before = loop.decisions[-1].desired or 0
    loop.run(2 * service.tick)
    first = next(d for d in loop.decisions if d.time - loop.start >= 5100.0)
    assert (first.desired or 0) >= before
    assert Reason.SCALE_IN_DELAYED in first.reasons
    assert planner(service)._long == LONG * 60.0


# --- experiments


@pytest.mark.slow
@pytest.mark.parametrize(("within", "attained"), [(1.0, 0.99), (10.0, 0.99)])
def test_a_tight_objective_survives_the_experiments_of_a_rate_that_is_right(within: float, attained: float) -> None:
    """100 requests/s by replicas of ten: at the limit of ten of them, what waits is late before it can be told."""
    service = replace(REAL, within=within, service_time=0.1, service_rate=10.0)
    loop = Loop(
        service, policy_for(service, lambda t: 100.0), lambda t: 100.0, start_replicas=20, partitions=240, dt=0.1
    )
    loop.run(3600.0)
    assert any(Reason.EXPERIMENT in d.reasons for d in loop.decisions)
    assert min(loop.attainment(at, at + 180.0) for at in np.arange(0.0, 3600.0, 180.0)) >= attained
