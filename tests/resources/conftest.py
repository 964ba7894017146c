"""A controller over stand-ins, and a server that speaks the protocol."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from scaler.kube import KubeClient, connect
from tests.cluster.api_server import ApiServer


@pytest.fixture
def api() -> Iterator[ApiServer]:
    server = ApiServer()
    yield server
    server.close()


@pytest.fixture
def client(api: ApiServer, tmp_path: Path) -> Iterator[KubeClient]:
    made = connect(api.kubeconfig(tmp_path), timeout=1.0)
    yield made
    made.close()
