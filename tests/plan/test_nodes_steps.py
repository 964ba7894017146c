"""Pods that only together give more than fewer do: where 32 partitions bind, 8, 11, 16 and 32 replicas differ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.plan.nodes_share import Claim, Shares
from scaler.plan.nodes_steps import KnownSteps, steps_of

TABLE = np.array([0.0, *(32 / -(-32 // n) for n in range(1, 33))])  # what n replicas give


def test_steps_end_at_the_counts_that_give_more() -> None:
    steps = steps_of(TABLE, 40)
    ends = [n for n in range(41) if steps.useful[n] == n]
    assert ends == [*range(9), 11, 16, *range(32, 41)], "above the table's end each gives more"
    assert [steps.up[n] for n in (0, 7, 8, 10, 11, 13, 16, 32, 40)] == [1, 1, 3, 1, 5, 3, 16, 1, 0]
    assert [steps.down[n] for n in (1, 8, 9, 11, 13, 16, 31, 32, 33)] == [1, 1, 1, 3, 2, 5, 15, 16, 1]


def test_a_few_of_many_pods_are_no_step() -> None:
    """The even split of 960 partitions: 30 pods have 32 each, 31 and 32 have 31 and 30, and 33 give no more than 32."""
    table = np.array([0.0, *(960 / -(-960 // n) for n in range(1, 61))])
    assert table[33] == table[32]
    assert steps_of(table, 60).useful.tolist() == list(range(61))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(1, 45), st.randoms(use_true_random=False))
def test_the_last_pod_of_a_step_is_worth_all_of_it(gains: list[int], most: int, random: np.random.Generator) -> None:
    table = np.cumsum([0.0, *gains])
    gives = [float(table[n]) if n < len(table) else 1000.0 + n for n in range(most + 1)]
    worths = np.array([random.random() for _ in range(most)])
    steps = steps_of(table, most)
    lumps = steps.lumped(worths)
    for n in range(most + 1):
        fewest = gives.index(gives[n])
        more = next((k for k in range(n + 1, most + 1) if gives[k] > gives[n]), most)
        assert steps.useful[n] == (fewest if more - fewest > more / 8 else n)
        assert lumps[:n].sum() == pytest.approx(worths[: steps.useful[n]].sum())
        ends = [k for k in range(most + 1) if steps.useful[k] == k]
        assert n + steps.up[n] == min([k for k in ends if k > n], default=most)
        assert n - steps.down[n] == max([k for k in ends if k < n], default=0)


def test_where_each_pod_gives_more_nothing_is_moved_to_another_one() -> None:
    worths = np.array([3.0, 0.1, 0.2])
    assert steps_of(np.arange(4.0), 3).lumped(worths).tolist() == worths.tolist()


@pytest.mark.parametrize(
    ("floor", "demand", "busy"),
    [
        *((8, 7.5, 8), (11, 8.01, 9), (11, 9.0, 10), (11, 10.6, 11), (16, 10.7, 12), (16, 15.0, 16), (32, 17.0, 17)),
        *((11, 7.0, 9), (11, 99.0, 11), (40, 99.0, 40), (0, 0.0, 0)),
    ],
)
def test_of_a_floor_the_demand_keeps_a_part_busy(floor: int, demand: float, busy: int) -> None:
    """Of the pods above the count before, and at least one of them: a floor is that high for some reason."""
    assert steps_of(TABLE, 40).busy(floor, demand) == busy


def test_steps_are_made_anew_for_another_table_or_another_most() -> None:
    known, other = KnownSteps(), TABLE.copy()
    first = known.of("a", TABLE, 32)
    assert known.of("a", TABLE, 32) is first
    assert known.of("b", TABLE, 32) is not first
    assert known.of("a", other, 32) is not first
    longer = known.of("a", other, 33)
    assert longer is not None
    assert len(longer.up) == 34
    assert known.of("c", None, 32) is None


def claim(gpus: int = 1, least: int = 0, now: int = 11) -> Claim:
    steps = steps_of(TABLE, 32)
    return Claim(gpus, least, floor=0, most=32, weight=1.0, lead=100.0, peak=np.zeros(10), now=now, steps=steps)


def late_of(demands: Sequence[float], price: float, *claims: Claim) -> Shares:
    """What a service's replicas do not give of its demand is late."""

    def late(s: int, counts: Sequence[int]) -> list[float]:
        return [price * max(demands[s] - float(TABLE[n]), 0.0) for n in counts]

    return Shares(claims, late)


@pytest.mark.parametrize("counts", [(11, 13), (13, 11), (9, 15), (12, 12), (8, 16), (16, 8)])
def test_two_that_want_a_little_more_each_get_the_step_that_serves_most(counts: tuple[int, int]) -> None:
    """11 and 13 serve 21.3 of 22, where 9 and 15 serve 18.7; from 16, which serves all of its own, three pods go to the
    one that has 8."""
    got = late_of((11.0, 11.0), 1e6, claim(now=counts[0]), claim(now=counts[1])).divide(24, counts, move=True)
    assert sum(got) == 24
    assert min(got) >= 11


def test_no_pod_moves_for_a_part_of_a_step() -> None:
    """All that the second wants besides takes 5 pods, and the first has 2 to spare."""
    two = late_of((10.0, 15.0), 1e6, claim(least=11), claim())
    assert two.divide(24, (13, 11), move=True) == (13, 11)
    assert two.divide(27, (16, 11), move=True) == (11, 16)


def test_what_is_free_ends_a_step_where_it_can() -> None:
    assert late_of((10.0, 16.0), 1e6, claim(), claim()).divide(27, (8, 11), move=False) == (11, 16)
    got = late_of((10.0, 16.0), 1e6, claim(), claim()).divide(22, (8, 11), move=False)
    assert (sum(got), got[0]) == (22, 11), "the second's five do not fit, though each is worth more"


def test_what_lacks_is_taken_where_it_serves_nobody() -> None:
    shares = late_of((10.0, 15.0), 1e6, claim(now=15), claim(now=17))
    assert shares.divide(27, (15, 17), move=False) == (11, 16)
    assert shares.divide(24, (11, 16), move=False) == (8, 16), "three pods of 0.9 each for three of 1.4"


def test_a_pod_of_several_gpus_moves_by_steps_too() -> None:
    """Two of its pods' GPUs are taken from four of the other's, which serve nobody."""
    two = late_of((16.0, 10.0), 1e6, claim(now=20), claim(gpus=2, now=9))
    assert two.divide(38, (20, 9), move=True) == (16, 11)


@pytest.mark.parametrize("several", [1, 2])
def test_pods_that_only_together_give_more_are_given_together(several: int) -> None:
    """Two pods of the second save 150 together, each that the first gets 100: one of them would not be worth it."""
    lates = ({1: 300.0, 2: 200.0, 3: 100.0, 4: 0.0}, {1: 150.0, 2: 150.0, 3: 0.0})

    def one(most: int, now: int, gives: Sequence[float]) -> Claim:
        steps = steps_of(np.array(gives), most)
        return Claim(several, 1, 0, most, weight=1.0, lead=1.0, peak=np.zeros(1), now=now, steps=steps)

    def divided(counts: tuple[int, int], most: int = 4) -> tuple[int, ...]:
        claims = one(4, counts[0], (0.0, 1.0, 2.0, 3.0, 4.0)), one(3, counts[1], (0.0, 1.0, 1.0, 2.0))
        shares = Shares(claims, lambda s, of: [several * lates[s][n] for n in of])
        return shares.divide(4 * several, counts, move=True, most=(most, 3))

    assert divided((1, 3)) == (3, 1)
    assert divided((3, 1)) == (3, 1), "and stay"
    assert divided((1, 3), most=2) == (1, 3), "the other one is of no use to anybody"
