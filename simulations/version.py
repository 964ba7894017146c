"""Which Lagcast made a result: its version, and a digest of the code that results depend on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version as installed
from pathlib import Path

from simulations.setting import Load, Setting

ROOT = Path(__file__).resolve().parent.parent
# What decides and what is decided over; not what only shows it, or measures real servers.
SOURCES = ("scaler/api", "scaler/plan", "scaler/predictive.py", "forecasting", "simulations")
LIBRARIES = ("numba", "numpy", "scipy")  # their random numbers, sums and solvers decide the last digits
NOT = ("simulations/lab", "simulations/commands", "simulations/executors", "simulations/report")
NOT_FILES = (
    *(
        "bench.py",
        "bench_calibration.py",
        "bench_days.py",
        "bench_journal.py",
        "bench_kernel.py",
        "bench_not_ahead.py",
        "bench_pool_table.py",
        "bench_report.py",
        "bench_requests.py",
        "bench_runner.py",
        "bench_slower.py",
        "bench_tables.py",
        "demo.py",
        "executor.py",
    ),
    *(
        "faro.py",
        "faro_tables.py",
        "picture.py",
        "reference_cells.py",
        "results_page.py",
        "store.py",
        "table.py",
        "tune.py",
        "version.py",
        "whole_bound_cell.py",
        "whole_file.py",
    ),
)


# What only `lagcast tune` depends on.
TUNE = ("simulations/tune.py", "simulations/commands/tune.py")
TUNE_LIBRARIES = ("optuna",)


@cache
def version() -> str:
    """Such as ``0.1.0+3f2a9c01d4e7``: the distribution's version and a digest of the sources and the libraries'."""
    return _version(_files(), LIBRARIES)


@cache
def tune_version() -> str:
    """The same of all that a study depends on: of how its trials are chosen, too."""
    return _version([*_files(), *(ROOT / name for name in TUNE)], (*LIBRARIES, *TUNE_LIBRARIES))


def _version(files: Sequence[Path], libraries: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for name in libraries:
        digest.update(f"{name} {installed(name)}\n".encode())
    for path in files:
        digest.update(f"{path.relative_to(ROOT)}\n".encode())
        digest.update(path.read_bytes())
    return f"{installed('lagcast')}+{digest.hexdigest()[:12]}"


def _files() -> list[Path]:
    found: list[Path] = []
    for source in SOURCES:
        path = ROOT / source
        found += [path] if path.is_file() else path.rglob("*.py")
    hidden = [ROOT / name for name in NOT]
    return sorted(
        p
        for p in found
        if not any(p.is_relative_to(h) for h in hidden)
        and not (p.parent == ROOT / "simulations" and p.name in NOT_FILES)
    )


def run_hash(setting: Setting, loads: tuple[Load, ...]) -> str:
    """Of everything that a run is made of but the policy: the setting with its seed, arrivals and histories."""
    from simulations.report.report import data_hash

    return hashlib.sha256(f"{setting!r}\n{data_hash(loads)}".encode()).hexdigest()[:16]
