"""Benches that end with the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scaler.kube import KubeClient, connect
from tests.cluster.api_server import ApiServer
from tests.pools.made import Bench


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(*arguments: Any, **options: Any) -> Bench:
        made.append(Bench(*arguments, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


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
