"""A missing or old program is one sentence that names what to install."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulations.lab.errors import MissingProgram
from simulations.lab.requirements import GO, JAVA, MAVEN, PROMETHEUS, Requirement, locate, missing

ALL = [JAVA, MAVEN, GO, PROMETHEUS]
# What real versions of the programs print.
ANSWERS = {
    "java": 'openjdk version "17.0.15" 2025-04-15\nOpenJDK Runtime Environment (build 17.0.15+6-Debian-1deb12u1)',
    "mvn": "Apache Maven 3.8.7\nMaven home: /usr/share/maven",
    "go": "go1.26.8",
    "prometheus": "prometheus, version 2.42.0+ds (branch: debian/sid)\n  go version: go1.19.8",
}
OLD = {
    "java": ('java version "1.8.0_402"', "1.8"),
    "mvn": ("Apache Maven 3.5.4", "3.5"),
    "go": ("go1.19.8", "1.19"),
    "prometheus": ("prometheus, version 2.15.2+ds", "2.15"),
}


def program(folder: Path, name: str, says: str, code: int = 0) -> str:
    """An executable that prints ``says``."""
    path = folder / name
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{says}\nEND\nexit {code}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("requirement", ALL, ids=lambda each: each.command)
def test_absent(requirement: Requirement) -> None:
    with pytest.raises(MissingProgram) as caught:
        locate(requirement, lambda _: None)
    message = str(caught.value)
    assert message.startswith(f"{requirement.title} is not on PATH: ")
    assert "install" in message
    assert "\n" not in message


@pytest.mark.parametrize("requirement", ALL, ids=lambda each: each.command)
def test_recent_enough(requirement: Requirement, tmp_path: Path) -> None:
    path = program(tmp_path, requirement.command, ANSWERS[requirement.command])
    assert locate(requirement, lambda _: path) == Path(path)


@pytest.mark.parametrize("requirement", ALL, ids=lambda each: each.command)
def test_too_old(requirement: Requirement, tmp_path: Path) -> None:
    says, version = OLD[requirement.command]
    path = program(tmp_path, requirement.command, says)
    with pytest.raises(MissingProgram, match=f"at {path} is {version}, {requirement.title} is needed: .*install"):
        locate(requirement, lambda _: path)


@pytest.mark.parametrize("says", ["", "Unable to locate a Java Runtime."])
def test_a_program_that_does_not_tell_its_version(says: str, tmp_path: Path) -> None:
    path = program(tmp_path, "java", says, code=1)
    with pytest.raises(MissingProgram, match="does not tell its version, but"):
        locate(JAVA, lambda _: path)


def test_a_program_that_does_not_run(tmp_path: Path) -> None:
    path = tmp_path / "java"
    path.write_bytes(b"\x00\x01")
    path.chmod(0o755)
    with pytest.raises(MissingProgram, match="does not run"):
        locate(JAVA, lambda _: str(path))


def test_all_that_is_missing_is_told_at_once() -> None:
    sentences = missing(ALL, lambda _: None)
    assert [sentence.split()[0] for sentence in sentences] == ["Java", "Maven", "Go", "Prometheus"]


def test_nothing_is_missing(tmp_path: Path) -> None:
    paths = {name: program(tmp_path, name, says) for name, says in ANSWERS.items()}
    assert missing(ALL, paths.get) == []
