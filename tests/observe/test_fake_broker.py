"""The stand-in broker keeps the port's promises, and stays quick over a simulated day."""

from __future__ import annotations

import time

import numpy as np
import pytest

from scaler.clock import ManualClock
from scaler.observe.ports import GroupTopic
from scaler.standins.broker import FakeBroker
from tests.observe.offset_suite import OffsetSuite

START = 1_790_000_010.0


class FakeWorld:
    """The suite's broker in memory."""

    settle = 0.0

    def __init__(self) -> None:
        self._clock = ManualClock(START)
        self.broker = self.source = FakeBroker(self._clock)
        self.create_topic = self.broker.create_topic
        self.add_partitions = self.broker.add_partitions
        self.delete_topic = self.broker.delete_topic
        self.delete_records = self.broker.delete_records
        self.commit = self.broker.commit
        self.now = self._clock.now
        self.wait = self._clock.advance

    def produce(self, topic: str, partition: int, timestamp: float, count: int) -> None:
        self.broker.produce(topic, partition, timestamp, count)

    def join(self, group: str, topic: str, assignor: str) -> None:
        self.broker.join(group, assignor)

    def stop(self) -> None:
        self.broker.down = True

    def start(self) -> None:
        self.broker.down = False


class TestFakeBroker(OffsetSuite):
    @pytest.fixture
    def world(self) -> FakeWorld:
        return FakeWorld()


def test_a_day_of_millions_of_messages_costs_little() -> None:
    clock = ManualClock(START)
    broker = FakeBroker(clock)
    broker.create_topic("chat", 12)
    broker.join("workers")
    wanted = [GroupTopic("workers", "chat")]
    rng = np.random.default_rng(0)
    begun = time.perf_counter()
    sent = 0
    for _ in range(8640):
        clock.advance(10.0)
        for partition, count in enumerate(rng.poisson(20.0, 12).tolist()):
            broker.produce("chat", partition, clock.now() - 5.0, count)
            sent += count
        broker.sample(clock.now(), wanted)
    past = broker.history("chat", START, clock.now(), 300.0).value
    took = time.perf_counter() - begun
    assert sent > 2_000_000
    assert past is not None
    np.testing.assert_allclose(past.rates[1:], 24.0, atol=2.0)
    assert took < 5.0


def test_trim_drops_what_is_older() -> None:
    broker = FakeBroker(ManualClock(START))
    broker.create_topic("chat", 1)
    broker.join("workers")
    for k in range(10):
        broker.produce("chat", 0, START - 100 + 10 * k, 5)
    broker.trim("chat", START - 65)
    one = GroupTopic("workers", "chat")
    value = broker.sample(START, [one])[one].value
    assert value is not None
    assert (value.begin[0], value.end[0]) == (20, 50)
    assert broker.date("chat", 0, 19) is None
    assert broker.date("chat", 0, 20) == START - 60
    broker.trim("chat", START)
    assert broker.date("chat", 0, 49) is None
    assert broker.end("chat", 0) == 50
    assert broker.produce("chat", 0, START, 1) == 51
    assert broker.date("chat", 0, 50) == START


def test_the_date_of_a_message_is_that_of_its_batch() -> None:
    broker = FakeBroker(ManualClock(START))
    broker.create_topic("chat", 1)
    broker.produce("chat", 0, 10.0, 2)
    broker.produce("chat", 0, 20.0, 2)
    assert [broker.date("chat", 0, k) for k in range(5)] == [10.0, 10.0, 20.0, 20.0, None]


def test_a_group_without_commits_is_there_once_it_has_joined() -> None:
    broker = FakeBroker(ManualClock(START))
    broker.create_topic("chat", 1)
    one = GroupTopic("workers", "chat")
    assert not broker.sample(START, [one])[one].fresh
    broker.join("workers")
    assert broker.sample(START, [one])[one].fresh
    assert broker.committed("workers", "chat", 0) == -1


@pytest.mark.parametrize(
    "misuse",
    [
        lambda b: b.create_topic("chat", 1),
        lambda b: b.create_topic("other", 0),
        lambda b: b.add_partitions("chat", 1),
        lambda b: b.produce("chat", 0, 0.0, -1),
        lambda b: b.commit("workers", "chat", 2, 0),
    ],
)
def test_misuse_is_told(misuse) -> None:
    broker = FakeBroker(ManualClock(START))
    broker.create_topic("chat", 2)
    with pytest.raises(ValueError, match=r"chat|other|produce"):
        misuse(broker)
