"""A commit that could not be read is not a commit that is not there."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from confluent_kafka import KafkaError, TopicPartition

from scaler.clock import ManualClock
from scaler.observe.assignors import Assignors
from scaler.observe.kafka import _Pass
from scaler.observe.kafka_client import Client, Fault
from scaler.observe.ports import GroupTopic
from scaler.plan.observation import Freshness, Reading, TopicOffsets
from scaler.plan.reasons import Reason

CHAT = GroupTopic("workers", "chat")


@pytest.fixture
def client() -> Iterator[Client]:
    made = Client({"bootstrap.servers": "127.0.0.1:9"}, frozenset())
    yield made
    made.retire()


def done(result: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(result)
    return future


def read(client: Client, *places: tuple[str, int, int, KafkaError | None]) -> Reading[TopicOffsets]:
    """A sample of a topic with two partitions, of which the group's commits are ``places``."""
    one = _Pass(client, ManualClock(100.0), 100.0, 1.0, 100.0, [CHAT], Assignors())
    committed = [SimpleNamespace(topic=t, partition=p, offset=o, error=e) for t, p, o, e in places]
    commits = one._commits({"workers": done(SimpleNamespace(topic_partitions=committed))})
    number = np.arange(2, dtype=np.int64)
    topic = Reading(TopicOffsets(number, number + 50, number * 0, number * 0 - 1), 100.0, Freshness.FRESH)
    return one._joined(CHAT, topic, commits["workers"], set())


def test_what_was_committed_and_what_was_not(client: Client) -> None:
    reading = read(client, ("chat", 0, 40, None), ("chat", 1, -1001, None))
    assert reading.fresh
    assert reading.value is not None
    assert reading.value.committed.tolist() == [40, -1]


def test_one_partitions_error_is_an_error_of_the_reading(client: Client) -> None:
    reading = read(client, ("chat", 0, 40, None), ("chat", 1, -1001, KafkaError(KafkaError.UNSTABLE_OFFSET_COMMIT)))
    assert reading.value is None, "read as never committed, all that is retained would be backlog"
    assert (reading.freshness, reading.reason) == (Freshness.ERROR, Reason.INPUT_ERROR)
    assert "consumer group workers, partition 1 of topic chat" in reading.detail


def test_an_error_on_another_topic_is_of_no_concern(client: Client) -> None:
    reading = read(
        client,
        ("chat", 0, 40, None),
        ("chat", 1, 41, None),
        ("old", 0, -1, KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)),
    )
    assert reading.fresh


def test_a_partition_whose_leader_tells_no_offset_is_an_error_of_its_topic(client: Client) -> None:
    one = _Pass(client, ManualClock(100.0), 100.0, 1.0, 100.0, [CHAT], Assignors())
    places = [TopicPartition("chat", 0), TopicPartition("chat", 1)]
    told = {place: done(SimpleNamespace(offset=offset)) for place, offset in zip(places, (50, -1), strict=True)}
    with pytest.raises(Fault, match="topic chat partition 1: its leader told no offset") as raised:
        one._values(told, places)
    assert raised.value.reason is Reason.INPUT_ERROR
