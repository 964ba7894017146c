"""A resource, a short load, and the commands as a user calls them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

RESOURCE = """
apiVersion: lagcast.io/v1alpha1
kind: PredictiveScaler
metadata: {name: chat, namespace: prod}
spec:
  target: {name: chat}
  kafka: {bootstrapServers: "127.0.0.1:1", topic: prompts, consumerGroup: chat}
  objective: {within: 10s, share: "99%"}
  replicas: {min: 1, max: 30, serviceRate: "2", serviceTime: 200ms, leadTime: 1m}
  forecast: {season: 1h, history: 2h}
"""
HOURS = 3


@pytest.fixture
def resource(tmp_path: Path) -> Path:
    path = tmp_path / "chat.yaml"
    path.write_text(RESOURCE)
    return path


@pytest.fixture
def load(tmp_path: Path) -> Path:
    """Three hours of 10 requests/s, and of twice as much in the last quarter of each."""
    path = tmp_path / "chat__60s.csv"
    rows = [f"{60 * k},{1200 if k % 60 >= 45 else 600}" for k in range(60 * HOURS)]
    path.write_text("\n".join(["t_s,value", *rows]) + "\n")
    return path


@pytest.fixture
def call(tmp_path: Path) -> Callable[..., Result]:
    """Calls a command in a folder of its own; the last half an hour of the load is simulated."""

    def run(command: click.Command, *arguments: object) -> Result:
        result = CliRunner().invoke(command, [str(a) for a in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run


def document(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)
