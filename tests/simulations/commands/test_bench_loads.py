"""What a benchmark's jobs load, run in a new process: nothing that their version is not of."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from simulations.bench import REACTIVE
from simulations.version import ROOT
from tests.simulations.comparing.test_what_a_job_depends_on import left_out

HOUR = 3600
# Pods and nodes, and every kind of job, on days of coarse ticks. It prints what is loaded after the bound and the
# peers, and after Lagcast without forecasts.
RUN = """
import json, sys
from simulations import bench_jobs
from simulations.bench import PEERS, OTHERS, REACTIVE, STATIC
from simulations.bench_jobs import BenchJob, BenchWork, Kind
from simulations.scenarios import Cell, Parameters

whole = bench_jobs.sweep
bench_jobs.sweep = lambda policy: whole(policy)[:1]
work = BenchWork(Parameters(mean=8.0, tick=600.0, step=600.0))
cells = [Cell("pods", "made", 11), Cell("nodes", "made", 11)]

def loaded(policies):
    for policy in policies:
        for cell in cells:
            work(BenchJob(Kind.RUN, cell, policy))
        for kind in (Kind.SWEEP, Kind.PAST):
            work(BenchJob(kind, cells[1], policy))
    return [m.__file__ for m in list(sys.modules.values()) if getattr(m, "__file__", None)]

for cell in cells:
    work(BenchJob(Kind.BOUND, cell))
peers = loaded((*PEERS, *OTHERS, STATIC))
print(json.dumps([peers, loaded((REACTIVE,))]))
"""


def test_nothing_that_is_left_out_is_loaded(tmp_path: Path) -> None:
    rows = [f"{k * HOUR},{100 + 50 * (k % 24 < 12)}" for k in range(12 * 24)]
    (tmp_path / f"made__{HOUR}s.csv").write_text("\n".join(["t_s,value", *rows]) + "\n")
    ran = subprocess.run(
        [sys.executable, "-c", RUN],
        env={**os.environ, "PYTHONPATH": str(ROOT), "LAGCAST_TRACES": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    peers, reactive = ({Path(name) for name in some} for some in json.loads(ran.stdout))
    assert ROOT / "simulations/policies/rate_and_lag.py" in peers
    assert peers & left_out("") == set()
    assert ROOT / "scaler/plan/rollout.py" in reactive
    assert reactive & left_out(REACTIVE) == set()
