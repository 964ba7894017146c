"""Whatever is stopped, lost, late, killed or set wrong: at no instant do two replicas lead."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.leader.world import Api, Host, World

LONG = 150.0  # s, of one history


def spans(longest: float) -> st.SearchStrategy[tuple[tuple[float, float], ...]]:
    """A few spans of time within a history."""
    one = st.tuples(st.floats(0.0, LONG), st.floats(0.1, longest)).map(lambda pair: (pair[0], pair[0] + pair[1]))
    return st.lists(one, max_size=3).map(tuple)


HOSTS = st.builds(
    Host,
    starts=st.floats(0.0, 60.0),
    dies=st.one_of(st.just(float("inf")), st.floats(10.0, LONG)),
    stopped=spans(60.0),
    rate=st.floats(0.85, 1.15),  # of a clock that is worse than any
    wall=st.lists(st.tuples(st.floats(0.0, LONG), st.floats(-1e5, 1e5)), max_size=3).map(
        lambda jumps: tuple(sorted(jumps))
    ),
)
APIS = st.builds(Api, slowest=st.floats(0.0, 8.0), lost=st.floats(0.0, 0.5), away=spans(40.0))


@given(st.lists(HOSTS, min_size=2, max_size=4), APIS, st.integers(0, 2**32))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_never_two_leaders(hosts: list[Host], api: Api, seed: int) -> None:
    world = World(seed, api)
    for number, host in enumerate(hosts):
        world.add(f"replica-{number}", host)

    def look() -> None:
        leaders = world.leaders()
        assert len(leaders) <= 1, f"{leaders} lead at {world.now:.2f} s"

    try:
        world.run(LONG, look)
    finally:
        world.end()


@given(st.lists(HOSTS, min_size=2, max_size=3), APIS, st.integers(0, 2**32))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_when_all_is_well_again_one_leads_before_long(hosts: list[Host], api: Api, seed: int) -> None:
    """Liveness: 40 s after the last trouble somebody leads, and goes on leading."""
    quiet = LONG + 60.0
    hosts = [Host(h.starts, float("inf"), h.stopped, h.rate, h.wall) for h in hosts]
    world = World(seed, api)
    for number, host in enumerate(hosts):
        world.add(f"replica-{number}", host)
    try:
        world.run(quiet)
        world.api = Api()
        world.run(quiet + 40.0)
        (leader,) = world.leaders()
        world.run(quiet + 140.0, lambda: check(world.leaders() == [leader]))
    finally:
        world.end()


def check(true: bool) -> None:
    assert true


@dataclass(frozen=True)
class Case:
    what: str
    first: Host
    taken_after: tuple[float, float]  # s after second 30


CASES = (
    Case("killed", Host(dies=30.0), (12.0, 18.0)),
    Case("stopped", Host(stopped=((30.0, 300.0),)), (12.0, 18.0)),
    Case("stopped, on a slow clock", Host(stopped=((30.0, 300.0),), rate=0.9), (12.0, 18.0)),
    Case("stopped for a moment", Host(stopped=((30.0, 37.0),)), (float("inf"), float("inf"))),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
@pytest.mark.parametrize("seed", range(5))
def test_how_soon_another_takes_over(case: Case, seed: int) -> None:
    world = World(seed, Api(slowest=0.05))
    world.add("one", case.first)
    world.add("two", Host(starts=5.0))
    try:
        world.run(30.0)
        assert world.leaders() == ["one"]
        world.run(100.0)
        taken = [time - 30.0 for time, holder in world.history if holder == "two"]
        low, high = case.taken_after
        assert (taken == []) if low == float("inf") else (low <= taken[0] <= high), taken
        assert world.leaders() == (["one"] if not taken else ["two"])
    finally:
        world.end()


@pytest.mark.parametrize("seed", range(5))
def test_who_resigns_is_followed_at_once(seed: int) -> None:
    world = World(seed, Api(slowest=0.05))
    one = world.add("one", Host())
    world.add("two", Host(starts=5.0))
    try:
        world.run(30.0)
        one.resigning = True
        world.run(34.9)
        assert world.leaders() == ["two"]
        assert world.history[-2][1] == ""
    finally:
        world.end()


def test_an_outage_ends_the_leadership_and_not_the_process() -> None:
    world = World(1, Api(slowest=0.05, away=((30.0, 60.0),)))
    one = world.add("one", Host())
    try:
        world.run(29.9)
        assert world.leaders() == ["one"]
        world.run(42.0)
        assert world.leaders() == []
        assert one.errors > 0
        world.run(66.0)
        assert world.leaders() == ["one"], "nobody else came: it is its own again"
        assert [leads for _, leads in one.changes] == [True, False, True]
        assert world.lease is not None
        assert world.lease.transitions == 0
    finally:
        world.end()


def test_a_lease_that_is_deleted_is_given_time_to_run_out() -> None:
    """Whoever held it does not know yet."""
    world = World(3, Api(slowest=0.05))
    world.add("one", Host(stopped=((30.0, 300.0),)))
    world.add("two", Host(starts=5.0))
    try:
        world.run(31.0)
        world.lease = None
        world.run(45.0, lambda: check(world.leaders() != ["one", "two"]))
        world.run(60.0)
        assert world.leaders() == ["two"]
    finally:
        world.end()
