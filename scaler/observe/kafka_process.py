"""Offsets of one Kafka cluster, read in a process of its own, so that librdkafka's end is not the controller's.

Reading committed offsets goes to each group's coordinator, and librdkafka (2.12 to 2.16, as far as tried) ends its
process with a segmentation fault when one that just moved or started answers "not coordinator" (librdkafka issue 5040),
as happens in any rolling restart. ``kafka_client.py`` makes that rare; here it costs one reading. A process that ended
is begun anew at once, one that does not answer is ended first.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from multiprocessing.connection import Connection
from typing import Any

from forecasting.series import Series
from scaler.clock import Clock, SystemClock
from scaler.errors import where
from scaler.observe.kafka_child import READY, Question, Setup
from scaler.observe.ports import GroupTopic
from scaler.plan.observation import Freshness, Reading, TopicOffsets
from scaler.plan.reasons import Reason

log = logging.getLogger(__name__)

HISTORY_TIMEOUT = 60.0  # s
SHARE = 0.85  # of the time limit, for the source itself; the rest is for question and answer to get there
PATIENCE = 3  # answers in a row that never come, and the process is ended ...
START_TIME = 30.0  # ... but not within this of its start, while it loads its libraries
PAUSE = 0.1  # s until a process that ended is begun anew ...
LONG_PAUSE = 2.0  # ... and of one that ended before it could answer anything
CLOSE_TIME = 1.0  # s to end in


class _Gone(Exception):
    """There is no process to answer."""


class KafkaProcess:
    """An OffsetSource whose KafkaOffsets runs in a process of its own; same arguments, same promises.

    The process starts with the object. Any thread may ask.
    """

    def __init__(
        self,
        config: Mapping[str, str | int],
        timeout: float,
        history_timeout: float = HISTORY_TIMEOUT,
        clock: Clock | None = None,
    ) -> None:
        self._setup = Setup(dict(config), SHARE * timeout, SHARE * history_timeout, log.getEffectiveLevel())
        self._servers = config.get("bootstrap.servers")
        self._timeout = timeout
        self._history_timeout = history_timeout
        self._clock = clock or SystemClock()
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._sending = threading.Lock()  # apart: a process that does not read holds up who sends, and nobody else
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._open: dict[int, Future[Any]] = {}
        self._unanswered = 0
        self._began = self._clock.now()
        self._ready = False
        self._closed = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="kafka process", daemon=True)
        self._begin()
        self._keeper.start()

    @property
    def pid(self) -> int | None:
        """Of the process that runs now."""
        with self._lock:
            return None if self._process is None else self._process.pid

    def sample(self, now: float, wanted: Sequence[GroupTopic]) -> Mapping[GroupTopic, Reading[TopicOffsets]]:
        """One reading for each wanted, within ``timeout``."""
        try:
            answer: Mapping[GroupTopic, Reading[TopicOffsets]] = self._ask(
                "sample", (now, tuple(wanted)), self._timeout
            )
        except _Gone as gone:
            return {one: self._failed(now, str(gone)) for one in wanted}
        return answer

    def history(self, topic: str, start: float, end: float, step: float) -> Reading[Series]:
        """Arrival rates of the whole steps inside [start, end). Raises ValueError when the arguments make no sense."""
        try:
            answer: Reading[Series] = self._ask("history", (topic, start, end, step), self._history_timeout)
        except _Gone as gone:
            return self._failed(self._clock.now(), str(gone))
        return answer

    def close(self) -> None:
        """End the process; a question under way is answered with an error."""
        self._closed.set()
        with self._lock:
            connection = self._connection
        if connection is not None:
            _end(connection)
        self._keeper.join(2 * CLOSE_TIME)

    def _ask(self, method: str, arguments: tuple[Any, ...], useful: float) -> Any:
        question = Question(next(self._numbers), method, arguments, self._clock.now(), useful)
        future: Future[Any] = Future()
        with self._lock:
            process, connection = self._process, self._connection
            if process is None or connection is None:
                raise _Gone("the process that asks it is being started again")
            self._open[question.number] = future
        try:
            self._send(process, connection, question)
        except OSError:
            with self._lock:
                self._open.pop(question.number, None)
            raise _Gone("the process that asks it has just ended") from None
        try:
            answer = future.result(useful)
        except TimeoutError:
            self._late(question.number)
            raise _Gone(f"the process that asks it {'gave no answer' if self._ready else 'still starts'}") from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _send(self, process: subprocess.Popen[bytes], connection: Connection, message: Setup | Question) -> None:
        """Raises OSError when it cannot be sent; a process that does not read is ended."""
        try:
            with self._sending:
                connection.send(message)
        except BlockingIOError:  # SO_SNDTIMEO; half of the message may have been sent, so that no other can follow
            process.kill()
            raise

    def _late(self, number: int) -> None:
        with self._lock:
            self._open.pop(number, None)
            self._unanswered += 1
            loading = not self._ready and 0.0 <= self._clock.now() - self._began < START_TIME
            if self._unanswered >= PATIENCE and not loading and self._process is not None:
                self._unanswered = 0
                self._process.kill()

    def _failed(self, now: float, why: str) -> Reading[Any]:
        detail = f"nothing is known of Kafka at {self._servers}: {why}; it is asked again at the next tick"
        return Reading(None, now, Freshness.ERROR, Reason.INPUT_ERROR, detail)

    def _begin(self) -> None:
        """Begin a process; where the machine has no room for one, the keeper tries again."""
        try:
            process, connection = _start(self._timeout)
        except OSError as error:
            log.error("cannot start the process that asks Kafka at %s (%s); trying again", self._servers, error)
            return
        with contextlib.suppress(OSError):  # it ended at once: the keeper sees it
            self._send(process, connection, self._setup)  # the first message: nobody else has the connection yet
        with self._lock:
            self._process, self._connection, self._ready = process, connection, False
            self._began, self._unanswered = self._clock.now(), 0

    def _keep(self) -> None:
        """Hand answers out; when the process ends, begin another."""
        while True:
            with self._lock:
                process, connection = self._process, self._connection
            pause = LONG_PAUSE
            if process is not None and connection is not None:  # else it could not be begun
                if self._closed.is_set():  # it was closed while this one was begun
                    _end(connection)
                self._listen(connection)
                code = self._ended(process, connection)
                if self._closed.is_set():
                    return
                log.warning(
                    "the process that asks Kafka at %s ended (%s); another one is started", self._servers, _why(code)
                )
                pause = PAUSE if self._ready else LONG_PAUSE
            if self._clock.wait(pause, self._closed):
                return
            self._begin()

    def _ended(self, process: subprocess.Popen[bytes], connection: Connection) -> int:
        """Put away what ended; its code."""
        with self._lock:
            self._connection = None
            lost, self._open = self._open, {}
        _end(connection)
        with self._sending:
            connection.close()
        for future in lost.values():
            future.set_result(_Gone("the process that asks it has ended; another one is started"))
        return _reap(process)

    def _listen(self, connection: Connection) -> None:
        while True:
            try:
                number, answer = connection.recv()
            except (EOFError, OSError):
                return
            except Exception as error:  # noqa: BLE001 - what cannot be read ends that process, not this thread
                log.error("an answer of the process that asks Kafka cannot be read: %s; it is ended", where(error))
                return
            with self._lock:
                future = self._open.pop(number, None)
                self._unanswered = 0
                self._ready = self._ready or number == READY
            if future is not None:
                future.set_result(answer)


def _start(timeout: float) -> tuple[subprocess.Popen[bytes], Connection]:
    """A process and our end of the socket to it, which waits ``timeout`` (s) to send. Raises OSError."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        seconds, rest = divmod(max(round(timeout * 1e6), 1), 1_000_000)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", seconds, rest))
        # It inherits the mask: Ctrl-C in the terminal is held back until it ignores that itself.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process = subprocess.Popen(  # noqa: S603 - our own module
                # -P: nothing is imported from the working directory, which is anybody's.
                [sys.executable, "-P", "-m", "scaler.observe.kafka_child", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return process, Connection(ours.detach())


def _end(connection: Connection) -> None:
    """End both directions; a thread that waits in ``recv`` is woken, which closing would not do."""
    with contextlib.suppress(OSError, ValueError), socket.socket(fileno=socket.dup(connection.fileno())) as both:
        both.shutdown(socket.SHUT_RDWR)  # an error: it has ended already


def _reap(process: subprocess.Popen[bytes]) -> int:
    """The code of a process that should have ended."""
    try:
        return process.wait(CLOSE_TIME)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _why(code: int) -> str:
    return f"code {code}" if code >= 0 else signal.Signals(-code).name
