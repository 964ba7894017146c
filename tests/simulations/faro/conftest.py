"""A small benchmark folder of the same form, and readings for the policy."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from scaler.plan.observation import (
    Freshness,
    GroupObservation,
    LatencySample,
    PoolObservation,
    PoolState,
    Reading,
    ReplicaState,
    ServiceObservation,
)

HEADER = "kind,cpus,policy,path,viol_pct_requests,viol_pct_job_avg,avg_ms,p99_ms,avg_replicas\n"


def jobs_line(minute: int, counts: Sequence[int]) -> str:
    return json.dumps({"ts": minute, "counts": {f"job{k}": {"classifier": n} for k, n in enumerate(counts)}})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``faro`` in a traces' folder of its own: ten jobs, five minutes; the last minute is busy."""
    rows = [[60 + 10 * k for k in range(10)]] * 4 + [[600] * 10]
    made = tmp_path / "faro"
    made.mkdir()
    (made / "jobs.jsonl").write_text("\n".join(jobs_line(m, row) for m, row in enumerate(rows)) + "\n")
    runs = [("resnet34-sim", 7, 10.0), ("resnet34-sim", 9, 20.0), ("resnet34", None, 40.0)]
    lines = [
        f"{kind},32,aiad,-sim/32_cpus{f'/poisson_{seed}' if seed else ''}/aiad,{missed},5.0,1.0,1.0,nan\n"
        for kind, seed, missed in runs
    ]
    (made / "published_results.csv").write_text(HEADER + "".join(lines))
    monkeypatch.setenv("LAGCAST_TRACES", str(tmp_path))
    return made


Shown = tuple[str, float | None, int, int]  # uid, mean latency (None: not known; 0: no requests), desired, ready


@pytest.fixture
def observe() -> Callable[..., GroupObservation]:
    """``observe([(uid, mean latency, desired, ready), ...], empty)``; ``empty`` None: no total is shared."""

    def one(uid: str, mean: float | None, desired: int, ready: int) -> ServiceObservation:
        state = ReplicaState(desired, ready, (), 0, "t", updating=False)
        count = 0.0 if mean == 0 else 8.0
        sample = None if mean is None else LatencySample(None, None, None, count, mean * count, 30.0)
        freshness = Freshness.ERROR if mean is None else Freshness.FRESH
        return ServiceObservation(
            uid,
            Reading(None, 0.0, Freshness.ABSENT),
            Reading(sample, 0.0, freshness),
            Reading(state, 0.0, Freshness.FRESH),
        )

    def make(shown: Sequence[Shown], empty: int | None = None) -> GroupObservation:
        pools = ()
        if empty is not None:
            state = PoolState(ready=32, pending_since=(), empty=empty, floor=0)
            pools = (PoolObservation("total", Reading(state, 0.0, Freshness.FRESH)),)
        return GroupObservation(tuple(one(*row) for row in shown), pools)

    return make
