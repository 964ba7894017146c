"""How long it takes to observe: one pass over many groups, and a week read back from a topic.

Both make their own topics on the broker and leave them there; a later run uses them again. 2,000 partitions take a
broker some 200 MB of index files.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from scaler.observe.kafka import KafkaOffsets
from scaler.observe.ports import GroupTopic

RUNS = 5
GROUPS, PARTITIONS = 100, 20  # one group on each topic
WEEK, STEP, WEEK_PARTITIONS = 7 * 86_400, 300, 12
WEEK_RATE = 2  # messages a step and partition


def bench_sampling(bootstrap: str) -> float:
    """Seconds (median) that one pass over 100 groups x 20 partitions takes, all readings fresh."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    wanted = [GroupTopic(f"bench-group-{k}", f"bench-sampling-{k}") for k in range(GROUPS)]
    _create(admin, [NewTopic(one.topic, PARTITIONS, 1) for one in wanted])
    for one in wanted:
        place = ConsumerGroupTopicPartitions(one.group, [TopicPartition(one.topic, p, 0) for p in range(PARTITIONS)])
        commit(admin, one.group, place)
    source = KafkaOffsets({"bootstrap.servers": bootstrap}, timeout=10.0)

    def once() -> None:
        found = source.sample(time.time(), wanted)
        bad = [reading.detail for reading in found.values() if reading.value is None]
        if bad:
            raise RuntimeError(f"{len(bad)} of {len(wanted)} readings failed: {bad[0]}")

    try:
        _until_it_works(once)  # connects; new partitions are led some seconds after they are made
        return _median(once)
    finally:
        source.close()


def bench_history(bootstrap: str) -> float:
    """Seconds (median) that reading a week at 5-minute steps over 12 partitions takes, every step known."""
    topic = "bench-history"
    end = time.time() // STEP * STEP
    if _create(AdminClient({"bootstrap.servers": bootstrap}), [_with_past(topic)]):
        producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, "enable.idempotence": True})
        start = end - WEEK - STEP
        for k in range(WEEK // STEP + 1):
            for n in range(WEEK_PARTITIONS * WEEK_RATE):
                date = round((start + STEP * (k + (n // WEEK_PARTITIONS) / WEEK_RATE)) * 1000)
                producer.produce(topic, b"x", partition=n % WEEK_PARTITIONS, timestamp=date)
            producer.poll(0)
        if producer.flush(60):
            raise RuntimeError(f"the past of topic {topic} could not be written to {bootstrap}")
    source = KafkaOffsets({"bootstrap.servers": bootstrap}, timeout=10.0)

    def once() -> None:
        reading = source.history(topic, end - WEEK, end, STEP)
        if reading.value is None or np.isnan(reading.value.rates[: len(reading.value.rates) // 2]).any():
            raise RuntimeError(f"the week of topic {topic} was not all read: {reading.detail}")

    try:
        return _median(once)
    finally:
        source.close()


def _with_past(topic: str) -> NewTopic:
    return NewTopic(topic, WEEK_PARTITIONS, 1, config={"retention.ms": "-1"})


def _create(admin: AdminClient, topics: list[NewTopic]) -> bool:
    """True when all were made now; False when some were there."""
    made = True
    for future in admin.create_topics(topics, operation_timeout=60).values():
        try:
            future.result(90)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
            made = False
    time.sleep(2.0)  # until the broker leads all partitions
    return made


def _until_it_works(run: Callable[[], None]) -> None:
    for _ in range(30):
        try:
            run()
        except RuntimeError:
            time.sleep(1.0)
        else:
            return
    run()


def commit(admin: AdminClient, group: str, place: ConsumerGroupTopicPartitions) -> None:
    """A coordinator that still loads its groups, or does not know a new topic yet, refuses for some seconds."""
    for _ in range(50):
        try:
            done = admin.alter_consumer_group_offsets([place])[group].result(30)
        except KafkaException:
            refused = True
        else:
            refused = any(p.error is not None for p in done.topic_partitions)
        if not refused:
            return
        time.sleep(0.2)
    raise RuntimeError(f"cannot commit for group {group}")


def _median(run: Callable[[], None]) -> float:
    seconds = []
    for _ in range(RUNS):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)
