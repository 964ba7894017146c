"""Load from a log of requests: one row a request, with the time at which it arrived.

CSV with a header, or JSON lines; plain or gzip. Times are unix seconds, milliseconds, microseconds or nanoseconds, the
same in all rows, or ISO 8601, where a time without a zone is UTC. Rows need not be in order, and equal times are two
requests. A row that cannot be read is refused, never left out.

A second without a row had no request: the log holds them all. Where it may not (it was rotated away, or the service
was down), ``silence`` says from which distance of two rows on nothing is known.
"""

from __future__ import annotations

import csv
import json
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from forecasting.errors import BadSeries
from forecasting.series import Series
from simulations.load_text import check_separator, filled, first_mark, open_text
from simulations.traces import MOST_STEPS

log = logging.getLogger(__name__)

# Names under which a time is looked for, without regard to case.
TIME_NAMES = ("timestamp", "time", "ts", "@timestamp", "datetime", "arrival_time", "request_time", "start_time")
_UNITS = ((1e11, 1.0, "seconds"), (1e14, 1e3, "milliseconds"), (1e17, 1e6, "microseconds"), (math.inf, 1e9, "ns"))
_LONG_SILENCE = 3600.0  # s; worth a word


def read_request_log(path: Path, column: str | None = None, step: float = 1.0, silence: float | None = None) -> Series:
    """Arrivals as rates (requests/s) in steps of ``step`` s, from the first row's step to the last one's.

    ``column``: the time's; None looks for one of TIME_NAMES. ``silence`` (s): between rows that are farther apart
    nothing is known (NaN); None: no rows are no requests. Raises BadSeries naming file and line.
    """
    if not (math.isfinite(step) and step > 0):
        raise BadSeries(f"step: found {step:g} s; allowed: more than 0 s")
    if silence is not None and not silence >= step:
        raise BadSeries(f"silence: found {silence:g} s; allowed: at least the step, {step:g} s")
    rows = _json_rows if first_mark(path) == "{" else _csv_rows
    with open_text(path) as text:
        times, lines = _times(rows(text, path, column), path)
    return _counted(times, lines, step, silence, path)


Row = tuple[int, Any]  # line, and what stands in the time's column


def _csv_rows(text: TextIO, path: Path, column: str | None) -> Iterator[Row]:
    reader = csv.reader(text, strict=True)
    try:
        header = next(reader, None)
        if header is None:
            raise BadSeries(f"{path}:1: empty: wanted is a header, and one row a request")
        if column not in header:
            check_separator(header, path)
        place = _column(header, column, f"{path}:1")
        for line, row in filled(((reader.line_num, row) for row in reader), path):
            if len(row) != len(header):
                raise BadSeries(f"{path}:{line}: {len(row)} fields; the header has {len(header)}")
            yield line, row[place]
    except csv.Error as broken:
        raise BadSeries(f"{path}:{reader.line_num}: not CSV: {broken}") from None


def _json_rows(text: TextIO, path: Path, column: str | None) -> Iterator[Row]:
    for number, line in filled(enumerate(text, 1), path):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as broken:
            raise BadSeries(f"{path}:{number}: not JSON: {broken.msg}; wanted is one object a line") from None
        if not isinstance(row, dict):
            raise BadSeries(f"{path}:{number}: found {line.strip()[:60]!r}; wanted is one object a line")
        if column is None:
            column = list(row)[_column(list(row), None, f"{path}:{number}")]
        if column not in row:
            raise BadSeries(f"{path}:{number}: there is no {column!r}; there: {', '.join(row)[:200]}")
        yield number, row[column]


def _column(names: Sequence[str], wanted: str | None, where: str) -> int:
    """Which column holds the time."""
    if wanted is not None:
        if wanted not in names:
            raise BadSeries(f"{where}: there is no column {wanted!r}; there: {', '.join(names)[:200]}")
        return names.index(wanted)
    found = [k for k, name in enumerate(names) if name.strip().lower() in TIME_NAMES]
    if len(found) != 1:
        what = "several columns that may be" if found else "no column that is"
        raise BadSeries(f"{where}: {what} the time of a request; say which: {', '.join(names)[:200]}")
    return found[0]


@dataclass(frozen=True, slots=True)
class _Spelling:
    """How the first row spells its time; the others must, too."""

    name: str
    read: Callable[[Any], float]  # unix s; raises ValueError


def _times(rows: Iterator[Row], path: Path) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Unix seconds of each row, and its line."""
    times: list[float] = []
    lines: list[int] = []
    spelling: _Spelling | None = None
    for line, value in rows:
        try:
            if spelling is None:
                spelling = _spelling(value)
            times.append(spelling.read(value))
        except (ValueError, TypeError, OverflowError) as wrong:
            like = f"{spelling.name}, as in line {lines[0]}" if spelling and lines else "unix time or ISO 8601"
            raise BadSeries(f"{path}:{line}: time is {value!r}; wanted is {like}{_why(wrong)}") from None
        lines.append(line)
    if not times:
        raise BadSeries(f"{path}: empty: there is no request in it")
    return np.array(times), np.array(lines, dtype=np.int64)


class _Mixed(ValueError):
    """A time in another unit or zone than the first."""


def _why(wrong: Exception) -> str:
    return f" ({wrong})" if isinstance(wrong, _Mixed) else ""


def _spelling(value: Any) -> _Spelling:
    if _is_number(value):
        first = abs(float(value))
        if not math.isfinite(first):
            raise ValueError("not finite")
        _, divisor, name = next(unit for unit in _UNITS if first < unit[0])
        return _Spelling(f"unix {name}", lambda v: _unix(v, divisor, name))
    zoned = _iso(value).tzinfo is not None
    return _Spelling(f"ISO 8601 {'with' if zoned else 'without'} a zone", lambda v: _iso_seconds(v, zoned))


def _is_number(value: Any) -> bool:
    if isinstance(value, bool):
        raise ValueError("a truth value")
    if isinstance(value, int | float):
        return True
    try:
        float(value)
    except ValueError:
        return False
    return True


def _unix(value: Any, divisor: float, name: str) -> float:
    if isinstance(value, bool):
        raise TypeError("a truth value")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("not finite")
    seen = next(unit[2] for unit in _UNITS if abs(number) < unit[0])
    # Times that count from a log's own begin are small in any unit.
    if seen != name and number != 0:
        raise _Mixed(f"this looks like {seen}")
    return number / divisor


def _iso(value: Any) -> datetime:
    return datetime.fromisoformat(value.strip() if isinstance(value, str) else value)


def _iso_seconds(value: Any, zoned: bool) -> float:
    time = _iso(value)
    if (time.tzinfo is not None) != zoned:
        raise _Mixed("some times have a zone, some have none")
    return (time if zoned else time.replace(tzinfo=UTC)).timestamp()


def _counted(
    times: NDArray[np.float64], lines: NDArray[np.int64], step: float, silence: float | None, path: Path
) -> Series:
    places = np.floor(times / step)
    first, last = float(places.min()), float(places.max())
    if last - first >= MOST_STEPS:
        far = int(np.argmax(np.abs(times - np.median(times))))
        raise BadSeries(
            f"{path}:{lines[far]}: this time is {abs(times[far] - np.median(times)) / 86_400:.0f} days from the middle "
            f"one; a log in steps of {step:g} s has < {MOST_STEPS} steps"
        )
    counts = np.bincount((places - first).astype(np.int64)).astype(np.float64)
    ordered = np.sort(times)
    between = np.diff(ordered)
    if silence is not None:
        for k in np.flatnonzero(between > silence):
            # The whole steps between the two rows.
            begin, end = (int(np.floor(ordered[j] / step) - first) for j in (k, k + 1))
            counts[begin + 1 : end] = np.nan
    elif len(between) and between.max() >= _LONG_SILENCE:
        at = datetime.fromtimestamp(float(ordered[int(np.argmax(between))]), UTC)
        log.warning(
            "%s: no request for %.1f h from %s on; it is taken as no load, unless a silence is said to be a gap",
            path,
            between.max() / 3600,
            at.isoformat(timespec="seconds"),
        )
    return Series(first * step, step, counts / step)
