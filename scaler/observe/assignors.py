"""Which assignor splits the partitions of each consumer group, as its coordinator tells, asked at a low rate.

No sample waits or fails for want of it: the question goes out when all else has been read, and the answer is taken in
at a later pass. Without one the name is the one that was told last, or None. A description that is under way when the
broker goes can end the process (librdkafka 2.16.1), so few are asked for, and only of groups that the pass before read,
too: a process that ended so reads at least one sample before it asks again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Set
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaException

from scaler.observe.kafka_client import outcome

log = logging.getLogger(__name__)

EVERY = 60.0  # s from one question about a group to the next
AGAIN = 600.0  # s after one that was not answered
MOST = 16  # groups asked about in one pass: what a thousand of them tell is spread over many


class Assignors:
    """What is known of the groups of one cluster. One thread at a time; times are unix s."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._due: dict[str, float] = {}  # when each group of which anything is known is asked about next
        self._asked: dict[str, Future[Any]] = {}  # descriptions that have not come
        self._read: Set[str] = frozenset()  # groups that this pass has read
        self._read_before: Set[str] = frozenset()  # and the one before it
        self._complained: set[str] = set()

    def begin(self, now: float, wanted: Set[str]) -> None:
        """A pass begins: take in the answers that have come; of groups no longer ``wanted`` all is forgotten."""
        self._read_before, self._read = self._read, frozenset()
        for group in self._due.keys() - wanted:
            self._names.pop(group, None)
            self._due.pop(group, None)
            self._asked.pop(group, None)
            self._complained.discard(group)
        for group in [group for group, future in self._asked.items() if future.done()]:
            self._learn(now, group, self._asked.pop(group))

    def due(self, now: float, read: Set[str]) -> list[str]:
        """The groups to ask about at the end of a pass that has ``read`` these, if the one before read them, too.

        The longest due come first, ``MOST`` at most.
        """
        self._read = read
        for group in read:  # a clock that was set back puts nothing off for longer
            self._due[group] = min(self._due.get(group, now), now + AGAIN)
        waiting = sorted((self._due[group], group) for group in read & self._read_before if self._due[group] <= now)
        return [group for _, group in waiting[:MOST]]

    def asked(self, now: float, described: Mapping[str, Future[Any]]) -> None:
        """These descriptions are on their way."""
        self._asked.update(described)
        self._due.update(dict.fromkeys(described, now + AGAIN))  # sooner once it is answered

    def failed(self, now: float, group: str, error: BaseException) -> None:
        """The group's assignor could not be asked for; said once."""
        self._due[group] = now + AGAIN
        if group not in self._complained:
            self._complained.add(group)
            log.warning(
                "consumer group %s: the broker does not tell how its partitions are split (%s); until it does, "
                "they are taken to be split by %s",
                group,
                error.args[0].name() if isinstance(error, KafkaException) else type(error).__name__,
                repr(self._names[group]) if group in self._names else "even ranges",
            )

    def name(self, group: str) -> str | None:
        """As last told; None where it never was."""
        return self._names.get(group)

    def _learn(self, now: float, group: str, future: Future[Any]) -> None:
        try:
            found = outcome(future)
        except (KafkaException, TimeoutError, RuntimeError, ValueError) as error:
            self.failed(now, group, error)
            return
        self._due[group] = now + EVERY
        # One without members has none: the broker tells its own default, or nothing.
        if found.members and found.partition_assignor and self._names.get(group) != found.partition_assignor:
            self._names[group] = found.partition_assignor
            log.info("consumer group %s: its partitions are split by %r", group, found.partition_assignor)
