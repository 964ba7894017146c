"""Experiments with fewer replicas: when one begins, how it goes on, and all that ends it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.plan.probe import Probe, ProbeSettings, Situation

TICK = 15.0
S = ProbeSettings()
CALM = Situation(
    current=20,
    wanted=20,
    safe=15,
    least=14,
    level=26.0,
    backlog=10.0,
    slack=9.5,
    rate=2.0,
    unsure=True,
    sound=True,
    quiet=True,
)


class Played:
    """A probe, and a target that follows what it says."""

    def __init__(self) -> None:
        self.probe = Probe(TICK)
        self.now = 1e6
        self.seen = CALM

    def tick(self, **changes: object) -> int | None:
        self.seen = replace(self.seen, **changes)  # type: ignore[arg-type]
        count = self.probe.step(self.now, self.seen)
        current = self.seen.wanted if count is None else min(count, self.seen.wanted)
        self.seen = replace(self.seen, current=current)
        self.now += TICK
        return count

    def overtaken(self) -> bool:
        return self.probe.overtaken

    def ticks(self, number: float, **changes: object) -> list[int | None]:
        return [self.tick(**changes) for _ in range(round(number))]

    def begin(self) -> None:
        assert self.ticks(S.calm) == [None] * round(S.calm)
        assert self.tick() == 18


STEP = S.settle + S.watch


def test_one_in_ten_is_tried_after_a_calm_and_then_the_next() -> None:
    played = Played()
    played.begin()
    assert played.ticks(STEP - 1) == [18] * round(STEP - 1)
    assert played.ticks(STEP) == [17] * round(STEP), "one at least"
    assert played.ticks(STEP) == [16] * round(STEP)
    assert set(played.ticks(STEP)) == {15}


def test_it_goes_no_lower_than_what_is_safe_and_ends_when_nothing_is_learned() -> None:
    played = Played()
    played.begin()
    tried = played.ticks(7 * STEP)
    assert min(count for count in tried if count is not None) == 15
    assert tried[-1] is None
    assert not played.probe.running
    assert set(played.ticks(S.in_vain - 3 * STEP)) == {None}, "and is not repeated soon"


def test_what_it_teaches_lets_it_go_on() -> None:
    """The service rate rises by what each step shows; the plan comes to want what was tried."""
    played, rate = Played(), 2.0
    played.begin()
    lowest = 18
    for _ in range(20):
        rate = max(rate, played.seen.level / played.seen.current / 0.7)
        safe = round(1.1 * played.seen.level / rate + 0.5)
        played.ticks(STEP, rate=rate, safe=safe, least=safe - 1, wanted=max(safe + 2, 5))
        lowest = min(lowest, played.seen.current)
    assert lowest <= 10


def test_a_step_goes_over_counts_that_give_no_less() -> None:
    """Of 64 partitions 32 to 63 replicas hold two at most."""
    played = Played()
    played.seen = replace(CALM, current=64, wanted=64, useful=lambda count: 32 if count < 64 else 64)
    assert played.ticks(S.calm) == [None] * round(S.calm)
    assert played.tick() == 32
    later = Played()
    later.seen = replace(played.seen, current=64, level=56.0)
    assert later.ticks(S.calm + 1)[-1] == 40, "at once only to where something is learned"
    other = Played()
    other.seen = replace(played.seen, current=64, safe=40)
    assert other.ticks(S.calm + 1)[-1] == 40, "no lower than what is safe"


@pytest.mark.parametrize(
    "change", [{"safe": 20}, {"unsure": False}, {"quiet": False}, {"backlog": None}, {"level": None}]
)
def test_nothing_is_tried_where_it_is_not_safe_or_not_needed(change: dict[str, object]) -> None:
    assert set(Played().ticks(10 * S.calm, **change)) == {None}


def test_nothing_is_tried_while_the_plan_wants_more_than_there_is() -> None:
    probe = Probe(TICK)
    assert {probe.step(TICK * k, replace(CALM, wanted=21)) for k in range(200)} == {None}


def test_a_replica_is_not_taken_for_an_experiment_when_it_is_the_only_one() -> None:
    played = Played()
    assert set(played.ticks(10 * S.calm, current=1, wanted=1, safe=0, least=0)) == {None}


def test_a_backlog_of_half_the_slack_ends_it_at_once_and_for_long() -> None:
    played = Played()
    played.begin()
    played.ticks(3)
    usual = 10.0 / 26.0
    assert played.tick(backlog=26.0 * (usual + 0.5 * 9.5) - 1) == 18
    assert played.tick(backlog=26.0 * (usual + 0.5 * 9.5) + 1) is None
    assert set(played.ticks(S.back_off - 1, backlog=10.0)) == {None}
    assert 18 in played.ticks(S.calm + 2)
    played.tick(backlog=1e6)
    assert set(played.ticks(2 * S.back_off - 2, backlog=10.0)) == {None}, "twice as long the second time"


def test_it_says_when_a_backlog_ended_it() -> None:
    played = Played()
    played.begin()
    assert not played.overtaken()
    played.tick(backlog=1e4)
    assert played.overtaken()
    played.tick(backlog=10.0)
    assert not played.overtaken(), "of the newest step"
    stuck = Played()
    stuck.begin()
    stuck.tick(backlog=1e4, sound=False, quiet=False)
    assert not stuck.overtaken(), "it may be theirs who stand still"


def test_a_load_that_grows_beyond_it_ends_it_in_a_backlog_where_more_waits_than_counts_vary_by() -> None:
    """Of 26/s a tick's count varies by 4 x 19.7 messages, or 3 s; the slack's half is 4.75 s."""
    usual, noise = 10.0, 4.0 * (26.0 * TICK) ** 0.5
    for more, overtaken in ((-1.0, False), (1.0, True)):
        played = Played()
        played.begin()
        played.ticks(5)
        assert played.tick(least=19, backlog=usual + noise + more) is None
        assert played.overtaken() is overtaken
        rest = S.back_off if overtaken else S.rest
        assert set(played.ticks(rest - 1, least=14, backlog=usual)) == {None}
        assert 18 in played.ticks(S.calm + 2)


def test_each_experiment_that_teaches_nothing_is_followed_by_a_longer_rest() -> None:
    played = Played()
    for rest in (S.in_vain, 2 * S.in_vain, 4 * S.in_vain):
        while not played.probe.running:
            played.tick()
        while played.probe.running:
            played.tick()
        assert set(played.ticks(rest - 2)) == {None}
        played.ticks(S.calm)
        assert played.probe.running


def test_a_backlog_that_counts_may_vary_by_ends_it_and_tells_no_rate() -> None:
    """Of a request in 2 s and a slack of 0.5 s."""
    played = Played()
    played.seen = replace(CALM, level=0.5, backlog=0.0, slack=0.5, safe=1, least=1)
    played.ticks(S.calm + 1)
    assert played.probe.running
    assert played.tick(backlog=3.0) is None
    assert not played.overtaken()


def test_a_plan_that_wants_a_fifth_more_than_when_the_step_began_ends_it() -> None:
    """Where the load comes in bursts the median path may not yet need more."""
    played = Played()
    played.begin()
    assert played.tick(wanted=25) == 18
    assert played.tick(wanted=26) is None
    assert not played.overtaken()


def test_what_waits_for_its_commit_all_the_time_is_no_backlog() -> None:
    """Commits every 5 s: 26/s x 5 s are not committed, experiment or not."""
    played = Played()
    played.seen = replace(CALM, backlog=130.0)
    played.begin()
    assert set(played.ticks(10)) == {18}


@pytest.mark.parametrize(
    "change",
    [
        {"sound": False, "quiet": False},
        {"backlog": None},
        {"level": None},
        {"unsure": False},
        {"least": 19},
    ],
)
def test_a_doubt_ends_it_at_once(change: dict[str, object]) -> None:
    played = Played()
    played.begin()
    played.ticks(5)
    assert played.tick(**change) is None
    assert not played.probe.running


def test_somebody_else_who_raises_the_count_ends_it() -> None:
    played = Played()
    played.begin()
    played.ticks(5)
    assert played.tick(current=25) is None


def test_a_plan_that_wants_fewer_has_its_way() -> None:
    played = Played()
    played.begin()
    assert played.tick(wanted=16) == 18, "what is lower counts"
    played.seen = replace(played.seen, current=16)
    assert set(played.ticks(STEP - 2)) == {18}
    assert played.tick() == 15, "and the next step is from there"


def test_a_clock_that_is_set_back_ends_it() -> None:
    played = Played()
    played.begin()
    played.now -= 3600
    assert played.tick() is None
    assert not played.probe.running


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 30),
            st.integers(1, 30),
            st.floats(0, 100),
            st.floats(0, 500),
            st.booleans(),
            st.booleans(),
        ),
        min_size=60,
        max_size=120,
    )
)
def test_never_below_what_was_safe_and_never_a_replica_more(
    drawn: list[tuple[int, int, float, float, bool, bool]],
) -> None:
    played = Played()
    safe = 10_000
    for wanted, least, level, backlog, sound, unsure in [*[(20, 14, 26.0, 5.0, True, True)] * 30, *drawn]:
        before = played.probe.running
        count = played.tick(
            wanted=wanted,
            safe=least,
            least=least,
            level=level,
            backlog=backlog,
            sound=sound,
            quiet=sound,
            unsure=unsure,
        )
        if count is None:
            continue
        if not before:
            safe = 10_000
        safe = min(safe, least)
        assert sound
        assert unsure
        assert count >= max(safe, 1)
        assert count >= least
