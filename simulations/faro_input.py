"""Faro's evaluation (EuroSys 2025) as data: its jobs' requests a minute, their arrivals, and what it published.

The files lie in the folder ``faro`` of the traces: ``jobs.jsonl`` has one line a minute, with the requests of each job;
``published_results.csv`` one line for each simulated or real run.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from forecasting.errors import BadSeries
from simulations.traces import traces_folder

MINUTE = 60.0  # s
_COLUMNS = ("kind", "cpus", "policy", "path", "viol_pct_requests", "viol_pct_job_avg", "avg_replicas")


@dataclass(frozen=True, slots=True, eq=False)
class Jobs:
    """``counts``: requests of each minute and job, shape [minutes, jobs]."""

    names: tuple[str, ...]
    counts: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Published:
    """One published run. ``seed`` None: a real cluster, or none was named. ``replicas`` None: not told."""

    policy: str
    simulated: bool
    total: int
    seed: int | None
    missed: float  # share of all requests
    missed_by_job: float  # mean of the jobs' shares
    replicas: float | None  # mean


def faro_folder() -> Path:
    """Where the benchmark's files are."""
    return traces_folder() / "faro"


def read_jobs(path: Path) -> Jobs:
    """The jobs' requests a minute. Raises BadSeries naming file and line."""
    names: tuple[str, ...] = ()
    rows: list[list[int]] = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as broken:
        raise BadSeries(f"{path}: cannot be read: {broken}") from broken
    for number, line in enumerate(lines, 1):
        counts = _minute(f"{path}:{number}", number - 1, line)
        names = names or tuple(counts)
        if tuple(counts) != names:
            raise BadSeries(f"{path}:{number}: jobs {', '.join(counts)}; allowed: those of line 1, {', '.join(names)}")
        rows.append(list(counts.values()))
    if not rows:
        raise BadSeries(f"{path}: empty: there is no minute in it")
    return Jobs(names, np.array(rows, dtype=np.int64))


def _minute(where: str, minute: int, line: str) -> dict[str, int]:
    """Requests by job; a job with several models has them added."""
    try:
        row = json.loads(line)
        at = row["ts"]
        models = {job: list(counts.values()) for job, counts in row["counts"].items()}
    except (ValueError, TypeError, KeyError, AttributeError) as broken:
        raise BadSeries(f'{where}: a line is {{"ts": MINUTE, "counts": {{JOB: {{MODEL: N}}}}}}: {broken}') from None
    if at != minute:
        raise BadSeries(f"{where}: ts is {at}; it must be {minute}, the minute after the line above (0 in the first)")
    for job, counts in models.items():
        wrong = [n for n in counts if isinstance(n, bool) or not isinstance(n, int) or n < 0]
        if wrong:
            raise BadSeries(f"{where}: {job} has {wrong[0]!r} requests; allowed: a whole number of at least 0")
    if not models:
        raise BadSeries(f"{where}: no jobs")
    return {job: sum(counts) for job, counts in models.items()}


def arrivals(jobs: Jobs, seed: int) -> tuple[NDArray[np.float64], ...]:
    """Each job's arrivals, in seconds since the begin, ascending.

    As in the artifact: at each minute's begin a job sends its first request, and the others follow after gaps that are
    exponential with mean 60 s / count; gaps are drawn minute by minute, job by job, from one generator. The last ones
    may run into the next minute.
    """
    rng = np.random.default_rng(seed)
    minutes, count = jobs.counts.shape
    parts: list[list[NDArray[np.float64]]] = [[] for _ in range(count)]
    for m in range(minutes):
        for j in range(count):
            n = int(jobs.counts[m, j])
            if n:
                gaps = rng.exponential(MINUTE / n, n)
                parts[j].append(m * MINUTE + np.cumsum(gaps) - gaps)
    return tuple(np.sort(np.concatenate(p)) if p else np.empty(0) for p in parts)


def read_published(path: Path) -> tuple[Published, ...]:
    """What the artifact reports, run by run. Raises BadSeries naming file and line."""
    found: list[Published] = []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            for row in reader:
                found.append(_published(f"{path}:{reader.line_num}", row))
    except (OSError, UnicodeDecodeError, csv.Error) as broken:
        raise BadSeries(f"{path}: cannot be read: {broken}") from broken
    return tuple(found)


def _published(where: str, row: dict[str, str]) -> Published:
    try:
        kind, cpus, policy, path, missed, by_job, replicas = (row[name] for name in _COLUMNS)
        seed = re.search(r"/poisson_(\d+)/", path)
        known = float(replicas)
        return Published(
            policy,
            kind.endswith("-sim"),
            int(cpus),
            int(seed[1]) if seed else None,
            float(missed) / 100,
            float(by_job) / 100,
            None if math.isnan(known) else known,
        )
    except (KeyError, TypeError, ValueError) as broken:
        raise BadSeries(
            f"{where}: needs {', '.join(_COLUMNS)}, with numbers in cpus and the last three: {broken}"
        ) from None


def published_mean(
    published: Sequence[Published], policy: str, total: int, seeds: Collection[int] | None = None
) -> float | None:
    """Share of requests that missed in its simulated runs (of these seeds only), on average; None: there are none."""
    runs = [
        one.missed
        for one in published
        if one.simulated and (one.policy, one.total) == (policy, total) and (seeds is None or one.seed in seeds)
    ]
    return fmean(runs) if runs else None
