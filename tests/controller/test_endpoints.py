"""Metrics, probes and status over HTTP."""

from __future__ import annotations

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
