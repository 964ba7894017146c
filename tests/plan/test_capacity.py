"""What replicas can serve: rate learned only from saturated work; partitions and their split as a limit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.plan.capacity import PartitionSplit, ServiceRate, usable_table
from scaler.plan.partition_shares import shrunk_shares
from scaler.plan.progress import Progress
from scaler.plan.saturation import saturated


def split(shares, most=40) -> PartitionSplit:
    made = PartitionSplit(most, memory=1e9, change=0.0)
    made.learn(np.array(shares, dtype=float) * 1e9, 1.0)
    return made


def progress(consumed, before, after=None, seconds=10.0) -> Progress:
    arrays = [np.array(a, dtype=float) for a in (consumed, before, before if after is None else after)]
    return Progress(0.0, seconds, arrays[0], *arrays, recreated=False)


ASSIGNORS = [None, "range", "roundrobin", "sticky", "cooperative-sticky", "uniform", "our-own"]


@pytest.mark.parametrize("assignor", ASSIGNORS)
def test_sixteen_partitions_drain_no_faster_on_nine_to_fifteen_consumers(assignor: str | None) -> None:
    table = usable_table(np.full(16, 1 / 16), 40, assignor)
    assert table[8] == pytest.approx(8)
    assert np.allclose(table[9:16], 8)
    assert np.allclose(table[16:], 16)
    assert table[3] == pytest.approx(16 / 6)
    assert table.tolist() == usable_table(np.full(16, 1 / 16), 40).tolist(), "no assignor matters to even partitions"


def test_every_rth_partition_goes_to_another_consumer_round_robin() -> None:
    shares = np.array([0.4, 0.4, 0.1, 0.1])
    assert usable_table(shares, 2).tolist() == [0.0, 1.0, pytest.approx(1 / 0.8)]
    assert usable_table(shares, 2, "roundrobin").tolist() == [0.0, 1.0, pytest.approx(2.0)]
    apart = np.array([0.1, 0.4, 0.1, 0.4])
    assert usable_table(apart, 2, "roundrobin").tolist() == [0.0, 1.0, pytest.approx(1.25)]


def test_ranges_are_contiguous_and_the_first_hold_one_more() -> None:
    first, last = np.array([0.1, 0.1, 0.5, 0.15, 0.15]), np.array([0.15, 0.15, 0.5, 0.1, 0.1])
    assert usable_table(first, 2, "range")[2] == pytest.approx(1 / 0.7), "0, 1 and 2 together"
    assert usable_table(last, 2, "range")[2] == pytest.approx(1 / 0.8)
    assert usable_table(first, 40, "range").tolist() == usable_table(first, 40).tolist(), "as where none is known"


@pytest.mark.parametrize("assignor", ["sticky", "cooperative-sticky", "uniform"])
def test_where_only_the_count_is_balanced_the_hottest_is_expected_among_any(assignor: str) -> None:
    shares = np.array([0.4, 0.4, 0.1, 0.1])
    table = usable_table(shares, 4, assignor)
    # One of three splits in two pairs has both hot ones together, 0.8; the others have 0.5.
    assert table[2] == pytest.approx(1 / 0.6, rel=0.03)
    # A pair and two alone: one of six pairs is of hot ones, one of cold ones.
    assert table[3] == pytest.approx(6 / (0.8 + 4 * 0.5 + 0.4), rel=0.03)
    assert table[4] == pytest.approx(2.5), "alone"


@pytest.mark.parametrize("partitions", [5, 16, 100])
def test_where_only_the_count_is_balanced_the_place_of_a_hot_partition_matters_little(partitions: int) -> None:
    shares = np.random.default_rng(7).dirichlet(np.full(partitions, 2.0))
    here, there = (usable_table(s, partitions, "uniform") for s in (shares, np.sort(shares)))
    assert np.allclose(here, there, rtol=0.06)


def test_the_table_is_made_anew_when_the_assignor_changes_and_only_then() -> None:
    made = split([0.4, 0.4, 0.1, 0.1])
    table = made.table
    for told in (None, "range", "our-own", None):
        made.assigned_by(told)
        assert made.table.tolist() == table.tolist(), "ranges are the default, and what is not known changes nothing"
    made.assigned_by("roundrobin")
    dealt = made.table
    assert made.worth(2) == pytest.approx(2.0, rel=1e-6)
    made.assigned_by("roundrobin")
    made.assigned_by(None)
    assert made.table is dealt
    made.assigned_by("range")
    assert made.worth(2) == pytest.approx(1.25, rel=1e-6)


def test_the_assignor_may_be_known_before_the_topic() -> None:
    made = PartitionSplit(10, memory=1e9, change=0.0)
    made.assigned_by("roundrobin")
    assert made.table.tolist() == list(range(11))
    made.learn(np.array([0.4, 0.4, 0.1, 0.1]) * 1e9, 1.0)
    assert made.worth(2) == pytest.approx(2.0, rel=1e-6)


def test_the_table_against_a_plain_count() -> None:
    rng = np.random.default_rng(5)
    for partitions in (1, 7, 16, 50):
        shares = rng.dirichlet(np.ones(partitions))
        best = [0.0]
        for r in range(1, 61):
            parts = [p.sum() for p in np.array_split(shares, min(r, partitions))]
            best.append(max(best[-1], 1 / max(parts)))
        assert np.allclose(usable_table(shares, 60), best)


def test_a_hot_partition_is_the_limit() -> None:
    shares = np.full(16, 0.5 / 15)
    shares[5] = 0.5
    made = split(shares)
    assert made.table.max() == pytest.approx(2.0, rel=0.01)
    assert made.cap is not None
    assert made.cap <= 16
    assert made.least(1.9) <= 16
    assert made.least(3.0) > 40, "no count gives that"


@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=40), st.integers(1, 60), st.sampled_from(ASSIGNORS))
def test_usable_is_never_more_than_replicas_partitions_or_the_hottest(
    weights: list[float], most: int, assignor: str | None
) -> None:
    shares = np.array(weights) / sum(weights)
    table = usable_table(shares, most, assignor)
    r = np.arange(most + 1)
    assert np.all(table <= np.minimum(r, len(shares)) + 1e-9)
    assert table.max() <= 1 / shares.max() + 1e-6
    assert np.all(np.diff(table) >= 0)
    assert table[0] == 0


def test_partitions_cap_only_where_they_bind() -> None:
    made = PartitionSplit(40, 100.0, 0.1)
    assert made.cap is None, "not seen yet"
    made.known(16)
    assert made.cap == 16
    few = PartitionSplit(10, 100.0, 0.1)
    few.known(12)
    assert few.cap == 6
    many = PartitionSplit(10, 100.0, 0.1)
    many.known(200)
    assert many.cap is None, "the maximum comes first"


def test_counting_noise_is_no_skew_but_skew_is() -> None:
    rng = np.random.default_rng(1)
    losses = [usable_loss(rng.poisson(100, 16).astype(float)) for _ in range(500)]
    assert np.median(losses) == pytest.approx(0)
    assert np.quantile(losses, 0.99) < 0.05
    assert max(losses) < 0.15
    skewed = shrunk_shares(np.array([1000.0] + [100.0] * 15))
    assert skewed[0] == pytest.approx(0.4, abs=0.01)
    assert skewed.sum() == pytest.approx(1)


def usable_loss(counts: np.ndarray) -> float:
    return 1 - usable_table(shrunk_shares(counts), 16)[16] / 16


def test_the_split_in_use_does_not_follow_every_flicker() -> None:
    made = PartitionSplit(16, 60.0, 0.1)
    made.known(16)
    rng = np.random.default_rng(0)
    made.learn(rng.poisson(20, 16).astype(float), 2.0)
    table = made.table
    changes = 0
    for _ in range(200):
        made.learn(rng.poisson(20, 16).astype(float), 2.0)
        changes += made.table is not table
        table = made.table
    assert changes <= 20


def test_the_rate_is_learned_from_saturated_work() -> None:
    rate = ServiceRate(2.0, memory=100.0, change=2.0, bounds=20.0)
    for _ in range(60):
        assert rate.learn(progress([30.0] * 4, [500.0] * 4), ready=4)
    assert rate.rate == pytest.approx(3.0, rel=0.01)


def test_an_idle_group_teaches_nothing() -> None:
    rate = ServiceRate(2.0, 100.0, 2.0, 20.0)
    for _ in range(60):
        assert not rate.learn(progress([5.0] * 4, [9.0] * 4), ready=4)
    assert rate.rate == 2.0


def test_one_consumer_without_work_spoils_the_interval() -> None:
    assert not saturated(progress([20.0] * 4, [500.0, 500.0, 500.0, 3.0]), 4, 2.0)
    assert not saturated(progress([20.0] * 4, [500.0] * 4, after=[500.0, 500.0, 500.0, 3.0]), 4, 2.0)
    assert saturated(progress([20.0] * 4, [500.0] * 4), 4, 2.0)
    assert not saturated(progress([20.0] * 4, [500.0] * 4), 0, 2.0)


def test_where_partitions_are_dealt_out_each_consumer_has_work_in_every_rth() -> None:
    hot = progress([20.0, 0.0, 20.0, 0.0], [500.0, 0.0, 500.0, 0.0])
    assert saturated(hot, 2, 2.0), "in ranges"
    assert saturated(hot, 2, 2.0, "range")
    assert not saturated(hot, 2, 2.0, "roundrobin"), "the second consumer has 1 and 3"
    beside = progress([20.0, 20.0, 0.0, 0.0, 20.0], [500.0, 500.0, 0.0, 0.0, 500.0])
    assert saturated(beside, 2, 2.0, "roundrobin"), "0, 2 and 4, and 1 and 3"
    assert not saturated(beside, 3, 2.0, "roundrobin"), "0 and 3, 1 and 4, 2 alone"
    assert not saturated(progress([9.0] * 4, [500.0] * 4, after=[9.0, 0.0, 9.0, 0.0]), 2, 2.0, "roundrobin")


@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=24),
    st.integers(1, 30),
    st.sampled_from([a for a in ASSIGNORS if a != "roundrobin"]),
)
def test_every_other_assignor_is_taken_to_hold_ranges(waiting: list[int], ready: int, assignor: str | None) -> None:
    seen = progress([1.0] * len(waiting), [float(w) for w in waiting])
    parts = np.array_split(np.array(waiting), min(ready, len(waiting)))
    assert saturated(seen, ready, 2.0, assignor) == all(part.sum() >= 10 for part in parts)


def test_one_wild_interval_moves_a_rate_that_is_known_little() -> None:
    rate = ServiceRate(2.0, 100.0, 2.0, 20.0)
    rate.learn(progress([10_000.0] * 4, [1e6] * 4), 4)
    assert rate.rate <= 4.0, "no interval moves it by more than the factor of change"
    for _ in range(60):
        rate.learn(progress([20.0] * 4, [1e6] * 4), 4)
    assert rate.rate == pytest.approx(2.0, rel=0.01)
    rate.learn(progress([10_000.0] * 4, [1e6] * 4), 4)
    assert rate.rate <= 2.0 * 2.0**0.12
    for _ in range(1000):
        rate.learn(progress([0.1] * 4, [1e6] * 4), 4)
    assert rate.rate == pytest.approx(2.0 / 20.0)


def test_more_consumers_than_partitions_do_not_dilute_the_rate() -> None:
    rate = ServiceRate(2.0, 10.0, 2.0, 20.0)
    for _ in range(50):
        rate.learn(progress([20.0] * 4, [500.0] * 4), ready=9)
    assert rate.rate == pytest.approx(2.0)


def test_consumers_that_commit_seldom_have_no_backlog() -> None:
    """Of six consumers two commit at each tick what they did in three; what they have yet to commit is no queue."""
    rate = ServiceRate(2.0, 50.0, 2.0, 20.0)
    for tick in range(60):
        commits = np.arange(6) % 3 == tick % 3
        before, after = 15.0 * ((np.arange(6) - tick) % 3), 15.0 * ((np.arange(6) - tick - 1) % 3)
        rate.learn(progress(np.where(commits, 45.0, 0.0), before + 30.0, after + 30.0), 6)
    assert rate.rate == pytest.approx(2.0)


@pytest.mark.parametrize("slower", [4.0, 50.0])
def test_consumers_that_came_to_serve_far_less_are_learned_of_though_most_commit_nothing(slower: float) -> None:
    rate, rng = ServiceRate(2.0, 50.0, 2.0, 100.0), np.random.default_rng(0)
    for _ in range(200):
        served = rng.poisson(20.0 / slower, 8).astype(float)
        came = Progress(0.0, 10.0, np.full(8, 20.0), served, np.full(8, 1e4), np.full(8, 1e4), recreated=False)
        rate.learn(came, 8)
    assert rate.rate == pytest.approx(2.0 / slower, rel=0.25)
