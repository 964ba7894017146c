"""Reads a journal back, oldest row first, over the files that were put aside."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from scaler.errors import LagcastError
from scaler.explain.facts import Facts
from scaler.journal import FORMAT, numbered, rows

Broken = Callable[[str], None]
"""Told of each row that cannot be read: ``file:line: what is wrong``."""


class BadJournal(LagcastError):
    """A journal that cannot be used; names the file, and what the user can do."""


def read(path: Path, broken: Broken, *, namespace: str | None = None, name: str | None = None) -> Iterator[Facts]:
    """Every row, or those of one scaler. A row that cannot be read is told to ``broken`` and left out.

    Raises BadJournal when there is no such file, or it cannot be read.
    """
    found = files(path)
    if not found:
        raise BadJournal(f"{path}: no such file; a journal is written by `lagcast run --journal FILE`")
    wanted = None if name is None else json.dumps(name).encode()
    with ExitStack() as stack:
        # All are opened first: one that is put aside meanwhile is still read, and once.
        opened = [(file, stack.enter_context(_opened(file))) for file in found]
        for file, lines in opened:
            for number, text in enumerate(lines, start=1):
                # A name stands in its lines as it is, so that most others need not be parsed.
                if not text.strip() or (wanted is not None and wanted not in text and _whole(text)):
                    continue
                try:
                    facts = parse(text)
                except ValueError as error:
                    broken(f"{file}:{number}: {error}")
                    continue
                if name in (None, facts.name) and namespace in (None, facts.namespace):
                    yield facts


def newest(path: Path) -> float:
    """Unix s of the newest row. Raises BadJournal when there is none."""
    times = (row.decision.time for row in read(path, lambda wrong: None))
    last = max(times, default=None)
    if last is None:
        raise BadJournal(f"{path}: no row in it")
    return last


def _opened(file: Path) -> BinaryIO:
    try:
        return file.open("rb")
    except OSError as error:
        raise BadJournal(f"{file}: cannot be read: {error.strerror or error}") from error


def files(path: Path) -> list[Path]:
    """The files of a journal, oldest first."""
    found = [path] if path.exists() else []
    number = 1
    while (older := numbered(path, number)).exists():
        found.append(older)
        number += 1
    return found[::-1]


def parse(text: bytes) -> Facts:
    """One row. Raises ValueError with what is wrong in it."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ValueError(f"no JSON: {error}; the row was cut off, or the file is no journal") from None
    if not isinstance(document, dict) or "v" not in document:
        raise ValueError("no row of a journal: the field v is not there")
    if document["v"] != FORMAT:
        raise ValueError(f"v: found {document['v']!r}; allowed: {FORMAT}: it is of another version of lagcast")
    try:
        return rows().validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{place}: {first['msg']}") from None


def _whole(text: bytes) -> bool:
    return text.startswith(b'{"v":') and text.endswith(b"}\n")
