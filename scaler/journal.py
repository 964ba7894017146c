"""The journal: one JSON line for each noted tick of a scaler, from which `lagcast explain` and `report` are made.

A row is noted when a decision's count, reasons or outcome changed, and otherwise once a minute. Files are bounded:
FILE is followed by FILE.1, FILE.2 ... (older), and the oldest goes away. Nothing here stops the controller: what cannot
be written is dropped, counted and said once.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from scaler.errors import where
from scaler.explain.facts import Facts
from scaler.plan.decision import ServiceDecision
from scaler.plan.reasons import Reason

log = logging.getLogger(__name__)

FORMAT = 1  # of a row: the field ``v``. Fields may be added; one that goes away or changes its meaning raises it
QUIET = 60.0  # s between rows of a scaler whose decision does not change
SIZE = 64 << 20  # bytes of one file: about 40,000 rows
KEPT = 3  # older files beside it
WAITING = 10_000  # rows that may wait for a slow disk
FLUSH = 0.5  # s, at most, that a row waits for its write: so much a kill can take
CLOSE_TIME = 2.0  # s that close() waits for the disk
_SCALERS = 20_000  # whose last row is remembered; with more, all are noted once more


@cache
def rows() -> TypeAdapter[Facts]:
    """Reads and writes rows; built at the first use, which takes some milliseconds."""
    return TypeAdapter(Facts)


def line(facts: Facts) -> bytes:
    """One row of the journal, with its line's end. Numbers are kept exactly."""
    return b'{"v":%d,' % FORMAT + rows().dump_json(facts)[1:] + b"\n"


class Notable:
    """Says which ticks are noted: those that changed something, and one a minute."""

    def __init__(self, quiet: float = QUIET) -> None:
        self._quiet = quiet
        self._last: dict[str, tuple[float, tuple[Any, ...]]] = {}

    def __call__(self, decision: ServiceDecision, outcome: Reason | None) -> bool:
        """Take in a tick; whether it is to be noted."""
        said = (decision.current, decision.desired, decision.reasons, outcome)
        last = self._last.get(decision.uid)
        # A clock that was set back is no reason to be silent until it has caught up.
        if last is not None and last[1] == said and 0 <= decision.time - last[0] < self._quiet:
            return False
        if len(self._last) >= _SCALERS:
            self._last.clear()
        self._last[decision.uid] = (decision.time, said)
        return True


class JournalFile:
    """Appends whole lines to a file, which is put aside when it is full (``size`` None: never). Not thread-safe."""

    def __init__(self, path: Path, size: int | None = SIZE, kept: int = KEPT) -> None:
        """Opens the file, and ends a line that a killed process left half-written. Raises OSError."""
        self._path, self._size, self._kept = path, size, kept
        self._cut_off = False  # the file ends within a line
        self._file = self._open()

    def append(self, lines: Sequence[bytes]) -> None:
        """Write lines. Raises OSError; then none of them is in the file, as far as the disk allows."""
        data = b"".join((b"\n", *lines) if self._cut_off else lines)
        if self._size is not None and self._end > 0 and self._end + len(data) > self._size:
            self._put_aside()
        try:
            written = 0
            while written < len(data):
                written += os.write(self._file, data[written:])
        except OSError:
            self._take_back()
            raise
        self._end += len(data)
        self._cut_off = False

    def close(self) -> None:
        os.close(self._file)

    def _take_back(self) -> None:
        """Remove what a failed write has left."""
        try:
            os.ftruncate(self._file, self._end)
        except OSError:
            self._cut_off = True
        else:
            self._cut_off = False

    def _open(self) -> int:
        # Whoever may read the controller's logs may read this; nobody else.
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            self._end = os.fstat(file).st_size
            if self._end and os.pread(file, 1, self._end - 1) != b"\n":
                self._end += os.write(file, b"\n")
        except OSError:
            os.close(file)
            raise
        return file

    def _put_aside(self) -> None:
        if self._path.exists():  # else it was put aside before, and no other could be opened
            for number in range(self._kept - 1, 0, -1):
                older = numbered(self._path, number)
                if older.exists():
                    older.replace(numbered(self._path, number + 1))
            if self._kept > 0:
                self._path.replace(numbered(self._path, 1))
            else:
                self._path.unlink()
        before = self._file
        self._file = self._open()
        os.close(before)


def numbered(path: Path, number: int) -> Path:
    """The name of the file that was put aside ``number`` files ago."""
    return path.with_name(f"{path.name}.{number}")


class Journal:
    """Writes rows on a thread of its own, so that a slow, full or broken disk holds up nobody."""

    def __init__(self, path: Path, size: int = SIZE, kept: int = KEPT) -> None:
        """Raises OSError when the file cannot be opened."""
        self._file = JournalFile(path, size, kept)
        rows()  # not in a tick
        self._path = path
        self._rows: deque[Facts] = deque()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._failing = False
        self.dropped = 0  # rows that could not be written
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def note(self, facts: Facts) -> None:
        """Hand a row over; never blocks. When too many wait, the oldest is dropped.

        Wakes nobody: the thread comes by itself, because to wake it costs more than a row.
        """
        with self._lock:
            if len(self._rows) >= WAITING:
                self._rows.popleft()
                self.dropped += 1
            self._rows.append(facts)

    def close(self) -> None:
        """Write what waits, for at most ``CLOSE_TIME``; a disk that hangs is left to the process's end."""
        self._closed.set()
        self._thread.join(CLOSE_TIME)

    def _run(self) -> None:
        while not self._closed.wait(FLUSH):
            self._write(self._take())
        self._write(self._take())
        self._file.close()

    def _take(self) -> list[Facts]:
        with self._lock:
            taken = list(self._rows)
            self._rows.clear()
        return taken

    def _write(self, taken: Sequence[Facts]) -> None:
        if not taken:
            return
        try:
            self._file.append([line(facts) for facts in taken])
        except Exception as error:  # noqa: BLE001 - whatever it is, the controller goes on
            self.dropped += len(taken)
            if not self._failing:
                why = error.strerror or str(error) if isinstance(error, OSError) else where(error)
                log.error("the journal %s cannot be written: %s; rows are dropped until it can be", self._path, why)
            self._failing = True
            return
        if self._failing:
            log.warning("the journal %s is written again; %d rows were dropped", self._path, self.dropped)
        self._failing = False
