"""Which assignor splits the partitions of each consumer group, as its coordinator tells, asked at a low rate.

No sample fails for want of it: without an answer the name is the one that was told last, or None. A description that is
under way when the broker goes can end the process (librdkafka 2.16.1), so few are asked for, and none at the first
pass that reads a group: a process that ended so reads at least one sample before it asks again.
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
    """What is known of the groups of one cluster. One thread at a time."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._due: dict[str, float] = {}  # unix s at which each group is asked about next
        self._complained: set[str] = set()

    def due(self, now: float, groups: Set[str]) -> list[str]:
        """Those of ``groups`` to ask about at unix time ``now``, ``MOST`` at most, the longest due first.

        ``groups`` are all that were read in this pass; of others what was due is forgotten.
        """
        waiting = sorted((at, group) for group, at in self._due.items() if group in groups and at <= now)
        # A clock that was set back puts nothing off for longer.
        self._due = {group: min(self._due.get(group, now), now + AGAIN) for group in groups}
        return [group for _, group in waiting[:MOST]]

    def learn(self, now: float, described: Mapping[str, Future[Any]]) -> None:
        """Take in the answers to what was ``due``; one that has not come by now is none."""
        for group, future in described.items():
            self._due[group] = now + EVERY
            try:
                found = outcome(future)
            except (KafkaException, TimeoutError, RuntimeError, ValueError) as error:
                self.failed(now, group, error)
                continue
            # One without members has none: the broker tells its own default, or nothing.
            if found.members and found.partition_assignor and self._names.get(group) != found.partition_assignor:
                self._names[group] = found.partition_assignor
                log.info("consumer group %s: its partitions are split by %r", group, found.partition_assignor)

    def failed(self, now: float, group: str, error: BaseException) -> None:
        """The group's assignor could not be asked for; said once."""
        self._due[group] = now + AGAIN
        if group not in self._complained:
            self._complained.add(group)
            why = error.args[0].name() if isinstance(error, KafkaException) else type(error).__name__
            log.warning(
                "consumer group %s: the broker does not tell how its partitions are split (%s); until it does, "
                "consumers are taken to hold even ranges of them",
                group,
                why,
            )

    def name(self, group: str) -> str | None:
        """As last told; None where it never was."""
        return self._names.get(group)
