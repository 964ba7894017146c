"""Programs that the user installs: found on PATH, with their version, or one sentence that says what to install."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from simulations.lab.errors import MissingProgram
from simulations.lab.process import run


@dataclass(frozen=True, slots=True)
class Requirement:
    """A program on PATH, with the least version that will do."""

    name: str
    command: str
    version_arguments: tuple[str, ...]
    version_pattern: str
    least: tuple[int, ...]
    advice: str

    @property
    def title(self) -> str:
        return f"{self.name} {'.'.join(map(str, self.least))} or later"


JAVA = Requirement(
    "Java",
    "java",
    ("-version",),
    r'version "(\d+)(?:\.(\d+))?',
    (17,),
    "install a JDK, for example the Debian package openjdk-17-jre-headless",
)
MAVEN = Requirement(
    "Maven", "mvn", ("-v",), r"Apache Maven (\d+)\.(\d+)", (3, 6), "install it, for example the Debian package maven"
)
GO = Requirement(
    "Go",
    "go",
    ("env", "GOVERSION"),
    r"go(\d+)\.(\d+)",
    (1, 21),  # an older go cannot fetch the toolchain that go.mod names
    "install it from the Go project's downloads",
)
PROMETHEUS = Requirement(
    "Prometheus",
    "prometheus",
    ("--version",),
    r"prometheus, version (\d+)\.(\d+)",
    (2, 30),
    "install it, for example the Debian package prometheus, or put the program of a release on PATH",
)

Which = Callable[[str], str | None]


def locate(requirement: Requirement, which: Which = shutil.which) -> Path:
    """Where the program is. Raises MissingProgram, in one sentence, when it is absent or too old."""
    found = which(requirement.command)
    if found is None:
        raise MissingProgram(f"{requirement.title} is not on PATH: {requirement.advice}")
    try:
        answer = run([found, *requirement.version_arguments], directory=Path.cwd(), timeout=60)
    except (OSError, TimeoutError) as error:
        raise MissingProgram(f"{requirement.name} at {found} does not run ({error}): {requirement.advice}") from None
    match = re.search(requirement.version_pattern, answer.output)
    if match is None:
        last = answer.output.strip().splitlines()[-1:] or ["nothing"]
        raise MissingProgram(
            f"{requirement.name} at {found} does not tell its version, but {last[0]!r}: {requirement.advice}"
        )
    version = tuple(int(number) for number in match.groups() if number is not None)
    if version < requirement.least:
        shown = ".".join(map(str, version))
        raise MissingProgram(
            f"{requirement.name} at {found} is {shown}, {requirement.title} is needed: {requirement.advice}"
        )
    return Path(found)


def missing(requirements: Iterable[Requirement], which: Which = shutil.which) -> list[str]:
    """One sentence for each of ``requirements`` that is not met."""
    sentences = []
    for requirement in requirements:
        try:
            locate(requirement, which)
        except MissingProgram as error:
            sentences.append(str(error))
    return sentences
