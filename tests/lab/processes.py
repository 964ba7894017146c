"""What runs on this machine, as the lab's tests look for what was left behind."""

from __future__ import annotations

import os
from pathlib import Path

import psutil


def processes_of(directory: Path) -> list[str]:
    """Command lines of all processes that name ``directory``; this test's own excepted."""
    found = []
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
            if str(directory) in line and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(line)
        except psutil.Error:
            continue
    return found
