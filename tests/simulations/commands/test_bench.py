"""`lagcast bench`: what it refuses, what it writes, and that it goes on. The runs themselves are made up here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from simulations.commands.bench import bench
from tests.simulations.commands.conftest import document
from tests.simulations.comparing.test_bench import MadeUp

Call = Callable[..., Result]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--trace", "nowhere"), "--trace: found nowhere; allowed: azfunc_diurnal, "),
        (("--share", "1"), "--share: found 1.0; allowed: more than 0, less than 1"),
        (("--scenario", "pool", "--trace", "worldcup98"), "--scenario, --trace: found no cell of both"),
        (("--slower", "0"), "--slower"),
    ],
)
def test_wrong_usage(call: Call, options: tuple[str, ...], said: str) -> None:
    result = call(bench, *options)
    assert result.exit_code == 2
    assert said in result.stderr


def test_what_is_printed_is_written_and_a_second_call_runs_nothing(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = MadeUp(10_000)
    monkeypatch.setattr("simulations.commands.bench.make_executor", lambda *given: executor)
    page = tmp_path / "docs" / "page.md"
    what = ("--scenario", "pods", "--trace", "azfunc_diurnal", "--seeds", 2, "--out", tmp_path / "out", "--write", page)
    found = document(call(bench, *what, "-o", "json"))
    assert [(cell["trace"], cell["seed"]) for cell in found["cells"]] == [("azfunc_diurnal", 0), ("azfunc_diurnal", 1)]
    assert found == json.loads((tmp_path / "out" / "bench.json").read_text())
    text = page.read_text()
    assert all(f"{value}" in text for table in found["tables"].values() for row in table for value in row.values())
    ran = len(executor.ran)
    assert ran > 0
    assert document(call(bench, *what, "-o", "json")) == found
    assert len(executor.ran) == ran
