"""`lagcast`: finds its commands, and says which extra a command lacks."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

LAGCAST = Path(sys.executable).with_name("lagcast")
COMMANDS = ("demo", "explain", "lab", "report", "run", "status")


def lagcast(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(LAGCAST), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.fixture
def without(tmp_path: Path) -> dict[str, str]:
    """An environment in which matplotlib, psutil and cryptography are not installed, as without the extras."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nfor name in ('matplotlib', 'psutil', 'cryptography'):\n    sys.modules[name] = None\n",
        encoding="utf-8",
    )
    return {"PYTHONPATH": str(tmp_path)}


def test_help_lists_every_command_and_the_exit_codes() -> None:
    done = lagcast("--help")
    assert done.returncode == 0
    for name in COMMANDS:
        assert f"\n  {name} " in done.stdout
    assert "Exit codes:" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(command: str) -> None:
    done = lagcast(command, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: lagcast {command}")


def test_version() -> None:
    assert lagcast("--version").stdout.strip() == f"lagcast, version {version('lagcast')}"


def test_an_unknown_command_is_wrong_use() -> None:
    done = lagcast("scale")
    assert done.returncode == 2
    assert "No such command 'scale'" in done.stderr


def test_help_works_without_the_extras(without: dict[str, str]) -> None:
    done = lagcast("--help", **without)
    assert done.returncode == 0
    assert "(needs the Python module psutil)" in done.stdout
    assert "\n  run " in done.stdout


def test_a_command_without_its_extra_says_what_to_install(without: dict[str, str], tmp_path: Path) -> None:
    done = lagcast("lab", "up", **without)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "needs the Python module 'psutil'" in done.stderr
    assert "pip install 'lagcast[simulations,lab]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_demo_without_its_extra_says_what_to_install(without: dict[str, str], tmp_path: Path) -> None:
    done = lagcast("demo", "--hours", "1", "--out", str(tmp_path / "out"), **without)
    assert done.returncode == 1
    assert "matplotlib" in done.stderr
    assert "pip install 'lagcast[simulations,lab]'" in done.stderr
    assert "Traceback" not in done.stderr
