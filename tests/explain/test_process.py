"""A real controller explains itself, and writes a journal that explains the same; a simulation writes one, too."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from scaler.cli.explain import explain
from scaler.cli.report import report
from scaler.explain.encode import from_json
from scaler.explain.explanation import StageName
from scaler.journal_read import read
from scaler.plan.reasons import Reason
from tests.process.controller_process import TOKEN, ControllerProcess, scaler


def call(command: click.Command, *arguments: object) -> Result:
    result = CliRunner().invoke(command, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControllerProcess]:
    """A controller that reaches nothing, and notes every tick."""
    folder = tmp_path_factory.mktemp("explained")
    more = ("--journal", str(folder / "journal.jsonl"), "--journal-every", "0s")
    process = ControllerProcess(folder, scaler(), more=more)
    try:
        yield process.ready()
    finally:
        process.close()


def test_it_explains_its_newest_decision(running: ControllerProcess) -> None:
    running.until(lambda: "BrokerUnreachable" in str(running.status()), "the broker is missed")
    result = call(explain, "chat", "--url", running.url, "-o", "json")
    assert result.exit_code == 0, result.stderr
    made = from_json(json.loads(result.stdout))
    assert (made.namespace, made.name, made.target, made.mode) == ("default", "chat", "Deployment/chat", "Enforce")
    assert made.desired is None
    assert Reason.BROKER_UNREACHABLE in [one.code for one in made.stage(StageName.INPUTS).reasons]
    assert "check spec.kafka.bootstrapServers" in made.stage(StageName.INPUTS).sentence
    text = call(explain, "chat", "--url", running.url)
    assert text.exit_code == 0
    assert "No count is wanted." in text.stdout
    assert TOKEN not in text.stdout + result.stdout
    assert call(explain, "nobody", "--url", running.url).exit_code == 1


def test_it_is_watched_until_an_interrupt(running: ControllerProcess) -> None:
    code = "from scaler.cli.status import status; status()"
    words = [sys.executable, "-c", code, "--watch", "--every", "100ms", "-o", "json", "--url", running.url]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        looks = [json.loads(watching.stdout.readline()) for _ in range(3)]
        watching.send_signal(signal.SIGINT)
        _, said = watching.communicate(timeout=20)
    assert (watching.returncode, said) == (0, "")
    assert {row["name"] for look in looks for row in look} == {"chat"}


def test_its_journal_has_every_tick_and_ends_with_it(running: ControllerProcess) -> None:
    path = running.folder / "journal.jsonl"
    running.until(lambda: path.stat().st_size > 3000, "a few rows")
    now = call(explain, "chat", "--journal", path, "-o", "json")
    assert json.loads(now.stdout)["target"] == "Deployment/chat"
    shown = call(report, "--journal", path, "-o", "json")
    (one,) = json.loads(shown.stdout)
    assert one["rows"] > 1
    assert one["as_it_ran"]["attainment"] is None, "nothing was read, so nothing is judged"
    code, took = running.stop()
    assert code == 0
    assert took < 5.0
    broken: list[str] = []
    rows = list(read(path, broken.append))
    assert broken == []
    times = [row.decision.time for row in rows]
    assert times == sorted(times)
    assert TOKEN not in path.read_text()
    assert "Traceback" not in running.log


def test_a_disk_that_is_full_from_the_start_stops_nothing(tmp_path: Path) -> None:
    process = ControllerProcess(tmp_path, scaler(), more=("--journal", "/dev/full"))
    try:
        process.ready()
        process.until(lambda: "the journal /dev/full cannot be written" in process.log, "it is said")
        before = process.metric("lagcast_tick_seconds_count") or 0.0
        process.until(lambda: (process.metric("lagcast_tick_seconds_count") or 0.0) > before + 2, "it goes on")
        assert process.log.count("cannot be written") == 1
        assert process.stop()[0] == 0
    finally:
        process.close()


def test_a_journal_that_cannot_be_opened_is_said_before_anything_starts(tmp_path: Path) -> None:
    process = ControllerProcess(tmp_path, scaler(), more=("--journal", str(tmp_path / "none" / "journal.jsonl")))
    try:
        assert process.process.wait(20) == 1
        assert "No such file or directory; choose a file in a folder that is there" in process.log
        assert "Traceback" not in process.log
    finally:
        process.close()
