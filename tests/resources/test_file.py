"""A file is read again when its content is another."""

from __future__ import annotations

from pathlib import Path

from scaler.resources.file import digest


def test_a_digest_follows_the_content(tmp_path: Path) -> None:
    path = tmp_path / "x"
    assert digest(path) is None
    path.write_text("a")
    first = digest(path)
    path.write_text("b")
    assert None not in (first, digest(path))
    assert first != digest(path)
