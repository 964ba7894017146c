"""The Kafka adapter against a real broker: the port's promises, and what only a real one can show."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic, OffsetSpec

from scaler.observe.kafka import KafkaOffsets
from scaler.observe.kafka_process import KafkaProcess
from scaler.observe.ports import GroupTopic
from scaler.plan.observation import Freshness
from scaler.plan.reasons import Reason
from tests.observe.offset_suite import OffsetSuite, a_topic, eventually, fresh_name, origin, read

pytestmark = pytest.mark.lab

TIMEOUT = 5.0


class RealWorld:
    """The suite's broker, a real one."""

    settle = 20.0

    def __init__(self, kafka: Any) -> None:
        self.kafka = kafka
        self.source = KafkaProcess({"bootstrap.servers": kafka.bootstrap}, TIMEOUT)  # as the controller runs it
        self._admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
        # One request at a time: with more, the first batch to a partition that the broker does not lead yet is sent
        # again after the second, which a broker that knows nothing of the producer took, and is lost as a duplicate.
        one = {"enable.idempotence": True, "linger.ms": 0, "max.in.flight.requests.per.connection": 1}
        self._producer = Producer({"bootstrap.servers": kafka.bootstrap, **one})
        self._members: list[Consumer] = []

    def meet(self) -> None:
        """Before a test's first pass the process that asks has begun and met the broker: that takes of its time."""
        nobody, deadline = GroupTopic("nobody", "nothing"), time.time() + self.settle
        while (reading := self.source.sample(time.time(), [nobody])[nobody]).freshness is not Freshness.ABSENT:
            assert time.time() < deadline, reading

    def now(self) -> float:
        return time.time()

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)

    def create_topic(self, topic: str, partitions: int) -> None:
        new = NewTopic(topic, partitions, 1, config={"retention.ms": "-1"})
        self._admin.create_topics([new])[topic].result(30)
        self._until(topic, partitions)

    def add_partitions(self, topic: str, total: int) -> None:
        self._admin.create_partitions([NewPartitions(topic, total)])[topic].result(30)
        self._until(topic, total)

    def delete_topic(self, topic: str) -> None:
        self._admin.delete_topics([topic])[topic].result(30)

    def produce(self, topic: str, partition: int, timestamp: float, count: int) -> None:
        offsets: set[int] = set()

        def told(error: object, message: Any) -> None:
            assert error is None, error
            offsets.add(message.offset())

        for _ in range(count):
            date = round(timestamp * 1000)
            self._producer.produce(topic, b"x", partition=partition, timestamp=date, on_delivery=told)
        assert self._producer.flush(30) == 0
        assert len(offsets) == count, f"of {count} messages only {len(offsets)} are in {topic}: {sorted(offsets)}"

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        for future in self._admin.delete_records([TopicPartition(topic, partition, before)]).values():
            future.result(30)

    def commit(self, group: str, topic: str, partition: int, offset: int) -> None:
        deadline = time.time() + 30
        while True:
            place = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, partition, offset)])
            with contextlib.suppress(KafkaException):  # the coordinator loads its groups for a while after a start
                done = self._admin.alter_consumer_group_offsets([place])[group].result(30)
                if all(p.error is None for p in done.topic_partitions):
                    return
            if time.time() > deadline:
                pytest.fail(f"cannot commit for group {group} on topic {topic}")
            time.sleep(0.1)

    def join(self, group: str, topic: str, assignor: str, protocol: str = "") -> None:
        """A member that holds partitions; "uniform" is a broker's own assignor, which no classic group has."""
        protocol = protocol or ("consumer" if assignor == "uniform" else "classic")
        how = "group.remote.assignor" if protocol == "consumer" else "partition.assignment.strategy"
        settings = {"bootstrap.servers": self.kafka.bootstrap, "enable.auto.commit": False}
        member = Consumer({**settings, "group.id": group, "group.protocol": protocol, how: assignor})
        self._members.append(member)
        member.subscribe([topic])
        deadline = time.time() + 20
        while not member.assignment():
            assert time.time() < deadline, f"{group} was assigned nothing"
            member.poll(0.2)

    def stop(self) -> None:
        self.kafka.stop()

    def start(self) -> None:
        self.kafka.start()

    def close(self) -> None:
        for member in self._members:
            member.close()
        self.source.close()

    def _until(self, topic: str, partitions: int) -> None:
        """Wait until the broker tells of the topic and each partition's leader, and knows that it is that itself."""
        deadline = time.time() + 30
        while time.time() < deadline:
            with contextlib.suppress(KafkaException):
                found = self._admin.describe_topics(TopicCollection([topic]))[topic].result(10)
                if len(found.partitions) == partitions and all(p.leader is not None for p in found.partitions):
                    asked = {TopicPartition(topic, p): OffsetSpec.latest() for p in range(partitions)}
                    for future in self._admin.list_offsets(asked).values():
                        future.result(10)
                    return
            time.sleep(0.05)
        pytest.fail(f"the broker does not show topic {topic} with {partitions} partitions")


@pytest.fixture
def world(lab: Any) -> Iterator[RealWorld]:
    world = RealWorld(lab.kafka)
    try:
        world.meet()
        yield world
    finally:
        world.close()


class TestRealBroker(OffsetSuite):
    """The same suite as the stand-in."""


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_group_that_has_members_but_no_commits_is_there(world: RealWorld, protocol: str) -> None:
    topic, group = a_topic(world), fresh_name("group")
    world.join(group, topic, "range", protocol)
    reading = read(world, group, topic)
    assert reading.freshness is Freshness.FRESH, reading
    assert reading.value is not None
    assert reading.value.committed.tolist() == [-1, -1]


def test_the_brokers_own_range_assignor_is_told_by_that_name(world: RealWorld) -> None:
    topic, group = a_topic(world), fresh_name("group")
    world.join(group, topic, "range", "consumer")
    reading = eventually(world, group, topic, lambda r: r.value is not None and r.value.assignor is not None)
    assert reading.value is not None
    assert reading.value.assignor == "range"


def test_an_outage_leaves_nothing_behind(world: RealWorld) -> None:
    source = KafkaOffsets({"bootstrap.servers": "127.0.0.1:9"}, timeout=0.3)
    one = GroupTopic("nobody", "nothing")
    source.sample(time.time(), [one])
    threads, tasks = threading.active_count(), len(_threads())
    for _ in range(5):
        begun = time.monotonic()
        assert source.sample(time.time(), [one])[one].reason is Reason.BROKER_UNREACHABLE
        assert time.monotonic() - begun < 1.0
    assert threading.active_count() <= threads
    assert len(_threads()) <= tasks
    source.close()


def test_a_broker_that_hangs_and_comes_back_neither_crashes_nor_piles_up(world: RealWorld) -> None:
    """Answers that come after nobody waits for them end the process, when librdkafka's own time limit has struck."""
    topic, port = a_topic(world), int(world.kafka.bootstrap.rpartition(":")[2])
    (broker,) = {
        c.pid for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN and c.laddr.port == port
    }
    source = KafkaOffsets({"bootstrap.servers": world.kafka.bootstrap}, timeout=0.5)
    wanted = [GroupTopic(fresh_name("group"), topic) for _ in range(40)]
    tasks = 0

    def answered() -> None:
        """A new client sees all coordinators first, which for so many groups may take more than one short pass."""
        deadline = time.time() + 20
        while {r.reason for r in source.sample(time.time(), wanted).values()} != {Reason.GROUP_NOT_FOUND}:
            assert time.time() < deadline

    for k in range(4):
        answered()
        tasks = tasks or len(_threads())
        # Once in the middle of a pass: the hang begins while requests are on the wire.
        timer = threading.Timer(0.02 if k % 2 else 0.0, psutil.Process(broker).suspend)
        timer.start()
        try:
            if not k % 2:
                timer.join()
            for _ in range(3):
                begun = time.monotonic()
                source.sample(time.time(), wanted)
                assert time.monotonic() - begun < 1.0
            timer.join()
            reasons = {r.reason for r in source.sample(time.time(), wanted).values()}
            assert reasons == {Reason.BROKER_UNREACHABLE}
        finally:
            timer.join()
            psutil.Process(broker).resume()
        answered()
    # Clients that were set aside are let go of, by the next passes, as the broker answers what it owes them.
    deadline = time.time() + 20
    while len(_threads()) > tasks + 5:
        assert time.time() < deadline, f"clients pile up: {Counter(_threads())}"
        time.sleep(0.2)
        source.sample(time.time(), wanted)
    source.close()


def test_a_password_reaches_no_log_and_no_reading(
    world: RealWorld, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "password"
    secret.write_text("hunter2-hunter2\n")
    source = KafkaOffsets(
        {
            "bootstrap.servers": world.kafka.bootstrap,
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username.file": str(secret),
            "sasl.password.file": str(secret),
        },
        timeout=1.0,
    )
    one = GroupTopic("nobody", "nothing")
    with caplog.at_level(logging.DEBUG):
        reading = source.sample(time.time(), [one])[one]
    source.close()
    assert reading.freshness is Freshness.ERROR
    assert world.kafka.bootstrap in reading.detail
    assert caplog.records, "librdkafka's own log was not handed over"
    assert all(r.levelno <= logging.DEBUG for r in caplog.records)
    out, err = capfd.readouterr()
    assert "hunter2" not in caplog.text + reading.detail + out + err
    assert "rdkafka" not in err


def test_a_history_of_a_thousand_steps_counts_every_message(world: RealWorld) -> None:
    topic, at, steps = a_topic(world, 4), origin(world, 1000), 1000
    rng = np.random.default_rng(3)
    counts = rng.poisson(3.0, (steps, 4))
    for partition in range(4):
        producer = Producer({"bootstrap.servers": world.kafka.bootstrap, "linger.ms": 50})
        for k in range(steps):
            for _ in range(int(counts[k, partition])):
                producer.produce(topic, b"x", partition=partition, timestamp=round((at + k * 60.0) * 1000))
            producer.poll(0)
        assert producer.flush(30) == 0
    reading = world.source.history(topic, at, at + steps * 60.0, 60.0)
    assert reading.value is not None
    expected = counts.sum(axis=1) / 60.0
    first = int(np.argmax(counts.sum(axis=1) > 0))
    assert np.isnan(reading.value.rates[:first]).all()
    np.testing.assert_allclose(reading.value.rates[first:], expected[first:])


def test_a_history_ends_early_when_the_source_is_closed(world: RealWorld) -> None:
    topic, at = a_topic(world), origin(world, 9000)
    world.produce(topic, 0, at, 1)
    source = KafkaOffsets({"bootstrap.servers": world.kafka.bootstrap}, TIMEOUT)
    source.close()
    reading = source.history(topic, at, at + 9000 * 60.0, 60.0)
    assert reading.freshness is Freshness.ERROR
    assert "shutdown" in reading.detail


def test_a_history_that_takes_too_long_is_an_error(world: RealWorld) -> None:
    topic, at = a_topic(world), origin(world, 9000)
    world.produce(topic, 0, at, 1)
    source = KafkaOffsets({"bootstrap.servers": world.kafka.bootstrap}, TIMEOUT, history_timeout=0.2)
    begun = time.monotonic()
    reading = source.history(topic, at, at + 9000 * 60.0, 60.0)
    source.close()
    assert time.monotonic() - begun < 2.0
    assert reading.freshness is Freshness.ERROR
    assert reading.value is None


def _threads() -> list[str]:
    """Names of the threads of this process, librdkafka's too ("rdk:main", "rdk:broker1")."""
    names = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # it ended just now
            names.append((task / "comm").read_text().strip())
    return names
