"""The Dockerfile and the shell scripts, as their linters read them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.manifests.checked_in import ROOT

BIN = Path(sys.executable).parent
SCRIPTS = (".ci/run", "manifests/kind/up.sh")


def lint(program: str, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / program), *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, cwd=ROOT, check=False, timeout=60)


def test_hadolint_has_nothing_to_say() -> None:
    done = lint("hadolint", "Dockerfile")
    assert done.returncode == 0, done.stdout


def test_hadolint_reads_it() -> None:
    done = lint("hadolint", "-", stdin="FROM debian\nRUN cd /tmp && sudo make\n")
    assert done.returncode != 0
    assert {"DL3006", "DL3004"} <= set(re.findall(r"DL\d+", done.stdout))


@pytest.mark.parametrize("script", SCRIPTS)
def test_shellcheck_has_nothing_to_say(script: str) -> None:
    done = lint("shellcheck", script)
    assert done.returncode == 0, done.stdout
    assert (ROOT / script).read_text(encoding="utf-8").startswith("#!/usr/bin/env bash\n")


def test_every_image_of_others_is_pinned() -> None:
    """By digest; those that are built here, by version."""
    folders = (ROOT / "manifests" / name for name in ("base", "overlays", "kind"))
    for path in (path for folder in folders for path in folder.rglob("*.yaml")):
        for image in re.findall(r"^\s*(?:- )?image: (\S+)", path.read_text(encoding="utf-8"), re.M):
            ours = image in ("lagcast", "lagcast-demo")
            assert ours or re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", image), (path, image)


def test_the_last_stage_neither_builds_nor_is_root() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    last = text[text.rindex("\nFROM ") :]
    assert "AS controller" in last
    assert "RUN" not in last
    assert re.search(r"^USER 65532:65532$", last, re.M)
    assert "ARG PIP" not in last
