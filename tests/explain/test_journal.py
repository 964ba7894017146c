"""The journal on a disk: what is noted, whole lines, bounded files, and no disk that stops the controller."""

from __future__ import annotations

import logging
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from scaler.explain.facts import Facts
from scaler.journal import Journal, JournalFile, Notable, line
from scaler.journal_read import BadJournal, files, newest, read
from scaler.plan.fallback import FallbackRule
from scaler.plan.reasons import Reason
from scaler.plan.schedule import Window
from tests.explain.made import NOW, SERVICE, decision, tick


def rows(path: Path, **scaler: str) -> tuple[list[Facts], list[str]]:
    """What can be read, and what is said of the rest."""
    broken: list[str] = []
    return list(read(path, broken.append, **scaler)), broken


def at(seconds: float, name: str = "chat") -> Facts:
    return tick(time=NOW + seconds, name=name)


def test_changes_are_noted_and_the_rest_once_a_minute() -> None:
    notable = Notable(60.0)
    same = [notable(decision(time=NOW + t), Reason.APPLIED) for t in (0, 15, 30, 45, 60, 75)]
    assert same == [True, False, False, False, True, False]
    assert notable(decision(time=NOW + 76, desired=12), Reason.APPLIED)
    assert notable(decision(time=NOW + 77, desired=12, reasons=(Reason.STEADY,)), Reason.APPLIED)
    assert notable(decision(time=NOW + 78, desired=12, reasons=(Reason.STEADY,)), Reason.CONFLICT)
    assert notable(decision(time=NOW + 78, uid="u2"), Reason.CONFLICT), "each scaler on its own"
    assert notable(decision(time=NOW - 500, uid="u2"), Reason.CONFLICT), "a clock that was set back silences nothing"


def test_rows_are_read_in_their_order_and_by_name(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    written = [at(0), at(1, "other"), at(2)]
    for row in written:
        journal.note(row)
    journal.close()
    assert rows(path) == (written, [])
    assert rows(path, namespace="prod", name="chat") == ([at(0), at(2)], [])
    assert rows(path, namespace="test", name="chat") == ([], [])
    assert newest(path) == NOW + 2
    assert path.stat().st_mode & 0o007 == 0, "not for everybody"


def test_files_are_bounded_and_read_oldest_first(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    size = 3 * len(line(at(0)))
    file = JournalFile(path, size=size, kept=2)
    for k in range(20):
        file.append([line(at(k))])
    file.close()
    assert [f.name for f in files(path)] == ["journal.jsonl.2", "journal.jsonl.1", "journal.jsonl"]
    assert all(f.stat().st_size <= size for f in tmp_path.iterdir())
    found, broken = rows(path)
    assert broken == []
    assert [row.decision.time - NOW for row in found] == list(range(12, 20)), "the newest eight of twenty"


def test_it_goes_on_where_it_was_and_a_line_that_was_cut_off_harms_no_other(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(line(at(0)) + line(at(1))[:-40])
    file = JournalFile(path)
    file.append([line(at(2))])
    file.close()
    found, broken = rows(path)
    assert found == [at(0), at(2)]
    assert len(broken) == 1
    assert broken[0].startswith(f"{path}:2: no JSON: ")


BROKEN = {
    b"not json\n": "no JSON: ",
    b'{"hello": 1}\n': "no row of a journal: the field v is not there",
    b"[1]\n": "no row of a journal",
    line(tick()).replace(b'{"v":1', b'{"v":9'): "v: found 9; allowed: 1",
    line(tick()).replace(b'"Forecast"', b'"Mood"'): "decision.reasons.0: ",
    line(tick()).replace(b'"current":7', b'"current":"x"'): "decision.current: ",
}


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_row_gives_file_and_line(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(line(at(0)) + text + b"\n" + line(at(1)))
    found, broken = rows(path)
    assert found == [at(0), at(1)]
    assert len(broken) == 1
    assert broken[0].startswith(f"{path}:2: {BROKEN[text]}")


def test_a_broken_row_is_told_of_also_when_another_scaler_is_looked_for(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(line(at(0)) + b'{"v":1,"namespace":"prod","na\n')
    assert rows(path, name="other") == ([], [f"{path}:2: {rows(path)[1][0].split(': ', 1)[1]}"])


def test_no_such_journal(tmp_path: Path) -> None:
    with pytest.raises(BadJournal, match="no such file; a journal is written by"):
        rows(tmp_path / "none")
    with pytest.raises(BadJournal, match="cannot be read"):
        rows(tmp_path)
    (tmp_path / "empty").touch()
    with pytest.raises(BadJournal, match="no row in it"):
        newest(tmp_path / "empty")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_stops_nobody_and_is_said_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scaler.journal.FLUSH", 0.005)
    journal = Journal(Path("/dev/full"))
    with caplog.at_level(logging.WARNING, "scaler.journal"):
        for k in range(5):
            journal.note(at(k))
            time.sleep(0.01)
        journal.close()
    assert journal.dropped == 5
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "the journal /dev/full cannot be written: No space left on device; rows are dropped until it can be"
    ]


def test_what_a_full_disk_took_of_a_line_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal.jsonl"
    file = JournalFile(path)
    file.append([line(at(0))])
    write, room = os.write, [25]

    def full(to: int, data: bytes) -> int:
        taken = write(to, data[: room[0]])
        if not taken:
            raise OSError(28, "No space left on device")
        room[0] -= taken
        return taken

    with monkeypatch.context() as patched:
        patched.setattr("scaler.journal.os.write", full)
        with pytest.raises(OSError, match="No space"):
            file.append([line(at(1))])
    file.append([line(at(2))])
    file.close()
    assert rows(path) == ([at(0), at(2)], [])


def test_a_disk_that_hangs_holds_up_neither_the_tick_nor_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scaler.journal.CLOSE_TIME", 0.2)
    monkeypatch.setattr("scaler.journal.WAITING", 50)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    journal = Journal(pipe)  # opened for reading and writing, so it takes 64 kB and then blocks
    begun = time.monotonic()
    for k in range(1000):
        journal.note(at(k))
    assert time.monotonic() - begun < 5.0
    assert journal.dropped > 0
    begun = time.monotonic()
    journal.close()
    assert time.monotonic() - begun < 2.0
    reader = os.open(pipe, os.O_RDONLY)  # let the thread end with its test
    drained = threading.Thread(target=_drain, args=(reader, journal))
    drained.start()
    drained.join(30.0)
    os.close(reader)


def _drain(reader: int, journal: Journal) -> None:
    while journal._thread.is_alive():
        os.set_blocking(reader, False)
        try:
            os.read(reader, 1 << 20)
        except BlockingIOError:
            time.sleep(0.005)


def test_a_service_with_a_schedule_and_a_fallback_comes_back_as_it_was(tmp_path: Path) -> None:
    window = Window("night", (0, 4), 81_000.0, 108_000.0, "Europe/Berlin", None, 3)
    service = replace(SERVICE, schedule=(window,), fallback=FallbackRule(120.0, 7), concurrency=4.0)
    path = tmp_path / "journal.jsonl"
    path.write_bytes(line(tick(service=service)))
    (row,), broken = rows(path)
    assert (row.service, broken) == (service, [])
