"""Topics of the lab: made when missing, and keeping what is written into them."""

from __future__ import annotations

import time

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

CONNECT = 10.0  # s for the broker to answer


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
