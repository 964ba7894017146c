"""The process that talks to Kafka: it may end or hang at any time, and costs readings at most."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import psutil
import pytest

from scaler.clock import ManualClock, SystemClock
from scaler.observe import kafka_process
from scaler.observe.gather import Gatherer
from scaler.observe.histories import Histories
from scaler.observe.kafka_child import Answering, Question
from scaler.observe.kafka_process import KafkaProcess
from scaler.observe.ports import GroupTopic, TargetRef
from scaler.observe.watched import KafkaCluster, Watched
from scaler.plan.observation import Freshness, Reading
from scaler.plan.reasons import Reason
from scaler.standins.broker import FakeBroker
from scaler.standins.cluster import FakeCluster
from scaler.standins.latency import FakePrometheus

NOBODY = "127.0.0.1:9"
ONE = GroupTopic("workers", "chat")
TIMEOUT = 0.5
SECRET = "hunter2-hunter2"


def until(true: Any, within: float = 30.0) -> None:
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end, "not within the time"
        time.sleep(0.02)


def read(source: KafkaProcess) -> Reading[Any]:
    return source.sample(time.time(), [ONE])[ONE]


def up(source: KafkaProcess) -> int:
    """Wait until it is the client itself that says what is wrong; the process's id."""
    until(lambda: "spec.kafka.bootstrapServers" in read(source).detail)
    assert source.pid is not None
    return source.pid


@pytest.fixture
def source() -> Iterator[KafkaProcess]:
    made = KafkaProcess({"bootstrap.servers": NOBODY, "sasl.password": SECRET}, TIMEOUT)
    yield made
    pid = made.pid
    made.close()
    assert pid is None or not psutil.pid_exists(pid)
    assert not [t.name for t in threading.enumerate() if t.name == "kafka process"]


def test_a_process_that_dies_or_hangs_costs_readings_and_nothing_else(
    source: KafkaProcess, caplog: pytest.LogCaptureFixture
) -> None:
    first = up(source)
    reading = read(source)
    assert (reading.value, reading.freshness, reading.reason) == (None, Freshness.ERROR, Reason.BROKER_UNREACHABLE)
    told = psutil.Process(first)
    assert SECRET not in " ".join(told.cmdline()) + str(told.environ())

    # It dies while it is asked: the answer is there at once.
    killer = threading.Timer(0.1, os.kill, (first, signal.SIGSEGV))
    killer.start()
    began = time.monotonic()
    reading = read(source)
    killer.join()
    assert time.monotonic() - began < TIMEOUT
    assert (reading.value, reading.freshness, reading.reason) == (None, Freshness.ERROR, Reason.INPUT_ERROR)
    assert NOBODY in reading.detail
    second = up(source)
    assert second != first
    assert "SIGSEGV" in caplog.text

    # It hangs: nobody waits longer than is said, and it is ended after a few times.
    os.kill(second, signal.SIGSTOP)
    began = time.monotonic()
    reading = read(source)
    assert time.monotonic() - began < TIMEOUT + 0.5
    assert (reading.value, reading.freshness, reading.reason) == (None, Freshness.ERROR, Reason.INPUT_ERROR)
    until(lambda: read(source) is not None and source.pid != second)
    assert up(source) not in (first, second)
    assert all(r.levelno == logging.WARNING for r in caplog.records), "no traceback"

    with pytest.raises(ValueError, match="step"):
        source.history("chat", 0.0, 60.0, -1.0)


def test_a_closed_one_answers_with_an_error() -> None:
    source = KafkaProcess({"bootstrap.servers": NOBODY}, TIMEOUT)
    source.close()
    assert read(source).freshness is Freshness.ERROR
    assert source.history("chat", 0.0, 60.0, 60.0).freshness is Freshness.ERROR


def test_it_does_not_outlive_a_controller_that_is_killed() -> None:
    text = (
        "import sys, time; from scaler.observe.kafka_process import KafkaProcess;"
        f"p = KafkaProcess({{'bootstrap.servers': '{NOBODY}'}}, 0.5); print(p.pid, flush=True); time.sleep(60)"
    )
    controller = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True)
    assert controller.stdout is not None
    child = int(controller.stdout.readline())
    controller.kill()
    controller.wait()
    controller.stdout.close()
    until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)


def test_the_controller_itself_does_not_load_librdkafka() -> None:
    text = "import sys, scaler.observe.kafka_process; sys.exit('confluent_kafka' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", text], check=False).returncode == 0


class Source:
    def __init__(self) -> None:
        self.times: list[float] = []

    def sample(self, now: float, wanted: Sequence[GroupTopic]) -> Mapping[GroupTopic, Reading[Any]]:
        self.times.append(now)
        if not wanted:
            raise KeyError("nothing")
        return {}

    def history(self, topic: str, start: float, end: float, step: float) -> Any:
        raise ValueError("no step")

    def close(self) -> None: ...


def test_what_passed_on_the_way_is_added_to_the_time_and_what_nobody_waits_for_is_not_asked() -> None:
    ours, theirs = Pipe()
    source, clock = Source(), ManualClock(1000.0)
    answering = Answering(source, theirs, clock)
    answering.take(Question(1, "sample", (990.0, [ONE]), asked=999.5, useful=1.0))
    assert ours.recv() == (1, {})
    answering.take(Question(2, "sample", (990.0, [ONE]), asked=998.0, useful=1.0))
    answering.take(Question(3, "sample", (995.0, []), asked=1000.5, useful=1.0))  # a clock that was set back
    number, answer = ours.recv()
    assert (number, type(answer)) == (3, KeyError)
    answering.take(Question(4, "history", ("chat", 0.0, 1.0, 0.0), asked=1000.0, useful=1.0))
    number, answer = ours.recv()
    assert (number, type(answer)) == (4, ValueError)
    assert source.times == [990.5, 995.0]
    ours.close()


def test_a_cluster_is_begun_before_the_first_pass_and_once() -> None:
    made: list[KafkaCluster] = []

    def source(cluster: KafkaCluster) -> FakeBroker:
        made.append(cluster)
        return FakeBroker(SystemClock())

    with ThreadPoolExecutor(2) as pool:
        gatherer = Gatherer(source, lambda _: FakePrometheus(), FakeCluster(lambda: 1.0), pool, Histories(pool), 5.0)
        one = Watched(
            "a", TargetRef("apps/v1", "Deployment", "d", "a"), KafkaCluster("one:9092"), ONE, None, None, None
        )
        gatherer.prepare([one, replace(one, uid="b")])
        assert made == [KafkaCluster("one:9092")]
        gatherer.gather(0.0, [one])
        assert len(made) == 1


def test_whatever_ends_it_another_takes_over_even_where_none_can_be_started_at_first(
    source: KafkaProcess, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first = up(source)
    receive, tries = Connection.recv, iter([True, True])

    def odd(connection: Connection) -> None:
        monkeypatch.setattr(Connection, "recv", receive)
        raise UnpicklingError("odd")

    def full(*args: object, **options: object) -> None:
        if next(tries, None) is None:
            patch.undo()
        raise BlockingIOError("no room for a process")

    monkeypatch.setattr(kafka_process, "LONG_PAUSE", 0.1)
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", full)
        monkeypatch.setattr(Connection, "recv", odd)
        read(source)  # what is received after this answer cannot be read
        until(lambda: source.pid != first)
    assert up(source) != first
    assert "UnpicklingError" in caplog.text
    assert caplog.text.count("no room for a process") == 3


def test_a_process_that_does_not_read_holds_up_no_close_and_is_ended(source: KafkaProcess) -> None:
    first = up(source)
    os.kill(first, signal.SIGSTOP)
    many = [GroupTopic("g" * 1000, f"{n}" * 1000) for n in range(1000)]  # far more than a socket holds
    asking = threading.Thread(target=source.sample, args=(time.time(), many), daemon=True)
    asking.start()
    time.sleep(TIMEOUT / 5)
    assert source._lock.acquire(timeout=5.0), "who does not send is not held up"
    source._lock.release()
    asking.join(10 * TIMEOUT)
    assert not asking.is_alive()
    until(lambda: source.pid != first)
    second = source.pid
    assert second is not None

    os.kill(second, signal.SIGSTOP)
    asking = threading.Thread(target=source.sample, args=(time.time(), many), daemon=True)
    asking.start()
    time.sleep(TIMEOUT / 5)
    began = time.monotonic()
    source.close()
    assert time.monotonic() - began < 3.0
    asking.join(5.0)
    assert not asking.is_alive()


def test_its_surroundings_are_no_concern_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "numpy.py").write_text("import os; os._exit(7)\n")
    monkeypatch.chdir(tmp_path)
    source = KafkaProcess({"bootstrap.servers": NOBODY}, TIMEOUT)
    try:
        first = source.pid
        assert first is not None
        for _ in range(10):  # Ctrl-C goes to the whole group, from the first instant on
            os.kill(first, signal.SIGINT)
            time.sleep(0.02)
        assert up(source) == first, "nothing was imported from the working directory, and no signal ended it"
    finally:
        source.close()
    assert "KeyboardInterrupt" not in capfd.readouterr().err
