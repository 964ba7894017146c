"""A partition that nobody gets on with, while others are served, corrects no plan; one that is only late does."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from scaler.plan.lateness import Lateness
from scaler.plan.progress import Progress
from scaler.plan.settings import PlanSettings
from tests.plan.loop import REAL, Loop, policy_for

BEGIN, TICK = 1_000_000.0, 15.0
MOST, USUAL = pytest.approx(PlanSettings().inflation_most), PlanSettings().inflation
NONE = pytest.approx(0.0, abs=1e-6)
HOUR = 3600.0

Serve = Callable[[float, np.ndarray], np.ndarray]  # s after the begin, messages that wait -> messages committed


@dataclass
class Group:
    """Partitions that get alike much, all of it committed within the tick but for what ``serve`` leaves."""

    partitions: int = 12
    ready: int = 6
    each: float = 15.0  # messages a tick and partition
    service_time: float = 0.5
    rate: float = 2.0
    within: float = 10.0
    serve: Serve = lambda t, waits: waits
    memory: float = PlanSettings().attained_memory
    seconds: float = 0.0
    lateness: Lateness = field(init=False)

    def __post_init__(self) -> None:
        service = replace(REAL, service_time=self.service_time, within=self.within, service_rate=self.rate)
        self.lateness = Lateness(service, replace(PlanSettings(), attained_memory=self.memory), self.rate)
        self.waits = np.zeros(self.partitions)

    def run(self, seconds: float, serve: Serve | None = None, ready: int | None = None, stuck: bool = False) -> None:
        """Go on for ``seconds``, in which ``serve`` stands in for what is done else."""
        ready = self.ready if ready is None else ready
        for _ in range(round(seconds / TICK)):
            progress = self.interval(TICK, serve)
            self.lateness.learn(progress, progress.waiting, 90.0, self.rate, stuck, ready)

    def interval(self, seconds: float, serve: Serve | None = None) -> Progress:
        self.seconds += seconds
        before = self.waits
        came = np.full(len(before), self.each * seconds / TICK)
        served = np.minimum((serve or self.serve)(self.seconds, before + came), before + came)
        self.waits = before + came - served
        return Progress(BEGIN + self.seconds, seconds, came, served, before, self.waits, False)

    @property
    def inflation(self) -> float:
        return self.lateness.inflation

    @property
    def late(self) -> float:
        return self.lateness._attained.late


def but(*silent: int, since: float = 0.0, until: float = math.inf) -> Serve:
    """All are served, but not these from ``since`` to ``until`` s after the begin."""

    def serve(t: float, waits: np.ndarray) -> np.ndarray:
        served = waits.copy()
        if since < t <= until:
            served[list(silent)] = 0.0
        return served

    return serve


@pytest.mark.parametrize(("partitions", "hours"), [(2, 1.0), (3, 1.0), (12, 1.0), (240, 4.0)])
def test_a_partition_that_nobody_gets_on_with_corrects_nothing_once_it_is_told(partitions: int, hours: float) -> None:
    """It inflated the paths to the most there is, for good."""
    group = Group(partitions, serve=but(1))
    others = Group(partitions - 1)
    for _ in range(round(hours * 4)):
        group.run(900.0)
        others.run(900.0)
    assert group.late == NONE
    assert group.inflation == pytest.approx(others.inflation, abs=0.01)
    assert group.lateness.counted == pytest.approx(others.lateness.counted, rel=0.03), "its share is of the others"


@pytest.mark.parametrize("since", [(600.0, 600.0), (600.0, 900.0), (600.0, 1500.0)])
def test_of_several_each_is_put_back(since: tuple[float, float]) -> None:
    one, other = (but(p, since=s) for p, s in zip((1, 7), since, strict=True))
    group = Group(serve=lambda t, waits: np.minimum(one(t, waits), other(t, waits)))
    group.run(1170.0)
    assert group.inflation == MOST
    group.run(1500.0)
    assert group.late == NONE
    assert group.inflation < USUAL


@pytest.mark.parametrize("at", [300.0, 900.0])
@pytest.mark.parametrize("lasts", [120.0, 600.0])
def test_what_the_others_had_late_stays(at: float, lasts: float) -> None:
    """Before the silence, or in it; few, or more than counts at the limit of the correction."""

    def slow(t: float, waits: np.ndarray) -> np.ndarray:
        left = waits.copy()
        if at < t <= at + lasts:
            left[::2] = 1.0  # they commit a little, and the rest waits
        return left

    poison = but(1, since=750.0)
    group = Group(memory=math.inf, serve=lambda t, waits: np.minimum(slow(t, waits), poison(t, waits)))
    others = Group(11, memory=math.inf, serve=lambda t, w: slow(t, np.insert(w, 1, 0.0))[np.arange(12) != 1])
    for one in (group, others):
        one.run(2.0 * HOUR)
    assert others.inflation > USUAL
    assert group.late == pytest.approx(others.late, rel=0.1)
    assert group.inflation == pytest.approx(others.inflation, rel=0.05)


@pytest.mark.parametrize(("service_time", "within"), [(60.0, 120.0), (300.0, 600.0)])
@pytest.mark.parametrize(("partitions", "ready"), [(1, 1), (2, 1), (3, 1), (12, 2)])
def test_requests_of_minutes_that_come_too_late_count_however_long_a_turn_takes(
    partitions: int, ready: int, service_time: float, within: float
) -> None:
    """Each consumer takes one request of each of its partitions in turn, and there are twice as many as it can do."""
    of, ticks = partitions // ready, round(service_time / TICK)

    def turns(t: float, waits: np.ndarray) -> np.ndarray:
        tick = round(t / TICK)
        number = np.arange(partitions)
        mine = (number % of == tick // ticks % of) & (tick % ticks == 0)
        return np.where(mine, 1.0, 0.0)

    each = 2.0 * TICK / (service_time * of)
    slow = {"service_time": service_time, "within": within, "rate": 1.0 / service_time}
    group = Group(partitions, ready, each, serve=turns, **slow)  # type: ignore[arg-type]
    group.run(20.0 * within)
    assert group.lateness._silent._silent.sum() == 0
    assert group.inflation == MOST


def test_a_partition_that_commits_now_and_then_counts() -> None:
    """Its consumer has too much to do; shortly before it would be silent it gets on."""

    def serve(t: float, waits: np.ndarray) -> np.ndarray:
        return but(1)(t, waits) if t % 570.0 else waits * np.where(np.arange(12) == 1, 0.1, 1.0)

    group = Group(serve=serve)
    group.run(3.0 * HOUR)
    assert group.inflation == MOST


def test_partitions_that_wait_for_their_turn_are_late_as_any() -> None:
    """Consumers that take many requests at once leave the others alone for long, and none is served in time."""
    group = Group(8, serve=lambda t, waits: np.where(np.arange(8) == t // 750.0 % 8, 60.0, 0.0))
    group.run(4.0 * HOUR)
    assert group.inflation == MOST


def test_partitions_of_one_consumer_that_has_too_much_to_do_count_though_its_turns_take_long() -> None:
    """It takes hundreds of requests of one before it goes on to the next, and the other consumers are in time: how long
    the first ones waited tells how long the last ones may."""

    def serve(t: float, waits: np.ndarray) -> np.ndarray:
        served = waits.copy()
        served[:6] = np.where(np.arange(6) == t // 150.0 % 6, waits[:6].clip(max=90.0), 0.0)
        return served

    group = Group(170, serve=serve)
    for _ in range(240):
        group.run(60.0)
        assert group.lateness._silent._silent.sum() == 0
    assert group.inflation == MOST


def test_while_the_others_are_late_none_is_left_out() -> None:
    """It may wait for consumers that have too much to do, as they do; that they were late stays."""
    poison = but(1)

    def serve(t: float, waits: np.ndarray) -> np.ndarray:
        return np.minimum(poison(t, waits), waits if t > HOUR else 14.0)

    group = Group(memory=math.inf, serve=serve)
    group.run(HOUR)
    assert group.lateness._silent._silent.sum() == 0
    assert group.inflation == MOST
    group.run(60.0)
    assert group.lateness._silent._silent.sum() == 1
    assert group.inflation > USUAL


def test_how_long_it_took_once_until_one_was_got_on_with_is_no_reason_to_wait_as_long() -> None:
    group = Group(serve=but(1, until=4.0 * HOUR))
    group.run(5.0 * HOUR)
    group.run(0.75 * HOUR, but(2))
    assert group.late == NONE
    assert group.lateness._silent._silent.sum() == 1


def test_where_the_most_are_silent_they_count() -> None:
    group = Group(serve=but(0, 1, 2, 3, 4, 5, 6))
    group.run(HOUR)
    assert group.inflation == MOST
    group = Group(serve=but(0, 1, 2, 3, 4, 5))
    group.run(HOUR)
    assert group.late == NONE


@pytest.mark.parametrize("how", ["stuck", "gone", "still"])
def test_while_nobody_commits_nothing_is_told_of_one_partition(how: str) -> None:
    """Then the others, which go on later than the first one, are not silent for it."""
    group = Group()
    group.run(300.0)
    nobody = {"stuck": {"stuck": True}, "gone": {"ready": 0}, "still": {}}[how]
    group.run(HOUR, lambda t, waits: np.zeros(12), **nobody)  # type: ignore[arg-type]
    group.run(60.0, lambda t, waits: np.where(np.arange(12) == 0, waits, 0.0))
    assert group.lateness._silent._silent.sum() == 0
    assert group.lateness._silent._clock.max() <= 0.15


@pytest.mark.parametrize("declared", [60.0, 0.5])
def test_the_fewer_consumers_there_were_the_less_of_the_time_of_a_silent_partition_has_passed(declared: float) -> None:
    """Also where it is the rate that tells how long requests take."""
    group = Group(service_time=declared, rate=1 / 60.0, within=120.0, each=0.01, ready=1, serve=but(1))
    group.run(2400.0)  # of 4 x 60 x 12 s
    group.run(60.0, ready=12)
    assert group.lateness._silent._silent.sum() == 0
    group.run(120.0, ready=12)
    assert group.lateness._silent._silent.sum() == 1


def test_what_waited_in_silence_is_not_late_when_it_is_got_on_with() -> None:
    """Nobody could have served it sooner."""
    group = Group(serve=but(1, until=HOUR))
    group.run(2.0 * HOUR)
    assert group.late == NONE
    assert group.lateness._aside.waiting == 0.0


def test_from_the_first_commit_on_what_comes_counts() -> None:
    group = Group(memory=math.inf, serve=but(1, until=HOUR))
    group.run(HOUR)
    counted = group.lateness.counted
    slowly: Serve = lambda t, waits: np.where(np.arange(12) == 1, 5.0, waits)  # noqa: E731
    group.run(60.0, slowly)
    assert group.late == NONE, "not for what waited"
    group.run(540.0, slowly)
    assert group.lateness.counted - counted == pytest.approx(12 * 600.0, rel=0.03), "all twelve"
    assert group.late > 0.0
    assert group.inflation == MOST


def test_one_that_gets_on_before_it_is_silent_has_nothing_put_back() -> None:
    """Nor has the next silence more put back than its own."""
    group = Group(memory=math.inf, serve=but(1, since=600.0, until=870.0))
    group.run(1200.0)
    late = group.late
    assert late > 0.0
    group.run(1800.0, but(1))
    assert group.lateness._silent._silent.sum() == 1
    assert group.late == pytest.approx(late)


def test_partitions_that_are_added_change_nothing_for_those_that_were() -> None:
    group = Group(serve=but(1))
    group.run(400.0)
    group.waits, group.partitions = np.append(group.waits, np.zeros(8)), 20
    group.run(400.0)
    assert group.late == NONE
    group.waits = np.append(group.waits, np.zeros(4))
    group.run(400.0)
    assert group.late == NONE
    assert group.lateness._silent._silent.tolist() == [p == 1 for p in range(24)]


def test_of_a_topic_made_anew_and_of_a_clock_set_back_nothing_is_remembered() -> None:
    for told in (None, Progress(BEGIN, TICK, None, np.zeros(12), np.zeros(12), np.zeros(12), True)):
        group = Group(serve=but(1))
        group.run(900.0)
        group.lateness.restart(told)
        group.run(300.0)
        assert group.inflation == MOST
        group.run(400.0)
        assert group.late == NONE


def test_after_a_time_of_which_less_is_known_those_that_got_on_count_again() -> None:
    """The others are silent still, without being told anew."""
    group = Group(serve=but(1, 2))
    group.run(900.0)
    group.lateness.restart(group.interval(600.0, but(1)))
    group.run(60.0)
    assert group.lateness._silent._silent.tolist() == [p == 1 for p in range(12)]
    assert group.late == NONE
    group.run(300.0)
    assert group.inflation == MOST, "the second has to be told anew"


@pytest.mark.parametrize("foreseen", [True, False])
def test_it_is_put_back_in_the_record_that_it_counted_in(foreseen: bool) -> None:
    """Also where the plan has got or lost its forecasts since."""
    group = Group(serve=but(1, since=600.0))
    group.lateness.judge(foreseen)
    group.run(1100.0)
    assert group.inflation == MOST
    group.lateness.judge(not foreseen)
    group.run(300.0)
    group.lateness.judge(foreseen)
    assert group.late == NONE


def test_it_goes_on_from_a_copy_as_it_would_have() -> None:
    group = Group(serve=but(1))
    for seconds in (450.0, 450.0, 450.0):
        group.run(seconds)
        other = Group(serve=group.serve, seconds=group.seconds)
        other.lateness, other.waits = pickle.loads(pickle.dumps(group.lateness)), group.waits
        for one in (group, other):
            one.run(450.0)
        assert (group.late, group.lateness.counted) == (other.late, other.lateness.counted)


@pytest.mark.parametrize("within", [10.0, 120.0, 600.0])
@pytest.mark.parametrize("burst", [30.0, 330.0, 600.0])
def test_what_came_in_a_burst_leaves_no_fewer_than_none_of_the_others(within: float, burst: float) -> None:
    """Only then something comes to the silent one; the others get little, and all of it is in time."""
    lateness = Group(within=within).lateness
    waits = np.zeros(4)
    for t in np.arange(TICK, 1800.0, TICK):
        before, came = waits, np.array([1.0, 5000.0 if t == burst else 0.0, 1.0, 1.0])
        served = np.array([1.0, 0.0, 1.0, 1.0])
        waits = before + came - served
        progress = Progress(BEGIN + t, TICK, came, served, before, waits, False)
        lateness.learn(progress, progress.waiting, 90.0, 2.0, False, 4)
        assert lateness._attained.late >= -1e-6
        assert lateness.counted >= -1e-6
        assert PlanSettings().inflation_least <= lateness.inflation <= PlanSettings().inflation_most
    assert lateness._silent._silent.sum() == 1


@pytest.mark.parametrize("silent", [1, 3, 6])
def test_what_is_silent_neither_waits_nor_keeps_anybody_busy(silent: int) -> None:
    """What a replica may be planned for is learned from what waits, by how busy they are: of twelve partitions some are
    silent, which more and more waits in, and which nobody serves."""
    group, others = Group(serve=but(*range(silent))), Group(12 - silent)
    busy = (12.0 - silent) / (2.0 * 7.5)  # with the others
    waits = np.random.default_rng(0).exponential(0.3 * 7.5 * busy**2 / (1.0 - busy), 1000)
    for one, level in ((group, 12.0), (others, 12.0 - silent)):
        one.run(900.0)
        for waiting in waits:
            one.run(TICK)
            one.lateness.learn_waits(one.waits.sum() + waiting, level, 2.0, 7.5)
    assert 0.2 < others.lateness._waiting.factor < 0.4
    assert group.lateness._waiting.factor == pytest.approx(others.lateness._waiting.factor, rel=0.02)


class Skipping(Loop):
    """One of its partitions is not gone on with after ten minutes, as behind a message that cannot be processed."""

    def _serve(self, held: np.ndarray, budget: float) -> None:
        super()._serve(held[held != 5] if self.now - self.start > 600.0 else held, budget)


@pytest.mark.parametrize("foreseen", [True, False])
def test_in_the_loop_a_silent_partition_inflates_nothing(foreseen: bool) -> None:
    policy = policy_for(REAL, (lambda t: 8.0) if foreseen else None, experiments=False)
    loop = Skipping(REAL, policy, lambda t: 8.0, start_replicas=6, partitions=12)
    (planner,) = policy._planners.values()
    loop.run(1170.0)
    assert planner._lateness.inflation == MOST, "until it is told"
    loop.run(300.0)
    assert planner._lateness.inflation < USUAL
