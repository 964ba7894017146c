"""A process of its own for fits: the only guard that stops a library in the middle of compiled code.

``Worker`` starts ``python -m forecasting.worker`` by exec, not by fork (librdkafka does not survive one), hands it
pickled tasks over a socket pair, and kills it when a task runs over its time; the next task starts a new one.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, TypeVar, cast

from forecasting.errors import said
from forecasting.guarded import Deadline, FitTimedOut, load, quietly

log = logging.getLogger(__name__)

Result = TypeVar("Result")

# Extra for the first task of a process: Python and the libraries have to be loaded.
STARTING = 60.0  # s
OUT_OF_MEMORY = 12  # exit code: ENOMEM


class WorkerEnded(Exception):
    """The process ended in the middle of a task (out of memory, a crash in compiled code)."""


class Worker:
    """One process that fits one task at a time, for any number of models; started when first used.

    ``limit``: seconds a task. Threads may share it; they wait for each other. ``close`` ends the process; so does the
    end of this one.
    """

    def __init__(self, limit: float = 10.0, starting: float = STARTING) -> None:
        self.limit = limit
        self.starting = starting
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None
        self._loaded: set[str] = set()  # modules that the process has imported
        self._folder: tempfile.TemporaryDirectory[str] | None = None  # its temporary files
        self._killed = threading.Event()

    def run(self, task: Callable[[Deadline], Result], modules: tuple[str, ...] = ()) -> Result:
        """See :class:`forecasting.guarded.Guard`. The task and its result must be picklable."""
        with self._lock:
            if self._process is not None and self._process.poll() is not None:  # it died while it had nothing to do
                self._end()
            if self._pipe is None:
                self._start()
            if not self._loaded.issuperset(modules):
                self._ask(functools.partial(_load, modules), self.starting, f"loading {', '.join(modules)}")
                self._loaded.update(modules)
            return cast(Result, self._ask(task, self.limit, "the fit"))

    def _ask(self, task: Callable[[Deadline], object], limit: float, what: str) -> object:
        """The answer to one task. Raises FitTimedOut, WorkerEnded, or what the task raised."""
        pipe = self._pipe
        assert pipe is not None  # noqa: S101  for mypy: ``run`` started it
        asked = pickle.dumps((task, limit))
        try:
            pipe.send_bytes(asked)
            if not pipe.poll(limit):
                self._end()
                raise FitTimedOut(f"{what} took longer than {limit:g} s and was stopped")
            answer = pipe.recv_bytes()
        except (EOFError, OSError) as gone:
            raise WorkerEnded(f"the process that fits ended with {self._end()} during {what}") from gone
        except MemoryError:
            self._end()  # the rest of its answer would be taken for the next one
            raise
        good, result = pickle.loads(answer)  # noqa: S301  our own process
        if not good:
            raise result
        return cast(object, result)

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def kill(self) -> None:
        """End the process at once, from any thread; a task that runs raises WorkerEnded. No other is started."""
        self._killed.set()
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def __getstate__(self) -> dict[str, Any]:
        return {"limit": self.limit, "starting": self.starting}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]  # a copy has no process yet

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self._end()

    def _start(self) -> None:
        """Start the process and wait until it is there. Raises WorkerEnded."""
        ours, theirs = Pipe()
        here = str(Path(__file__).resolve().parent.parent)
        known = os.pathsep.join([here, *([os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else [])])
        # One thread: fits of many small series gain nothing from more, and the controller needs its core.
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        if self._killed.is_set():
            raise WorkerEnded("the process that fits was ended for good")
        self._folder = _folder()
        temporary = {} if self._folder is None else {"TMPDIR": self._folder.name}
        try:
            self._process = subprocess.Popen(  # noqa: S603  this Python, this package; nothing from the working directory
                [sys.executable, "-P", "-m", "forecasting.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=os.environ | threads | temporary | {"PYTHONPATH": known},
                start_new_session=True,  # so that Prophet's optimiser, a program of its own, ends with it
            )
        except OSError:  # the machine has no room for it
            ours.close()
            self._clean()
            raise
        finally:
            theirs.close()
        self._pipe = ours
        if self._killed.is_set():  # while it was started
            self.kill()
        if not ours.poll(self.starting):
            self._end()
            raise WorkerEnded(f"the process that fits did not start within {self.starting:g} s")
        try:
            ours.recv_bytes()
        except (EOFError, OSError) as gone:
            raise WorkerEnded(f"the process that fits ended with {self._end()} while it started") from gone

    def _end(self) -> int | None:
        """Kill the process and what it started, reap it, and remove its files; returns its exit code."""
        pipe, self._pipe = self._pipe, None
        self._loaded = set()
        process, self._process = self._process, None
        if pipe is not None:
            pipe.close()
        if process is None:
            return None
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)  # it may have ended by itself: then its own code says why
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
        self._clean()
        return code

    def _clean(self) -> None:
        folder, self._folder = self._folder, None
        if folder is not None:
            folder.cleanup()


def _folder() -> tempfile.TemporaryDirectory[str] | None:
    """For its temporary files; None where none can be made, as on a root that is only read: few models need any."""
    try:
        return tempfile.TemporaryDirectory(prefix="lagcast-fits-", ignore_cleanup_errors=True)
    except OSError as error:
        log.warning("no folder for the temporary files of fits (%s); those that need one (Prophet) will fail", error)
        return None


def _load(modules: tuple[str, ...], _: Deadline) -> None:
    load(modules)


def main(file: int) -> None:
    """Serve tasks until the other end is gone."""
    pipe = Connection(file)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    pipe.send_bytes(b"ready")
    while True:
        try:
            asked = pipe.recv_bytes()
        except (EOFError, OSError):
            return
        except MemoryError:
            os._exit(OUT_OF_MEMORY)  # what is left of the task would be taken for the next one
        try:
            task, limit = pickle.loads(asked)  # noqa: S301  from the process that started us
        except Exception as broken:  # noqa: BLE001  a task that cannot be read is the caller's answer
            pipe.send_bytes(_packed(False, broken))
            continue
        try:
            answer = _packed(True, quietly(task, Deadline.after(limit)))
        except Exception as broken:  # noqa: BLE001  a library may raise anything
            answer = _packed(False, broken)
        try:
            pipe.send_bytes(answer)
        except OSError:  # nobody waits for it any more
            return


def _end_with(parent: int) -> None:
    """End this process, and what it started, once the one that started it is gone; a fit may still be running then."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _packed(good: bool, result: object) -> bytes:
    """A pickled answer; exceptions that do not pickle (or unpickle) are handed over as text, want of memory as such."""
    try:
        answer = pickle.dumps((good, result))
        pickle.loads(answer)  # noqa: S301  our own bytes
    except MemoryError:
        return pickle.dumps((False, MemoryError("out of memory when it was handed back")))
    except Exception:  # noqa: BLE001  whatever a library's exception does when it is pickled
        return pickle.dumps((False, RuntimeError(f"{type(result).__name__}: {said(result)}")))
    return answer


if __name__ == "__main__":
    main(int(sys.argv[1]))
