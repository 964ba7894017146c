"""Several services on one pool: added before any quantile, and who gets the last GPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.plan.nodes import NodePlanner
from scaler.plan.nodes_need import PoolSpec, ServiceNeed
from scaler.plan.nodes_present import Steadied
from scaler.plan.nodes_share import Claim, Shares, hull
from scaler.plan.observation import Freshness, PoolState, Reading
from scaler.plan.reasons import Reason
from tests.plan.nodes_cases import NODE, NOW, POD, POOL, SIZE, TICK, decide, jump, need, seen, steady


def seesaw(paths: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Two services: on each path one needs 30 GPUs from the jump on, the other 4."""
    one, other = (steady(14.0, paths=paths) for _ in range(2))
    for p in range(paths):
        high, low = (one, other) if p % 2 else (other, one)
        at = int((NODE + POD - 15.0) / 15)
        high[p, at:], low[p, at:] = 30.0, 4.0
    return one, other


def test_paths_are_added_before_quantiles() -> None:
    """Alone each would order for its 30 GPUs; together they never need more than 34 and have 32."""
    one, other = seesaw()
    alone = [decide(2, need(paths, 16, price=50.0)).ordered for paths in (one, other)]
    together = decide(4, need(one, 16, price=50.0), need(other, 16, price=50.0, uid="two"))
    assert min(alone) >= 2
    assert together.ordered < sum(alone)
    assert together.ordered <= 1


def test_a_node_that_one_gives_up_is_taken_by_the_other() -> None:
    """One falls from 30 to 6, the other rises from 14 to 38: the same nodes."""
    falls = need(jump(30.0, 6.0, 15.0), 32, level=6.0)
    rises = need(jump(14.0, 38.0, 60.0), 16, uid="two")
    plan = decide(6, falls, rises)
    assert (plan.ordered, plan.kept) == (0, 6)
    assert sum(plan.replicas) == 48
    assert plan.replicas[1] >= 32


def booting(quiet: float, loud: float, backlog: float, least: int = 1) -> Sequence[int]:
    """Replicas where three nodes are Ready and three are on their way, for which pods of both wait: one stands on 18
    GPUs, and has ``least`` pods guaranteed, the other on 6."""
    waiting = (NOW - 60.0,) * 12
    one = need(steady(quiet), 30, ready=18, pending_since=waiting, least=least)
    two = need(steady(loud), 18, ready=6, pending_since=waiting, uid="two", backlog=backlog, floor=min(round(loud), 18))
    return decide(3, one, two, pending=[60.0] * 3).replicas


def test_while_nodes_boot_what_another_one_needs_now_is_given_up_and_not_hidden_behind_pods_that_wait() -> None:
    """Of a service's pods those without a node go first: as long as it has any, none of its GPUs is free."""
    quiet, loud = booting(4.0, 19.0, backlog=500.0)
    assert 4 <= quiet < 18
    assert loud >= 18


def test_while_nodes_boot_the_pods_that_wait_for_them_stay_where_no_gpu_changes_hands() -> None:
    assert booting(17.0, 5.0, backlog=0.0) == (30, 18)


def test_while_nodes_boot_nobody_gives_way_to_the_pods_of_a_service_of_which_nothing_is_known() -> None:
    """It keeps them all, those that wait for a node too."""
    assert booting(17.0, 5.0, backlog=0.0, least=30) == (30, 18)


def test_the_answer_is_in_the_order_of_the_needs_whoever_is_the_least_patient() -> None:
    small, large = need(steady(3.0), 4, slack=600.0), need(steady(25.0), 28, uid="two")
    assert decide(4, small, large).replicas == decide(4, large, small).replicas[::-1]


def full(*needs: ServiceNeed, planner: NodePlanner | None = None, now: float = NOW) -> Sequence[int]:
    """Replicas in a pool that has all its three nodes."""
    planner = planner or NodePlanner(PoolSpec("gpus", SIZE, NODE, max_nodes=3), TICK)
    plan = planner.step(now, seen(3, now=now), needs)
    assert plan.floor == 3
    assert sum(plan.replicas) <= 3 * SIZE
    return plan.replicas


def test_in_a_full_pool_each_has_its_minimum() -> None:
    quiet = need(steady(0.5), 6, least=5, level=0.5)
    loud = need(steady(25.0), 18, uid="two")
    assert full(quiet, loud) == (5, 19)


def beside_held(pods: int, serving: int, starting: int = 0, on_nodes: int = 0, **held: Any) -> Sequence[int]:
    """Replicas in a full pool of 24 GPUs: a service has ``pods``, of the 24 that it needs, and another of 60 pods, all
    of them held, ``serving`` and ``starting`` ones that have a node; of the first's ``on_nodes`` have one, or all;
    a move takes no time."""
    current = held.get("current", 60)
    waiting = (NOW - 60.0,) * (current - serving - starting)
    pending = {"pending_since": (NOW - 70.0,) * starting + waiting, "unscheduled_since": waiting}
    new = pods - on_nodes if on_nodes else 0
    asked = {"ready": pods - new, "pending_since": (NOW - 60.0,) * new, "unscheduled_since": (NOW - 60.0,) * new}
    one = need(steady(24.0), pods, floor=24, asked=24, leads=np.zeros(5), **(asked if new else {}))
    two = need(steady(2.0), 60, uid="two", ready=serving, least=current, asked=current, **pending, **held)
    return decide(3, one, two, pool=PoolSpec("gpus", SIZE, NODE, max_nodes=3)).replicas


@pytest.mark.parametrize(("pods", "serving", "starting"), [(22, 2, 0), (14, 2, 8), (14, 10, 0)])
def test_in_a_full_pool_nobody_makes_way_for_held_pods_that_have_no_node(
    pods: int, serving: int, starting: int
) -> None:
    """Those keep theirs that have one, also to start on; and what is held is asked for as before."""
    assert beside_held(pods, serving, starting) == (pods, 60)


def test_in_a_full_pool_what_is_promised_is_there_whether_or_not_it_has_a_node() -> None:
    assert beside_held(22, 2, promised=10) == (14, 60)


def test_in_a_full_pool_nobody_gets_the_room_of_held_pods_that_are_made_anew() -> None:
    """Of five pods two wait for a node; there is room for them, which the other one needs, too."""
    assert beside_held(19, 3, current=5, weight=0.0) == (19, 5)
    assert beside_held(25, 3, on_nodes=19, current=5, weight=0.0) == (19, 5), "nor who lost its own"


def test_a_full_pool_is_shared_by_weight() -> None:
    """Both need 16 of 24; the weights say whose lateness counts."""
    for weights, more in (((10.0, 1.0), 0), ((1.0, 10.0), 1)):
        needs = [
            need(steady(16.0), 12, uid=uid, weight=weight) for uid, weight in zip(("a", "b"), weights, strict=True)
        ]
        got = full(*needs)
        assert sum(got) == 24
        assert got[more] >= 16


def test_two_that_want_the_last_gpu_do_not_take_turns() -> None:
    """A hundred ticks, paths drawn anew at each: one service gives pods at most once to the other."""
    rng = np.random.default_rng(5)
    planner, now, counts, moves = NodePlanner(PoolSpec("gpus", SIZE, NODE, max_nodes=3), TICK), NOW, (12, 12), 0
    for _ in range(100):
        drawn = [14.0 * np.exp(0.25 * rng.standard_normal((50, 1)) * np.ones((1, 100))) for _ in range(2)]
        levels = [14.0 * float(np.exp(0.1 * rng.standard_normal())) for _ in range(2)]
        needs = [
            need(paths, count, uid=uid, level=level, floor=round(level), backlog=float(rng.integers(0, 100)))
            for paths, count, uid, level in zip(drawn, counts, ("a", "b"), levels, strict=True)
        ]
        got = full(*needs, planner=planner, now=now)
        moves += tuple(got) != counts
        counts = (got[0], got[1])
        now += TICK
    assert moves <= 1


def claim(**changes: float) -> Claim:
    made = {"gpus": 1, "least": 0, "floor": 0, "most": 20, "weight": 1.0, "lead": 100.0, "now": 5, **changes}
    return Claim(**made, peak=np.zeros(10))  # type: ignore[arg-type]


def straight(*prices: float) -> Shares:
    """Each pod of a service saves its price."""
    return Shares([claim() for _ in prices], lambda s, counts: [prices[s] * (20 - n) for n in counts])


def test_a_gpu_moves_only_when_that_saves_more_than_its_lead_time_costs() -> None:
    assert straight(50.0, 149.0).divide(10, (5, 5), move=True) == (5, 5)
    assert straight(50.0, 151.0).divide(10, (5, 5), move=True) == (0, 10)
    assert straight(50.0, 151.0).divide(10, (5, 5), move=False) == (5, 5)


def test_pods_that_save_nothing_one_by_one_move_together() -> None:
    """The second is late with all of 1,000 until it has 7 pods: two more save it 500 each."""
    shares = Shares([claim(), claim()], lambda s, counts: [0.0 if s == 0 or n >= 7 else 1000.0 for n in counts])
    assert shares.divide(10, (5, 5), move=True) == (3, 7)
    shares = Shares([claim(), claim()], lambda s, counts: [0.0 if s == 0 or n >= 7 else 150.0 for n in counts])
    assert shares.divide(10, (5, 5), move=True) == (5, 5)


def test_the_hull_lies_below_and_is_convex() -> None:
    points, values = np.array([0, 2, 3, 6]), np.array([10.0, 9.0, 2.0, 0.0])
    read = hull(points, values, np.arange(8))
    assert read.tolist() == pytest.approx([10.0, 22 / 3, 14 / 3, 2.0, 4 / 3, 2 / 3, 0.0, 0.0])


def test_what_is_free_goes_where_it_is_worth_most_and_what_lacks_is_taken_where_least() -> None:
    assert straight(50.0, 51.0).divide(12, (5, 5), move=False) == (5, 7)
    assert straight(50.0, 51.0).divide(8, (5, 5), move=False) == (3, 5)


def test_what_the_present_needs_moves() -> None:
    """No lateness is known to come; the second has three less than its present needs, the first more than it needs."""
    shares = Shares([claim(floor=2), claim(floor=6)], lambda s, counts: [0.0] * len(counts))
    assert shares.divide(10, (7, 3), move=True) == (4, 6)


@pytest.mark.parametrize("total", range(9))
def test_guaranteed_replicas_are_asked_for_even_where_they_do_not_fit(total: int) -> None:
    shares = Shares([claim(least=3), claim(least=2, gpus=2)], lambda s, counts: [0.0] * len(counts))
    got = shares.divide(total, (4, 4), move=True)
    assert got[0] >= 3
    assert got[1] >= 2
    assert got[0] + 2 * got[1] <= max(total, 7)


def test_a_pod_of_several_gpus_is_weighed_against_all_that_it_takes() -> None:
    """Its four GPUs cost four pods of the other: 4 x 50 and a lead time for each GPU, 4 x 100."""
    claims = [claim(), claim(gpus=4, most=3)]
    for saves, expected in ((590.0, (8, 1)), (610.0, (0, 3))):
        lost = ((50.0, 20), (saves, 3))
        shares = Shares(claims, lambda s, counts, lost=lost: [lost[s][0] * (lost[s][1] - n) for n in counts])
        assert shares.divide(12, (8, 1), move=True) == expected


def test_pods_that_serve_at_once_divide_a_full_pool_too() -> None:
    pool = PoolSpec("gpus", SIZE, NODE, max_nodes=2)
    needs = [need(steady(20.0), 8, uid=uid, leads=np.zeros(5), floor=20, asked=20) for uid in "ab"]
    assert decide(2, *needs, pool=pool).replicas == (8, 8)


# --- a pool that stays full: what pods were lately worth is remembered


def lately(steadied: Steadied, now: float, *claims: Claim, saves: Sequence[float]) -> Shares:
    """Each pod of a service saves what ``saves`` says, as ``steadied`` remembers it over 250 s."""

    def steady(s: int, saved: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mean = steadied.saved(now, str(s), saved, 250.0)
        return mean, mean

    return Shares(claims, lambda s, counts: [saves[s] * (claims[s].most - n) for n in counts], steady)


APART = (0.0, 0.37, 1.13, 2.71)  # no two differ by as much, so that no rounding decides between moves


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 1000)), min_size=2, max_size=4), st.integers(1, 30))
@settings(max_examples=25, deadline=None)
def test_dividing_changes_nothing_that_is_remembered(services: list[tuple[int, int]], ticks: int) -> None:
    """However often, and however many pods the present needs: the mean of what a pod saves is what it saves, two leads
    of it where the present needs it."""
    steadied, claims = Steadied(), [claim(floor=floor) for floor, _ in services]
    saves = [price + apart for (_, price), apart in zip(services, APART, strict=False)]
    counts, total = [5] * len(claims), 5 * len(claims)
    for tick in range(ticks):
        now = NOW + TICK * tick
        divided = [lately(steadied, now, *claims, saves=saves).divide(total, counts, move=True) for _ in range(2)]
        assert divided[0] == divided[1], "twice at the same moment"
        assert divided[0] == lately(Steadied(), now, *claims, saves=saves).divide(total, counts, move=True)
        for s, price in enumerate(saves):
            kept = steadied.saved(now, str(s), np.zeros(20), 250.0)  # no time has passed: nothing new counts
            assert kept == pytest.approx(price + 200.0 * (np.arange(20) < claims[s].floor), abs=1e-6)


def test_what_the_present_needs_does_not_grow_with_the_time_that_a_pool_is_full() -> None:
    """Two leads, 200 s, are worth less than the 150 s that a pod of the other saves and the lead that it costs to
    move: at the first tick and at any later one."""
    steadied, claims = Steadied(), (claim(), claim(floor=8))
    for tick in range(200):
        shares = lately(steadied, NOW + TICK * tick, *claims, saves=(150.0, 0.0))
        assert shares.divide(10, (5, 5), move=True) == (5, 5)


@pytest.mark.parametrize(
    ("rates", "floors"),
    [
        ((14.0, 14.0), (14, 14)),
        *(
            pytest.param(*how, marks=pytest.mark.slow)
            for how in (((10.0, 14.0), (12, 6)), ((14.0, 10.0), (2, 14)), ((13.0, 8.0), (0, 14)))
        ),
    ],
)
def test_a_pool_that_has_been_full_for_long_is_divided_as_one_that_is_full_now(
    rates: tuple[float, float], floors: tuple[int, int]
) -> None:
    """25 minutes of the same, however many GPUs there are; also asked twice."""
    planner, first = NodePlanner(PoolSpec("gpus", SIZE, NODE, max_nodes=3), TICK), None
    for tick in range(100):
        now = NOW + TICK * tick
        needs = [
            need(steady(rate), 12, uid=uid, floor=floor, level=14.0)
            for uid, rate, floor in zip("ab", rates, floors, strict=True)
        ]
        division = planner.step(now, seen(3, now=now), needs).division
        assert division is not None
        divided = [[replace(division, total=24 - gone).divided((24, 24)) for gone in range(24)] for _ in range(2)]
        first = first or divided[0]
        assert divided == [first, first]


@pytest.mark.parametrize("lost", ["needs", "nodes"])
def test_a_full_pool_forgets_nothing_while_nothing_is_known(lost: str) -> None:
    """Half an hour, twice as long as it remembers. After it the first tick is an odd one."""
    planner = NodePlanner(PoolSpec("gpus", SIZE, NODE, max_nodes=3), TICK)
    unknown: Reading[PoolState] = Reading(None, NOW, Freshness.ERROR, Reason.KUBERNETES_UNREACHABLE)
    for tick in range(201):
        now, dark, floor = NOW + TICK * tick, 80 <= tick < 200, 8 if tick < 200 else 6
        needs = [need(steady(12.0), 8, uid=uid, floor=12, asked=12) for uid in "bc"]
        needs.append(need(steady(8.0), 8, uid="a", floor=floor, asked=8, least=8 if dark else 1))
        if dark and lost == "needs":
            needs[2] = replace(needs[2], floor=None, level=0.0)
        nodes = replace(seen(3, now=now), state=unknown) if dark and lost == "nodes" else seen(3, now=now)
        division = planner.step(now, nodes, needs).division
        assert division is not None
        assert division.divided((12, 12, 8)) == (8, 8, 8)


def test_nobody_makes_way_for_what_was_needed_before_it_was_lost_sight_of() -> None:
    """A burst of one, and what the other needs in one tick of ten only."""
    planner, given = NodePlanner(PoolSpec("gpus", SIZE, NODE, max_nodes=3), TICK), []
    for tick in range(81):
        now = NOW + TICK * tick
        one = need(steady(8.0), 8, uid="a", floor=20, level=20.0, asked=20)
        if tick == 80:
            one = replace(one, floor=None, level=0.0, least=8)
        other = need(steady(12.0), 16, uid="b", floor=12 if tick % 10 else 16, asked=16)
        division = planner.step(now, seen(3, now=now), [one, other]).division
        assert division is not None
        given.append(division.divided((20, 16)))
    assert given[79] == (12, 12)
    assert given[80] == (8, 16)


def test_what_is_held_and_waits_for_nodes_is_asked_for_all_the_same() -> None:
    """Nodes boot for it. The other gives up what only fills them."""
    held = need(steady(30.0), 30, uid="a", ready=4, unscheduled_since=(NOW,) * 26, floor=None, least=30, most=30)
    plan = decide(
        3,
        held,
        need(steady(18.0), 20, uid="b", floor=18, asked=18),
        pool=replace(POOL, enforced=True),
        pending=(60.0,) * 2,
    )
    assert plan.replicas == (30, 18)


# --- what was lately needed


def remembered(*floors: int) -> tuple[Steadied, float]:
    """A service's floors, one a tick; all are remembered for 20 minutes, and the last 75 s tell of another load."""
    steadied, now = Steadied(), NOW
    for floor in floors:
        now += TICK
        steadied.take_in(now, "a", floor, 1200.0, 75.0)
    return steadied, now


def test_noise_is_remembered_by_how_often_each_pod_was_needed() -> None:
    steadied, now = remembered(*[14, 12, 12, 12] * 10)
    assert steadied.needed("a", 20).tolist() == pytest.approx([1.0] * 12 + [0.25] * 2 + [0.0] * 6)
    assert steadied.needed("a", 13).tolist() == pytest.approx([1.0] * 12 + [0.25])
    steadied.take_in(NOW, "a", 3, 1200.0, 75.0)  # the clock was set back
    assert steadied.needed("a", 20).tolist() == [1.0] * 3 + [0.0] * 17
    steadied.take_in(now, "b", 1, 1200.0, 75.0)
    assert steadied.needed("a", 20)[2] == 1.0, "each service has its own"


@pytest.mark.parametrize(("stands", "twelve"), [(0, 0.25), (12, 1.0)])
def test_while_the_need_is_not_known_it_is_what_it_was_and_no_less_than_what_stands(stands: int, twelve: float) -> None:
    steadied, now = remembered(*[14, 8, 8, 8] * 20)
    for _ in range(200):
        now += TICK
        steadied.pass_over(now, "a", stands)
    assert steadied.needed("a", 20).tolist() == pytest.approx([1.0] * 8 + [twelve] * 4 + [0.25] * 2 + [0.0] * 6)
    steadied.pass_over(now, "b", 3)
    assert steadied.needed("b", 4).tolist() == [1.0] * 3 + [0.0], "nothing was known before"


@pytest.mark.parametrize("new", [2, 11, 15, 18])
def test_a_load_that_is_another_for_a_lead_time_is_all_that_is_remembered(new: int) -> None:
    before, shares = [14, 12, 12, 13] * 10, [1.0] * new + [0.0] * (20 - new)
    assert remembered(*before, *[new] * 4)[0].needed("a", 20).tolist() != shares
    assert remembered(*before, *[new] * 5)[0].needed("a", 20).tolist() == shares


def test_a_backlog_that_is_worked_off_is_forgotten_bit_by_bit() -> None:
    steadied, _ = remembered(*[22] * 40, *range(22, 2, -1), *[2] * 10)
    assert steadied.needed("a", 24).tolist()[6:] == [0.0] * 18


@pytest.mark.parametrize("floors", [[2] * 4 + [20] * 2, [2] * 2 + [20] * 4, [9, 11], list(range(8, 14))])
def test_what_comes_again_within_the_time_is_no_other_load(floors: list[int]) -> None:
    steadied, _ = remembered(*floors * 9)
    assert steadied.needed("a", 20)[max(floors) - 1] > 0.0
    assert steadied.needed("a", 20)[min(floors)] < 1.0


def test_of_two_with_the_same_noise_hardly_ever_one_has_another_load() -> None:
    """A day of independent noise of a tenth, by which it cannot be told that half an hour is over."""
    rng, steadied, forgot = np.random.default_rng(3), Steadied(), 0
    for tick in range(5760):
        steadied.take_in(NOW + TICK * tick, "a", round(rng.normal(12.0, 1.2)), 1200.0, 75.0)
        forgot += tick > 100 and steadied.needed("a", 30)[0] == 1.0 and len(steadied._floors["a"]) < 20
    assert forgot <= 60


@pytest.mark.parametrize(("saves", "divided"), [(200.0, (5, 5)), (220.0, (0, 10))])
def test_a_pod_that_is_kept_is_worth_more_than_one_that_is_taken(saves: float, divided: tuple[int, int]) -> None:
    """Each pod of the first saves 50, 60 more to keep it; a move costs its lead time, 100."""

    def steady(s: int, saved: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return saved, saved + 60.0

    def late(s: int, counts: Sequence[int]) -> list[float]:
        return [(50.0, saves)[s] * (20 - n) for n in counts]

    assert Shares([claim(), claim()], late, steady).divide(10, (5, 5), move=True) == divided
