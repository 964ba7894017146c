"""What every OffsetSource must do. Subclass :class:`OffsetSuite` and give it a fixture ``world``.

Dates are laid out backwards from ``world.now()``, in steps of a minute, so that a real broker takes them too.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Protocol

import numpy as np
import pytest

from scaler.observe.ports import GroupTopic, OffsetSource
from scaler.plan.observation import Freshness, Reading, TopicOffsets
from scaler.plan.reasons import Reason

STEP = 60.0


class OffsetWorld(Protocol):
    """A broker that can be changed, and the source that reads it."""

    source: OffsetSource
    settle: float  # s within which a change is seen

    def now(self) -> float: ...
    def wait(self, seconds: float) -> None: ...
    def create_topic(self, topic: str, partitions: int) -> None: ...
    def add_partitions(self, topic: str, total: int) -> None: ...
    def delete_topic(self, topic: str) -> None: ...
    def produce(self, topic: str, partition: int, timestamp: float, count: int) -> None: ...
    def delete_records(self, topic: str, partition: int, before: int) -> None: ...
    def commit(self, group: str, topic: str, partition: int, offset: int) -> None: ...
    def join(self, group: str, topic: str, assignor: str) -> None: ...
    def stop(self) -> None: ...
    def start(self) -> None: ...


def fresh_name(kind: str) -> str:
    """A name that no other test uses, in no other run either: a real broker remembers."""
    return f"suite-{kind}-{uuid.uuid4().hex[:12]}"


def read(world: OffsetWorld, group: str, topic: str) -> Reading[TopicOffsets]:
    one = GroupTopic(group, topic)
    return world.source.sample(world.now(), [one])[one]


def eventually(
    world: OffsetWorld, group: str, topic: str, good: Callable[[Reading[TopicOffsets]], bool]
) -> Reading[TopicOffsets]:
    """Sample until ``good`` or the world's settling time is over; the last reading."""
    deadline = world.now() + world.settle
    reading = read(world, group, topic)
    while not good(reading) and world.now() < deadline:
        world.wait(0.1)
        reading = read(world, group, topic)
    return reading


def origin(world: OffsetWorld, steps: int = 10) -> float:
    """A step's edge ``steps`` whole steps in the past."""
    return (world.now() // STEP - steps) * STEP


def a_topic(world: OffsetWorld, partitions: int = 2) -> str:
    topic = fresh_name("topic")
    world.create_topic(topic, partitions)
    return topic


class OffsetSuite:
    """Samples and histories of one broker."""

    # Samples.

    def test_offsets_of_all_partitions_in_order(self, world: OffsetWorld) -> None:
        topic, group = a_topic(world, 3), fresh_name("group")
        for partition, count in enumerate((5, 0, 7)):
            world.produce(topic, partition, origin(world), count)
        world.commit(group, topic, 0, 2)
        asked = world.now()
        # A new client's first pass may end while it still looks for the group's coordinator.
        reading = eventually(world, group, topic, lambda r: r.fresh)
        assert reading.freshness is Freshness.FRESH
        assert reading.reason is None
        assert asked <= reading.time <= world.now()
        assert reading.value is not None
        assert reading.value.partitions.tolist() == [0, 1, 2]
        assert reading.value.end.tolist() == [5, 0, 7]
        assert reading.value.begin.tolist() == [0, 0, 0]
        assert reading.value.committed.tolist() == [2, -1, -1]
        arrays = (reading.value.partitions, reading.value.end, reading.value.begin, reading.value.committed)
        assert all(a.dtype == np.int64 for a in arrays)

    def test_many_groups_and_topics_in_one_pass(self, world: OffsetWorld) -> None:
        topics = [a_topic(world) for _ in range(3)]
        groups = [fresh_name("group") for _ in range(2)]
        for k, topic in enumerate(topics):
            world.produce(topic, 1, origin(world), k + 1)
            for group in groups:
                world.commit(group, topic, 1, k)
        wanted = [GroupTopic(g, t) for g in groups for t in topics]
        found = world.source.sample(world.now(), wanted)
        assert set(found) == set(wanted)
        for k, topic in enumerate(topics):
            for group in groups:
                value = found[GroupTopic(group, topic)].value
                assert value is not None
                assert value.end.tolist() == [0, k + 1]
                assert value.committed.tolist() == [-1, k]

    def test_nothing_wanted_nothing_answered(self, world: OffsetWorld) -> None:
        assert world.source.sample(world.now(), []) == {}

    def test_the_same_thing_wanted_twice(self, world: OffsetWorld) -> None:
        topic, group = a_topic(world), fresh_name("group")
        world.commit(group, topic, 0, 0)
        one = GroupTopic(group, topic)
        assert world.source.sample(world.now(), [one, one])[one].fresh

    def test_a_topic_that_is_not_there_is_absent_and_spoils_no_other(self, world: OffsetWorld) -> None:
        topic, group, missing = a_topic(world), fresh_name("group"), fresh_name("missing")
        world.commit(group, topic, 0, 0)
        good, bad = GroupTopic(group, topic), GroupTopic(group, missing)
        found = world.source.sample(world.now(), [bad, good])
        assert found[good].fresh
        assert found[bad].freshness is Freshness.ABSENT
        assert found[bad].reason is Reason.TOPIC_NOT_FOUND
        assert found[bad].value is None
        assert missing in found[bad].detail
        # Asking must not have created it.
        assert read(world, group, missing).reason is Reason.TOPIC_NOT_FOUND

    def test_a_group_that_is_not_there_is_absent_and_spoils_no_other(self, world: OffsetWorld) -> None:
        topic, group, missing = a_topic(world), fresh_name("group"), fresh_name("missing")
        world.commit(group, topic, 0, 0)
        good, bad = GroupTopic(group, topic), GroupTopic(missing, topic)
        found = world.source.sample(world.now(), [bad, good])
        assert found[good].fresh
        assert found[bad].freshness is Freshness.ABSENT
        assert found[bad].reason is Reason.GROUP_NOT_FOUND
        assert found[bad].value is None
        assert missing in found[bad].detail

    def test_a_group_that_committed_elsewhere_has_no_commits_here(self, world: OffsetWorld) -> None:
        here, elsewhere, group = a_topic(world), a_topic(world), fresh_name("group")
        world.commit(group, elsewhere, 0, 0)
        reading = read(world, group, here)
        assert reading.value is not None
        assert reading.value.committed.tolist() == [-1, -1]

    def test_messages_and_commits_are_seen_at_the_next_sample(self, world: OffsetWorld) -> None:
        topic, group = a_topic(world, 1), fresh_name("group")
        world.commit(group, topic, 0, 0)
        before = read(world, group, topic).value
        world.produce(topic, 0, origin(world), 4)
        world.commit(group, topic, 0, 3)
        after = read(world, group, topic).value
        assert before is not None
        assert after is not None
        assert (before.end[0], before.committed[0]) == (0, 0)
        assert (after.end[0], after.committed[0]) == (4, 3)

    def test_new_partitions_are_seen(self, world: OffsetWorld) -> None:
        topic, group = a_topic(world, 1), fresh_name("group")
        world.commit(group, topic, 0, 0)
        assert read(world, group, topic).fresh
        world.add_partitions(topic, 3)
        reading = eventually(world, group, topic, lambda r: r.value is not None and len(r.value.end) == 3)
        assert reading.value is not None
        assert reading.value.partitions.tolist() == [0, 1, 2]

    def test_a_recreated_topic_shows_its_new_offsets_only(self, world: OffsetWorld) -> None:
        topic, other, group = a_topic(world, 3), a_topic(world), fresh_name("group")
        world.produce(topic, 0, origin(world), 50)
        world.commit(group, topic, 0, 40)
        world.commit(group, other, 0, 0)  # so that the group outlives the topic
        assert read(world, group, topic).fresh
        world.delete_topic(topic)
        gone = eventually(world, group, topic, lambda r: r.reason is Reason.TOPIC_NOT_FOUND)
        assert gone.freshness is Freshness.ABSENT
        world.create_topic(topic, 2)
        world.produce(topic, 1, origin(world), 3)
        reading = eventually(world, group, topic, lambda r: r.value is not None and r.value.committed[0] == -1)
        assert reading.value is not None
        assert reading.value.end.tolist() == [0, 3]
        assert reading.value.committed.tolist() == [-1, -1]

    def test_the_log_start_moves(self, world: OffsetWorld) -> None:
        topic, group = a_topic(world, 1), fresh_name("group")
        world.produce(topic, 0, origin(world), 10)
        world.commit(group, topic, 0, 9)
        world.delete_records(topic, 0, 6)
        reading = read(world, group, topic)
        assert reading.value is not None
        assert (reading.value.begin[0], reading.value.end[0]) == (6, 10)

    # How a group splits the partitions.

    @pytest.mark.parametrize("assignor", ["range", "roundrobin", "cooperative-sticky", "uniform"])
    def test_the_assignor_of_a_group_with_members_is_told(self, world: OffsetWorld, assignor: str) -> None:
        topic, group = a_topic(world), fresh_name("group")
        world.join(group, topic, assignor)
        reading = eventually(world, group, topic, lambda r: r.value is not None and r.value.assignor is not None)
        assert reading.value is not None
        assert reading.value.assignor == assignor
        again = read(world, group, topic)
        assert again.value is not None
        assert again.value.assignor == assignor, "at each sample from then on"

    def test_a_group_that_never_had_members_has_no_assignor(self, world: OffsetWorld) -> None:
        topic, group = a_topic(world), fresh_name("group")
        world.commit(group, topic, 0, 0)
        for _ in range(6):
            reading = eventually(world, group, topic, lambda r: r.fresh)
            assert reading.value is not None
            assert reading.value.assignor is None
            world.wait(0.1)

    # An outage.

    def test_an_unreachable_broker_is_an_error_for_each_and_passes(self, world: OffsetWorld) -> None:
        topic, group = a_topic(world), fresh_name("group")
        world.produce(topic, 0, origin(world), 2)
        world.commit(group, topic, 0, 1)
        wanted = [GroupTopic(group, topic), GroupTopic(fresh_name("g"), fresh_name("t"))]
        assert world.source.sample(world.now(), wanted)[wanted[0]].fresh
        world.stop()
        try:
            for reading in world.source.sample(world.now(), wanted).values():
                assert reading.freshness is Freshness.ERROR
                assert reading.reason is Reason.BROKER_UNREACHABLE
                assert reading.value is None
                assert reading.detail
            past = world.source.history(topic, origin(world), world.now(), STEP)
            assert past.freshness is Freshness.ERROR
            assert past.reason is Reason.BROKER_UNREACHABLE
            assert past.value is None
        finally:
            world.start()
        reading = eventually(world, group, topic, lambda r: r.fresh)
        assert reading.value is not None
        assert reading.value.end.tolist() == [2, 0]
        assert reading.value.committed.tolist() == [1, -1]

    # The past.

    def test_rates_of_whole_steps_summed_over_partitions(self, world: OffsetWorld) -> None:
        topic, at = a_topic(world, 3), origin(world)
        world.produce(topic, 0, at, 1)
        for k, (left, right) in enumerate(((6, 0), (0, 0), (60, 30)), start=1):
            world.produce(topic, 0, at + k * STEP, left)
            world.produce(topic, 1, at + k * STEP + 59.999, right)
        reading = world.source.history(topic, at + STEP, at + 5 * STEP, STEP)
        assert reading.fresh
        assert reading.value is not None
        assert (reading.value.start, reading.value.step, reading.value.end) == (at + STEP, STEP, at + 5 * STEP)
        # A step without messages, between and after others, is a true zero.
        np.testing.assert_allclose(reading.value.rates, [0.1, 0.0, 1.5, 0.0])

    def test_steps_up_to_the_first_message_are_not_known(self, world: OffsetWorld) -> None:
        topic, at = a_topic(world), origin(world)
        world.produce(topic, 0, at + 2.5 * STEP, 30)
        world.produce(topic, 1, at + 3.5 * STEP, 60)
        reading = world.source.history(topic, at, at + 5 * STEP, STEP)
        assert reading.value is not None
        # The third step holds the log's start: it was seen in part only.
        np.testing.assert_allclose(reading.value.rates, [np.nan, np.nan, np.nan, 1.0, 0.0])

    def test_steps_that_retention_has_cut_are_not_known(self, world: OffsetWorld) -> None:
        topic, at = a_topic(world), origin(world)
        for k in range(5):
            world.produce(topic, 0, at + (k + 0.5) * STEP, 6)
            world.produce(topic, 1, at + (k + 0.5) * STEP, 12)
        world.delete_records(topic, 0, 9)
        reading = world.source.history(topic, at, at + 5 * STEP, STEP)
        assert reading.value is not None
        np.testing.assert_allclose(reading.value.rates, [np.nan, np.nan, 0.3, 0.3, 0.3])

    def test_a_partition_that_was_emptied_leaves_nothing_known(self, world: OffsetWorld) -> None:
        topic, at = a_topic(world), origin(world)
        for partition in (0, 1):
            world.produce(topic, partition, at, 6)
        world.delete_records(topic, 1, 6)
        reading = world.source.history(topic, at, at + 2 * STEP, STEP)
        assert reading.value is not None
        assert np.isnan(reading.value.rates).all()

    def test_a_topic_without_messages_has_an_unknown_past(self, world: OffsetWorld) -> None:
        at = origin(world)
        reading = world.source.history(a_topic(world), at, at + 3 * STEP, STEP)
        assert reading.fresh
        assert reading.value is not None
        assert len(reading.value.rates) == 3
        assert np.isnan(reading.value.rates).all()

    def test_dates_that_run_backwards_make_no_negative_rate(self, world: OffsetWorld) -> None:
        topic, at = a_topic(world, 1), origin(world)
        world.produce(topic, 0, at, 1)
        for k in (1, 4, 2, 3, 5):
            world.produce(topic, 0, at + (k + 0.5) * STEP, 6)
        reading = world.source.history(topic, at + STEP, at + 7 * STEP, STEP)
        assert reading.value is not None
        # The late ones count with those that were already dated after them.
        np.testing.assert_allclose(reading.value.rates, [0.1, 0.0, 0.0, 0.3, 0.1, 0.0])

    def test_a_message_dated_ahead_of_the_present_hides_what_follows(self, world: OffsetWorld) -> None:
        topic, at = a_topic(world), origin(world)
        world.produce(topic, 0, at, 1)
        world.produce(topic, 0, at + 1.5 * STEP, 6)
        world.produce(topic, 0, world.now() + 20 * STEP, 1)
        world.produce(topic, 0, at + 3.5 * STEP, 6)
        reading = world.source.history(topic, at + STEP, at + 5 * STEP, STEP)
        assert reading.value is not None
        # The first step ends where the stray message answers; from there on zero would be a guess.
        assert np.isnan(reading.value.rates).all()
        whole = world.source.history(topic, at, at + STEP, STEP)
        assert whole.value is not None
        np.testing.assert_allclose(whole.value.rates, [1 / STEP])

    def test_only_whole_steps_that_are_over(self, world: OffsetWorld) -> None:
        topic, at = a_topic(world, 1), origin(world, 3)
        world.produce(topic, 0, at, 1)
        reading = world.source.history(topic, at + 1.0, world.now() + 3 * STEP, STEP)
        assert reading.value is not None
        assert reading.value.start == at + STEP
        over = at + STEP * (1 + np.arange(1, len(reading.value.rates) + 1)) <= reading.time
        assert over.any()
        assert not over.all()
        np.testing.assert_array_equal(np.isnan(reading.value.rates), ~over)

    def test_no_whole_step_no_rates(self, world: OffsetWorld) -> None:
        topic, at = a_topic(world, 1), origin(world)
        reading = world.source.history(topic, at + 1.0, at + STEP, STEP)
        assert reading.value is not None
        assert len(reading.value.rates) == 0

    def test_the_past_of_a_topic_that_is_not_there_is_absent(self, world: OffsetWorld) -> None:
        missing, at = fresh_name("missing"), origin(world)
        reading = world.source.history(missing, at, at + STEP, STEP)
        assert reading.freshness is Freshness.ABSENT
        assert reading.reason is Reason.TOPIC_NOT_FOUND
        assert missing in reading.detail
