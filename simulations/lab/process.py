"""Starting programs, knowing them again later, and ending them: never anybody else's."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from simulations.lab import interrupts

GRACE = 10.0  # s a server has to end by itself before it is killed

# Servers started by this very process: their Popen objects must live as long as they do.
_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True, slots=True)
class Mark:
    """What tells one process from every other, also after its id was given to somebody else."""

    pid: int
    created: float  # unix seconds, as the system notes it
    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that ran to its end."""

    code: int
    output: str  # stdout and stderr together


def spawn(command: Sequence[str], *, log: Path, directory: Path, env: Mapping[str, str] | None = None) -> Mark:
    """Start ``command`` in a session of its own, its output appended to ``log``.

    Raises OSError when the program cannot be started.
    """
    _reap()
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env={**os.environ, **(env or {})},
            start_new_session=True,  # a Ctrl-C in the terminal is the lab's to answer, in order
        )
    _children[child.pid] = child
    try:
        created = psutil.Process(child.pid).create_time()
    except psutil.NoSuchProcess:
        created = time.time()  # it has ended already; nobody will be taken for it
    return Mark(child.pid, created, tuple(command))


def find(mark: Mark) -> psutil.Process | None:
    """The running process that ``mark`` was made of; None when it has ended or its id is now another's."""
    _reap()
    try:
        process = psutil.Process(mark.pid)
        same = abs(process.create_time() - mark.created) < 1.0 and process.status() != psutil.STATUS_ZOMBIE
        command = tuple(process.cmdline())
        # The command line too: the clock may have been set, and two starts may share a second. Of our own child it can
        # still be empty right after the start.
        same = same and (command == mark.command or (not command and mark.pid in _children))
        return process if same else None
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None


def end(mark: Mark, grace: float = GRACE) -> bool:
    """End the marked process: ask, wait ``grace`` seconds, kill. False when there was nothing to end."""
    return end_all({mark: grace}) > 0


def end_all(graces: Mapping[Mark, float]) -> int:
    """End the marked processes together, each with its own grace in seconds; how many of them were running."""
    processes = [(process, grace) for mark, grace in graces.items() if (process := find(mark)) is not None]
    for process, _ in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    begin = time.monotonic()
    for process, grace in sorted(processes, key=lambda each: each[1]):
        left = max(begin + grace - time.monotonic(), 0.0)
        if psutil.wait_procs([process], timeout=left)[1]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
            psutil.wait_procs([process], timeout=GRACE)
    _reap()
    return len(processes)


def run(
    command: Sequence[str],
    *,
    directory: Path,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    timeout: float = 60.0,
) -> Finished:
    """Run ``command`` to its end; it and its children are ended on Ctrl-C and after ``timeout`` seconds.

    Raises OSError when it cannot be started, TimeoutError, KeyboardInterrupt.
    """
    with contextlib.ExitStack() as stack:
        source: IO[str] | int = subprocess.DEVNULL
        if stdin is not None:  # a file: communicate() in short turns gives up on what was not read in the first
            source = stack.enter_context(tempfile.TemporaryFile("w+"))
            source.write(stdin)
            source.seek(0)
        child = stack.enter_context(
            subprocess.Popen(
                command,
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=directory,
                env={**os.environ, **(env or {})},
                start_new_session=True,
                text=True,
            )
        )
        until = time.monotonic() + timeout
        try:
            while True:
                interrupts.check()
                try:
                    output, _ = child.communicate(timeout=0.2)
                    return Finished(child.returncode, output)
                except subprocess.TimeoutExpired:
                    if time.monotonic() > until:
                        raise TimeoutError(f"{command[0]} was not done after {timeout:.0f} s") from None
        except BaseException:
            _end_group(child)
            raise


def _end_group(child: subprocess.Popen[str]) -> None:
    """End a child and what it started; ``child`` was not waited for yet, so its id is still its own."""
    for number, patience in ((signal.SIGTERM, 3.0), (signal.SIGKILL, 3.0)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.communicate(timeout=patience)
            return


def _reap() -> None:
    for pid, child in list(_children.items()):
        if child.poll() is not None:
            del _children[pid]
