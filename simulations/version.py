"""Which Lagcast made a result: its version, and a digest of the code that results depend on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version as installed
from importlib.util import find_spec
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
        "bench_full.py",
        "bench_journal.py",
        "bench_kernel.py",
        "bench_models.py",
        "bench_not_ahead.py",
        "bench_pool_table.py",
        "bench_report.py",
        "bench_requests.py",
        "bench_rubbish.py",
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


# What neither the bound nor a run under a peer loads: Lagcast's plan, its forecaster, how it is declared; but for ...
OWN = (
    *("forecasting", "scaler/api", "scaler/plan", "scaler/predictive.py", "simulations/bench_defaults.py"),
    *(f"simulations/policies/{name}.py" for name in ("lagcast", "lagcast_reactive", "lagcast_shared")),
)
# ... these, which all of them are written in.
SHARED = (
    *(f"forecasting/{name}.py" for name in ("__init__", "calendar", "compiled", "compiled_before", "errors", "series")),
    *(f"scaler/api/{name}.py" for name in ("__init__", "cel", "describe", "quantities")),
    *(
        f"scaler/plan/{name}.py"
        for name in (
            "__init__",
            "decision",
            "fallback",
            "nodes_full",
            "nodes_need",
            "observation",
            "reasons",
            "schedule",
            "service",
        )
    ),
)
# What Lagcast without forecasts does not load either.
LEARNED = (
    "forecasting/models",
    *(f"forecasting/{name}.py" for name in ("competition_default", "memory", "periods", "profile", "reversion")),
    *(f"forecasting/direct/{name}.py" for name in ("draw", "feedback", "forest", "learned", "present", "ridge")),
)
# By policy of a benchmark's job (empty: the bound), what it does not depend on. Any other: it depends on everything.
WITHOUT: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("", "hpa_rate", "keda_lag", "rate_and_lag", "static"), OWN),
    "lagcast_reactive": LEARNED,
}

# What only `python -m simulations.bench_rubbish` depends on.
RUBBISH = ("simulations/bench_rubbish.py",)
# What `python -m simulations.bench_models` depends on ...
MODELS = ("forecasting", *(f"simulations/{name}.py" for name in ("bench_models", "load_text", "traces")))
MODELS_LIBRARIES = ("statsmodels", "statsforecast", "prophet")
# ... but for its models of libraries.
MODELS_OWN = (
    "forecasting/direct",
    *(f"forecasting/models/{name}.py" for name in ("cycle", "direct")),
    *(f"forecasting/{name}.py" for name in ("competition", "competition_default", "competition_naive")),
    *(f"forecasting/{name}.py" for name in ("competition_strays", "own_cycle")),
)
# What only `lagcast tune` depends on.
TUNE = ("simulations/tune.py", "simulations/commands/tune.py")
TUNE_LIBRARIES = ("optuna",)


@cache
def version() -> str:
    """Such as ``0.1.0+3f2a9c01d4e7``: the distribution's version and a digest of the sources and the libraries'."""
    return version_at(ROOT)


@cache
def version_of(policy: str) -> str:
    """The same of only what a benchmark's job under ``policy`` depends on; empty: the bound."""
    return version_at(ROOT, WITHOUT[policy]) if policy in WITHOUT else version()


def version_at(root: Path, without: Sequence[str] = ()) -> str:
    """The same of the sources under ``root`` but for those of ``files`` that are left out."""
    return _version(root, files(root, without), LIBRARIES)


def files(root: Path, without: Sequence[str] = ()) -> list[Path]:
    """The sources under ``root`` that results depend on, but for those ``without`` (folders, files) and not SHARED."""
    out = [root / name for name in without]
    shared = {root / name for name in SHARED}
    return [p for p in _files(root) if p in shared or not any(p.is_relative_to(o) for o in out)]


@cache
def tune_version() -> str:
    """The same of all that a study depends on: of how its trials are chosen, too."""
    return _with(TUNE, TUNE_LIBRARIES)


@cache
def rubbish_version() -> str:
    """The same of what is made wrong on purpose, too."""
    return _with(RUBBISH)


@cache
def models_version(model: str) -> str:
    """The same of what a backtest of ``model`` depends on."""
    library = model not in ("competition", "direct")
    paths = sorted(p for name in MODELS for p in _python(ROOT / name))
    hidden = [ROOT / name for name in (MODELS_OWN if library else ())]
    known = [name for name in MODELS_LIBRARIES if library and find_spec(name)]
    return _version(ROOT, [p for p in paths if not any(p.is_relative_to(h) for h in hidden)], (*LIBRARIES, *known))


def _with(more: Sequence[str], libraries: Sequence[str] = ()) -> str:
    return _version(ROOT, [*_files(ROOT), *(ROOT / name for name in more)], (*LIBRARIES, *libraries))


def _version(root: Path, paths: Sequence[Path], libraries: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for name in libraries:
        digest.update(f"{name} {installed(name)}\n".encode())
    for path in paths:
        digest.update(f"{path.relative_to(root)}\n".encode())
        digest.update(path.read_bytes())
    return f"{installed('lagcast')}+{digest.hexdigest()[:12]}"


def _python(path: Path) -> list[Path]:
    """The file, or all those in the folder."""
    return [path] if path.is_file() else list(path.rglob("*.py"))


def _files(root: Path) -> list[Path]:
    found: list[Path] = []
    for source in SOURCES:
        found += _python(root / source)
    hidden = [root / name for name in NOT]
    return sorted(
        p
        for p in found
        if not any(p.is_relative_to(h) for h in hidden)
        and not (p.parent == root / "simulations" and p.name in NOT_FILES)
    )


def run_hash(setting: Setting, loads: tuple[Load, ...]) -> str:
    """Of everything that a run is made of but the policy: the setting with its seed, arrivals and histories."""
    from simulations.report.report import data_hash

    return hashlib.sha256(f"{setting!r}\n{data_hash(loads)}".encode()).hexdigest()[:16]
