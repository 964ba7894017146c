"""Metrics, probes and status over HTTP."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest
import requests
from prometheus_client import CollectorRegistry, Gauge

from scaler.endpoints import Endpoints


class Wrong:
    health: str | None = None
    warm: str | None = "warming up"


@pytest.fixture
def served() -> Iterator[tuple[str, Wrong]]:
    registry, wrong = CollectorRegistry(), Wrong()
    Gauge("lagcast_example", "An example", registry=registry).set(4)
    made = Endpoints(
        "127.0.0.1", 0, registry, lambda: wrong.health, lambda: wrong.warm, lambda: [{"name": "chat", "ready": None}]
    )
    yield f"http://127.0.0.1:{made.port}", wrong
    made.close()


def test_metrics(served: tuple[str, Wrong]) -> None:
    answer = requests.get(f"{served[0]}/metrics", timeout=5)
    assert answer.status_code == 200
    assert "lagcast_example 4.0" in answer.text


def test_ready_only_when_warm_and_healthy_while_ticking(served: tuple[str, Wrong]) -> None:
    url, wrong = served
    answer = requests.get(f"{url}/readyz", timeout=5)
    assert (answer.status_code, answer.text) == (503, "warming up\n")
    wrong.warm, wrong.health = None, "no tick has ended for 200 s"
    assert requests.get(f"{url}/readyz", timeout=5).status_code == 200
    answer = requests.get(f"{url}/healthz", timeout=5)
    assert (answer.status_code, answer.text) == (503, "no tick has ended for 200 s\n")


def test_status_is_data(served: tuple[str, Wrong]) -> None:
    assert requests.get(f"{served[0]}/status", timeout=5).json() == [{"name": "chat", "ready": None}]


def test_an_unknown_path_says_what_there_is(served: tuple[str, Wrong]) -> None:
    answer = requests.get(f"{served[0]}/", timeout=5)
    assert answer.status_code == 404
    assert "/metrics" in answer.text


def test_a_port_in_use_is_an_error(served: tuple[str, Wrong]) -> None:
    port = int(served[0].rpartition(":")[2])
    with pytest.raises(OSError, match="in use"):
        Endpoints("127.0.0.1", port, CollectorRegistry(), lambda: None, lambda: None, lambda: [])


def test_a_client_that_gives_up_or_sends_nothing_leaves_no_traceback_and_no_thread(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scaler.endpoints.IDLE", 0.2)
    asked, go = threading.Event(), threading.Event()

    def slow() -> str | None:
        asked.set()
        go.wait(5)
        return "x" * (1 << 24)

    before = threading.active_count()
    made = Endpoints("127.0.0.1", 0, CollectorRegistry(), slow, lambda: None, lambda: [])
    with (
        socket.create_connection(("127.0.0.1", made.port)) as silent,
        socket.create_connection(("127.0.0.1", made.port)) as hasty,
    ):
        hasty.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert asked.wait(5)
        hasty.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, as a probe's time-out
        hasty.close()
        go.set()
        silent.settimeout(5)
        assert silent.recv(1) == b"", "it is hung up on"
    made.close()
    until = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < until:
        time.sleep(0.02)
    assert threading.active_count() == before
    assert "Traceback" not in capfd.readouterr().err


def test_a_fault_in_an_answer_is_one_line_without_its_text(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> str | None:
        raise ValueError("hunter2")

    made = Endpoints("127.0.0.1", 0, CollectorRegistry(), broken, lambda: None, lambda: [])
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{made.port}/healthz", timeout=5)
    made.close()
    assert "ValueError in " in caplog.text
    assert "test_endpoints:" in caplog.text
    assert "hunter2" not in caplog.text + capfd.readouterr().err
