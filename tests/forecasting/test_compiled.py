"""Machine code of a package is forgotten when one of its files changes, and is not kept where it cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
from numba.core import caching

from forecasting.compiled import compiled
from forecasting.compiled_before import forget_when_changed


@pytest.mark.parametrize("folder", ["", "inner"])
def test_code_is_kept_while_nothing_changes_and_goes_when_any_file_does(folder: str, tmp_path: Path) -> None:
    (tmp_path / "caller.py").write_text("x = 1\n")
    called = tmp_path / folder / "called.py"
    called.parent.mkdir(exist_ok=True)
    called.write_text("y = 1\n")
    forget_when_changed(tmp_path)
    codes = [place / "__pycache__" / "f-1.py311.nbi" for place in (tmp_path, called.parent)]
    for code in codes:
        code.parent.mkdir(exist_ok=True)
        code.write_bytes(b"code")
    forget_when_changed(tmp_path)
    assert all(code.exists() for code in codes)
    called.write_text("y = 2\n")
    forget_when_changed(tmp_path)
    assert not any(code.exists() for code in codes)


def test_a_folder_that_is_not_there_or_cannot_be_written_is_left(tmp_path: Path) -> None:
    forget_when_changed(tmp_path / "missing")


def test_where_nothing_can_be_kept_it_is_compiled_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching.CompileResultCacheImpl, "_locator_classes", [])  # what a read-only root comes to

    def twice(x: float) -> float:
        return 2.0 * x

    assert compiled(twice)(3.0) == 6.0
