"""Files are written whole or not at all, and one that cannot be written is told beforehand; what a version is of."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from simulations import version
from simulations.whole_file import make_ready, whole, write_whole


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_whole(path, "old")

    def interrupted() -> None:
        with whole(path) as new:
            new.write_text("half")
            assert new.suffix == path.suffix
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_and_a_pipe_stay_what_they_are(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    link.symlink_to(target)
    write_whole(link, "text")
    assert link.is_symlink()
    assert target.read_text() == "text"
    write_whole(Path(os.devnull), "text")
    assert not Path(os.devnull).is_file()


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    make_ready(tmp_path / "new" / "a.html")
    assert (tmp_path / "new").is_dir()
    for path in (tmp_path, tmp_path / "file" / "a.html"):
        with pytest.raises(OSError, match=str(path.parent)):
            make_ready(path)


def test_a_version_is_of_what_results_depend_on(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {path.relative_to(version.ROOT).as_posix() for path in version._files(version.ROOT)}
    assert {"scaler/api/predictive_scaler.py", "scaler/predictive.py", "simulations/traces.py"} <= files
    assert "simulations/commands/shell.py" not in files
    plain, tuned = version.version(), version.tune_version()
    assert plain != tuned
    monkeypatch.setattr(version, "installed", lambda name: "9.9")
    assert version.version.__wrapped__().split("+")[1] != plain.split("+")[1]
    for name in (*version.LIBRARIES, *version.TUNE_LIBRARIES):
        monkeypatch.setattr(version, "installed", lambda asked, name=name: "9.9" if asked == name else "1.0")
        changed = version.tune_version.__wrapped__()
        monkeypatch.setattr(version, "installed", lambda asked: "1.0")
        assert changed != version.tune_version.__wrapped__()
