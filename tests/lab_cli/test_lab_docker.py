"""An engine for the image: what is missing is said, and one that does not come up names its log."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulations.lab import docker
from simulations.lab.errors import StartFailed


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH, besides the shell's own programs; caches go below it, too."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def program(path: Path, name: str, text: str) -> None:
    file = path / name
    file.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    file.chmod(0o755)


NO_ENGINE = 'case "$1" in --version) echo "Docker version 24.0.1, build x";; *) echo "no engine" >&2; exit 1;; esac'


def test_an_engine_that_does_not_come_up_names_its_log(path: Path) -> None:
    program(path, "docker", NO_ENGINE)
    program(
        path, "dockerd", 'case "$1" in --version) echo "Docker version 24.0.1";; *) echo "no cgroups"; exit 3;; esac'
    )
    with pytest.raises(StartFailed, match="it ended") as failed, docker.engine():
        pass
    log = Path(str(failed.value).rpartition("see ")[2])
    assert "no cgroups" in log.read_text(encoding="utf-8")
    assert "it said last: no cgroups" in str(failed.value)


def test_one_that_runs_is_used_and_not_ended(path: Path) -> None:
    program(path, "docker", 'case "$1" in --version) echo "Docker version 24.0.1";; *) echo 24.0.1;; esac')
    with docker.engine() as running:
        assert running.host is None
    assert not (path.parent / "cache").exists(), "no engine of our own was prepared"


def test_an_old_client_is_said(path: Path) -> None:
    program(path, "docker", "echo 'Docker version 19.03.1, build x'")
    said = docker.what_is_missing()
    assert any("19.3" in line and "20.10" in line for line in said), said


def test_a_build_finds_packages_where_pip_does_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://packages.example.com/simple")
    monkeypatch.delenv("PIP_TRUSTED_HOST", raising=False)
    options = docker.build_options()
    assert "--build-arg=PIP_INDEX_URL=https://packages.example.com/simple" in options
    assert not any("TRUSTED" in option for option in options)
