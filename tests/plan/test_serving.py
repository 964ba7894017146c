"""What a tick teaches of the service rate while it is not clear when what is committed was served."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scaler.plan.nodes_need import PoolSpec
from scaler.plan.observation import LatencySample
from scaler.plan.paths import Futures
from scaler.plan.probe import Situation
from scaler.plan.progress import Progress
from scaler.plan.service import Service
from scaler.plan.serving import Serving
from scaler.plan.settings import PlanSettings
from tests.plan.loop import REAL

TICK = REAL.tick


def interval(at: float, came: float, served: float, backlog: float) -> Progress:
    even = np.full(10, 0.1)
    return Progress(at, TICK, even * came, even * served, even * backlog, even * backlog, False)


def learned(intervals: list[tuple[float, float, float]], ready: int = 10) -> float:
    """The rate after (came, served, backlog) of one tick after the other, each late."""
    serving = Serving(replace(REAL, service_rate=2.0), PlanSettings())
    for tick, (came, served, backlog) in enumerate(intervals, start=1):
        serving.learn(interval(1000.0 + tick * TICK, came, served, backlog), None, ready, True, 1e3)
    return serving.rate


def test_what_was_served_before_anybody_looked_raises_nothing() -> None:
    """150 messages a tick are committed that nobody saw served, where 10 replicas of 2 requests/s give 300."""
    assert learned([(450.0, 450.0, 1e4)] * 3) == 2.0
    assert learned([(450.0, 450.0, 1e4)] * 20) == pytest.approx(3.0, rel=0.02), "what goes on is no remainder"


def test_less_than_believed_is_learned_at_once() -> None:
    assert learned([(150.0, 150.0, 1e4)] * 4) < 1.5


def test_a_jump_of_the_load_contradicts_nothing_until_it_has_settled() -> None:
    """From 20 to 100 requests/s: up to 80 of them may be done and not committed."""
    calm, jump = [(300.0, 300.0, 1e4)] * 6, [(1500.0, 230.0, 1e4)]
    assert learned(calm + jump * 3) == pytest.approx(2.0, rel=0.02)
    assert learned(calm + jump * 30) == pytest.approx(230 / 150, rel=0.03)


def test_counting_noise_is_no_change_of_the_load() -> None:
    rng = np.random.default_rng(3)
    noisy = [(float(rng.poisson(300)), 225.0, 1e4) for _ in range(8)]
    assert learned(noisy) == pytest.approx(1.5, rel=0.05)


def taught(within: float, waiting: float, oldest: float, ticks: int = 12) -> float:
    """The rate after ``ticks`` of 15 requests/s served by ten replicas of two, as declared; true is 1.5."""
    serving = Serving(replace(REAL, service_rate=2.0, within=within), PlanSettings())
    for tick in range(1, ticks + 1):
        serving.learn(interval(1000.0 + tick * TICK, 225.0, 225.0, waiting), None, 10, True, oldest)
    return serving.rate


def test_a_backlog_beyond_what_any_commit_can_be_late_by_teaches_within_a_long_objective() -> None:
    assert taught(600.0, 15.0 * 60.0, 60.0) == pytest.approx(1.5, rel=0.05)
    assert taught(600.0, 15.0 * 60.0, 20.0) == 2.0, "what came at once is not old"
    assert taught(600.0, 15.0 * 20.0, 60.0) == 2.0, "one old message is no backlog"
    assert taught(10.0, 15.0 * 20.0, 20.0) == pytest.approx(1.5, rel=0.05), "later than the objective: it always was"


def test_consumers_without_work_teach_nothing_where_the_group_is_known_to_deal_partitions_out() -> None:
    """Two consumers of 2 requests/s; all the load is on partitions 0 and 2, which one of them holds."""
    hot = np.array([0.5, 0.0, 0.5, 0.0])

    def seen(assignor: str | None) -> float:
        serving = Serving(replace(REAL, service_rate=2.0), PlanSettings())
        for tick in range(1, 21):
            at = 1000.0 + tick * TICK
            step = Progress(at, TICK, hot * 30.0, hot * 30.0, hot * 1e4, hot * 1e4, False)
            serving.learn(step, None, 2, True, 1e3, assignor)
        return serving.rate

    assert seen("roundrobin") == 2.0
    assert seen(None) == seen("range") == pytest.approx(1.0, rel=0.05), "in ranges both would have work"


SERVICE = replace(REAL, service_rate=2.0)
CALM = Situation(10, 10, 9, 9, 19.0, 2.0, 9.5, 2.0, unsure=True, sound=True, quiet=True)


def tried_out(service: Service = SERVICE) -> tuple[Serving, float]:
    """One of ten replicas, of 2 requests/s as declared, is tried out less: the nine are believed to serve more; and the
    time of the last tick."""
    serving, now, count = Serving(service, PlanSettings()), 1000.0, 10
    rng = np.random.default_rng(5)
    for _ in range(45):
        now += TICK
        came = float(rng.poisson(1.9 * 9 * TICK))
        serving.learn(interval(now, came, came, 2.0), None, count, True, 0.1)
        count = serving.experiment(now, replace(CALM, current=count, rate=serving.rate)) or 10
    assert serving.trying
    assert serving.rate > 2.1
    return serving, now


def test_a_backlog_takes_back_what_was_tried_out_also_while_replicas_come() -> None:
    """Of eleven at the end of the second interval ten served throughout, 2.05 requests/s each."""
    serving, now = tried_out()
    for tick in range(1, 3):
        serving.learn(interval(now + tick * TICK, 600.0, 307.5, 1e4), None, 9 + tick, False, 60.0)
    assert serving.rate == pytest.approx(2.05)


def test_a_few_old_messages_take_nothing_back() -> None:
    serving, now = tried_out()
    before = serving.rate
    for tick in range(1, 4):
        serving.learn(interval(now + tick * TICK, 256.0, 256.0, 3.0), None, 9, False, 60.0)
    assert serving.rate == before


def test_with_another_template_nothing_of_the_old_one_is_taken_back_or_waited_for() -> None:
    serving, now = tried_out()
    assert serving.experiment(now + TICK, replace(CALM, current=9, backlog=1e4)) is None
    before = serving.rate
    serving.renew()
    serving.learn(interval(now + 2 * TICK, 285.0, 285.0, 3.0), None, 9, False, 0.1)
    assert serving.rate == before
    asked = [serving.experiment(now + tick * TICK, CALM) for tick in range(2, 40)]
    assert 9 in asked


def test_after_that_nothing_is_tried_for_long() -> None:
    serving, now = tried_out()
    for tick in range(1, 4):
        serving.learn(interval(now + tick * TICK, 600.0, 276.0, 1e4), None, 9 + tick, False, 60.0)
    for tick in range(4, 200):
        assert serving.experiment(now + tick * TICK, CALM) is None


PATIENT = PlanSettings(patience=100.0 * TICK)
POOLED = replace(SERVICE, pool=PoolSpec("gpus", 8, 300.0))


def hear(serving: Serving, first: int, last: int, takes: float | None) -> float:
    """Calm ticks ``first`` to ``last``; a request ``takes`` so many s by the histogram, where 0.5 is declared. The time
    of the last."""
    for tick in range(first, last + 1):
        sample = None if takes is None else LatencySample(None, None, None, 150.0, 150.0 * takes, TICK)
        serving.learn(interval(1000.0 + tick * TICK, 150.0, 150.0, 2.0), sample, 10, True, 0.1)
    return 1000.0 + last * TICK


@pytest.mark.parametrize(("takes", "at_once"), [(0.5, False), (0.3, True)])
def test_without_a_concurrency_a_histogram_of_the_declared_time_only_makes_an_experiment_wait(
    takes: float, at_once: bool
) -> None:
    serving = Serving(SERVICE, PATIENT)
    assert not serving.untold(1000.0, latency=True), "it has not begun"
    now = hear(serving, 1, 99, takes)
    assert serving.untold(now, latency=True) is at_once
    assert serving.untold(now, latency=False), "it has none"
    assert serving.untold(now + 2 * 3600.0, latency=True), "it has been silent"
    assert serving.untold(hear(serving, 100, 100, takes), latency=True)


@pytest.mark.parametrize("takes", [0.5, 0.3])
def test_with_a_concurrency_the_law_tells_the_rate_until_the_histogram_is_silent(takes: float) -> None:
    """At a load far below the concurrency even the law is not sure."""
    serving = Serving(replace(SERVICE, concurrency=4.0), PATIENT)
    now = hear(serving, 1, 200, takes)
    assert serving.unsure
    assert not serving.untold(now, latency=True)
    assert serving.untold(now, latency=False)
    assert serving.untold(now + 2 * 3600.0, latency=True)


def test_on_a_pool_nothing_is_tried_out_before_half_an_hours_load_had_its_say() -> None:
    serving = Serving(POOLED, PATIENT)
    assert not serving.untold(hear(serving, 1, 99, None), latency=False)
    serving.learn(interval(1000.0 + 200 * TICK, 0.0, 0.0, 2.0), None, 10, True, 0.1)
    assert not serving.untold(1000.0 + 200 * TICK, latency=False), "no load tells nothing, however long it takes"
    assert serving.untold(hear(serving, 201, 201, None), latency=False)
    serving.renew()
    assert not serving.untold(hear(serving, 202, 300, None), latency=False), "another template"
    assert serving.untold(hear(serving, 301, 301, None), latency=False)


def test_what_an_experiment_gives_up_is_wanted_back() -> None:
    serving, now = tried_out()
    assert serving.reserved == 10
    assert serving.experiment(now + TICK, replace(CALM, current=9, spare=False)) is None
    assert serving.reserved == 0


def test_an_experiment_leaves_room_for_the_paths_until_the_count_is_back() -> None:
    """At steps 0 to 9, over 100 paths: 10 requests/s and one more for each; a peak behind them is not looked at."""
    rates = np.full((100, 20), 10.0) + np.arange(100.0)[:, None]
    rates[:, 10:] = 1e4
    (low, middle), (high, _) = (
        Serving(service, PlanSettings()).safe(Futures(rates, TICK, 0.0), 10, 60.0) for service in (SERVICE, POOLED)
    )
    short = 1.0 + (SERVICE.within - SERVICE.service_time) / 120.0
    assert middle == pytest.approx((10.0 + 49.5) / 2.0 / short)
    assert low == pytest.approx((10.0 + 0.95 * 99.0) / 2.0 / short)
    assert high == pytest.approx((10.0 + 0.99 * 99.0) / 2.0 / short), "on a pool"
