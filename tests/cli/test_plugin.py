"""`kubectl lagcast`: what kubectl looks for on PATH is there, and calls itself what was typed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PLUGIN = Path(sys.executable).with_name("kubectl-lagcast")


def test_it_calls_itself_what_was_typed() -> None:
    done = subprocess.run([PLUGIN, "--help"], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith("Usage: kubectl lagcast [OPTIONS]")
    for command in ("status", "explain", "pause", "resume", "release", "validate", "crd"):
        assert f"\n  {command} " in done.stdout


def test_a_wrong_option_is_told_in_its_name() -> None:
    done = subprocess.run([PLUGIN, "status", "--nope"], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "Usage: kubectl lagcast status" in done.stderr
