"""`lagcast status` against a controller's endpoints, and against nothing."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result
from prometheus_client import CollectorRegistry

from scaler.cli.main import main
from scaler.endpoints import Endpoints

ROW: dict[str, Any] = {
    "namespace": "shop",
    "name": "chat",
    "target": "Deployment/chat",
    "mode": "Enforce",
    "current": 4,
    "desired": 9,
    "reasons": ["Forecast", "MaxReplicas"],
    "outcome": {"reason": "Applied", "detail": "4 -> 9"},
    "summary": "arrivals 8 requests/s",
    "numbers": {"ready": None},
    "inputs": {
        "kafka": {"status": "fresh", "age": 0.1, "reason": None, "detail": ""},
        "prometheus": {"status": "error", "age": 0.1, "reason": "PrometheusUnreachable", "detail": "check the URL"},
    },
}


SHOWN = {"kind": "PredictiveScaler", **ROW}
POOL: dict[str, Any] = {
    "name": "h100",
    "provider": "karpenter",
    "mode": "Enforce",
    "min": 1,
    "max": 12,
    "current": 3,
    "desired": 5,
    "ready": 2,
    "pending": 1,
    "empty": None,
    "services": 2,
    "leadTime": 360.0,
    "reasons": ["Forecast"],
    "outcome": {"reason": "ContestedTarget", "detail": "NodePool static: put back by flux"},
    "inputs": {"kubernetes": {"status": "fresh", "age": 0.1, "reason": None, "detail": ""}},
}


@pytest.fixture
def pools() -> list[Any]:
    """The pools that a controller serves."""
    return []


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, pools: list[Any]) -> Iterator[tuple[str, list[Any]]]:
    """Where a controller serves its status, and the rows it serves."""
    monkeypatch.setenv("COLUMNS", "220")
    rows: list[Any] = [ROW]
    endpoints = Endpoints(
        "127.0.0.1", 0, CollectorRegistry(), lambda: None, lambda: None, lambda: rows, pools=lambda: pools
    )
    yield f"http://127.0.0.1:{endpoints.port}", rows
    endpoints.close()


def status(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["status", *arguments])


def test_json_is_what_the_controller_serves(served: tuple[str, list[Any]]) -> None:
    shown = status("--url", served[0], "-o", "json")
    assert shown.exit_code == 0
    assert json.loads(shown.stdout) == [SHOWN]
    assert shown.stderr == ""


def test_pools_are_listed_after_the_scalers(served: tuple[str, list[Any]], pools: list[Any]) -> None:
    assert "POOL" not in status("--url", served[0]).stdout
    pools.append(POOL)
    assert json.loads(status("--url", served[0], "-o", "json").stdout) == [SHOWN, {"kind": "GpuNodePool", **POOL}]
    lines = status("--url", served[0]).stdout.splitlines()
    (row,) = (line for line in lines if "h100" in line)
    cells = [cell.strip() for cell in row.split("│")[1:-1]]
    assert cells[:10] == ["h100", "karpenter", "Enforce", "1", "12", "3", "5", "2", "1", "-"]
    text = " ".join(" ".join(lines).split())
    assert "ContestedTarget" in text
    assert "flux" in text


def test_a_watch_shows_pools_too(
    served: tuple[str, list[Any]], pools: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pools.append(POOL)
    assert watched(monkeypatch, Looks(2), "--url", served[0]).stdout.count("h100") == 2


def test_names_are_whole_in_a_pipe(served: tuple[str, list[Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert f"{ROW['namespace']}/{ROW['name']} " in status("--url", served[0]).stdout


def test_a_standby_says_who_leads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "220")
    told = {"leads": False, "election": True, "identity": "two_1", "holder": "one_1", "secondsLeft": 0.0}
    endpoints = Endpoints(
        "127.0.0.1", 0, CollectorRegistry(), lambda: None, lambda: None, lambda: [ROW], leader=lambda: told
    )
    try:
        shown = status("--url", f"http://127.0.0.1:{endpoints.port}").stdout
        told["leads"] = True
        assert "standby" not in status("--url", f"http://127.0.0.1:{endpoints.port}").stdout
    finally:
        endpoints.close()
    assert "standby: one_1 leads; this replica (two_1) changes nothing" in " ".join(shown.split())


def test_the_table_tells_count_reasons_and_missing_sources(served: tuple[str, list[Any]]) -> None:
    shown = status("--url", served[0] + "/")
    assert shown.exit_code == 0
    line = " ".join(shown.stdout.split())
    for text in ("shop/chat", "Deployment/chat", "Enforce", "4", "9", "arrivals 8 requests/s"):
        assert text in line
    for text in ("Forecast", "MaxReplicas", "Applied", "prometheus error: check the URL"):
        assert text in line


def test_what_is_not_known_is_not_zero(served: tuple[str, list[Any]]) -> None:
    served[1][0] = {**ROW, "current": None, "desired": None}
    cells = [cell.strip() for cell in status("--url", served[0]).stdout.splitlines()[3].split("│")]
    assert cells[4:7] == ["-", "-", "-"]


def test_no_scalers_yet_is_an_empty_list(served: tuple[str, list[Any]]) -> None:
    served[1].clear()
    assert json.loads(status("--url", served[0], "-o", "json").stdout) == []


def test_nobody_there() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        shown = status("--url", url)
    assert shown.exit_code == 1
    assert shown.stdout == ""
    assert f"no status from {url}" in shown.stderr
    assert "is `lagcast run` listening there?" in shown.stderr


def test_something_else_there(served: tuple[str, list[Any]]) -> None:
    shown = status("--url", served[0] + "/other")
    assert shown.exit_code == 1
    assert "no status from" in shown.stderr


def test_a_server_that_answers_with_other_json(served: tuple[str, list[Any]]) -> None:
    served[1][0] = {"hello": "world"}
    shown = status("--url", served[0])
    assert shown.exit_code == 1
    assert "no status from" in shown.stderr


def test_a_url_that_is_none() -> None:
    shown = status("--url", "localhost:8080")
    assert shown.exit_code == 1
    assert "no status from localhost:8080" in shown.stderr


# --- watched


class Looks:
    """A clock that ends the watch, as Ctrl-C does, after some looks; ``before`` runs between two."""

    def __init__(self, looks: int, before: Callable[[int], None] = lambda look: None) -> None:
        self.looks, self.before = looks, before
        self.waited: list[float] = []

    def now(self) -> float:
        return 0.0

    def wait(self, seconds: float, stop: threading.Event) -> bool:
        self.waited.append(seconds)
        if len(self.waited) >= self.looks:
            raise KeyboardInterrupt
        self.before(len(self.waited))
        return False


def watched(monkeypatch: pytest.MonkeyPatch, clock: Looks, *arguments: str) -> Result:
    monkeypatch.setattr("scaler.cli.status.SystemClock", lambda: clock)
    return status("-w", *arguments)


def test_a_watch_shows_each_look_as_a_line_of_json(
    served: tuple[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Looks(3, lambda look: served[1].__setitem__(0, {**ROW, "desired": 10 + look}))
    shown = watched(monkeypatch, clock, "--url", served[0], "-o", "json", "--every", "500ms")
    assert shown.exit_code == 0
    assert [json.loads(line)[0]["desired"] for line in shown.stdout.splitlines()] == [9, 11, 12]
    assert clock.waited == [0.5, 0.5, 0.5]


def test_a_watch_shows_tables_where_there_is_no_terminal(
    served: tuple[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = watched(monkeypatch, Looks(2), "--url", served[0])
    assert shown.exit_code == 0
    assert shown.stdout.count("shop/chat") == 2


def test_a_watch_keeps_one_table_on_a_terminal(served: tuple[str, list[Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    shown = watched(monkeypatch, Looks(3), "--url", served[0])
    assert shown.exit_code == 0
    assert "\x1b[1A" in shown.stdout, "it goes back up to draw over what was there"
    assert "shop/chat" in shown.stdout


def test_a_watch_goes_on_while_nobody_answers(served: tuple[str, list[Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Looks(3, lambda look: served[1].__setitem__(0, {"hello": "world"} if look == 1 else ROW))
    shown = watched(monkeypatch, clock, "--url", served[0])
    assert shown.exit_code == 0
    assert shown.stdout.count("shop/chat") == 2
    assert shown.stderr.count("no status from") == 1
