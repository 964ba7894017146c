"""An in-memory broker behind the OffsetSource port, for the demo and for tests.

It answers as a real broker does (the same conformance tests run against both) but holds no messages: a partition is a
list of knots, "this many messages, all dated so", so that a day of millions of them costs a few thousand numbers.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence

import numpy as np

from forecasting.series import Series
from scaler.clock import Clock
from scaler.observe.history import LogBounds, boundaries, rates
from scaler.observe.ports import GroupTopic
from scaler.plan.observation import Freshness, Reading, TopicOffsets
from scaler.plan.reasons import Reason


class _Partition:
    """Batches of messages, in the order in which they were written."""

    def __init__(self) -> None:
        self.begin = 0
        self.end = 0
        self._dates: list[float] = []  # unix s of each batch
        self._newest: list[float] = []  # the latest date up to and with each batch: sorted, so it can be searched
        self._ends: list[int] = []  # the offset after each batch

    def append(self, date: float, count: int) -> None:
        if count == 0:
            return
        self.end += count
        if self._dates and self._dates[-1] == date:
            self._ends[-1] = self.end
            return
        self._dates.append(date)
        self._newest.append(max(date, self._newest[-1]) if self._newest else date)
        self._ends.append(self.end)

    def cut(self, offset: int) -> None:
        """Forget all messages below ``offset``."""
        self.begin = min(max(offset, self.begin), self.end)
        gone = bisect_right(self._ends, self.begin)
        del self._dates[:gone], self._ends[:gone]
        self._newest = np.maximum.accumulate(self._dates).tolist() if self._dates else []

    def first_at(self, date: float) -> int | None:
        """Offset of the first message dated at or after ``date``; None when there is none. O(log batches)."""
        k = bisect_left(self._newest, date)
        if k == len(self._newest):
            return None
        return max(self._ends[k - 1] if k else self.begin, self.begin)

    @property
    def first_date(self) -> float | None:
        return self._dates[0] if self._dates else None

    def date(self, offset: int) -> float | None:
        """Date of the message at ``offset``; None where none is retained. O(log batches)."""
        if not self.begin <= offset < self.end:
            return None
        return self._dates[bisect_right(self._ends, offset)]


class FakeBroker:
    """One Kafka cluster in memory. Set ``down`` to make it unreachable.

    The clock tells what is past when a history is read; nothing happens in the broker by itself.
    """

    def __init__(self, clock: Clock) -> None:
        self.down = False
        self._clock = clock
        self._topics: dict[str, list[_Partition]] = {}
        self._groups: dict[str, dict[tuple[str, int], int]] = {}
        self._assignors: dict[str, str] = {}  # by group

    # What administrators, producers and consumers do.

    def create_topic(self, topic: str, partitions: int) -> None:
        """Raises ValueError when it exists or has no partitions."""
        if topic in self._topics:
            raise ValueError(f"topic {topic} exists")
        if partitions < 1:
            raise ValueError(f"topic {topic} needs at least one partition, not {partitions}")
        self._topics[topic] = [_Partition() for _ in range(partitions)]

    def add_partitions(self, topic: str, total: int) -> None:
        """Grow the topic to ``total`` partitions; there are never fewer than before."""
        log = self._topics[topic]
        if total < len(log):
            raise ValueError(f"topic {topic} has {len(log)} partitions and cannot shrink to {total}")
        log.extend(_Partition() for _ in range(total - len(log)))

    def delete_topic(self, topic: str) -> None:
        """Delete it, with what any group has committed on it."""
        del self._topics[topic]
        for commits in self._groups.values():
            for place in [p for p in commits if p[0] == topic]:
                del commits[place]

    def produce(self, topic: str, partition: int, timestamp: float, count: int = 1) -> int:
        """Append ``count`` messages dated ``timestamp`` (unix s). Returns the new end offset."""
        if count < 0:
            raise ValueError(f"cannot produce {count} messages")
        log = self._topics[topic][partition]
        log.append(timestamp, count)
        return log.end

    def trim(self, topic: str, before: float) -> None:
        """Retention: drop from each partition what lies before its first message dated at or after ``before``."""
        for log in self._topics[topic]:
            at = log.first_at(before)
            log.cut(log.end if at is None else at)

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """Drop the messages of one partition below offset ``before``."""
        self._topics[topic][partition].cut(before)

    def join(self, group: str, assignor: str | None = None) -> None:
        """A consumer of ``group`` is there, whether or not it has committed; with ``assignor``, all go by that one."""
        self._groups.setdefault(group, {})
        if assignor is not None:
            self._assignors[group] = assignor

    def commit(self, group: str, topic: str, partition: int, offset: int) -> None:
        """Commit; the group comes into being with it."""
        if not 0 <= partition < len(self._topics[topic]):
            raise ValueError(f"topic {topic} has no partition {partition}")
        self._groups.setdefault(group, {})[topic, partition] = offset

    # What a consumer or a test wants to know.

    def partitions(self, topic: str) -> int:
        return len(self._topics[topic])

    def end(self, topic: str, partition: int) -> int:
        return self._topics[topic][partition].end

    def committed(self, group: str, topic: str, partition: int) -> int:
        """-1 where the group has committed nothing."""
        return self._groups.get(group, {}).get((topic, partition), -1)

    def date(self, topic: str, partition: int, offset: int) -> float | None:
        """Unix s of the message at ``offset``; None where none is retained."""
        return self._topics[topic][partition].date(offset)

    # The port.

    def sample(self, now: float, wanted: Sequence[GroupTopic]) -> Mapping[GroupTopic, Reading[TopicOffsets]]:
        """One reading for each wanted, true at ``now``."""
        return {one: self._read(now, one) for one in wanted}

    def history(self, topic: str, start: float, end: float, step: float) -> Reading[Series]:
        """Arrival rates of the whole steps inside [start, end)."""
        edges = boundaries(start, end, step)
        now = self._clock.now()
        if (fault := self._fault(now, topic)) is not None:
            return fault
        logs = self._topics[topic]
        ahead = [log.first_at(now + step) for log in logs]
        bounds = LogBounds(
            np.array([log.begin for log in logs]),
            np.array([log.end for log in logs]),
            np.array([np.nan if log.first_date is None else log.first_date for log in logs]),
            np.array([log.end if at is None else at for log, at in zip(logs, ahead, strict=True)]),
        )
        found = [[log.first_at(edge) for log in logs] for edge in edges.tolist()]
        offsets = np.array([[-1 if at is None else at for at in row] for row in found], dtype=np.int64)
        return Reading(rates(edges, step, offsets, bounds, now), now, Freshness.FRESH)

    def close(self) -> None:
        """Nothing to end."""

    def _fault(self, now: float, topic: str) -> Reading[Series] | None:
        if self.down:
            return Reading(None, now, Freshness.ERROR, Reason.BROKER_UNREACHABLE, "the stand-in broker is down")
        if topic not in self._topics:
            detail = f"there is no topic {topic} at the stand-in broker"
            return Reading(None, now, Freshness.ABSENT, Reason.TOPIC_NOT_FOUND, detail)
        return None

    def _read(self, now: float, one: GroupTopic) -> Reading[TopicOffsets]:
        if (fault := self._fault(now, one.topic)) is not None:
            return Reading(None, now, fault.freshness, fault.reason, fault.detail)
        if one.group not in self._groups:
            detail = f"there is no consumer group {one.group} at the stand-in broker"
            return Reading(None, now, Freshness.ABSENT, Reason.GROUP_NOT_FOUND, detail)
        logs, commits = self._topics[one.topic], self._groups[one.group]
        offsets = TopicOffsets(
            np.arange(len(logs), dtype=np.int64),
            np.array([log.end for log in logs], dtype=np.int64),
            np.array([log.begin for log in logs], dtype=np.int64),
            np.array([commits.get((one.topic, p), -1) for p in range(len(logs))], dtype=np.int64),
            self._assignors.get(one.group),
        )
        return Reading(offsets, now, Freshness.FRESH)
