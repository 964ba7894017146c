"""From when on what is late is a plan's own: not before its first replica, nor behind a backlog that stood then."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scaler.plan.lateness import Lateness
from scaler.plan.progress import Progress
from scaler.plan.service import Service
from scaler.plan.settings import PlanSettings
from tests.plan.loop import LAB, REAL, Loop, outage, policy_for

KEPT = replace(PlanSettings(), attained_memory=math.inf)  # nothing fades, so that requests can be counted
BEGIN = 1_000_000.0
LOAD = 10.0  # requests/s
DAY = 86_400.0

Left = Callable[[float], float]  # s after the begin -> messages that wait


@dataclass
class Told:
    """What a plan begun at ``BEGIN`` is told at each tick, of a steady load."""

    within: float
    drain: float
    lead: float
    tick: float
    waiting: Left
    rate: float = 1.0

    def __post_init__(self) -> None:
        self.lateness = Lateness(replace(REAL, within=self.within), replace(KEPT, drain=self.drain), self.rate)
        self.now = BEGIN

    @property
    def due(self) -> float:
        """s after which a request counts, late or not."""
        return self.within + KEPT.uncommitted

    def run(self, seconds: float, waiting: Left | None = None) -> None:
        """Go on for ``seconds``, in which ``waiting`` stands in for what is told else."""
        for _ in range(round(seconds / self.tick)):
            left = (waiting or self.waiting)(self.now - BEGIN)
            came, nothing = np.array([LOAD * self.tick]), np.zeros(1)
            progress = Progress(self.now, self.tick, came, nothing, nothing, np.array([left]), False)
            self.lateness.learn(progress, left, self.lead, self.rate, False)
            self.now += self.tick

    def unknown(self, seconds: float) -> None:
        """Of ``seconds`` it is not known what arrived."""
        self.lateness.restart()
        self.now += seconds

    def until_counted(self, most: float) -> float:
        """s until the next request counts; at most ``most``."""
        begin, before = self.now, self.lateness.counted
        while self.lateness.counted == before:
            assert self.now - begin <= most, "it never counts"
            self.run(self.tick)
        return self.now - self.tick - begin


def drained(backlog: float, begin: float, end: float) -> Left:
    """It stands until ``begin`` and is gone by ``end``, evenly."""
    return lambda t: backlog * min(max((end - t) / (end - begin), 0.0), 1.0)


def on_grid(seconds: float, tick: float) -> float:
    """The first tick that is not before."""
    return -(-seconds // tick) * tick


SECONDS = st.integers(5, 60).map(float)
TICKS = st.sampled_from([1.0, 2.0, 5.0])


@settings(deadline=None)  # it may compile
@given(SECONDS, SECONDS, SECONDS, TICKS, st.booleans(), st.integers(0, 1000))
def test_what_is_due_while_a_backlog_that_stood_is_drained_counts_for_nothing_and_all_after_it_does(
    within: float, drain: float, lead: float, tick: float, overdue: bool, seed: int
) -> None:
    """What waits at the first tick at which a replica of the plan's own can have served decides, and nothing else."""
    rng, usual, begins = np.random.default_rng(seed), LOAD * (within + KEPT.uncommitted), on_grid(lead + within, tick)
    told = Told(within, drain, lead, tick, lambda t: usual * rng.uniform(0.0, 3.0))
    answers = begins + (max(drain, within) if overdue else 0.0)
    ticks = np.arange(0.0, answers + 2.0 * told.due, tick)
    due = np.array([on_grid(t + told.due, tick) for t in ticks[1:]])  # of what came since the tick before
    for t in ticks:
        told.run(tick, (lambda t: usual * (1.01 if overdue else 1.0)) if t == begins else told.waiting)
        assert told.lateness.counted == LOAD * tick * np.count_nonzero((answers <= due) & (due <= t))


@settings(deadline=None)  # it may compile
@given(SECONDS, SECONDS.map(lambda s: s + 15.0), SECONDS, TICKS, st.floats(0.0, 1000.0))
def test_a_plan_that_drains_what_it_began_with_in_time_is_corrected_as_one_that_began_with_nothing(
    within: float, drain: float, lead: float, tick: float, times: float
) -> None:
    """However much it was."""
    waiting = drained(times * LOAD * within, lead, lead + max(drain, within) - 2.0 * tick)
    told = Told(within, drain, lead, tick, waiting)
    serves, usual = on_grid(lead + within, tick), LOAD * told.due
    assume((waiting(serves - tick) > usual) == (waiting(serves) > usual))  # else a tick's requests may be late
    other = Told(within, drain, lead, tick, lambda t: 0.0)
    for _ in range(3):
        told.run((lead + within + drain) * 1.5)
        assert told.lateness.inflation <= PlanSettings().inflation
    other.run(told.now - BEGIN)
    assert 0.0 < told.lateness.counted <= other.lateness.counted
    assert told.lateness.inflation >= other.lateness.inflation


def late_by(t: float) -> float:
    """More than anybody serves within these objectives."""
    return 1e6


def test_with_no_backlog_then_what_is_late_is_learned_at_once() -> None:
    """Also from a backlog that comes a tick later."""
    told = Told(10.0, 60.0, 90.0, 5.0, lambda t: 0.0 if t <= 100.0 else late_by(t))
    told.run(105.0)
    assert told.lateness.counted > 0.0, "what came since the first replica could serve"
    told.run(30.0)
    assert told.lateness.inflation > PlanSettings().inflation


def test_what_is_still_late_after_the_time_in_which_a_backlog_is_drained_is_the_plans_own() -> None:
    told = Told(10.0, 60.0, 90.0, 5.0, late_by)
    told.run(160.0)
    assert told.lateness.counted == 0.0
    told.run(30.0)
    assert told.lateness.inflation > PlanSettings().inflation


@pytest.mark.parametrize("lead", [1.0, 20.0, 90.0, 300.0])
def test_a_short_lead_time_does_not_cut_the_drain_short(lead: float) -> None:
    told = Told(10.0, 60.0, lead, 5.0, late_by)
    assert told.until_counted(1000.0) == on_grid(lead + 10.0, 5.0) + 60.0


@pytest.mark.parametrize("lead", [20.0, 90.0])
@pytest.mark.parametrize("back", [30.0, DAY])
@pytest.mark.parametrize("at", [10.0, 60.0, 130.0, 1000.0])
def test_after_the_clock_was_set_back_it_goes_on_before_long(at: float, back: float, lead: float) -> None:
    """While the first replica comes, while a backlog is drained, and later; not a day later."""
    told = Told(10.0, 60.0, lead, 5.0, late_by)
    told.run(at)
    told.unknown(-back)
    passed = told.until_counted(lead + 10.0 + 60.0 + told.due + 5.0)
    assert passed >= lead + 10.0 + 60.0 - at, "what stood has its time"


@pytest.mark.parametrize("foreseen", [True, False])
def test_a_plan_that_takes_over_has_a_drain_of_its_own(foreseen: bool) -> None:
    """Its replicas come first; what stands then is no more its own than what stood when the policy began."""
    told = Told(10.0, 60.0, 90.0, 5.0, lambda t: 0.0)
    told.lateness.judge(not foreseen)
    told.run(600.0)
    told.lateness.judge(foreseen)
    told.lateness.judge(foreseen)
    assert told.lateness.counted == 0.0
    assert told.until_counted(1000.0) == 100.0, "nothing stands"
    told.lateness.judge(not foreseen)
    assert told.lateness.counted > 0.0, "as it was left"
    told.waiting = late_by
    assert told.until_counted(1000.0) == 160.0
    own = told.lateness.counted
    told.lateness.judge(foreseen)
    told.run(160.0)
    told.lateness.judge(not foreseen)
    assert told.lateness.counted == own, "what stands is the other's"


def test_at_another_service_rate_a_plan_with_forecasts_begins_anew() -> None:
    told = Told(10.0, 60.0, 90.0, 5.0, late_by)
    told.lateness.judge(True)
    told.run(600.0)
    told.rate = 1.05
    assert told.until_counted(1000.0) == 0.0, "almost the same rate"
    told.rate = 0.5
    told.run(5.0)
    assert told.lateness.counted == 0.0
    assert told.lateness.inflation == PlanSettings().inflation
    assert told.until_counted(1000.0) == 155.0


@pytest.mark.parametrize("at", [50.0, 105.0, 130.0])
def test_a_restart_neither_ends_the_drain_nor_lengthens_it(at: float) -> None:
    told = Told(10.0, 60.0, 90.0, 5.0, late_by)
    told.run(at)
    told.lateness.restart()
    assert at + told.until_counted(1000.0) == 160.0


def test_a_restart_later_gives_no_second_drain() -> None:
    told = Told(10.0, 60.0, 90.0, 5.0, lambda t: 0.0)
    told.run(600.0)
    told.unknown(300.0)
    told.waiting = late_by
    assert told.until_counted(1000.0) == 20.0, "what came since the restart is due"
    told.run(300.0)
    assert told.lateness.inflation > PlanSettings().inflation


@settings(deadline=None)  # it may compile
@given(st.integers(0, 20), st.integers(1, 40), st.booleans())
def test_where_arrivals_are_missing_the_first_tick_that_knows_them_decides(
    known: int, missing: int, overdue: bool
) -> None:
    """The first replica can have served after 100 s, or as long after the first tick at which anything is known."""
    told = Told(10.0, 60.0, 90.0, 5.0, late_by if overdue else lambda t: 0.0)
    told.run(5.0 * known)
    told.unknown(5.0 * missing)
    again = told.now - BEGIN
    serves = 100.0 if known > 0 else again + 100.0
    answers = max(serves, again) + 60.0 if overdue else serves
    assert again + told.until_counted(1000.0) == max(answers, again + 20.0), "requests that came since are due by then"


@pytest.mark.slow
@pytest.mark.parametrize("missing", [0.0, 60.0])
@pytest.mark.parametrize("forecast", [True, False])
@pytest.mark.parametrize(
    ("service", "load", "backlog"),
    [(LAB, 50.0, 3000.0), (replace(REAL, lead_time=30.0), 30.0, 3000.0), (REAL, 30.0, 3000.0)],
    ids=["lab", "short", "real"],
)
def test_in_the_loop_a_backlog_of_the_start_inflates_nothing(
    service: Service, load: float, backlog: float, forecast: bool, missing: float
) -> None:
    """Begun with as many replicas as serve the load and no more. ``missing``: s without offsets, about the moment at
    which the first replica that was asked for can have served."""
    policy = policy_for(service, (lambda t: load) if forecast else None, experiments=False)
    start, serves = round(load / service.service_rate), service.lead_time + service.within
    loop = Loop(service, policy, lambda t: load, start_replicas=start, backlog=backlog, partitions=240)
    loop.change = outage(serves - missing / 2, serves + missing / 2, "offsets")
    (planner,) = policy._planners.values()
    for _ in range(10):
        loop.run(60.0)
        assert planner._lateness.inflation <= PlanSettings().inflation
    assert planner._lateness.counted > 0.0
