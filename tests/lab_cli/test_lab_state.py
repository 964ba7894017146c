"""The state file: what others read the endpoints from."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from simulations.lab.errors import NotUp, StateUnreadable
from simulations.lab.state import FILE, LabState, ServerState, default_directory, load, locked

SERVER = ServerState(
    part="kafka",
    pid=4711,
    created=1_700_000_000.25,
    command=("java", "kafka.Kafka"),
    log=Path("logs/kafka.log"),
    grace=10,
)


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    saved = LabState(
        ports={"kafka": 15123},
        servers={"kafka": SERVER},
        endpoints={"kafka": {"bootstrap": "127.0.0.1:15123"}},
    )
    saved.save(tmp_path)
    assert load(tmp_path) == saved
    assert load(tmp_path).servers["kafka"].mark.created == 1_700_000_000.25


def test_it_is_json_that_others_can_read(tmp_path: Path) -> None:
    LabState(endpoints={"kafka": {"bootstrap": "127.0.0.1:15123"}}).save(tmp_path)
    assert json.loads((tmp_path / FILE).read_text())["endpoints"]["kafka"]["bootstrap"] == "127.0.0.1:15123"


def test_only_the_owner_reads_it_and_no_scratch_file_stays(tmp_path: Path) -> None:
    LabState().save(tmp_path)
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_no_lab(tmp_path: Path) -> None:
    with pytest.raises(NotUp, match=f"no lab in {tmp_path}: .*lagcast lab up"):
        load(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"servers": {"kafka": {"pid": "x"}}}', b'{"unknown": 1}', b"\xff\xfe"]
)
def test_a_damaged_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(StateUnreadable, match=f"{tmp_path / FILE} is not a state file"):
        load(tmp_path)


def test_a_file_of_another_version(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"version": 99}')
    with pytest.raises(StateUnreadable, match="version 99"):
        load(tmp_path)


def test_the_default_folder_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_directory() == tmp_path / "lagcast" / "lab"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for unusable in ("", "relative/folder"):  # the specification: ignore what is not absolute
        monkeypatch.setenv("XDG_STATE_HOME", unusable)
        assert default_directory() == tmp_path / "home" / ".local" / "state" / "lagcast" / "lab"


def test_a_lock_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    order: list[str] = []
    held, asked = threading.Event(), threading.Event()

    def second() -> None:
        held.wait(5)
        asked.set()
        with locked(tmp_path / "lock", lambda: order.append("waiting") if "waiting" not in order else None):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with locked(tmp_path / "lock"):
        held.set()
        asked.wait(5)
        thread.join(0.3)
        order.append("first")
    thread.join(5)
    assert order == ["waiting", "first", "second"]
