"""What runs in the process that talks to Kafka: a KafkaOffsets that answers questions over a socket.

It ends when the socket does, so that it never outlives the controller, however that ends.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from scaler.clock import Clock, SystemClock
from scaler.observe.ports import OffsetSource

READY = -1  # number of the one message that answers nothing
WORN = 3  # exit code
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@dataclass(frozen=True, slots=True)
class Setup:
    """The first message: what the source is made of. It may hold secrets, and so is in no argument or environment."""

    config: Mapping[str, str | int]
    timeout: float  # s
    history_timeout: float  # s
    log_level: int


@dataclass(frozen=True, slots=True)
class Question:
    """A method's name and arguments; ``number`` comes back with the answer."""

    number: int
    method: str  # "sample" or "history"
    arguments: tuple[Any, ...]
    asked: float  # unix s
    useful: float  # s for which somebody waits


class Answering:
    """Answers questions in turn: samples and histories apart, so that a history never delays a sample."""

    def __init__(self, source: OffsetSource, connection: Connection, clock: Clock) -> None:
        self._source = source
        self._connection = connection
        self._clock = clock
        self._sending = threading.Lock()
        self._workers = {method: ThreadPoolExecutor(1, method) for method in ("sample", "history")}

    def take(self, question: Question) -> None:
        self._workers[question.method].submit(self._answer, question)

    def _answer(self, question: Question) -> None:
        late = self._clock.now() - question.asked
        if late > question.useful:
            return
        arguments = question.arguments
        if question.method == "sample":  # its time is the asker's; what passed on the way is added
            arguments = (arguments[0] + max(late, 0.0), *arguments[1:])
        answer: Any
        try:
            answer = getattr(self._source, question.method)(*arguments)
        except Exception as error:  # noqa: BLE001 - it is raised where it was asked
            answer = error
        with self._sending:
            self._connection.send((question.number, answer))


def _give_up() -> None:
    """End: another process is begun, which owes nothing and is owed nothing."""
    logging.getLogger(__name__).warning("too many requests that Kafka may never answer are left; a new process begins")
    os._exit(WORN)


def main() -> None:
    """Run with the number of an inherited socket as the only argument."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the terminal signals the whole group: the socket's end ends it
        signal.signal(number, signal.SIG_IGN)
    connection = Connection(int(sys.argv[1]))
    try:
        setup: Setup = connection.recv()
        logging.basicConfig(level=max(setup.log_level, logging.INFO), stream=sys.stderr, format=LOG_FORMAT)
        logging.getLogger("scaler").setLevel(setup.log_level)
        from scaler.observe.kafka import KafkaOffsets

        clock = SystemClock()
        source = KafkaOffsets(setup.config, setup.timeout, setup.history_timeout, clock, _give_up)
        answering = Answering(source, connection, clock)
        connection.send((READY, None))
        while True:
            answering.take(connection.recv())
    except (EOFError, OSError):
        pass
    os._exit(0)  # at once: a request that hangs holds nothing up


if __name__ == "__main__":
    main()
