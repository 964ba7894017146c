"""Every command of docs/explain.md is run as it stands there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry

from scaler.cli.explain import explain
from scaler.cli.report import report
from scaler.cli.run import run
from scaler.endpoints import Endpoints
from scaler.explain.encode import to_json
from scaler.explain.stages import explain as explained
from scaler.journal import KEPT, SIZE, line
from simulations.commands.simulate import simulate
from tests.explain.made import NOW, tick
from tests.simulations.commands.conftest import RESOURCE

TEXT = (Path(__file__).parents[2] / "docs" / "explain.md").read_text(encoding="utf-8")
BLOCKS: list[str] = re.findall(r"^```sh\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
COMMANDS = [text for block in BLOCKS for text in block.splitlines()]
KNOWN: dict[str, click.Command] = {"explain": explain, "report": report, "simulate": simulate, "run": run}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the page's files are."""
    made = tmp_path_factory.mktemp("page")
    (made / "chat.yaml").write_text(RESOURCE)
    (made / "scalers.yaml").write_text(RESOURCE)
    counts = [f"{60 * k},{600}" for k in range(180)]
    (made / "chat__60s.csv").write_text("\n".join(["t_s,value", *counts]) + "\n")
    (made / "journal.jsonl").write_bytes(line(tick(time=1_700_000_000.0)) + line(tick(time=NOW)))
    return made


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    made = to_json(explained(tick()))
    answers = {("prod", "chat"): made}
    endpoints = Endpoints(
        "127.0.0.1", 0, CollectorRegistry(), lambda: None, lambda: None, list, lambda n, m: answers.get((n, m))
    )
    yield f"http://127.0.0.1:{endpoints.port}"
    endpoints.close()


def test_the_page_tells_commands() -> None:
    assert len(COMMANDS) >= 10
    assert {shlex.split(text)[1] for text in COMMANDS} == set(KNOWN)


@pytest.mark.parametrize("text", COMMANDS)
def test_a_command_of_the_page(text: str, folder: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = shlex.split(text)
    assert words[0] == "lagcast"
    command, arguments = KNOWN[words[1]], words[2:]
    monkeypatch.chdir(folder)
    if command is run:  # started for real in test_process.py
        context = run.make_context("run", arguments)
        assert context.params["journal"] == Path("journal.jsonl")
        return
    if command is explain and "--journal" not in arguments:
        arguments += ["--url", url]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout


def test_what_the_page_says_of_sizes_is_so(folder: Path) -> None:
    assert f"{(SIZE >> 20) * (KEPT + 1)} MiB" in TEXT
    assert 1200 < len(line(tick())) < 2000


def test_every_stage_and_key_is_told() -> None:
    document: dict[str, Any] = to_json(explained(tick()))
    for key in document:
        assert f"`{key}`" in TEXT
    for stage in document["stages"]:
        assert f"| `{stage['name']}` |" in TEXT
