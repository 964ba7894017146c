"""A benchmark's result is thrown away when what its job depends on changed, and only then."""

from __future__ import annotations

import ast
import shutil
from functools import cache, partial
from pathlib import Path

import pytest

from simulations.bench import LAGCAST, REACTIVE, SWEPT, Bench
from simulations.bench_runner import Runner
from simulations.policies.catalog import _KNOWN
from simulations.scenarios import DEFAULTS, Cell
from simulations.store import Store
from simulations.version import (
    MODELS_OWN,
    OWN,
    ROOT,
    SHARED,
    WITHOUT,
    files,
    models_version,
    version,
    version_at,
    version_of,
)
from tests.simulations.comparing.test_bench import MadeUp


def left_out(policy: str) -> set[Path]:
    """What the policy's version is not of."""
    return set(files(ROOT)) - set(files(ROOT, WITHOUT[policy]))


def test_what_is_left_out_is_there() -> None:
    assert set(WITHOUT) == {"", *SWEPT}
    names = {name for without in WITHOUT.values() for name in without}
    assert [name for name in (*names, *SHARED) if not (ROOT / name).exists()] == []
    assert set(SHARED) <= {p.relative_to(ROOT).as_posix() for p in files(ROOT, OWN)}
    assert left_out(REACTIVE) < left_out("")
    assert {ROOT / "scaler/plan/rollout.py", ROOT / "forecasting/models/direct.py"} <= left_out("static")


@pytest.mark.parametrize("policy", sorted(WITHOUT))
def test_nothing_that_is_left_out_can_be_loaded_late(policy: str) -> None:
    # Also what a run (commands/test_bench_loads.py) may not come to: an import within a function, for a rare case.
    reached = loaded(policy)
    assert {str(path): f"imported by {reached[path]}" for path in left_out(policy) & set(reached)} == {}


def test_nothing_that_no_peer_loads_throws_their_results_away() -> None:
    by_any = {path for policy in WITHOUT if policy != REACTIVE for path in loaded(policy)}
    assert [name for name in SHARED if ROOT / name not in by_any] == []


def test_models_of_libraries_load_nothing_of_the_default() -> None:
    own = {p for name in MODELS_OWN for p in (ROOT / name, *(ROOT / name).rglob("*.py"))}
    assert [path for path in own if not path.exists()] == []
    theirs = set((ROOT / "forecasting/models").glob("*.py")) - own
    assert own & set(reached_from([*theirs, ROOT / "forecasting/worker.py"])) == set()
    assert models_version("ets") == models_version("naive") != models_version("competition") == models_version("direct")


def loaded(policy: str) -> dict[Path, Path]:
    """What a job under the policy may load, and by which of its files; empty: the bound."""
    roots = [ROOT / "simulations/bench_jobs.py"]
    if policy:
        roots.append(ROOT / f"simulations/policies/{_KNOWN[policy][0]}.py")
    return reached_from(roots)


def reached_from(roots: list[Path]) -> dict[Path, Path]:
    """The files that are imported from ``roots`` on, and by which."""
    reached: dict[Path, Path] = {root: root for root in roots}
    waiting = list(roots)
    while waiting:
        path = waiting.pop()
        for found in imported(path):
            if found not in reached:
                reached[found] = path
                waiting.append(found)
    return reached


@cache
def imported(path: Path) -> frozenset[Path]:
    """The project's files that a file imports anywhere in it, with their packages; not what only its types need."""
    found: set[Path] = set()
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "__name__ == '__main__'"):
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            waiting += ast.iter_child_nodes(node)
            continue
        for name in names:
            parts = name.split(".")
            for count in range(1, len(parts) + 1):
                place = ROOT.joinpath(*parts[:count])
                found.update(p for p in (place.with_suffix(".py"), place / "__init__.py") if p.is_file())
    return frozenset(found)


def test_a_change_throws_away_what_depends_on_it_and_nothing_else(tmp_path: Path) -> None:
    root, store = tmp_path / "sources", Store(tmp_path / "results", lambda text: None)
    for path in files(ROOT):
        copy = root / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)

    def ran(changed: str) -> list[str]:
        if changed:
            with (root / changed).open("a") as file:
                file.write("# another word\n")
        at = cache(partial(version_at, root))
        versions = {policy: at(WITHOUT.get(policy, ())) for policy in (LAGCAST, *WITHOUT)}
        executor = MadeUp(1000)
        runner = Runner(DEFAULTS, versions.__getitem__, store, executor)
        Bench((Cell("pods", "azfunc_diurnal", 9),), runner).run(lambda phase, done, total: None)
        return sorted({job.policy for job in executor.ran})

    every = sorted([LAGCAST, *WITHOUT])
    assert ran("") == every
    assert ran("") == []
    assert ran("scaler/plan/rollout.py") == [LAGCAST, REACTIVE]
    assert ran("forecasting/models/direct.py") == [LAGCAST]
    for shared in ("scaler/plan/observation.py", "simulations/kernel/queue.py", "simulations/policies/hpa_rate.py"):
        assert ran(shared) == every


def test_what_is_run_here_is_of_the_sources_here() -> None:
    assert version_of(LAGCAST) == version() == version_at(ROOT)
    assert version_of("no such policy") == version()
    assert {version_of(policy) for policy in ("", "hpa_rate", "static")} == {version_at(ROOT, OWN)}
