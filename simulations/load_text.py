"""Opening a file of load: packed or not, and what it is when it is not what its name says."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from forecasting.errors import BadSeries

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
