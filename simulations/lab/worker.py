"""One pod's work: a real consumer that serves one batch at a time and commits what it finished."""

from __future__ import annotations

import logging
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from simulations.service_times import ServiceTime

log = logging.getLogger(__name__)

POLL = 0.1  # s; the longest time after which a worker notices that it is to stop
# The group moved on while a request was served: whoever holds the partition now serves it again.
MOVED_ON = frozenset({KafkaError._STATE, KafkaError._ASSIGNMENT_LOST})


@dataclass(frozen=True, slots=True)
class Request:
    """One message, as a worker sees it. Times in unix s; ``arrival`` is the message's own timestamp."""

    topic: str
    partition: int
    offset: int
    arrival: float


Served = Callable[[str, Sequence[Request], float, float], None]
"""Called with pod, requests, and when their service began and ended (unix s)."""


@dataclass(frozen=True, slots=True)
class Membership:
    """Which group of which topic a worker joins, and how quickly the group notices what happens to it.

    A member that joins holds its partitions about 2 s later, however short the heartbeat: cooperative rebalancing
    joins twice, and librdkafka sends at most one JoinGroup a second. One that leaves frees its partitions in under 1 s.
    """

    bootstrap: str
    topic: str
    group: str
    session: float = 6.0  # s without a heartbeat until a member is counted out
    heartbeat: float = 0.5  # s; also how soon a member learns of a rebalance
    commit: float = 0.5  # s between commits
    longest_service: float = 60.0  # s; a member that does not poll for five times this is counted out

    def consumer(self, pod: str, batch: int) -> dict[str, str | int | float | bool]:
        """Settings of librdkafka. What is fetched ahead is kept small: it would be memory, times the pods."""
        return {
            "bootstrap.servers": self.bootstrap,
            "group.id": self.group,
            "client.id": pod,
            "partition.assignment.strategy": "cooperative-sticky",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": True,  # of what is stored, and only what is done gets stored
            "auto.commit.interval.ms": round(self.commit * 1000),
            "enable.auto.offset.store": False,
            "session.timeout.ms": round(self.session * 1000),
            "heartbeat.interval.ms": round(self.heartbeat * 1000),
            "max.poll.interval.ms": round(max(5 * self.longest_service, self.session + 1) * 1000),
            "queued.min.messages": max(2, 2 * batch),
            "queued.max.messages.kbytes": 1024,
            "fetch.message.max.bytes": 1024,  # a partition's turn: with more, its neighbours would wait behind it
            "fetch.queue.backoff.ms": 20,  # the default looks again a second after a full queue has emptied
            "fetch.wait.max.ms": 200,  # a new partition joins with the next fetch, so not later than this
            "fetch.error.backoff.ms": 100,
            "reconnect.backoff.max.ms": 1000,
            "topic.metadata.refresh.interval.ms": 60000,
            "metadata.max.age.ms": 180000,
            "statistics.interval.ms": 0,
            "log_level": 2,
        }


class Worker:
    """Consumes in a thread of its own from ``start`` to ``stop``.

    ``stop`` drains: the batch in hand is finished, its offsets are committed, the member leaves the group. While
    ``stuck`` is set the member stays in the group and polls, but finishes nothing and commits nothing.
    """

    def __init__(
        self,
        pod: str,
        membership: Membership,
        service_time: ServiceTime,
        served: Served,
        stuck: threading.Event,
        seed: int = 0,
    ) -> None:
        self.pod = pod
        self._membership = membership
        self._service_time = service_time
        self._served = served
        self._stuck = stuck
        self._rng = np.random.default_rng([seed, zlib.crc32(pod.encode())])
        self._stop = threading.Event()
        self._held: list[Request] = []
        self._assigned: frozenset[int] = frozenset()
        self._thread = threading.Thread(target=self._run, name=f"worker {pod}", daemon=True)
        self.failure: BaseException | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask the worker to drain and leave; see ``join``."""
        self._stop.set()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until it has left; False when it is still at work after ``timeout`` s."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    @property
    def partitions(self) -> frozenset[int]:
        """The partitions that it holds now."""
        return self._assigned

    def _run(self) -> None:
        try:
            consumer = Consumer(self._membership.consumer(self.pod, self._service_time.batch))
            try:
                consumer.subscribe(
                    [self._membership.topic], on_assign=self._take, on_revoke=self._give_back, on_lost=self._give_back
                )
                while not self._stop.is_set():
                    self._turn(consumer)
            finally:
                consumer.close()  # commits what is stored, and leaves the group at once
        except Exception as failure:
            log.exception("worker %s failed", self.pod)
            self.failure = failure
        finally:
            self._assigned = frozenset()

    def _turn(self, consumer: Consumer) -> None:
        batch = self._take_batch(consumer)
        if self._stuck.is_set():
            self._hang(consumer, batch)
        elif batch:
            self._serve(consumer, batch)

    def _take_batch(self, consumer: Consumer) -> list[Request]:
        """The next message, and of those that wait behind it as many as fit into a batch."""
        first = consumer.poll(POLL)
        if first is None:
            return []
        messages = [first]
        if self._service_time.batch > 1:
            messages += consumer.consume(self._service_time.batch - 1, 0.0)
        return [request for message in messages if (request := self._request(message))]

    def _request(self, message: Message) -> Request | None:
        error = message.error()
        if error is not None:  # librdkafka retries by itself; a topic that is missing may still be made
            log.warning("worker %s: %s", self.pod, error)
            return None
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        if topic is None or partition is None or offset is None:
            raise RuntimeError(f"worker {self.pod}: a message without topic, partition or offset")
        return Request(topic, partition, offset, message.timestamp()[1] / 1000)

    def _serve(self, consumer: Consumer, batch: list[Request]) -> None:
        begun = time.time()
        time.sleep(self._service_time.draw(len(batch), self._rng))
        if self._stuck.is_set():  # it became stuck with these in hand
            self._hang(consumer, batch)
            return
        finished = time.time()
        self._store(consumer, batch)
        self._served(self.pod, batch, begun, finished)

    def _hang(self, consumer: Consumer, batch: list[Request]) -> None:
        """Stay in the group without doing anything until no longer stuck; then serve what was held."""
        self._held = batch
        consumer.pause(consumer.assignment())
        while self._stuck.is_set() and not self._stop.is_set():
            message = consumer.poll(POLL)  # paused: answers rebalances only
            if message is not None and (request := self._request(message)):
                self._held.append(request)
        held, self._held = self._held, []
        if self._stop.is_set():
            return
        consumer.resume(consumer.assignment())
        size = self._service_time.batch
        for first in range(0, len(held), size):
            self._serve(consumer, held[first : first + size])

    def _store(self, consumer: Consumer, batch: list[Request]) -> None:
        newest: dict[tuple[str, int], int] = {}
        for request in batch:
            place = (request.topic, request.partition)
            newest[place] = max(newest.get(place, 0), request.offset + 1)
        for (topic, partition), offset in newest.items():
            try:
                consumer.store_offsets(offsets=[TopicPartition(topic, partition, offset)])
            except KafkaException as failure:
                error = failure.args[0]
                level = logging.INFO if error.code() in MOVED_ON else logging.WARNING
                log.log(level, "worker %s: %s-%d at %d is not kept: %s", self.pod, topic, partition, offset, error)

    def _take(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.incremental_assign(partitions)
        self._assigned |= {part.partition for part in partitions}
        if self._stuck.is_set():
            consumer.pause(partitions)

    def _give_back(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        gone = {part.partition for part in partitions}
        self._held = [request for request in self._held if request.partition not in gone]
        self._assigned -= gone
        # Commits what is stored for them, and lets the rebalance go on only when that is done. (A commit of our own
        # here would fail while the group changes, and start the rebalance anew.)
        consumer.incremental_unassign(partitions)
