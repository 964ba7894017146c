"""`lagcast lab`: help, exit codes and messages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from simulations.lab import cli, state
from simulations.lab.lab import DEFAULT, PARTS
from simulations.lab.state import LabState

RUN = [sys.executable, "-c", "from simulations.lab.cli import lab; lab()"]


@pytest.mark.parametrize("command", ["up", "down", "status"])
def test_help_tells_the_exit_codes(command: str) -> None:
    result = CliRunner().invoke(cli.lab, [command, "--help"])
    assert result.exit_code == 0
    assert "Exit codes:" in result.output
    assert "--dir" in result.output


def test_help_lists_all_commands() -> None:
    result = CliRunner().invoke(cli.lab, ["--help"])
    for name in ("up", "down", "status", "load"):
        assert f"\n  {name} " in result.output


def test_the_commands_know_all_parts() -> None:
    assert tuple(PARTS) == cli.PARTS
    assert cli.DEFAULT == DEFAULT


def test_help_does_not_load_the_servers_clients() -> None:
    heavy = {"confluent_kafka", "cryptography", "kubernetes", "numpy"}
    code = f"import sys; import simulations.lab.cli; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("only", ["kafak", "", ",", "kafka,zookeeper"])
def test_an_unknown_part_is_wrong_use(only: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(cli.lab, ["up", "--only", only, "--dir", str(tmp_path / "lab")])
    assert result.exit_code == 2
    assert "the parts are kafka, kubernetes, kwok, prometheus, keda" in result.output
    assert not (tmp_path / "lab").exists()


def test_a_missing_program_is_one_sentence(tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": str(tmp_path)}
    command = [*RUN, "up", "--only", "kafka", "--dir", str(tmp_path / "lab")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: Java 17 or later is not on PATH: install ")
    assert len(done.stderr.splitlines()) == 1


class TestStatus:
    def test_without_a_lab(self, tmp_path: Path) -> None:
        result = CliRunner().invoke(cli.lab, ["status", "--dir", str(tmp_path)])
        assert result.exit_code == 3
        assert result.stdout == ""
        assert f"no lab in {tmp_path}" in result.stderr

    def test_without_a_lab_as_json(self, tmp_path: Path) -> None:
        result = CliRunner().invoke(cli.lab, ["status", "--dir", str(tmp_path), "-o", "json"])
        assert result.exit_code == 3
        assert json.loads(result.stdout) == {"servers": [], "endpoints": {}}

    def test_of_a_lab_that_is_down(self, tmp_path: Path) -> None:
        LabState().save(tmp_path)
        result = CliRunner().invoke(cli.lab, ["status", "--dir", str(tmp_path)])
        assert result.exit_code == 3

    def test_with_a_damaged_state_file(self, tmp_path: Path) -> None:
        (tmp_path / state.FILE).write_text("{")
        result = CliRunner().invoke(cli.lab, ["status", "--dir", str(tmp_path)])
        assert result.exit_code == 1
        assert "is not a state file of the lab" in result.stderr

    def test_the_folder_is_the_users_own_when_none_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        result = CliRunner().invoke(cli.lab, ["status"])
        assert f"no lab in {tmp_path / 'lagcast' / 'lab'}" in result.stderr


class TestDown:
    def test_without_a_lab_there_is_nothing_to_do(self, tmp_path: Path) -> None:
        result = CliRunner().invoke(cli.lab, ["down", "--dir", str(tmp_path)])
        assert result.exit_code == 0
        assert "no lab" in result.stderr

    def test_delete_takes_the_folder_away(self, tmp_path: Path) -> None:
        LabState().save(tmp_path)
        result = CliRunner().invoke(cli.lab, ["down", "--dir", str(tmp_path), "--delete"])
        assert result.exit_code == 0, result.output
        assert not tmp_path.exists()


def test_progress_is_a_line_a_step_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with cli.lab_progress() as progress:
        progress("building")
        progress("building")
        progress("starting")
    captured = capsys.readouterr()
    assert captured.err.splitlines() == ["building", "starting"]
    assert captured.out == ""


@pytest.mark.slow
def test_progress_moves_on_a_terminal() -> None:
    """Under a real terminal: the present step is shown with its time, and the steps before it are gone."""
    import pty

    code = (
        "import time; from simulations.lab.cli import lab_progress\n"
        "with lab_progress() as p:\n  p('first'); time.sleep(0.3); p('second'); time.sleep(0.3)"
    )
    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", code], stderr=theirs, stdin=subprocess.DEVNULL) as child:
        os.close(theirs)
        shown = b""
        until = time.monotonic() + 20
        while time.monotonic() < until:
            try:
                chunk = os.read(ours, 4096)
            except OSError:  # the terminal is closed
                break
            if not chunk:
                break
            shown += chunk
    os.close(ours)
    assert child.returncode == 0
    assert b"first" in shown
    assert b"second" in shown
    assert b"0:00:00" in shown
