"""Processes are known again by more than their id, ended politely, and never mistaken for somebody else's."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from simulations.lab.process import Mark, end, end_all, find, run, spawn

WAIT = "import time; print('started', flush=True); time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {WAIT}"


@pytest.fixture
def marks() -> Iterator[list[Mark]]:
    started: list[Mark] = []
    yield started
    end_all(dict.fromkeys(started, 0.0))


def started(folder: Path, code: str, marks: list[Mark]) -> Mark:
    """A Python process that runs ``code`` and has said so."""
    log = folder / "log"
    mark = spawn([sys.executable, "-c", code], log=log, directory=folder)
    marks.append(mark)
    until = time.monotonic() + 10
    while b"started" not in log.read_bytes():
        assert time.monotonic() < until
        time.sleep(0.01)
    return mark


class TestSpawn:
    def test_it_runs_apart_with_its_output_in_the_log(self, tmp_path: Path, marks: list[Mark]) -> None:
        mark = started(tmp_path, WAIT, marks)
        assert find(mark) is not None
        assert os.getsid(mark.pid) == mark.pid, "a Ctrl-C in the terminal must not reach it"
        assert (tmp_path / "log").read_text() == "started\n"

    def test_more_environment_is_added(self, tmp_path: Path, marks: list[Mark]) -> None:
        code = "import os; print(os.environ['MORE'], len(os.environ) > 1, 'started')"
        marks.append(spawn([sys.executable, "-c", code], log=tmp_path / "log", directory=tmp_path, env={"MORE": "yes"}))
        until = time.monotonic() + 10
        while (tmp_path / "log").read_text() != "yes True started\n":
            assert time.monotonic() < until
            time.sleep(0.01)

    def test_a_program_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(OSError, match="no-such-program"):
            spawn(["/no-such-program"], log=tmp_path / "log", directory=tmp_path)


class TestFind:
    def test_one_that_has_ended_is_not_found(self, tmp_path: Path) -> None:
        mark = spawn([sys.executable, "-c", "print('started')"], log=tmp_path / "log", directory=tmp_path)
        until = time.monotonic() + 10
        while find(mark) is not None:
            assert time.monotonic() < until
            time.sleep(0.01)
        assert find(mark) is None, "it may have ended just then; whoever looks again reaps it"
        assert not psutil.pid_exists(mark.pid), "a zombie is left"

    def test_another_process_under_the_same_id_is_not_ours(self, tmp_path: Path, marks: list[Mark]) -> None:
        mark = started(tmp_path, WAIT, marks)
        assert find(dataclasses.replace(mark, created=mark.created - 3600)) is None
        assert find(dataclasses.replace(mark, command=("java", "kafka.Kafka"))) is None

    def test_a_foreign_process_is_never_ended(self, tmp_path: Path, marks: list[Mark]) -> None:
        mark = started(tmp_path, WAIT, marks)
        assert not end(dataclasses.replace(mark, created=mark.created - 3600))
        assert not end(dataclasses.replace(mark, command=("java", "kafka.Kafka")))
        assert find(mark) is not None

    def test_this_very_process_is_never_ended(self) -> None:
        assert not end(Mark(os.getpid(), 0.0, tuple(sys.argv)))


class TestEnd:
    def test_it_ends_and_leaves_no_zombie(self, tmp_path: Path, marks: list[Mark]) -> None:
        mark = started(tmp_path, WAIT, marks)
        assert end(mark)
        assert find(mark) is None
        assert not psutil.pid_exists(mark.pid)
        assert not end(mark), "there is nothing left to end"

    def test_one_that_does_not_listen_is_killed_after_its_grace(self, tmp_path: Path, marks: list[Mark]) -> None:
        mark = started(tmp_path, STUBBORN, marks)
        begin = time.monotonic()
        assert end(mark, grace=0.5)
        assert 0.4 < time.monotonic() - begin < 5
        assert find(mark) is None

    def test_many_end_together(self, tmp_path: Path, marks: list[Mark]) -> None:
        for name in "abc":
            (tmp_path / name).mkdir()
            started(tmp_path / name, STUBBORN, marks)
        begin = time.monotonic()
        assert end_all(dict.fromkeys(marks, 1.0)) == 3
        assert time.monotonic() - begin < 2.5
        assert [find(mark) for mark in marks] == [None] * 3

    def test_a_stopped_process_is_ended_too(self, tmp_path: Path, marks: list[Mark]) -> None:
        mark = started(tmp_path, WAIT, marks)
        os.kill(mark.pid, signal.SIGSTOP)
        assert end(mark, grace=0.3)
        assert find(mark) is None

    def test_one_whose_parent_is_gone_is_ended(self, tmp_path: Path) -> None:
        """As `lagcast lab down` does: the `up` that started the server has long ended."""
        code = (
            "import sys, pathlib; from simulations.lab.process import spawn; "
            f"m = spawn([sys.executable, '-c', {WAIT!r}], log=pathlib.Path('log'), directory=pathlib.Path.cwd()); "
            "print(m.pid, repr(m.created)); import os, time; sys.stdout.flush()\n"
            "while not pathlib.Path('log').read_text(): time.sleep(0.02)\n"  # its command line is there only then
            "os._exit(0)"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
        pid, created = done.stdout.split()
        mark = Mark(int(pid), float(created), (sys.executable, "-c", WAIT))
        assert end(mark)
        assert find(mark) is None


class TestRun:
    def test_output_and_code(self, tmp_path: Path) -> None:
        code = "import sys; print(input()); print('to stderr', file=sys.stderr, flush=True); sys.exit(3)"
        done = run([sys.executable, "-c", code], directory=tmp_path, stdin="hello\n")
        assert done.code == 3
        assert sorted(done.output.split("\n")) == ["", "hello", "to stderr"]

    def test_input_is_given_once_also_to_a_slow_reader(self, tmp_path: Path) -> None:
        code = "import sys, time; time.sleep(0.5); print(len(sys.stdin.read()))"
        done = run([sys.executable, "-c", code], directory=tmp_path, stdin="x" * 300_000)
        assert done.output == "300000\n"

    def test_too_slow_ends_it_and_its_children(self, tmp_path: Path) -> None:
        child = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {WAIT!r}, sys.argv[1]]); {WAIT}"
        with pytest.raises(TimeoutError, match="not done after"):
            run([sys.executable, "-c", child, str(tmp_path)], directory=tmp_path, timeout=1.0)
        until = time.monotonic() + 5
        while any(str(tmp_path) in line for line in _lines()):
            assert time.monotonic() < until
            time.sleep(0.05)

    def test_a_program_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            run(["/no-such-program"], directory=tmp_path)


def _lines() -> Iterator[str]:
    for process in psutil.process_iter():
        try:
            yield " ".join(process.cmdline())
        except psutil.Error:
            continue
