"""What the workers finished, one row for each request, in a file that can be read while it grows."""

from __future__ import annotations

import csv
import math
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forecasting.errors import BadSeries

HEADER = ["pod", "partition", "offset", "arrival", "begun", "finished"]


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """Requests that left a worker, in the order in which they left. Arrays of shape [n]; times in unix s.

    A request that was served twice (its commit was lost) is there twice.
    """

    pod: NDArray[np.str_]
    partition: NDArray[np.int64]
    offset: NDArray[np.int64]
    arrival: NDArray[np.float64]  # the message's own timestamp
    begun: NDArray[np.float64]
    finished: NDArray[np.float64]


class ResultsFile:
    """Appends rows; safe to use from many threads. Rows reach the disk at every ``flush`` and at ``close``."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        fresh = not path.exists() or path.stat().st_size == 0
        self._file = path.open("a", encoding="utf-8", newline="", buffering=1 << 16)
        self._writer = csv.writer(self._file, lineterminator="\n")
        if fresh:
            self._writer.writerow(HEADER)
            self._file.flush()

    def add(self, pod: str, partition: int, offset: int, arrival: float, begun: float, finished: float) -> None:
        with self._lock:
            self._writer.writerow((pod, partition, offset, f"{arrival:.3f}", f"{begun:.4f}", f"{finished:.4f}"))

    def flush(self) -> None:
        with self._lock:
            if not self._file.closed:
                self._file.flush()

    def close(self) -> None:
        with self._lock:
            self._file.close()


def read_results(path: Path) -> Finished:
    """Read a results file, also one that is still being written: an unfinished last line is left for the next reading.

    Raises BadSeries naming file and line.
    """
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    rows = list(csv.reader(whole.splitlines()))
    if not rows or rows[0] != HEADER:
        raise BadSeries(f"{path}:1: not a results file: its first line must be {','.join(HEADER)}")
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(HEADER):
            raise BadSeries(f"{path}:{number}: {len(row)} fields; a row is {','.join(HEADER)}")
    columns = list(zip(*rows[1:], strict=True)) or [()] * len(HEADER)
    try:
        partition, offset = (np.array(column, dtype=np.int64) for column in columns[1:3])
        arrival, begun, finished = (np.array(column, dtype=np.float64) for column in columns[3:6])
    except ValueError as broken:
        raise BadSeries(f"{path}: a field is not a number: {broken}") from broken
    if not all(math.isfinite(np.sum(column)) for column in (arrival, begun, finished)):
        raise BadSeries(f"{path}: a time is not finite")
    return Finished(np.array(columns[0], dtype=np.str_), partition, offset, arrival, begun, finished)
