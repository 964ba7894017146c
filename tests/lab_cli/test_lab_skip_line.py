"""Where the lab cannot run, the last line of the test run says which tests were skipped, and why."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = "tests/lab/test_lab_servers.py"


def run_without_programs(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The lab's tests under a PATH without Java, Maven, Go and Prometheus."""
    base = {name: value for name, value in os.environ.items() if name != "LAGCAST_LAB"}
    return subprocess.run(
        [sys.executable, "-m", "pytest", TESTS, "-k", "TestAuthentication", "-q", "-p", "no:cacheprovider"],
        cwd=ROOT,
        env={**base, "PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_last_line_says_what_was_skipped_and_why(tmp_path: Path) -> None:
    done = run_without_programs(tmp_path)
    assert done.returncode == 0, done.stdout
    last = done.stdout.rstrip("\n").splitlines()[-1]
    assert last.startswith("lab tests skipped: ")
    assert "in test_lab_servers.py (" in last
    for name in ("Java 17", "Maven 3.6", "Go 1.21", "Prometheus 2.30"):
        assert f"{name} or later is not on PATH" in last


def test_where_the_lab_is_required_it_fails(tmp_path: Path) -> None:
    done = run_without_programs(tmp_path, LAGCAST_LAB="required")
    assert done.returncode == 1
    assert "LAGCAST_LAB=required, but the lab cannot run: Java 17 or later is not on PATH" in done.stdout
    assert "lab tests skipped" not in done.stdout


def test_without_lab_tests_there_is_no_such_line() -> None:
    command = [sys.executable, "-m", "pytest", "tests/lab_cli/test_lab_ports.py", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "lab tests skipped" not in done.stdout


@pytest.mark.lab
def test_a_lab_test_elsewhere_counts_too() -> None:
    """Marked `lab` outside tests/lab: skipped by the same rule, so it runs only where the programs are."""
    from simulations.lab.lab import what_is_missing

    assert what_is_missing() == []
