"""`lagcast explain` against a controller's endpoints, a journal, and nothing."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from prometheus_client import CollectorRegistry

from scaler.cli.explain import explain
from scaler.endpoints import Endpoints
from scaler.explain.encode import from_json, to_json
from scaler.explain.stages import explain as explained
from scaler.journal import line
from scaler.plan.reasons import Reason
from tests.explain.made import NOW, tick

CHAT = explained(tick(outcome=Reason.APPLIED, last_week=15.0))


def call(*arguments: object) -> Result:
    result = CliRunner().invoke(explain, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def served() -> Iterator[tuple[str, dict[tuple[str, str], Any]]]:
    """Where a controller answers, and its answers by namespace and name."""
    answers: dict[tuple[str, str], Any] = {("prod", "chat"): to_json(CHAT)}
    endpoints = Endpoints(
        "127.0.0.1",
        0,
        CollectorRegistry(),
        lambda: None,
        lambda: None,
        list,
        lambda namespace, name: answers.get((namespace, name)),
    )
    yield f"http://127.0.0.1:{endpoints.port}", answers
    endpoints.close()


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Rows of ten minutes: the count rises by one each minute."""
    path = tmp_path / "journal.jsonl"
    rows = [tick(time=NOW + 60 * k, current=k, desired=k + 1) for k in range(10)]
    path.write_bytes(b"".join(line(row) for row in (*rows, tick(name="other", time=NOW + 3600.0))))
    return path


def test_json_from_the_controller(served: tuple[str, Any]) -> None:
    result = call("chat", "-n", "prod", "--url", served[0] + "/", "-o", "json")
    assert result.exit_code == 0
    assert from_json(json.loads(result.stdout)) == CHAT
    assert result.stderr == ""


def test_text_tells_every_stage_its_numbers_and_the_others(served: tuple[str, Any]) -> None:
    result = call("chat", "-n", "prod", "--url", served[0])
    assert result.exit_code == 0
    text = " ".join(result.stdout.replace("│", " ").split())
    for part in (
        "prod/chat (Deployment/chat, Enforce) at 2027-01-15 08:00:00 UTC",
        "From 7 to 11 replicas. The count is the cheapest one",
        "Reasons: Forecast, Partitions; Applied",
        "leadTime",
        "kafka age: 0.4 s (fresh)",
        "18 requests/s arrive",
        "The present needs 8 replicas.",
        "HPA 7, KEDA 4, last week 6",
        "The target was patched, or in mode Floor its autoscaler.",
    ):
        assert part in text, part


def test_no_such_scaler(served: tuple[str, Any]) -> None:
    result = call("chat", "--url", served[0])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.strip() == (
        f"Error: no decision about a scaler default/chat at {served[0]}; `lagcast status` lists the scalers that"
        " have one"
    )


def test_nobody_there_and_somebody_else_there(served: tuple[str, Any]) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        gone = call("chat", "--url", f"http://127.0.0.1:{probe.getsockname()[1]}")
    assert gone.exit_code == 1
    assert "is `lagcast run` listening there?" in gone.stderr
    other = call("chat", "--url", served[0] + "/other")
    assert other.exit_code == 1
    assert "no explanation from" in other.stderr
    served[1]["default", "chat"] = {"version": 7}
    newer = call("chat", "--url", served[0])
    assert newer.exit_code == 1
    assert "version: found 7; allowed: 1" in newer.stderr


@pytest.mark.parametrize(
    ("at", "current"),
    [
        (None, 9),
        (NOW + 130, 2),
        ("2027-01-15T08:02:10", 2),
        ("2027-01-15T09:02:10+01:00", 2),
        ("7m", 2),
        ("0s", 9),
        (NOW + 10_000, 9),
    ],
)
def test_a_row_of_a_journal(journal: Path, at: object, current: int) -> None:
    when = () if at is None else ("--at", at)
    result = call("chat", "-n", "prod", "--journal", journal, *when, "-o", "json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["current"] == current


def test_a_journal_gives_what_the_controller_gives(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(line(tick(outcome=Reason.APPLIED, last_week=15.0)))
    result = call("chat", "-n", "prod", "--journal", path, "-o", "json")
    assert from_json(json.loads(result.stdout)) == CHAT


def test_broken_rows_are_named_and_left_out(journal: Path) -> None:
    journal.write_bytes(b"rubbish\n" + journal.read_bytes())
    result = call("chat", "-n", "prod", "--journal", journal, "-o", "json")
    assert result.exit_code == 0
    assert result.stderr.startswith(f"{journal}:1: no JSON: ")
    assert json.loads(result.stdout)["current"] == 9


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("chat", "--at", "10m"), 2, "--at: needs --journal FILE"),
        (("chat", "--journal", "J", "--at", "yesterday"), 2, "found 'yesterday'; allowed: a date and time such as"),
        (("chat", "--journal", "J", "--at", "nan"), 2, "found 'nan'; allowed: a date and time such as"),
        (("chat", "--journal", "J", "--at", "inf"), 2, "found 'inf'; allowed: a date and time such as"),
        (("chat", "--journal", "J"), 1, "no row of default/chat"),
        (("chat", "-n", "prod", "--journal", "J", "--at", "2020-01-01"), 1, "the first is of 2027-01-15 08:00:00 UTC"),
        (("chat", "-n", "prod", "--journal", "J", "--at", "1h"), 1, "no row of prod/chat so long ago"),
        (("chat", "--journal", "J.none"), 1, "no such file"),
    ],
)
def test_what_cannot_be_shown_is_said_in_a_line(
    journal: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    result = call(*(a.replace("J", str(journal)) if a.startswith("J") else a for a in arguments))
    assert result.exit_code == code
    assert result.stdout == ""
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_the_commands_import_no_compiler_and_no_client() -> None:
    code = "import sys, scaler.cli.explain, scaler.cli.report, scaler.cli.status; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    heavy = {"numba", "scipy", "pandas", "kubernetes", "confluent_kafka", "simulations", "prometheus_api_client"}
    assert heavy & set(done.stdout.split()) == set()
