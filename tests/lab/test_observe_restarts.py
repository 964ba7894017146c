"""A broker that is restarted again and again under several groups: nothing ends, nothing wrong is called fresh."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from scaler.observe.kafka_process import KafkaProcess
from scaler.observe.ports import GroupTopic
from scaler.plan.observation import Freshness, Reading, TopicOffsets
from scaler.plan.reasons import Reason
from tests.lab.test_proof import say
from tests.observe.offset_suite import fresh_name

pytestmark = pytest.mark.lab

TICK = 2.0  # s
TIMEOUT = 1.2  # s, what the controller gives a pass at this tick
GROUPS = 6
PARTITIONS = 4
WRITTEN = 10  # messages a partition

Readings = Mapping[GroupTopic, Reading[TopicOffsets]]


class Groups:
    """A topic with a known end, and groups that committed known offsets: each fresh number can be checked."""

    def __init__(self, bootstrap: str) -> None:
        topic = fresh_name("restarts")
        self.quiet = quiet = {"bootstrap.servers": bootstrap, "log_level": 0}
        admin = AdminClient(quiet)
        admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(30)
        producer = Producer(quiet)
        for partition in range(PARTITIONS):
            for _ in range(WRITTEN):
                producer.produce(topic, b"x", partition=partition)
        assert producer.flush(30) == 0
        self.committed: dict[GroupTopic, int] = {}
        for number in range(GROUPS):
            group = GroupTopic(f"{topic}-{number}", topic)
            consumer = Consumer({**quiet, "group.id": group.group, "enable.auto.commit": False})
            places = [TopicPartition(topic, p, number + 1) for p in range(PARTITIONS)]
            consumer.commit(offsets=places, asynchronous=False)
            consumer.close()
            self.committed[group] = number + 1
        self.source = KafkaProcess({"bootstrap.servers": bootstrap}, TIMEOUT)

    def sample(self) -> Readings:
        """One pass; whatever is called fresh is right, and nothing that is there is called absent."""
        began = time.monotonic()
        readings = self.source.sample(time.time(), list(self.committed))
        assert time.monotonic() - began < TIMEOUT + 1.0
        for group, reading in readings.items():
            if reading.fresh:
                assert reading.value is not None
                assert reading.value.end.tolist() == [WRITTEN] * PARTITIONS
                assert reading.value.committed.tolist() == [self.committed[group]] * PARTITIONS
            else:
                assert (reading.value, reading.freshness) == (None, Freshness.ERROR), reading
        return readings

    def coordinators(self) -> float:
        """Wait until each group's coordinator answers a consumer, as it does its members; unix s of that."""
        for group in self.committed:
            consumer = Consumer({**self.quiet, "group.id": group.group, "enable.auto.commit": False})
            try:
                answered = False
                while not answered:
                    with contextlib.suppress(KafkaException):  # not yet
                        consumer.committed([TopicPartition(group.topic, 0)], timeout=5)
                        answered = True
                    time.sleep(0.02)
            finally:
                consumer.close()
        return time.time()

    def fresh(self, within: float = 30.0) -> float:
        """Sample at each tick until all is fresh; how long that took (s)."""
        began = time.time()
        while not all(r.fresh for r in self.sample().values()):
            assert time.time() - began < within, "not fresh again"
            time.sleep(max(0.0, TICK - (time.time() - began) % TICK))
        return time.time() - began


def test_restarts_of_the_broker_end_nothing_and_are_over_within_two_ticks(
    lab: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    groups = Groups(lab.kafka.bootstrap)
    try:
        groups.fresh()
        first, took = groups.source.pid, []
        for _ in range(3):
            lab.kafka.stop()
            for _ in range(2):
                readings = groups.sample()
                assert not any(r.fresh for r in readings.values())
                time.sleep(TICK / 2)
            lab.kafka.start()
            started = time.time()
            with ThreadPoolExecutor(1) as aside:
                back = aside.submit(groups.coordinators)
                after = groups.fresh()
            took.append(started + after - back.result())
        again = "" if groups.source.pid == first else "; the process that asks was begun anew"
        say(
            capsys,
            f"{GROUPS} groups, 3 restarts: fresh {', '.join(f'{t:.1f}' for t in took)} s after consumers were{again}",
        )
        assert max(took) <= 2 * TICK + 1.0, "two ticks, and one pass"
    finally:
        groups.source.close()


def test_offsets_are_asked_while_the_broker_comes_up(lab: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a pause, so that questions meet coordinators at every stage of their start."""
    groups = Groups(lab.kafka.bootstrap)
    starting = None
    try:
        groups.fresh()
        first, passes = groups.source.pid, 0
        lab.kafka.stop()
        starting = threading.Thread(target=lab.kafka.start)
        starting.start()
        while starting.is_alive() or not all(r.fresh for r in groups.sample().values()):
            groups.sample()
            passes += 1
        say(capsys, f"{passes} passes while the broker came up; ended: {groups.source.pid != first}")
    finally:
        if starting is not None:
            starting.join()
        groups.source.close()


def test_a_crash_in_the_middle_of_a_pass_costs_a_tick(lab: Any) -> None:
    groups = Groups(lab.kafka.bootstrap)
    try:
        groups.fresh()
        for _ in range(3):
            pid = groups.source.pid
            assert pid is not None
            os.kill(pid, signal.SIGSEGV)
            readings = groups.sample()
            assert {r.reason for r in readings.values()} == {Reason.INPUT_ERROR}
            assert groups.fresh() <= 2 * TICK + 1.0
    finally:
        groups.source.close()
