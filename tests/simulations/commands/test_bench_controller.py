"""``make bench-controller``: its table, its section of the page, what it exits with. Measuring takes minutes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import simulations.lab.bench_controller as command
from simulations.lab.bench_controller import Figure


@pytest.mark.parametrize(("value", "code", "word"), [(0.4, 0, "yes"), (0.6, 1, "NO")])
def test_every_figure_stands_beside_its_limit_and_one_that_is_beyond_fails(
    value: float, code: int, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_simulated", lambda *_: [Figure("decision on nodes: CPU, median", value, "ms", 0.5)])
    monkeypatch.setattr(command, "_alone", lambda *_: [Figure("ticks measured", 1440, "ticks")])
    page, kept = tmp_path / "results.md", tmp_path / "kept.json"
    words = ["--no-lab", "--write", str(page), "--out", str(kept), "-o", "json"]
    ran = CliRunner().invoke(command.bench_controller, words)
    assert ran.exit_code == code, ran.output
    text = page.read_text()
    assert "python -m simulations.lab.bench_controller --no-lab --write docs/results.md" in text
    assert f"| decision on nodes: CPU, median | {value:g} ms | 0.5 ms | {word} |" in text
    assert "| ticks measured | 1.44e+03 ticks | - | yes |" in text
    assert json.loads(kept.read_text()) == json.loads(ran.stdout)
    assert json.loads(ran.stdout)[0]["ok"] is (code == 0)


@pytest.mark.slow
def test_a_simulation_is_timed_step_by_step() -> None:
    from forecasting.errors import BadSeries
    from simulations.lab.bench_simulation import FIRST, TRACE, bench_simulation
    from simulations.scenarios import nodes

    try:
        nodes(TRACE, FIRST)
    except BadSeries as missing:
        pytest.skip(str(missing))
    found = bench_simulation(days=1)
    assert found.steps == 5760
    assert 0 < found.step < found.cpu < 600
    assert found.wall > 0


def test_without_the_trace_it_is_wrong_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAGCAST_TRACES", str(tmp_path))
    ran = CliRunner().invoke(command.bench_controller, ["--no-lab", "--out", str(tmp_path / "kept.json")])
    assert ran.exit_code == 2
    assert "worldcup98" in ran.output


@pytest.mark.slow
def test_a_start_is_timed_as_it_is_installed_without_what_only_development_needs() -> None:
    pytest.importorskip("psutil")
    from simulations.lab.bench_process import IMPORTS

    told = "\nprint(sorted(m for m in ('kubernetes', 'jsonschema', 'kubernetes_validate') if sys.modules.get(m)))"
    ran = subprocess.run([sys.executable, "-c", IMPORTS + told], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.strip() == "['kubernetes']"
