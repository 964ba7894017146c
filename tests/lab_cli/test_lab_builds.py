"""Programs are built once into the cache, whole or not at all, under a key that changes with what pins them."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import sys
from pathlib import Path

import pytest

from simulations.lab import programs
from simulations.lab.errors import BuildFailed, MissingProgram
from simulations.lab.programs import KAFKA, KUBERNETES, KWOK, Program, build, cache_directory
from simulations.lab.requirements import Requirement

PYTHON = Requirement("Python", sys.executable, ("--version",), r"Python (\d+)\.(\d+)", (3, 11), "install Python")

MAKE = "import pathlib, sys; pathlib.Path(sys.argv[1], 'tool').write_text(pathlib.Path('pins').read_text())"


def make(code: str = MAKE, name: str = "tool", version: str = "1.0") -> Program:
    def command(tool: Path, _source: Path, target: Path) -> list[str]:
        return [str(tool), "-c", code, str(target)]

    return Program(name, version, ("pins",), PYTHON, (("the tool", command),))


@pytest.fixture(autouse=True)
def places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Own sources with one module file, own cache."""
    sources = tmp_path / "sources"
    (sources / "tool").mkdir(parents=True)
    (sources / "tool" / "pins").write_text("library 1.0")
    monkeypatch.setattr(programs, "SOURCES", sources)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return sources


def folders() -> list[str]:
    return sorted(path.name for path in cache_directory().iterdir() if path.is_dir())


class TestKey:
    def test_it_names_program_and_version(self) -> None:
        assert make().key().startswith("tool-1.0-")

    def test_the_same_files_give_the_same_key(self) -> None:
        assert make().key() == make().key()

    def test_another_version_file_or_step_gives_another_key(self, places: Path) -> None:
        first = make().key()
        assert make(version="1.1").key() != first
        assert make(code="pass").key() != first
        (places / "tool" / "pins").write_text("library 1.1")
        assert make().key() != first

    def test_a_byte_that_moves_between_files_gives_another_key(self, places: Path) -> None:
        two = dataclasses.replace(make(), files=("pins", "more"))
        (places / "tool" / "more").write_text("b")
        (places / "tool" / "pins").write_text("a")
        first = two.key()
        (places / "tool" / "more").write_text("")
        (places / "tool" / "pins").write_text("ab")
        assert two.key() != first

    def test_the_cache_follows_xdg(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        assert cache_directory() == tmp_path / "cache" / "lagcast" / "lab"
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        monkeypatch.setenv("XDG_CACHE_HOME", "")
        assert cache_directory() == tmp_path / "home" / ".cache" / "lagcast" / "lab"


class TestBuild:
    def test_it_builds_and_says_so(self) -> None:
        said: list[str] = []
        folder = build(make(), said.append)
        assert (folder / "bin" / "tool").read_text() == "library 1.0"
        assert any("building the tool 1.0 (1 of 1, once)" in line for line in said)
        assert folders() == [folder.name]

    def test_the_second_time_nothing_is_built(self) -> None:
        folder = build(make())
        (folder / "bin" / "tool").write_text("the first build")
        said: list[str] = []
        assert build(make(), said.append) == folder
        assert (folder / "bin" / "tool").read_text() == "the first build"
        assert said == []

    def test_what_is_built_needs_no_builder(self) -> None:
        program = make()
        build(program)
        without = dataclasses.replace(program, tool=dataclasses.replace(PYTHON, command="no-such-program"))
        assert without.is_built()
        assert build(without) == program.folder()

    def test_a_missing_builder(self) -> None:
        program = dataclasses.replace(make(), tool=dataclasses.replace(PYTHON, command="no-such-program"))
        with pytest.raises(MissingProgram, match=r"Python 3.11 or later is not on PATH: install Python"):
            build(program)
        assert folders() == []

    def test_a_failed_build_leaves_its_log_and_nothing_else(self) -> None:
        program = make(code="import sys; print('line one'); sys.exit('the library is gone')")
        with pytest.raises(BuildFailed, match="the library is gone") as caught:
            build(program)
        log = cache_directory() / f"{program.key()}.log"
        assert str(log) in str(caught.value)
        assert "line one" in log.read_text()
        assert folders() == []

    def test_after_a_failure_it_can_be_built(self, places: Path) -> None:
        shutil.move(places / "tool" / "pins", places / "pins")
        (places / "tool" / "pins").mkdir()  # reading it fails
        program = make()
        with pytest.raises(IsADirectoryError):
            build(program)
        (places / "tool" / "pins").rmdir()
        shutil.move(places / "pins", places / "tool" / "pins")
        assert (build(program) / "bin" / "tool").exists()

    def test_half_a_build_of_a_killed_run_is_not_taken_for_one(self) -> None:
        program = make()
        half = program.folder().with_name(f"{program.key()}.building") / "bin"
        half.mkdir(parents=True)
        (half / "tool").write_text("half")
        assert (build(program) / "bin" / "tool").read_text() == "library 1.0"
        assert folders() == [program.key()]

    def test_the_sources_stay_as_they_are(self, places: Path) -> None:
        build(make(code=f"open('scratch', 'w').close(); {MAKE}"))
        assert [path.name for path in (places / "tool").iterdir()] == ["pins"]


class TestHashes:
    def pin(self, places: Path, text: str) -> Program:
        (places / "tool" / "hashes").write_text(text)
        return dataclasses.replace(make(), files=("pins", "hashes"), hashes="hashes")

    def test_what_is_as_pinned_is_taken(self, places: Path) -> None:
        digest = hashlib.sha256(b"library 1.0").hexdigest()
        assert build(self.pin(places, f"{digest}  tool\n")).is_dir()

    @pytest.mark.parametrize("named", ["tool", "other"])
    def test_another_content_or_another_file_is_refused(self, places: Path, named: str) -> None:
        program = self.pin(places, f"{hashlib.sha256(b'library 0.9').hexdigest()}  {named}\n")
        with pytest.raises(BuildFailed, match=f"tool 1.0 is not what hashes pins .{min(named, 'tool')}, "):
            build(program)
        assert folders() == []

    def test_a_file_more_is_refused(self, places: Path) -> None:
        with pytest.raises(BuildFailed, match="is not what hashes pins"):
            build(self.pin(places, ""))


@pytest.mark.parametrize("program", [KAFKA, KUBERNETES, KWOK], ids=lambda each: each.name)
def test_the_module_files_of_each_program_pin_its_version(monkeypatch: pytest.MonkeyPatch, program: Program) -> None:
    monkeypatch.setattr(programs, "SOURCES", Path(programs.__file__).parent / "programs")
    text = "".join((program.source / file).read_text() for file in program.files)
    assert program.version in text
    assert program.key().startswith(f"{program.name}-{program.version}-")
