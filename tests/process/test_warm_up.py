"""What the warm-up is for: no tick waits for a compiler."""

from __future__ import annotations

import subprocess
import sys

import pytest

RUN = """
import sys
import numpy as np
from forecasting.series import Series
from scaler.api.predictive_scaler import to_service
from scaler.plan.observation import Freshness, GroupObservation, Reading, ReplicaState, ServiceObservation, TopicOffsets
from scaler.predictive import make_policy
from scaler.warm import EXAMPLE, warm_up

TICK, DAY = 15.0, 86400.0

def compiled():
    found = {}
    for name, module in list(sys.modules.items()):
        if name.startswith(("forecasting", "scaler.plan")):
            for one in vars(module).values():
                if hasattr(one, "signatures") and hasattr(one, "py_func"):
                    found[f"{one.py_func.__module__}.{one.py_func.__name__}"] = len(one.signatures)
    return found

warm_up(make_policy, EXAMPLE, TICK)
before = compiled()
rng = np.random.default_rng(0)
cron = np.where(np.arange(1440) % 10 == 0, 30.0, 1.0)  # of a minute each: the load has a cycle
policy = make_policy(EXAMPLE, to_service(EXAMPLE, TICK))
zeros, total, committed = np.zeros((3, 2), dtype=np.int64)
for n in range(120):
    now = DAY + n * TICK
    total = total + rng.poisson(cron[int(now / 60) % 1440] * TICK * np.array([0.8, 0.2]))
    committed = committed + 3 if 40 <= n < 60 else total  # for a while much waits
    history = Reading(Series(0.0, 60.0, cron), now, Freshness.FRESH) if n == 1 else None
    offsets = Reading(TopicOffsets(np.arange(2), total, zeros, committed), now, Freshness.FRESH)
    replicas = Reading(ReplicaState(1, 1, (), 0, "one", updating=False), now, Freshness.FRESH)
    policy.step(now, GroupObservation((ServiceObservation(EXAMPLE.uid, offsets, None, replicas, history=history),)))
after = compiled()
late = {name: (before.get(name, 0), count) for name, count in after.items() if count > before.get(name, 0)}
print(len(before), "functions,", sum(before.values()), "signatures; compiled in a tick:", late)
sys.exit(1 if late or sum(before.values()) < 30 else 0)
"""


@pytest.mark.slow
def test_nothing_is_compiled_in_a_tick() -> None:
    """Half an hour of a load with a cycle, and a backlog, after the warm-up in the same process."""
    done = subprocess.run([sys.executable, "-c", RUN], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
