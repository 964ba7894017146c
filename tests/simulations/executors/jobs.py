"""Work for the executors' tests: in a module of its own, so that workers can import it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simulations.errors import BadSetting


@dataclass(frozen=True)
class Draw:
    """Numbers that depend on the job's seed, and on nothing else."""

    size: int

    def __call__(self, seed: int) -> tuple[float, int]:
        """The sum, and the process it was made in."""
        time.sleep(0.05)  # long enough that a second worker takes some
        return float(np.random.default_rng(seed).normal(size=self.size).sum()), os.getpid()


def refuse(job: int) -> int:
    if job == 3:
        raise BadSetting("rate: found 0; allowed: more than 0 requests/s")
    return job


def break_down(job: int) -> float:
    return 1 / job


def wait_long(job: str) -> None:
    """Say who waits, in the file ``job``, and wait."""
    Path(job).write_text(str(os.getpid()))
    time.sleep(300)


def die(job: int) -> int:
    if job == 2:
        os._exit(9)
    return job
