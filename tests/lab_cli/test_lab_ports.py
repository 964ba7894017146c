"""Ports are free, apart from each other, and outside the range that outgoing connections use."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulations.lab import ports


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server((ports.HOST, 0)) as server:
        yield server


def test_a_port_that_is_listened_on_is_not_free(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    assert not ports.is_free(port)
    assert ports.answers(port)
    listener.close()
    assert ports.is_free(port)
    assert not ports.answers(port)


def test_a_port_is_free_again_right_after_its_connections_closed(listener: socket.socket) -> None:
    """Connections that the server closed linger in TIME_WAIT; servers start in spite of them."""
    port = listener.getsockname()[1]
    with socket.create_connection((ports.HOST, port)) as client:
        accepted, _ = listener.accept()
        accepted.close()
        assert client.recv(1) == b""
    listener.close()
    assert ports.is_free(port)


def test_taken_ports_are_not_given_again() -> None:
    first = ports.free_port(rng=random.Random(1))
    assert ports.free_port([first], rng=random.Random(1)) != first


def test_ports_are_outside_the_range_of_outgoing_connections() -> None:
    port = ports.free_port()
    assert 1024 < ports.FIRST <= port < ports.LAST
    linux = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if linux.exists():
        lowest = int(linux.read_text().split()[0])
        assert lowest >= ports.LAST


def test_no_free_port_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_free", lambda _: False)
    with pytest.raises(OSError, match="no free port"):
        ports.free_port()
