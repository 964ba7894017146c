"""Fits in processes of their own: the same results, a bound on everything, and nothing left behind."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection

import numpy as np
import psutil
import pytest

from forecasting import worker
from forecasting.fit_pool import FitPool
from forecasting.fitting import FitJob, FitRun, Fitted, InPlace
from forecasting.models.direct import Direct
from forecasting.models.level_season import LevelSeason
from forecasting.series import Arrivals, Series

HISTORY = Series(0.0, 60.0, np.random.default_rng(0).poisson(600.0, 2 * 1440) / 60.0)


class Scripted:
    """Becomes, in the process that fits, a forecaster whose fit runs ``code``."""

    def __init__(self, code: str) -> None:
        self.code = code

    def __reduce__(self) -> tuple[object, ...]:
        return eval, (f"__import__('types').SimpleNamespace(fit=lambda history: exec({self.code!r}))",)


def job(code: str) -> FitJob:
    return FitJob("default/chat", Scripted(code), HISTORY)


def outcome(run: FitRun | None, seconds: float = 30.0) -> Fitted:
    assert run is not None
    until(lambda: run.outcome is not None, seconds)
    assert run.outcome is not None
    return run.outcome


def until(is_so: Callable[[], object], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


def children() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):  # it has ended, and is not reaped yet
            if "forecasting.worker" in " ".join(child.cmdline()):
                found.append(child)
    return found


def dead(child: psutil.Process) -> bool:
    """Whether its end can be seen; a zombie's other threads may still be ending."""
    try:
        return os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
    except ChildProcessError:
        return True


@pytest.fixture(scope="module")
def pool() -> Iterator[FitPool]:
    with FitPool(limit=20.0) as made:
        yield made


def test_a_fit_elsewhere_is_the_same_and_leaves_the_forecaster_as_it_was(pool: FitPool) -> None:
    given = Direct(60.0, keep=2 * 86_400.0)
    given.update(Arrivals(HISTORY.end, 60.0, 600.0))
    run = pool.start(FitJob("default/chat", given, HISTORY))
    same, newer = copy.deepcopy(given), Arrivals(HISTORY.end + 60.0, 60.0, 600.0)
    given.update(newer)  # after it was handed over
    there = outcome(run).forecaster
    assert there is not None
    assert given.studied.learned is None
    here = InPlace().start(FitJob("default/chat", same, HISTORY)).outcome.forecaster
    assert here is same
    drawn = []
    for one in (there, here):
        one.update(newer)
        drawn.append(one.paths(10, 50, np.random.default_rng(1)))
    assert np.array_equal(*drawn)


def test_what_keeps_its_series_learns_from_it_again(pool: FitPool) -> None:
    forecaster = Direct(60.0, keep=2 * 86_400.0)
    forecaster.series.fit(HISTORY)
    there = outcome(pool.start(FitJob("default/chat", forecaster, None))).forecaster
    assert isinstance(there, Direct)
    assert there.studied.learned is not None


def test_processes_import_nothing_of_the_controller_and_give_way_to_it(pool: FitPool) -> None:
    code = "import os, sys; raise RuntimeError(sorted({m.split('.')[0] for m in sys.modules} | {f'nice {os.nice(0)}'}))"
    said = outcome(pool.start(job(code))).error
    assert "'forecasting'" in said
    assert "'nice 10'" in said
    for module in ("scaler", "confluent_kafka", "kubernetes", "prometheus_client", "pydantic", "requests", "click"):
        assert f"'{module}'" not in said


def test_a_model_that_raises_is_said_and_not_tried_again(pool: FitPool, caplog: pytest.LogCaptureFixture) -> None:
    failed = outcome(pool.start(job("raise ValueError('a matrix is singular')")))
    assert failed == Fitted(None, "ValueError: a matrix is singular") or failed.error.endswith("is singular")
    assert not failed.again
    assert "default/chat: the fit of its forecaster failed: ValueError: a matrix is singular" in caplog.text


def test_a_process_that_dies_costs_one_fit(pool: FitPool) -> None:
    dies, sound = pool.start(job("import os; os._exit(7)")), pool.start(FitJob("b", LevelSeason(60.0), HISTORY))
    lost = outcome(dies)
    assert lost.forecaster is None
    assert lost.again
    assert "ended with 7" in lost.error
    assert outcome(sound).forecaster is not None


def test_one_that_died_while_it_had_nothing_to_do_costs_none(pool: FitPool) -> None:
    outcome(pool.start(FitJob("a", LevelSeason(60.0), HISTORY)))
    (child,) = children()
    child.kill()
    until(lambda: dead(child))
    assert outcome(pool.start(FitJob("a", LevelSeason(60.0), HISTORY))).forecaster is not None


def test_a_model_that_does_not_pickle_is_an_outcome(pool: FitPool) -> None:
    forecaster = LevelSeason(60.0)
    forecaster.hook = lambda: None
    failed = outcome(pool.start(FitJob("a", forecaster, HISTORY)))
    assert "cannot be handed to another process" in failed.error
    assert not failed.again


def test_limits_of_time_and_number_and_an_end_that_leaves_nothing() -> None:
    told: list[Fitted] = []
    before = {c.pid for c in children()}
    pool = FitPool(limit=1.0, waiting=2, idle=0.5, told=lambda seconds, one: told.append(one))
    try:
        late = pool.start(job("import time; time.sleep(60)"))
        until(lambda: pool.waiting == 0)
        waiting = [pool.start(FitJob(str(k), LevelSeason(60.0), HISTORY)) for k in range(3)]
        assert [run is not None for run in waiting] == [True, True, False]
        lost = outcome(late)
        assert "took longer than 1 s" in lost.error
        assert lost.again
        assert all(outcome(run).forecaster for run in waiting[:2])
        assert [one.forecaster is not None for one in told] == [False, True, True]
        until(lambda: {c.pid for c in children()} == before)  # idle for half a second
        running = pool.start(job("import time; time.sleep(60)"))
        until(lambda: {c.pid for c in children()} != before)
    finally:
        began = time.monotonic()
        pool.close()
    assert time.monotonic() - began < 2.0
    assert {c.pid for c in children()} == before
    assert running is not None
    assert running.outcome is None
    assert pool.start(job("pass")) is None


def test_processes_end_with_the_one_that_started_them() -> None:
    program = """
import json, sys, time
import numpy as np, psutil
from forecasting.fit_pool import FitPool
from forecasting.fitting import FitJob
class Sleeps:
    def __reduce__(self):
        return eval, ("__import__('types').SimpleNamespace(fit=lambda history: __import__('time').sleep(60))",)
pool = FitPool(2)
runs = [pool.start(FitJob("a", Sleeps(), 1)) for _ in range(2)]
while len(psutil.Process().children()) < 2:
    time.sleep(0.01)
print(json.dumps([c.pid for c in psutil.Process().children()]), flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pids = json.loads(parent.stdout.readline())
        os.kill(parent.pid, 9)
    assert len(pids) == 2
    until(lambda: not any(psutil.pid_exists(pid) for pid in pids), 10.0)


def another() -> None:
    """The next fit has to have a process started."""
    for child in children():
        child.kill()
        until(lambda child=child: dead(child))


def sound(pool: FitPool) -> bool:
    return outcome(pool.start(FitJob("a", LevelSeason(60.0), HISTORY))).forecaster is not None


def test_a_machine_that_has_no_room_is_asked_again(pool: FitPool, monkeypatch: pytest.MonkeyPatch) -> None:
    assert outcome(pool.start(job("raise MemoryError"))).again
    another()

    def full(*_: object, **__: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    with monkeypatch.context() as patched:
        patched.setattr(subprocess, "Popen", full)
        lost = outcome(pool.start(FitJob("a", LevelSeason(60.0), HISTORY)))
    assert lost.again
    assert "Cannot allocate memory" in lost.error
    assert sound(pool)


def test_without_a_folder_for_temporary_files_fits_go_on(
    pool: FitPool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    another()
    with monkeypatch.context() as patched:
        patched.setattr(tempfile, "tempdir", "/does/not/exist")
        assert sound(pool)
    assert "/does/not/exist" in caplog.text


def test_a_process_that_has_no_memory_for_a_task_ends_and_the_next_one_is_sound(pool: FitPool) -> None:
    little = "import resource as r; n = int(open('/proc/self/statm').read().split()[0]) * r.getpagesize() + (8 << 20)"
    outcome(pool.start(job(f"{little}; r.setrlimit(r.RLIMIT_AS, (n, n))")))
    lost = outcome(pool.start(FitJob("a", LevelSeason(60.0), Series(0.0, 60.0, np.ones(8 << 20)))))
    assert lost.again
    assert "ended with" in lost.error
    assert sound(pool)


def test_of_a_task_that_was_read_in_part_nothing_more_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of it would be taken for the length of the next one."""
    read = []

    class Pipe:
        def __init__(self, _: int) -> None: ...

        def send_bytes(self, _: bytes) -> None: ...

        def recv_bytes(self) -> bytes:
            read.append(1)
            raise MemoryError

    monkeypatch.setattr("forecasting.worker.Connection", Pipe)
    monkeypatch.setattr("forecasting.worker._end_with", lambda parent: None)
    monkeypatch.setattr("forecasting.worker.os._exit", sys.exit)
    with pytest.raises(SystemExit) as ended:
        worker.main(0)
    assert (ended.value.code, read) == (worker.OUT_OF_MEMORY, [1])


def test_an_answer_for_which_there_is_no_memory_is_not_taken_for_the_next(
    pool: FitPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sound(pool)
    with monkeypatch.context() as patched:

        def full(*_: object) -> None:
            raise MemoryError

        patched.setattr(Connection, "recv_bytes", full)
        assert outcome(pool.start(FitJob("a", LevelSeason(60.0), HISTORY))).again
    assert sound(pool)


def test_a_job_for_which_there_is_no_memory_is_asked_again(pool: FitPool, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr("forecasting.fit_pool.pickle.dumps", full)
        assert outcome(pool.start(FitJob("a", LevelSeason(60.0), HISTORY))).again


@pytest.mark.parametrize("fault", ["close", "told", "text"])
def test_no_fault_ends_the_thread_that_serves(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    def broken(*_: object) -> None:
        raise ValueError("no")

    with FitPool(limit=20.0, idle=0.05, told=broken if fault == "told" else None) as pool:
        if fault == "close":
            pool._workers[0].close = broken  # type: ignore[method-assign, assignment]
            until(lambda: "could not be put away (ValueError: no)" in caplog.text)
        if fault == "text":
            mute = "def mute(self): raise ValueError\nraise type('Mute', (Exception,), {'__str__': mute})"
            assert "cannot say what it is" in outcome(pool.start(job(mute))).error
        assert sound(pool)
        assert sound(pool)
