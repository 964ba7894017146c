"""What `lagcast run` writes to its log: our own lines at the level asked for, no library's debugging."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import logging, sys
from scaler.cli.run import _log_to_stderr
_log_to_stderr(sys.argv[1])
logging.getLogger("scaler.observe.gather").debug("ours, debug")
logging.getLogger("lagcast").info("ours, info")
logging.getLogger("requests_oauthlib.oauth2_session").debug("Prepared refresh token request body hunter2")
logging.getLogger("urllib3.connectionpool").warning("a library's warning")
"""


@pytest.mark.parametrize(
    ("level", "said"),
    [
        ("DEBUG", ["ours, debug", "ours, info", "a library's warning"]),
        ("INFO", ["ours, info", "a library's warning"]),
        ("WARNING", ["a library's warning"]),
    ],
)
def test_the_level_is_for_our_own_lines(level: str, said: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, level], capture_output=True, text=True, check=True)
    assert [line.rpartition(": ")[2] for line in done.stderr.splitlines()] == said
