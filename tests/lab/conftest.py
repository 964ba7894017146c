"""One lab, with all parts, for all tests of this folder; started once a run, in a folder of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from simulations.lab.lab import Lab


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """All parts, serving. Who stops a server starts it again."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    reporter = request.config.pluginmanager.getplugin("terminalreporter")
    last = ""

    def progress(doing: str) -> None:
        nonlocal last
        if doing.startswith("building") and doing != last and reporter is not None:
            with capture.global_and_fixture_disabled():  # a first build takes a quarter of an hour
                reporter.write_line(f"lab: {doing}")
        last = doing

    running = Lab.up(tmp_path_factory.mktemp("lab"), progress=progress)
    try:
        yield running
    finally:
        running.down()


@pytest.fixture
def deployed(lab: Lab) -> Iterator[Callable[[str], None]]:
    """Applies a Deployment, and deletes it with its pods afterwards."""
    names: list[str] = []

    def apply(text: str) -> None:
        names.append(json.loads(text)["metadata"]["name"])
        done = lab.kubernetes.run("apply", "-f", "-", stdin=text)
        assert done.code == 0, done.output

    yield apply
    for name in names:
        lab.kubernetes.run("delete", "deployment", name, "--cascade=foreground", "--wait=true")
