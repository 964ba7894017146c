"""A study over a made-up objective, in a process of its own so that it can be killed.

Arguments: storage URL, trials, seconds a trial takes. Prints the number of each trial that is done.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from scaler.clock import SystemClock
from simulations.tune import About, Search, describe, open_study, tune

SPACE: dict[str, BaseDistribution] = {
    "late": FloatDistribution(0.001, 0.1, log=True),
    "hold": IntDistribution(0, 1800, step=30),
    "model": CategoricalDistribution(["none", "levelSeason"]),
}
FIRST = {"late": 0.01, "hold": 300, "model": "levelSeason"}
BATCH = 3
ABOUT = About("1.0", "data", "lagcast", describe(SPACE), 7)


def objective(values: dict[str, Any]) -> tuple[float, float]:
    """A longer hold and a smaller late share attain more and cost more."""
    hours = 100 + values["hold"] / 60 - 20 * (values["model"] == "levelSeason") + 0.05 / values["late"]
    return 1 - values["late"] * (1 + 300 / (values["hold"] + 60)), hours


def run_study(url: str, trials: int, seconds: float = 0.0, width: int = 1) -> None:
    """Open the study and run it to ``trials``."""

    def run(batch: Sequence[dict[str, Any]], done: Callable[[int, tuple[float, float]], None]) -> None:
        for place, values in enumerate(batch):
            time.sleep(seconds)
            done(place, objective(values))

    def tell(count: int) -> None:
        sys.stdout.write(f"{count}\n")
        sys.stdout.flush()

    study = open_study(url, "made-up", ABOUT)
    tune(study, Search(SPACE, FIRST, trials, 7, width, BATCH), run, SystemClock(), tell)


if __name__ == "__main__":
    run_study(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
