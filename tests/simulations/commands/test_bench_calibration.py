"""``python -m simulations.bench_calibration``: its table, its section of the page, what it exits with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import simulations.commands.bench_calibration as command
from forecasting.calibration import HORIZONS, Outcomes, coverage
from simulations.bench_calibration import Studied, calibration_table


def studied(trace: str, pits: np.ndarray) -> Studied:
    n = len(pits)
    cells = [c for h in HORIZONS for c in coverage(Outcomes(h, 420.0 * np.arange(n), np.ones(n), pits, np.zeros(n)))]
    return Studied(trace, 80.0, cells, dict.fromkeys(HORIZONS, 1.5), (2, 4))


RIGHT = (np.arange(2000) * 0.618034) % 1.0  # equidistributed


def test_the_table_marks_what_is_off_and_what_only_few_outcomes_excuse() -> None:
    right, none_missed = studied("right", RIGHT), studied("none missed", np.full(30, 0.2))
    off = studied("off", RIGHT**0.5)  # too high an outcome too often
    table = calibration_table([right, none_missed, off])
    assert len(table.lines) == 3 * len(HORIZONS)
    assert all(len(line) == len(table.titles) for line in table.lines)
    by_trace = {line[0]: " ".join(line) for line in table.lines}
    assert "NO" not in by_trace["right"]
    assert "(few)" not in by_trace["right"]
    assert "100.0 ± " in by_trace["none missed"]
    assert "(few)" in by_trace["none missed"]
    assert "NO" in by_trace["off"]


@pytest.mark.parametrize(("pits", "code"), [(RIGHT, 0), (RIGHT**0.5, 1)])
def test_the_section_is_written_and_the_exit_code_says_whether_all_are_met(
    pits: np.ndarray, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "study", lambda trace, *_: studied(trace, pits))
    page = tmp_path / "results.md"
    ran = CliRunner().invoke(command.bench_calibration, ["worldcup98", "--write", str(page)])
    assert ran.exit_code == code, ran.output
    text = page.read_text()
    assert "<!-- begin calibration -->" in text
    assert "python -m simulations.bench_calibration worldcup98 --days 7 --seed 0 --mean 80 --write" in text
    assert "24 cells: " in text
    assert "| worldcup98 | 24 | " in text
    assert " | 3.0 | 2 to 4 |" in text
    assert "worldcup98" in ran.stdout


def test_a_trace_that_is_not_there_is_wrong_usage() -> None:
    ran = CliRunner().invoke(command.bench_calibration, ["nowhere"])
    assert ran.exit_code == 2
    assert "nowhere" in ran.output
