"""Offsets of one Kafka cluster: all groups and partitions in one pass, and a topic's past from its own timestamps.

Limits. End offsets count what was written, so transaction markers count as messages: with transactional producers
arrivals and lag are too high by one for each transaction and partition. Offsets of a topic that was deleted and made
anew start again at 0; they are read as they are, and the plan sees that they went backwards. Groups are described for
their assignor alone, and seldom (``assignors.py``), so who holds which partition at a tick is not known; when a pod
began to serve is learned elsewhere (``joins.py``).
"""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import confluent_kafka.admin
import numpy as np
from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from numpy.typing import NDArray

from forecasting.series import Series
from scaler.clock import Clock, SystemClock
from scaler.observe.assignors import Assignors
from scaler.observe.history import LogBounds, boundaries, known_from, rates
from scaler.observe.kafka_client import LONGEST, Client, Fault, bury, certificates, outcome, resolve
from scaler.observe.ports import GroupTopic
from scaler.plan.observation import Freshness, Reading, TopicOffsets
from scaler.plan.reasons import Reason

log = logging.getLogger(__name__)

HISTORY_TIMEOUT = 60.0  # s; a week at 5-minute steps over 12 partitions takes a few
LOOK_UP_TIMEOUT = 10.0  # s for one look-up of a history
IN_FLIGHT = 64  # look-ups of a history on their way at once: more gains nothing and burdens the broker
_NO_TOPIC = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_EXCEPTION})

OffsetSpec: Any = vars(confluent_kafka.admin)["OffsetSpec"]  # it has no types and is not in the package's stubs
# What librdkafka's binding raises at once, for instance when a name is not one.
_REFUSED = (KafkaException, ValueError, TypeError, BufferError, RuntimeError)
Offsets = dict[TopicPartition, "Future[Any]"]
Commits = dict[tuple[str, int], "int | KafkaError"]  # by topic and partition


class KafkaOffsets:
    """The real OffsetSource.

    ``config`` holds librdkafka settings (``bootstrap.servers`` and what security needs); ``<setting>.file`` names a
    file that holds the setting's value. ``timeout`` (s) bounds each sample, ``history_timeout`` each history. One
    thread may sample while others read histories. ``give_up`` is called when only a new process would help.
    """

    def __init__(
        self,
        config: Mapping[str, str | int],
        timeout: float,
        history_timeout: float = HISTORY_TIMEOUT,
        clock: Clock | None = None,
        give_up: Callable[[], object] = lambda: None,
    ) -> None:
        # A request that hangs is ended by the connection, soon after nobody waits for it any more.
        self._config = {"socket.timeout.ms": max(round(timeout * 1000), 1000), **config}
        self._timeout = timeout
        self._history_timeout = history_timeout
        self._clock = clock or SystemClock()
        self._sampling = _Connection(self._config, give_up)
        self._assignors = Assignors()
        # Thousands of look-ups must not delay a sample, and one of them may take its time: all would be lost with it.
        patient = max(round(min(LOOK_UP_TIMEOUT, history_timeout) * 1000), 1000)
        self._remembering = _Connection({"socket.timeout.ms": patient, **config}, give_up)
        self._one_history = threading.Lock()
        self._closed = threading.Event()

    def sample(self, now: float, wanted: Sequence[GroupTopic]) -> Mapping[GroupTopic, Reading[TopicOffsets]]:
        """One reading for each wanted, within ``timeout``; a fresh one's time is when its end offsets were asked."""
        try:
            began = self._clock.now()
            self._assignors.begin(began, {one.group for one in wanted})
            client = self._sampling.client(self._timeout)
            return _Pass(client, self._clock, now, self._timeout, began, wanted, self._assignors).run()
        except Fault as fault:
            return {one: _failed(now, fault) for one in wanted}
        except _REFUSED as error:
            log.error("sampling Kafka failed: %s", type(error).__name__, exc_info=error)
            return {one: _failed(now, _refused(error)) for one in wanted}

    def history(self, topic: str, start: float, end: float, step: float) -> Reading[Series]:
        """Arrival rates of the whole steps inside [start, end); ERROR when not all could be read in time.

        One at a time; it never delays a sample. Raises ValueError when ``step`` or the bounds make no sense.
        """
        edges = boundaries(start, end, step)
        with self._one_history:
            now = self._clock.now()
            try:
                client = self._remembering.client(self._timeout)
                past = _Past(client, self._clock, now, self._history_timeout, now, topic, self._closed)
                return past.read(edges, step, self._timeout)  # an outage is known sooner than a history is read
            except Fault as fault:
                return _failed(now, fault)
            except _REFUSED as error:
                log.error("reading the history of topic %s failed", topic, exc_info=error)
                return _failed(now, _refused(error))

    def close(self) -> None:
        """End the clients; a history under way ends early with ERROR."""
        self._closed.set()
        self._sampling.close()
        self._remembering.close()


class _Connection:
    """The client for a configuration; a new one when a secret on disk has changed, and after an outage."""

    def __init__(self, config: Mapping[str, str | int], give_up: Callable[[], object]) -> None:
        self._config = config
        self._give_up = give_up
        self._client: Client | None = None
        self._certificates = b""  # that the client was made with

    def client(self, seconds: float) -> Client:
        """Waits at most ``seconds`` for what an old one owes. Raises Fault when there is none to be used."""
        bury()
        settings, secrets = resolve(self._config)
        shown = certificates(self._config)
        old = self._client
        if old is not None and old.spent:
            if self._certificates != shown:
                old.lose()
            elif old.settings != settings:
                old.log_in_as(settings, secrets)
            if not old.replaceable(seconds):
                if old.stuck:
                    self._give_up()
                raise old.fault(TimeoutError(), "the cluster", seconds)
        if old is None or old.spent or old.settings != settings or self._certificates != shown:
            self.close()
            self._client, self._certificates = Client(settings, secrets), shown
            return self._client
        return old

    def close(self) -> None:
        if self._client is not None:
            self._client.retire()
            self._client = None


class _Requests:
    """Requests to one cluster that share a deadline."""

    def __init__(self, client: Client, clock: Clock, now: float, timeout: float, began: float) -> None:
        self.client, self.admin, self.clock, self.now, self.timeout = client, client.admin, clock, now, timeout
        self.began = began  # by the clock; ``now`` is the caller's

    def left(self) -> float:
        """Seconds until the deadline, never more than the whole time limit: a clock can be set back."""
        return min(max(self.timeout - (self.clock.now() - self.began), 0.0), self.timeout)

    def topics(self, names: Iterable[str], patience: float) -> dict[str, Future[Any]]:
        """Settled descriptions. Raises Fault when the brokers do not answer within ``patience`` (s)."""
        found = dict(self.admin.describe_topics(TopicCollection(list(names)), request_timeout=LONGEST))
        self.client.settle(found.values(), min(self.left(), patience), probe=True)
        if self.client.owes():
            raise self.client.fault(TimeoutError(), "the cluster", patience)
        self.client.calm()
        return found

    def offsets(self, partitions: Iterable[TopicPartition], spec: Any) -> Offsets:
        """One call for any number of partitions."""
        asked = dict.fromkeys(partitions, spec)
        return dict(self.admin.list_offsets(asked, request_timeout=LONGEST)) if asked else {}

    def wait(self, *futures: Iterable[Future[Any]]) -> None:
        self.client.settle([f for some in futures for f in some], self.left())

    def result(self, future: Future[Any], what: str) -> Any:
        """A settled future's result. Raises Fault."""
        try:
            return outcome(future)
        except (KafkaException, TimeoutError, RuntimeError, ValueError) as error:
            raise self.client.fault(error, what, self.timeout) from None

    def offset(self, future: Future[Any], what: str) -> Any:
        """A settled look-up's offset (-1: there is none) and timestamp. Raises Fault."""
        found = self.result(future, what)
        if found.offset < -1:  # how list_offsets shows that the broker did not answer it
            raise self.client.fault(TimeoutError(), what, self.timeout)
        return found

    def partitions(self, future: Future[Any], topic: str) -> list[TopicPartition] | Reading[Any]:
        """A topic's partitions in order; a Reading when there is no such topic. Raises Fault."""
        try:
            found = outcome(future)
        except KafkaException as error:
            if error.args[0].code() not in _NO_TOPIC:
                raise self.client.fault(error, f"topic {topic}", self.timeout) from None
            return Reading(
                None,
                self.now,
                Freshness.ABSENT,
                Reason.TOPIC_NOT_FOUND,
                f"there is no topic {topic} at {self.client.settings.get('bootstrap.servers')}; "
                "create it, or correct spec.kafka.topic",
            )
        except TimeoutError as error:
            raise self.client.fault(error, f"topic {topic}", self.timeout) from None
        leaderless = sorted(p.id for p in found.partitions if p.leader is None or p.leader.id < 0)
        if leaderless:
            raise Fault(
                Reason.INPUT_ERROR,
                f"topic {topic}: partition {leaderless[0]} has no leader ({len(leaderless)} of "
                f"{len(found.partitions)} partitions); check the brokers that hold its replicas",
            )
        return [TopicPartition(topic, p) for p in sorted(p.id for p in found.partitions)]


class _Pass(_Requests):
    """One sample."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        now: float,
        timeout: float,
        began: float,
        wanted: Sequence[GroupTopic],
        assignors: Assignors,
    ) -> None:
        super().__init__(client, clock, now, timeout, began)
        self.wanted = wanted
        self.assignors = assignors

    def run(self) -> dict[GroupTopic, Reading[TopicOffsets]]:
        if not self.wanted:
            return {}
        topics = self.topics({one.topic for one in self.wanted}, self.timeout)
        # Half of the time: what does not get its turn by then is asked for at the next pass.
        unproved = self.client.prove(
            {one.group: one.topic for one in self.wanted}, lambda: self.left() - self.timeout / 2
        )
        # Commits before ends: an end that is read later is never below what was committed.
        groups = {
            group: self.admin.list_consumer_group_offsets(
                [ConsumerGroupTopicPartitions(group)], request_timeout=LONGEST
            )[group]
            for group in {one.group for one in self.wanted} - unproved.keys()
        }
        self.wait(groups.values())
        partitions: dict[str, list[TopicPartition]] = {}
        answers: dict[str, Reading[Any]] = {}
        for topic, future in topics.items():
            try:
                found = self.partitions(future, topic)
            except Fault as fault:
                answers[topic] = _failed(self.now, fault)
            else:
                if isinstance(found, Reading):
                    answers[topic] = found
                else:
                    partitions[topic] = found
        commits = self._commits(groups) | unproved
        every = [p for some in partitions.values() for p in some]
        time = self.now + self.clock.now() - self.began
        ends, begins = self.offsets(every, OffsetSpec.latest()), self.offsets(every, OffsetSpec.earliest())
        silent = {group for group, committed in commits.items() if committed == {}}
        listed = [self.admin.list_consumer_groups(request_timeout=LONGEST)] if silent else []
        self.wait(ends.values(), begins.values(), listed)
        for topic, some in partitions.items():
            try:
                begin, end = self._values(begins, some), self._values(ends, some)
            except Fault as fault:
                answers[topic] = _failed(self.now, fault)
            else:
                number = np.array([p.partition for p in some], dtype=np.int64)
                answers[topic] = Reading(TopicOffsets(number, end, begin, np.full_like(end, -1)), time, Freshness.FRESH)
        absent = self._unknown(silent, listed)
        readings = {one: self._joined(one, answers[one.topic], commits[one.group], absent) for one in self.wanted}
        self._describe({one.group for one, reading in readings.items() if reading.fresh})
        return readings

    def _describe(self, read: set[str]) -> None:
        """Ask for the assignors that are due, of the groups that were read; nobody waits for the answers."""
        asked = self.assignors.due(self.began, read)
        if not asked:
            return
        try:
            described = dict(self.admin.describe_consumer_groups(asked, request_timeout=LONGEST))
        except _REFUSED as error:
            for group in asked:
                self.assignors.failed(self.began, group, error)
            return
        self.client.leave(described.values())
        self.assignors.asked(self.began, described)

    def _values(self, futures: Offsets, partitions: list[TopicPartition]) -> NDArray[np.int64]:
        found = [self.offset(futures[p], f"topic {p.topic} partition {p.partition}").offset for p in partitions]
        for partition, offset in zip(partitions, found, strict=True):
            if offset < 0:  # every partition has a first and a next offset: this one's leader does not know them yet
                raise Fault(
                    Reason.INPUT_ERROR,
                    f"topic {partition.topic} partition {partition.partition}: its leader told no offset; trying again "
                    "at the next tick",
                )
        return np.array(found, dtype=np.int64)

    def _commits(self, groups: Mapping[str, Future[Any]]) -> dict[str, Commits | Fault]:
        """Committed offsets by topic and partition, or why one could not be read; empty where a group has none."""
        commits: dict[str, Commits | Fault] = {}
        for group, future in groups.items():
            try:
                places = self.result(future, f"consumer group {group}").topic_partitions
                commits[group] = {
                    (p.topic, p.partition): p.error or p.offset for p in places if p.error or p.offset >= 0
                }
            except Fault as fault:
                commits[group] = fault
        return commits

    def _unknown(self, silent: set[str], listed: list[Future[Any]]) -> set[str] | Fault:
        """Those of the groups without any commit that the cluster does not know at all.

        One request lists the groups of both protocols, however many are silent.
        """
        if not listed:
            return set()
        try:
            found = self.result(listed[0], "the list of consumer groups")
        except Fault as fault:
            return fault
        missing = silent - {group.group_id for group in found.valid}
        if missing and found.errors:  # some broker did not list its groups: they may be there
            return self.client.fault(found.errors[0], "the list of consumer groups", self.timeout)
        return missing

    def _joined(
        self,
        one: GroupTopic,
        topic: Reading[TopicOffsets],
        commits: Commits | Fault,
        absent: set[str] | Fault,
    ) -> Reading[TopicOffsets]:
        if topic.value is None:
            return topic
        if isinstance(commits, Fault):
            return _failed(self.now, commits)
        if commits == {}:
            if isinstance(absent, Fault):
                return _failed(self.now, absent)
            if one.group in absent:
                return Reading(
                    None,
                    self.now,
                    Freshness.ABSENT,
                    Reason.GROUP_NOT_FOUND,
                    f"there is no consumer group {one.group} at {self.client.settings.get('bootstrap.servers')}: no "
                    "member and no committed offset; start its consumers, or correct spec.kafka.consumerGroup",
                )
        seen = topic.value
        committed = [commits.get((one.topic, p), -1) for p in seen.partitions.tolist()]
        unread = [(p, c) for p, c in zip(seen.partitions.tolist(), committed, strict=True) if isinstance(c, KafkaError)]
        if unread:  # it is not known what was committed: not the same as nothing
            partition, error = unread[0]
            what = f"consumer group {one.group}, partition {partition} of topic {one.topic}"
            return _failed(self.now, self.client.fault(KafkaException(error), what, self.timeout))
        offsets = TopicOffsets(
            seen.partitions, seen.end, seen.begin, np.array(committed, dtype=np.int64), self.assignors.name(one.group)
        )
        return Reading(offsets, topic.time, Freshness.FRESH)


class _Past(_Requests):
    """One history."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        now: float,
        timeout: float,
        began: float,
        topic: str,
        closed: threading.Event,
    ) -> None:
        super().__init__(client, clock, now, timeout, began)
        self.topic = topic
        self.closed = closed

    def read(self, edges: NDArray[np.float64], step: float, patience: float) -> Reading[Series]:
        partitions = self.partitions(self.topics([self.topic], patience)[self.topic], self.topic)
        if isinstance(partitions, Reading):
            return partitions
        bounds = self._bounds(partitions, step)
        offsets = np.full((len(edges), len(partitions)), -1, dtype=np.int64)
        self._look_up(partitions, edges, offsets, int(np.searchsorted(edges, known_from(bounds))))
        # Retention may have cut the log meanwhile: what it took away was not all counted.
        later = self._bounds(partitions, step)
        bounds = LogBounds(later.begin, bounds.end, later.first, np.minimum(later.ahead, bounds.ahead))
        return Reading(rates(edges, step, offsets, bounds, self.now), self.now, Freshness.FRESH)

    def _bounds(self, partitions: list[TopicPartition], step: float) -> LogBounds:
        specs = (
            OffsetSpec.earliest(),
            OffsetSpec.latest(),
            OffsetSpec.for_timestamp(0),
            # A producer's clock may run ahead by less than a step: that moves no more than the last step.
            OffsetSpec.for_timestamp(_milliseconds(self.now + step)),
        )
        asked = [self.offsets(partitions, spec) for spec in specs]
        self.wait(*(a.values() for a in asked))
        begin, end, first, ahead = (self._results(a, partitions) for a in asked)
        ends = np.array([r.offset for r in end], dtype=np.int64)
        return LogBounds(
            np.array([r.offset for r in begin], dtype=np.int64),
            ends,
            np.array([r.timestamp / 1000 if r.offset >= 0 else math.nan for r in first]),
            np.array([r.offset if r.offset >= 0 else e for r, e in zip(ahead, ends, strict=True)], dtype=np.int64),
        )

    def _look_up(
        self, partitions: list[TopicPartition], edges: NDArray[np.float64], offsets: NDArray[np.int64], first: int
    ) -> None:
        """Fill ``offsets[first:]``: one call an edge, since a request may name a partition once; many at a time."""
        flying: deque[tuple[int, Offsets]] = deque()
        for k in range(first, len(edges) + IN_FLIGHT):
            if k < len(edges):
                flying.append((k, self.offsets(partitions, OffsetSpec.for_timestamp(_milliseconds(float(edges[k]))))))
            if flying and (len(flying) >= IN_FLIGHT or k >= len(edges)):
                row, asked = flying.popleft()
                self.wait(asked.values())
                offsets[row] = [r.offset for r in self._results(asked, partitions)]

    def _results(self, asked: Offsets, partitions: list[TopicPartition]) -> list[Any]:
        if self.closed.is_set():
            raise Fault(Reason.INPUT_ERROR, f"topic {self.topic}: the history was cut short by the shutdown")
        return [self.offset(asked[p], f"topic {self.topic} partition {p.partition}") for p in partitions]


def _milliseconds(time: float) -> int:
    """Kafka's dates; rounded up, so that a message before ``time`` is not at or after it."""
    return math.ceil(time * 1000 - 1e-6)


def _refused(error: Exception) -> Fault:
    return Fault(Reason.INPUT_ERROR, f"the Kafka client refused a request ({type(error).__name__}); see the log")


def _failed(now: float, fault: Fault) -> Reading[Any]:
    return Reading(None, now, Freshness.ERROR, fault.reason, fault.detail)
