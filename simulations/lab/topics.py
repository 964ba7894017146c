"""Topics of the lab: made when missing, and keeping what is written into them."""

from __future__ import annotations

import time

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from simulations.lab.errors import LabError

CONNECT = 10.0  # s for the broker to answer
PATIENCE = 60.0  # s for each partition's end, and for the group's commit
NOT_YET = (  # of a partition that was just made
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
)


def ensure_topic(bootstrap: str, topic: str, partitions: int | None) -> int:
    """Number of partitions of ``topic``; made with ``partitions``, keeping messages for ever, when it is missing.

    Raises KafkaException when it is missing and ``partitions`` is None, and ValueError when it has another number.
    """
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 2})
    if partitions is not None:
        wanted = NewTopic(topic, num_partitions=partitions, replication_factor=1, config={"retention.ms": "-1"})
        try:
            admin.create_topics([wanted], operation_timeout=CONNECT, request_timeout=CONNECT)[topic].result()
        except KafkaException as refused:
            if refused.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
    found = _partitions(admin, topic, wait=partitions is not None)
    if partitions is not None and found != partitions:
        raise ValueError(f"topic {topic} exists with {found} partitions, not {partitions}")
    return found


def begin_behind(bootstrap: str, topic: str, group: str, partitions: int) -> None:
    """Let a group without members begin behind all that is in the topic now. Raises LabError, KafkaException."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "log_level": 2})
    try:
        places = [TopicPartition(topic, p, end) for p, end in enumerate(ends_of(consumer, topic, partitions))]
        consumer.commit(offsets=places, asynchronous=False)
        kept = consumer.committed(places, timeout=PATIENCE)
    finally:
        consumer.close()
    if [p.offset for p in kept] != [p.offset for p in places]:
        raise LabError(f"group {group} does not begin where the past of topic {topic} ends")


def ends_of(consumer: Consumer, topic: str, partitions: int) -> list[int]:
    """Offsets behind the newest message of each partition. Those of a topic that was just made are waited for: its
    broker is told a moment later that it leads them. Raises KafkaException."""
    end = time.monotonic() + PATIENCE
    found: list[int] = []
    while len(found) < partitions:
        try:
            found.append(consumer.get_watermark_offsets(TopicPartition(topic, len(found)), timeout=PATIENCE)[1])
        except KafkaException as refused:
            if refused.args[0].code() not in NOT_YET or time.monotonic() > end:
                raise
            time.sleep(0.1)
    return found


def _partitions(admin: AdminClient, topic: str, *, wait: bool) -> int:
    """A topic just made is not known at once to every part of a broker. Asking never makes the topic."""
    end = time.monotonic() + CONNECT
    while True:
        asked = admin.describe_topics(TopicCollection([topic]), request_timeout=CONNECT)
        try:
            return len(asked[topic].result().partitions)
        except KafkaException as refused:
            unknown = refused.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART
            if not (unknown and wait) or time.monotonic() > end:
                raise
        time.sleep(0.1)
