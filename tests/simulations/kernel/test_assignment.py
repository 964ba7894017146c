"""Who holds which partition: even splits, and cooperative sticky moves no more than an even split needs."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from simulations.kernel.assignment import CODE, assign
from simulations.setting import Assignor

FEW = settings(max_examples=40, deadline=None)
members = st.sets(st.integers(0, 30), min_size=1, max_size=12).map(sorted)


def assigned(assignor: Assignor, who: list[int], owner: list[int]) -> list[int]:
    out = np.array(owner, np.int64)
    assign(CODE[assignor], np.array(who, np.int64), len(who), out)
    return out.tolist()


@FEW
@given(partitions=st.integers(1, 20), who=members, assignor=st.sampled_from(Assignor))
def test_every_partition_has_one_consumer_and_the_split_is_even(
    partitions: int, who: list[int], assignor: Assignor
) -> None:
    owner = assigned(assignor, who, [-1] * partitions)
    held = [owner.count(m) for m in who]
    assert sum(held) == partitions
    assert max(held) - min(held) <= 1


@FEW
@given(partitions=st.integers(1, 20), before=members, after=members)
def test_sticky_keeps_as_many_as_an_even_split_lets_it(partitions: int, before: list[int], after: list[int]) -> None:
    old = assigned(Assignor.COOPERATIVE_STICKY, before, [-1] * partitions)
    new = assigned(Assignor.COOPERATIVE_STICKY, after, old)
    assert sum(new.count(m) for m in after) == partitions
    assert max(new.count(m) for m in after) - min(new.count(m) for m in after) <= 1
    # Each keeps at most the smaller share, and `more` of them one above it.
    each, more = divmod(partitions, len(after))
    held = [old.count(m) for m in after]
    most = sum(min(h, each) for h in held) + min(more, sum(h > each for h in held))
    assert sum(a == b for a, b in zip(old, new, strict=True)) == most


def test_range_gives_neighbours_and_round_robin_deals_them_out() -> None:
    assert assigned(Assignor.RANGE, [3, 5, 9], [-1] * 7) == [3, 3, 3, 5, 5, 9, 9]
    assert assigned(Assignor.ROUND_ROBIN, [3, 5, 9], [-1] * 7) == [3, 5, 9, 3, 5, 9, 3]


def test_nobody_holds_anything_in_an_empty_group() -> None:
    out = np.array([1, 1, 2], np.int64)
    assign(CODE[Assignor.RANGE], np.zeros(3, np.int64), 0, out)
    assert out.tolist() == [-1, -1, -1]
