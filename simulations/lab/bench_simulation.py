"""How long 14 days of a service on GPU nodes take in the simulator, with everything on: forecasts, refits, nodes.

Real load, a decision each 15 s by the policy at its defaults. Its steps are timed too: unlike those of
:mod:`simulations.lab.bench_decision` they plan nodes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from scaler.plan.policy import PredictivePolicy
from scaler.plan.service import Service
from simulations.compare import OWN, Job, Work
from simulations.lab.bench_decision import Timed
from simulations.policies.lagcast import forecaster
from simulations.scenarios import nodes
from simulations.setting import Load, Setting

TRACE, FIRST = "worldcup98", 60  # of the traces in steps of a minute, the one that is long enough
DAYS = 14


@dataclass(frozen=True, slots=True)
class Simulated:
    """What a run took: seconds of all of it, and of a step of the policy at the median."""

    wall: float
    cpu: float
    step: float  # CPU
    steps: int


def bench_simulation(days: int = DAYS) -> Simulated:
    """Run a day first, so that nothing is compiled in what is measured. Raises BadSeries where the trace is missing."""
    made = [nodes(TRACE, FIRST + k, scaled_by=FIRST) for k in range(days)]
    setting, (first,) = made[0]
    whole = replace(first, arrivals=np.concatenate([loads[0].arrivals for _, loads in made]))
    _run(setting, first)
    wall, cpu = time.perf_counter(), time.process_time()
    steps = _run(setting, whole)
    return Simulated(time.perf_counter() - wall, time.process_time() - cpu, float(np.median(steps)), len(steps))


def _run(setting: Setting, load: Load) -> list[float]:
    """CPU seconds of each step."""
    timed: list[Timed] = []

    def policy(services: Sequence[Service]) -> Timed:
        timed.append(Timed(PredictivePolicy(services, forecaster)))
        return timed[-1]

    Work(setting, (load,), policy)(Job(OWN))
    return timed[0].cpu
