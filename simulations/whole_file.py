"""Files that are written whole: under another name first, then renamed, so that a kill leaves the old or the new."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """The name to write to, of the same ending; it becomes ``path`` in the end, or is removed after an error.

    What ``path`` links to is replaced, not the link. A device or a pipe is written to as it is.
    """
    target = path.resolve()
    if target.exists() and not target.is_file():
        yield path
        return
    new = target.with_name(f".{os.getpid()}.{target.name}")
    try:
        yield new
        new.replace(target)
    finally:
        new.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Write text in UTF-8. Raises OSError."""
    with whole(path) as new:
        new.write_text(text, encoding="utf-8", newline="\n")


def make_ready(*paths: Path) -> None:
    """Make the folders of files to be written, and raise the OSError now that would come after hours of work."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not os.access(path.resolve().parent, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
