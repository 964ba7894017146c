"""Ends of a topic's partitions: what a broker does not lead yet is waited for, all else is told."""

from __future__ import annotations

from collections import deque
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from simulations.lab.topics import NOT_YET, ends_of


class Answers:
    """What a broker answers in turn: offsets, or errors."""

    def __init__(self, *answers: int | KafkaError) -> None:
        self.left, self.asked = deque(answers), list[int]()

    def get_watermark_offsets(self, place: TopicPartition, timeout: float) -> tuple[int, int]:
        self.asked.append(place.partition)
        answer = self.left.popleft()
        if isinstance(answer, KafkaError):
            raise KafkaException(answer)
        return 0, answer


def ends(broker: Any) -> list[int]:
    return ends_of(cast(Consumer, broker), "chat", 2)


@pytest.mark.parametrize("code", NOT_YET)
def test_a_partition_that_was_just_made_is_asked_again(code: int) -> None:
    broker = Answers(7, KafkaError(code), KafkaError(code), 9)
    assert ends(broker) == [7, 9]
    assert broker.asked == [0, 1, 1, 1]


def test_what_is_refused_is_told() -> None:
    with pytest.raises(KafkaException):
        ends(Answers(7, KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED), 9))
