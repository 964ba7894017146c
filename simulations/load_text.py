"""Opening a file of load: packed or not, and what it is when it is not what its name says."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO, TypeVar

from forecasting.errors import BadSeries

Row = TypeVar("Row", bound=Sequence[str])  # a line, or the fields of one

_GZIP = b"\x1f\x8b"
_OTHER = {
    b"PK\x03\x04": "a zip archive (or a spreadsheet)",
    b"PAR1": "Parquet",
    b"\x89PNG": "a picture (PNG)",
    b"SQLite format 3": "an SQLite database",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}
_LONGEST = 15  # bytes of the beginnings above
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """The file's text, unpacked when its name ends in .gz; a byte order mark is left out.

    Raises BadSeries when it cannot be read, is not text, or is packed otherwise than its name says.
    """
    try:
        with path.open("rb") as raw:
            begin = raw.read(_LONGEST)
    except OSError as error:
        raise BadSeries(f"{path}: cannot be read: {error}") from error
    packed, named = begin.startswith(_GZIP), path.suffix == ".gz"
    if packed and not named:
        raise BadSeries(
            f"{path}:1: the file is gzip, which its name does not say; call it {path.name}.gz, or unpack it"
        )
    if named and not packed:
        raise BadSeries(f"{path}:1: the name says gzip, and the file is not; call it {path.stem}")
    for start, what in _OTHER.items():
        if begin.startswith(start):
            raise BadSeries(f"{path}:1: the file is {what}; wanted is text in UTF-8, plain or gzip")
    try:
        with path.open("rb") as raw:
            unpacked = gzip.GzipFile(fileobj=raw) if packed else raw
            with io.TextIOWrapper(unpacked, encoding="utf-8-sig", newline="") as text:
                yield text
    except (OSError, EOFError, UnicodeDecodeError, gzip.BadGzipFile) as error:
        raise BadSeries(f"{path}: cannot be read: {error}") from error


def first_mark(path: Path) -> str:
    """The first character that is not white, or an empty text."""
    with open_text(path) as text:
        while character := text.read(1):
            if not character.isspace():
                return character
    return ""


def filled(rows: Iterable[tuple[int, Row]], path: Path) -> Iterator[tuple[int, Row]]:
    """Numbered lines of text, or rows of CSV, without the empty ones at the end. Raises BadSeries for one between."""
    empty = 0
    for line, row in rows:
        if not "".join(row).strip() and (isinstance(row, str) or len(row) < 2):
            empty = empty or line
            continue
        if empty:
            raise BadSeries(f"{path}:{empty}: 0 fields, an empty line; allowed: at the end only")
        yield line, row


def check_separator(header: Sequence[str], path: Path) -> None:
    """Raise BadSeries for a header that is one field only because it is not separated by commas."""
    found = [name for mark, name in _SEPARATORS.items() if len(header) == 1 and mark in header[0]]
    if found:
        raise BadSeries(f"{path}:1: found {header[0][:60]!r}, separated by {found[0]}; fields are separated by commas")
