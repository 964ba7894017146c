"""What was compiled from a package that has changed since; without numba, which takes long to import."""

from __future__ import annotations

import hashlib
from pathlib import Path


def forget_when_changed(folder: Path) -> None:
    """Remove a package's machine code, and that of folders in it, when one of their files is not what it was compiled
    from.

    To be called before its modules are imported, from the package's ``__init__``. numba's cache looks only at the file
    of the function itself, not at those it calls, so an edit in one file would leave callers in others as they were.
    Where the folder cannot be written (an installed package) nothing is kept in it, and nothing is done.
    """
    kept = folder / "__pycache__"
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(folder.rglob("*.py")))).hexdigest()
    stamp = kept / "compiled.sha256"
    try:
        if stamp.is_file() and stamp.read_text(encoding="ascii") == digest:
            return
        for code in (*folder.rglob("*.nbi"), *folder.rglob("*.nbc")):
            code.unlink(missing_ok=True)
        kept.mkdir(exist_ok=True)
        stamp.write_text(digest, encoding="ascii")
    except OSError:
        return
