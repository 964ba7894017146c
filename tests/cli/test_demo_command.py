"""`lagcast demo`: data on stdout, progress on stderr, a picture, and the same every time."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

PNG = b"\x89PNG\r\n\x1a\n"


def demo(out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scaler.cli", "demo", "--hours", "1", "--out", str(out), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    out = tmp_path_factory.mktemp("demo") / "new-folder"
    return out, demo(out, "-o", "json", "--seed", "3")


def test_data_on_stdout_and_progress_on_stderr(done: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    out, ran = done
    assert ran.returncode == 0, ran.stderr
    told: dict[str, Any] = json.loads(ran.stdout)
    assert told["picture"] == str(out / "demo.png")
    assert [run["policy"] for run in told["runs"]] == ["lagcast", "rate_and_lag"]
    for run in told["runs"]:
        assert 0.0 <= run["attainment"] <= 1.0
        assert run["replica_hours"] > 0
        assert run["longest_time_lag_seconds"] >= 0
    assert "ARRIVALS/S" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_it_draws_a_picture(done: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    picture = (done[0] / "demo.png").read_bytes()
    assert picture.startswith(PNG)
    assert len(picture) > 10_000


def test_the_same_seed_the_same_day_another_seed_another_one(
    done: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    first = json.loads(done[1].stdout)["runs"]
    with ThreadPoolExecutor() as side_by_side:
        again, other = side_by_side.map(lambda seed: demo(tmp_path / seed, "-o", "json", "--seed", seed), ("3", "4"))
    assert json.loads(again.stdout)["runs"] == first
    assert json.loads(other.stdout)["runs"] != first


@pytest.mark.parametrize("hours", ["0", "25", "nan"])
def test_hours_out_of_range_are_wrong_use(hours: str, tmp_path: Path) -> None:
    ran = demo(tmp_path, "--hours", hours)
    assert ran.returncode == 2
    assert "between 1 and 24" in ran.stderr
    assert ran.stdout == ""
